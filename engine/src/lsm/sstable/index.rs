//! The index: which data block may hold a key, in two levels, so that it need not be resident whole.
//!
//! ```text
//! index block, top index block = a block as `block` describes it, with a restart at every eighth entry,
//!   whose entries are puts:
//!     key    a separator
//!     seq    the separator's sequence number
//!     value  a handle: offset varint | length varint (of a stored block, trailer included)
//! ```
//!
//! One entry of an index block stands for each data block, one entry of the top index block for each index
//! block, in order. The separator (key, seq) is at or after the last entry of its block and before the
//! first entry of the next, in the order of records; where the next block begins with another key it is
//! shortened and its seq is 0. So the block that holds the first record at or after a position is the one
//! of the first separator at or after that position: a get never looks into two.

use std::ops::Range;

use super::Damage;
use super::block::{BlockBuilder, common_prefix};
use crate::codec::{Decoder, put_varint};
use crate::record::{Kind, Record};

pub(crate) const INDEX_RESTART_INTERVAL: u32 = 8;

/// Where a stored block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Handle {
    pub(crate) offset: u64,
    /// Length with its trailer.
    pub(crate) len: u32,
}

impl Handle {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.len));
    }

    /// The handle that `bytes` are, if it lies `within` a part of the file.
    pub(crate) fn decode(bytes: &[u8], within: &Range<u64>) -> Result<Self, Damage> {
        let mut decoder = Decoder::new(bytes);
        let handle = (|| {
            let offset = decoder.varint()?;
            let len = u32::try_from(decoder.varint()?).ok()?;
            decoder.is_empty().then_some(Self { offset, len })
        })()
        .ok_or(Damage("malformed handle"))?;
        if handle.offset < within.start || handle.end() > within.end {
            return Err(Damage("handle points out of its part of the file"));
        }
        Ok(handle)
    }

    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }
}

/// Leaves in `key` (the last of a block) the separator before `next`, the first key of the next block;
/// answers whether its sequence number has to be that of the last entry, both keys being the same.
pub(crate) fn shorten(key: &mut Vec<u8>, next: &[u8]) -> bool {
    let common = common_prefix(key, next);
    if common == next.len() {
        return true;
    }
    // One byte past what they share is already greater than `key`, and less than `next` if that goes on.
    if next.len() > common + 1 && key.len() > common + 1 {
        key.truncate(common);
        key.extend_from_slice(&next[common..=common]);
    }
    false
}

/// Collects separators and builds the two levels.
pub(crate) struct IndexBuilder {
    block_bytes: usize,
    current: BlockBuilder,
    last_seq: u64,
    done: Vec<IndexBlock>,
    done_bytes: usize,
    handle: Vec<u8>,
}

/// One finished index block and the separator that stands for it.
pub(crate) struct IndexBlock {
    pub(crate) separator: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) bytes: Vec<u8>,
}

impl IndexBuilder {
    pub(crate) fn new(block_bytes: usize) -> Self {
        Self {
            block_bytes,
            current: BlockBuilder::new(INDEX_RESTART_INTERVAL),
            last_seq: 0,
            done: Vec::new(),
            done_bytes: 0,
            handle: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, separator: &[u8], seq: u64, handle: Handle) {
        push(&mut self.current, &mut self.handle, separator, seq, handle);
        self.last_seq = seq;
        if self.current.len() >= self.block_bytes {
            self.cut();
        }
    }

    /// Bytes of the index blocks so far, uncompressed.
    pub(crate) fn bytes(&self) -> usize {
        self.done_bytes + self.current.len()
    }

    fn cut(&mut self) {
        let separator = self.current.last_key().to_vec();
        let bytes = self.current.finish().clone();
        self.current.clear();
        self.done_bytes += bytes.len();
        self.done.push(IndexBlock {
            separator,
            seq: self.last_seq,
            bytes,
        });
    }

    /// All index blocks; the caller stores them and builds the top block with a [`TopBuilder`].
    pub(crate) fn finish(mut self) -> Vec<IndexBlock> {
        if !self.current.is_empty() {
            self.cut();
        }
        self.done
    }
}

/// Builds the top index block.
pub(crate) struct TopBuilder {
    block: BlockBuilder,
    handle: Vec<u8>,
}

impl TopBuilder {
    pub(crate) fn new() -> Self {
        let block = BlockBuilder::new(INDEX_RESTART_INTERVAL);
        Self {
            block,
            handle: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, separator: &[u8], seq: u64, handle: Handle) {
        push(&mut self.block, &mut self.handle, separator, seq, handle);
    }

    pub(crate) fn finish(&mut self) -> &mut Vec<u8> {
        self.block.finish()
    }
}

fn push(block: &mut BlockBuilder, scratch: &mut Vec<u8>, key: &[u8], seq: u64, handle: Handle) {
    scratch.clear();
    handle.encode(scratch);
    let common = common_prefix(block.last_key(), key);
    let (kind, deadline_ms) = (Kind::Put, 0);
    block.push(
        &Record {
            key,
            seq,
            kind,
            deadline_ms,
            value: scratch,
        },
        common,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn separators_are_short() {
        let mut key = b"user:1000:name".to_vec();
        assert!(!shorten(&mut key, b"user:2000:age"));
        assert_eq!(key, b"user:2");
    }

    proptest! {
        #[test]
        fn a_separator_lies_between_its_neighbours(
            a in prop::collection::vec(0u8..4, 0..6),
            b in prop::collection::vec(0u8..4, 0..6),
        ) {
            let (last, next) = if a <= b { (a, b) } else { (b, a) };
            let mut separator = last.clone();
            let same = shorten(&mut separator, &next);
            prop_assert_eq!(same, last == next);
            prop_assert!(last <= separator);
            prop_assert!(same || separator < next);
            prop_assert!(separator.len() <= last.len());
        }

        #[test]
        fn handles_come_back(offset in 0u64..1 << 40, len in 0u32..) {
            let handle = Handle { offset, len };
            let mut bytes = Vec::new();
            handle.encode(&mut bytes);
            prop_assert_eq!(Handle::decode(&bytes, &(0..u64::MAX)), Ok(handle));
            prop_assert!(Handle::decode(&bytes, &(0..handle.end() - 1)).is_err());
            bytes.pop();
            prop_assert!(Handle::decode(&bytes, &(0..u64::MAX)).is_err());
        }
    }
}
