//! How many operations, keys and values cross the boundary in one flat array: see INTERFACE.md.

use trilith::{Batch, Error, ErrorKind, Result};

/// A length that says that there is nothing.
pub(crate) const NONE: u32 = u32::MAX;

const PUT: u8 = 1;
const PUT_FOR: u8 = 2;
const DELETE: u8 = 3;
const DELETE_RANGE: u8 = 4;

fn invalid(at: usize) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "reading an array of operations",
        format!("what stands at byte {at} is not what the interface says"),
    )
}

/// Takes what was put together in JavaScript apart.
pub(crate) struct Flat<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Flat<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| invalid(self.at))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| invalid(at))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn ms(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A length and so many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    fn pair(&mut self) -> Result<(&'a [u8], &'a [u8])> {
        let (key, value) = (self.u32()?, self.u32()?);
        Ok((self.take(key as usize)?, self.take(value as usize)?))
    }
}

/// The operations of a flat array, as a batch that is made at `now_ms`.
pub(crate) fn batch_of(operations: &[u8], now_ms: u64) -> Result<Batch> {
    let mut flat = Flat::new(operations);
    let mut batch = Batch::new();
    while !flat.is_empty() {
        let at = flat.at;
        match flat.array::<1>()? {
            [PUT] => {
                let (key, value) = flat.pair()?;
                batch.put(key, value);
            }
            [PUT_FOR] => {
                let deadline_ms = deadline_of(Some(flat.ms()?), now_ms);
                let (key, value) = flat.pair()?;
                batch.put_until(key, value, deadline_ms);
            }
            [DELETE] => {
                batch.delete(flat.bytes()?);
            }
            [DELETE_RANGE] => {
                let (start, end) = (flat.u32()?, flat.u32()?);
                let start = flat.take(start as usize)?;
                let end = match end {
                    NONE => None,
                    len => Some(flat.take(len as usize)?),
                };
                batch.delete_range(start, end);
            }
            _ => return Err(invalid(at)),
        }
    }
    Ok(batch)
}

/// When something expires that lives for `ttl_ms` from now on; 0 is never. At least a millisecond.
pub(crate) fn deadline_of(ttl_ms: Option<f64>, now_ms: u64) -> u64 {
    match ttl_ms {
        Some(ttl_ms) if ttl_ms.is_finite() => now_ms.saturating_add(ttl_ms.max(1.0) as u64),
        _ => 0,
    }
}

/// The keys of a flat array.
pub(crate) fn keys_of(keys: &[u8]) -> Result<Vec<&[u8]>> {
    let mut flat = Flat::new(keys);
    let mut found = Vec::new();
    while !flat.is_empty() {
        found.push(flat.bytes()?);
    }
    Ok(found)
}

/// Appends a value, or that there is none.
pub(crate) fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&NONE.to_le_bytes()),
    }
}

/// Appends a key and a value.
pub(crate) fn put_pair(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.reserve(8 + key.len() + value.len());
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn operations() -> Vec<u8> {
        let mut flat = vec![PUT];
        put_pair(&mut flat, b"a", b"1");
        flat.push(PUT_FOR);
        flat.extend_from_slice(&500f64.to_le_bytes());
        put_pair(&mut flat, b"b", b"");
        flat.push(DELETE);
        put_value(&mut flat, Some(b"c"));
        for end in [Some(&b"f"[..]), None] {
            flat.push(DELETE_RANGE);
            flat.extend_from_slice(&1u32.to_le_bytes());
            flat.extend_from_slice(&end.map_or(NONE, |end| end.len() as u32).to_le_bytes());
            flat.push(b'd');
            flat.extend_from_slice(end.unwrap_or_default());
        }
        flat
    }

    #[test]
    fn operations_make_the_batch_that_they_say() {
        let mut expected = Batch::new();
        expected
            .put(b"a", b"1")
            .put_until(b"b", b"", 1500)
            .delete(b"c")
            .delete_range(b"d", Some(b"f"))
            .delete_range(b"d", None);
        assert_eq!(batch_of(&operations(), 1000).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_short_is_refused_and_nothing_panics() {
        let flat = operations();
        let whole: Vec<_> = (0..=flat.len())
            .filter(|&len| batch_of(&flat[..len], 0).is_ok())
            .collect();
        assert_eq!(whole.len(), 6, "the array ends behind an operation");
        for at in 0..flat.len() {
            let mut flat = flat.clone();
            flat[at] ^= 0xff;
            let _ = batch_of(&flat, 0);
        }
        assert_eq!(batch_of(&[9], 0).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn keys_are_read_back_in_order() {
        let mut flat = Vec::new();
        put_value(&mut flat, Some(b"one"));
        put_value(&mut flat, Some(b""));
        assert_eq!(keys_of(&flat).unwrap(), [&b"one"[..], b""]);
        put_value(&mut flat, None);
        assert!(keys_of(&flat).is_err());
    }

    #[test]
    fn a_time_to_live_is_a_millisecond_at_least_and_never_without_one() {
        assert_eq!(deadline_of(None, 10), 0);
        assert_eq!(deadline_of(Some(f64::INFINITY), 10), 0);
        assert_eq!(deadline_of(Some(-4.0), 10), 11);
        assert_eq!(deadline_of(Some(250.5), 10), 260);
    }
}
