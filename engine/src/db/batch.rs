//! A batch: several writes that happen all or not at all, and how the log carries them.
//!
//! ```text
//! payload   tag u8 = 1 · count varint · ops
//! op        1 put       key · value
//!           2 put until deadline varint · key · value
//!           3 delete    key
//!           4 delete range  start · bounded u8 · [end]
//! ```
//!
//! Keys and values are a varint length and that many bytes.

use bytes::Bytes;

use crate::codec::{Decoder, put_bytes, put_varint};
use crate::record::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{Error, ErrorKind, Result};

/// The first byte of a payload that is a batch. Others belong to the store's [`super::Machine`].
pub(crate) const BATCH_TAG: u8 = 1;

const PUT: u8 = 1;
const PUT_UNTIL: u8 = 2;
const DELETE: u8 = 3;
const DELETE_RANGE: u8 = 4;

/// Writes that are applied together: after a crash all of them are there or none, and no reader sees some
/// without the others. Later operations of a batch win over earlier ones on the same key.
///
/// ```
/// let mut batch = trilith::Batch::new();
/// batch.put(b"user:1", b"Alex").delete(b"user:2");
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<u8>,
    count: u64,
    /// The first thing that was wrong with it; reported when it is written.
    invalid: Option<&'static str>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> &mut Self {
        self.check(key, value);
        self.ops.reserve(key.len() + value.len() + 16);
        self.ops.push(PUT);
        put_bytes(&mut self.ops, key);
        put_bytes(&mut self.ops, value);
        self.counted()
    }

    /// Sets `key` to `value` until `deadline_ms` (milliseconds since the Unix epoch; 0 for ever).
    pub fn put_until(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> &mut Self {
        if deadline_ms == 0 {
            return self.put(key, value);
        }
        self.check(key, value);
        self.ops.push(PUT_UNTIL);
        put_varint(&mut self.ops, deadline_ms);
        put_bytes(&mut self.ops, key);
        put_bytes(&mut self.ops, value);
        self.counted()
    }

    /// Deletes `key`, whether it is there or not.
    pub fn delete(&mut self, key: &[u8]) -> &mut Self {
        self.check(key, &[]);
        self.ops.push(DELETE);
        put_bytes(&mut self.ops, key);
        self.counted()
    }

    /// Deletes every key from `start` on and before `end` (`None`: to the last key), at the cost of one
    /// write however many they are.
    pub fn delete_range(&mut self, start: &[u8], end: Option<&[u8]>) -> &mut Self {
        self.check(start, &[]);
        self.check(end.unwrap_or_default(), &[]);
        self.ops.push(DELETE_RANGE);
        put_bytes(&mut self.ops, start);
        self.ops.push(u8::from(end.is_some()));
        if let Some(end) = end {
            put_bytes(&mut self.ops, end);
        }
        self.counted()
    }

    /// How many operations it holds.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes it takes in the log.
    pub fn bytes(&self) -> usize {
        self.ops.len()
    }

    fn check(&mut self, key: &[u8], value: &[u8]) {
        if key.len() > KEY_BYTES_MAX {
            self.invalid
                .get_or_insert("a key is longer than 65,535 bytes");
        }
        if value.len() > VALUE_BYTES_MAX {
            self.invalid.get_or_insert("a value is longer than 512 MiB");
        }
    }

    fn counted(&mut self) -> &mut Self {
        self.count += 1;
        self
    }

    /// The operations, to be walked with [`Ops::of`], or what is wrong with the batch.
    pub(crate) fn into_ops(self) -> Result<(Bytes, u64)> {
        match self.invalid {
            Some(detail) => Err(Error::new(ErrorKind::Invalid, "writing a batch", detail)),
            None => Ok((self.ops.into(), self.count)),
        }
    }

    /// The payload of the log entry, or what is wrong with the batch.
    pub(crate) fn into_payload(self) -> Result<Bytes> {
        if let Some(detail) = self.invalid {
            return Err(Error::new(ErrorKind::Invalid, "writing a batch", detail));
        }
        let mut payload = Vec::with_capacity(self.ops.len() + 11);
        payload.push(BATCH_TAG);
        put_varint(&mut payload, self.count);
        payload.extend_from_slice(&self.ops);
        Ok(payload.into())
    }
}

