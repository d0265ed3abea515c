//! A write of one key on a condition, and how the log carries it.
//!
//! ```text
//! payload   tag u8 = 4 · key · expected · value · deadline varint
//! ```
//!
//! The key is a varint length and that many bytes; `expected` and `value` are a byte that says whether there is
//! one, and then the same. No value expected: the key must not be there. No value: the key is removed.

use bytes::Bytes;

use super::admit::Needs;
use super::machine::BatchesOnly;
use super::{Db, batch};
use crate::codec::{Decoder, put_bytes, put_varint};
use crate::{Result, Runtime, Storage};

/// The tags below belong to batches and to a node's commands: a node's store is refused, not misread.
const TAG: u8 = 4;

/// What is to be written, and on which condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conditional<'a> {
    pub key: &'a [u8],
    pub expected: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub deadline_ms: u64,
}

impl<'a> Conditional<'a> {
    fn encode(&self) -> Bytes {
        let value_bytes = self.value.map_or(0, <[u8]>::len);
        let expected_bytes = self.expected.map_or(0, <[u8]>::len);
        let mut payload = Vec::with_capacity(self.key.len() + value_bytes + expected_bytes + 32);
        payload.push(TAG);
        put_bytes(&mut payload, self.key);
        for part in [self.expected, self.value] {
            payload.push(u8::from(part.is_some()));
            if let Some(bytes) = part {
                put_bytes(&mut payload, bytes);
            }
        }
        put_varint(&mut payload, self.deadline_ms);
        payload.into()
    }

    /// `None` where the payload is not what [`Self::encode`] writes.
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut rest = Decoder::new(payload);
        if rest.u8()? != TAG {
            return None;
        }
        let key = rest.bytes()?;
        let mut part = || match rest.u8()? {
            0 => Some(None),
            1 => rest.bytes().map(Some),
            _ => None,
        };
        let (expected, value) = (part()?, part()?);
        let deadline_ms = rest.varint()?;
        rest.is_empty().then_some(Self {
            key,
            expected,
            value,
            deadline_ms,
        })
    }
}

impl<S: Storage, R: Runtime> Db<S, R, BatchesOnly> {
    /// Sets `key` to `value` (`None`: removes it) if its value is `expected` (`None`: if it is not there), as of the
    /// moment when all writes before this one have taken effect. Tells whether it was so. The new value expires at
    /// `deadline_ms`, in milliseconds since the Unix epoch; 0 is never.
    ///
    /// ```
    /// # use trilith::{Db, MemoryStorage, Options, sim::TestRuntime};
    /// # let runtime = TestRuntime::new(1);
    /// # runtime.block_on(async {
    /// # let db = Db::open(MemoryStorage::new(), runtime.clone(), Options::default()).await?;
    /// assert!(db.compare_and_set(b"k", None, Some(b"1"), 0).await?);
    /// assert!(!db.compare_and_set(b"k", Some(b"0"), Some(b"2"), 0).await?);
    /// assert!(db.compare_and_set(b"k", Some(b"1"), None, 0).await?);
    /// # db.close().await
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Db::put`].
    pub async fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        deadline_ms: u64,
    ) -> Result<bool> {
        // Refuses what is too long.
        batch::put_payload(key, value.unwrap_or_default(), 0)?;
        let conditional = Conditional {
            key,
            expected,
            value,
            deadline_ms,
        };
        let payload = conditional.encode();
        let large_bytes = self.large_value_bytes();
        let mut needs = Needs::default();
        let inline = value.filter(|value| value.len() < large_bytes);
        needs.add(key.len() + inline.map_or(0, <[u8]>::len));
        self.check_needs(payload.len(), &needs)?;
        self.admit(payload.len()).await?;
        self.submit(payload, 0)?.reply().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_else() {
        for expected in [None, Some(&b""[..]), Some(b"old")] {
            for value in [None, Some(&b""[..]), Some(b"new")] {
                let conditional = Conditional {
                    key: b"key",
                    expected,
                    value,
                    deadline_ms: 12_345,
                };
                let payload = conditional.encode();
                assert_eq!(Conditional::decode(&payload), Some(conditional));
                for len in 0..payload.len() {
                    assert_eq!(Conditional::decode(&payload[..len]), None);
                }
                let longer = [&payload[..], b"x"].concat();
                assert_eq!(Conditional::decode(&longer), None);
            }
        }
    }
}