/// The payload of a batch of one put, without building a batch first.
pub(crate) fn put_payload(key: &[u8], value: &[u8], deadline_ms: u64) -> Result<Bytes> {
    if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        let mut batch = Batch::new();
        batch.check(key, value);
        return batch.into_payload();
    }
    let mut payload = Vec::with_capacity(key.len() + value.len() + 24);
    payload.extend_from_slice(&[BATCH_TAG, 1]);
    if deadline_ms == 0 {
        payload.push(PUT);
    } else {
        payload.push(PUT_UNTIL);
        put_varint(&mut payload, deadline_ms);
    }
    put_bytes(&mut payload, key);
    put_bytes(&mut payload, value);
    Ok(payload.into())
}

/// One operation of a batch, as apply sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put {
        key: &'a [u8],
        value: &'a [u8],
        deadline_ms: u64,
    },
    Delete {
        key: &'a [u8],
    },
    DeleteRange {
        start: &'a [u8],
        end: Option<&'a [u8]>,
    },
}

/// Walks the operations of a batch's payload.
pub(crate) struct Ops<'a> {
    rest: Decoder<'a>,
    left: u64,
}

impl<'a> Ops<'a> {
    /// The operations of a batch that was not encoded.
    pub(crate) fn of(ops: &'a [u8], count: u64) -> Self {
        Self {
            rest: Decoder::new(ops),
            left: count,
        }
    }

    /// `None` when the payload is not a batch's.
    pub(crate) fn new(payload: &'a [u8]) -> Option<Self> {
        let mut rest = Decoder::new(payload);
        if rest.u8()? != BATCH_TAG {
            return None;
        }
        let left = rest.varint()?;
        Some(Self { rest, left })
    }

    /// The next operation; `None` where the payload is not what [`Batch`] writes.
    fn decode(&mut self) -> Option<Op<'a>> {
        let rest = &mut self.rest;
        Some(match rest.u8()? {
            PUT => Op::Put {
                key: rest.bytes()?,
                value: rest.bytes()?,
                deadline_ms: 0,
            },
            PUT_UNTIL => {
                let deadline_ms = rest.varint()?;
                Op::Put {
                    key: rest.bytes()?,
                    value: rest.bytes()?,
                    deadline_ms,
                }
            }
            DELETE => Op::Delete { key: rest.bytes()? },
            DELETE_RANGE => {
                let start = rest.bytes()?;
                let end = match rest.u8()? {
                    0 => None,
                    _ => Some(rest.bytes()?),
                };
                Op::DeleteRange { start, end }
            }
            _ => return None,
        })
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let op = self.decode();
        if op.is_none() {
            self.left = 0;
        }
        Some(op.ok_or_else(|| {
            Error::corrupt(
                "applying a batch",
                "its payload is not one that a batch writes",
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_back_in_order() {
        let mut batch = Batch::new();
        batch
            .put(b"a", b"1")
            .put_until(b"b", b"", 77)
            .delete(b"")
            .delete_range(b"c", Some(b"d"))
            .delete_range(b"x", None);
        let payload = batch.into_payload().unwrap();
        let ops: Vec<_> = Ops::new(&payload).unwrap().map(Result::unwrap).collect();
        let put = |key, value, deadline_ms| Op::Put {
            key,
            value,
            deadline_ms,
        };
        assert_eq!(ops[0], put(b"a", b"1", 0));
        assert_eq!(ops[1], put(b"b", b"", 77));
        assert_eq!(ops[2], Op::Delete { key: b"" });
        assert_eq!(
            ops[3],
            Op::DeleteRange {
                start: b"c",
                end: Some(b"d")
            }
        );
        assert_eq!(
            ops[4],
            Op::DeleteRange {
                start: b"x",
                end: None
            }
        );
        assert_eq!(ops.len(), 5);
    }

    #[test]
    fn one_put_is_a_batch_of_one() {
        let mut batch = Batch::new();
        batch.put_until(b"k", b"v", 9);
        assert_eq!(
            batch.into_payload().unwrap(),
            put_payload(b"k", b"v", 9).unwrap()
        );
    }

    #[test]
    fn a_key_too_long_is_invalid_and_a_truncated_payload_corrupt() {
        let mut batch = Batch::new();
        batch.put(&[0; KEY_BYTES_MAX + 1], b"v");
        assert_eq!(batch.into_payload().unwrap_err().kind(), ErrorKind::Invalid);
        let payload = put_payload(b"key", b"value", 0).unwrap();
        let ops: Vec<_> = Ops::new(&payload[..payload.len() - 1]).unwrap().collect();
        assert_eq!(ops.len(), 1);
        assert!(ops[0].is_err());
    }
}
