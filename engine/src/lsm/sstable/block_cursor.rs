//! Walks the entries of one block in either direction, with whole keys.
//!
//! Forward it keeps one key buffer and rewrites its end. Backward it decodes one restart interval at a
//! time and then walks that list from its end. It allocates nothing once its buffers have grown.

use std::cmp::{Ordering, Reverse};

use bytes::Bytes;

use super::Damage;
use super::block::{Block, Entry};
use crate::lsm::cursor::Direction;
use crate::record::Record;

/// The most entries from one whole key to the next: bounds what decoding an interval can take.
pub(crate) const RESTART_INTERVAL_MAX: u32 = 64;

/// Walks one block after another; begin with [`BlockCursor::reset`].
pub(crate) struct BlockCursor {
    direction: Direction,
    block: Option<Block>,
    /// Forward: the key of `entry`. Backward: the keys of `interval`, one behind the other.
    keys: Vec<u8>,
    /// Where the current entry's key begins in `keys`.
    key_start: usize,
    entry: Option<Entry>,
    /// Backward only: the interval's number, and its entries before the current one, with where their
    /// keys begin.
    restart: usize,
    interval: Vec<(usize, Entry)>,
}

impl BlockCursor {
    pub(crate) fn new(direction: Direction) -> Self {
        Self {
            direction,
            block: None,
            keys: Vec::new(),
            key_start: 0,
            entry: None,
            restart: 0,
            interval: Vec::new(),
        }
    }

    /// Takes up another block; stands on no entry yet.
    pub(crate) fn reset(&mut self, block: Block) {
        self.block = Some(block);
        self.entry = None;
    }

    /// The record it stands on.
    #[inline]
    pub(crate) fn record(&self) -> Option<Record<'_>> {
        let (entry, block) = (self.entry.as_ref()?, self.block.as_ref()?);
        Some(Record {
            key: &self.keys[self.key_start..self.key_start + entry.key_len()],
            seq: entry.seq,
            kind: entry.kind,
            deadline_ms: entry.deadline_ms,
            value: &block.bytes()[entry.value()],
        })
    }

    /// The value of the record it stands on, sharing the block; empty on none.
    pub(crate) fn value(&self) -> Bytes {
        match (&self.entry, &self.block) {
            (Some(entry), Some(block)) => block.bytes().slice(entry.value()),
            _ => Bytes::new(),
        }
    }

    /// Moves to the first entry in its direction; whether there is one.
    pub(crate) fn first(&mut self) -> Result<bool, Damage> {
        self.entry = None;
        let Some(last) = self.restarts().checked_sub(1) else {
            return Ok(false);
        };
        match self.direction {
            Direction::Forward => self.begin_at(0),
            Direction::Backward => {
                self.load_interval(last)?;
                Ok(self.pop())
            }
        }
    }

    /// Forward: moves to the first entry at or after (key, seq). Backward: to the last entry before it.
    /// Whether there is one.
    pub(crate) fn seek(&mut self, key: &[u8], seq: u64) -> Result<bool, Damage> {
        let Some(restart) = self.restart_before(key, seq)? else {
            return Ok(false);
        };
        match self.direction {
            Direction::Forward => {
                let mut found = self.begin_at(restart)?;
                while found && self.order(key, seq) == Ordering::Less {
                    found = self.advance()?;
                }
                Ok(found)
            }
            Direction::Backward => {
                self.load_interval(restart)?;
                let mut found = self.pop();
                while found && self.order(key, seq) != Ordering::Less {
                    found = self.pop();
                }
                Ok(found)
            }
        }
    }

    /// Moves to the first entry at or after (key, seq), in either direction; backward, to the very last
    /// entry if there is none. This is how an index is sought: that entry's block has what is wanted.
    pub(crate) fn seek_block_of(&mut self, key: &[u8], seq: u64) -> Result<bool, Damage> {
        if self.direction == Direction::Forward {
            return self.seek(key, seq);
        }
        let Some(restart) = self.restart_before(key, seq)? else {
            return Ok(false);
        };
        self.load_interval(restart)?;
        let wanted = (key, Reverse(seq));
        let first_after = self.interval.iter().position(|(start, entry)| {
            (
                &self.keys[*start..*start + entry.key_len()],
                Reverse(entry.seq),
            ) >= wanted
        });
        match first_after {
            Some(index) => self.interval.truncate(index + 1),
            None if restart + 1 < self.restarts() => {
                self.load_interval(restart + 1)?;
                self.interval.truncate(1);
            }
            None => {}
        }
        Ok(self.pop())
    }

    /// Moves one entry on in its direction; whether there is one.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, Damage> {
        if self.direction == Direction::Backward {
            if self.pop() {
                return Ok(true);
            }
            if self.restart == 0 {
                return Ok(false);
            }
            self.load_interval(self.restart - 1)?;
            return Ok(self.pop());
        }
        match self.entry {
            Some(entry) => self.decode(entry.next()),
            None => Ok(false),
        }
    }

    fn restarts(&self) -> usize {
        self.block.as_ref().map_or(0, Block::restarts)
    }

    fn restart_before(&mut self, key: &[u8], seq: u64) -> Result<Option<usize>, Damage> {
        self.entry = None;
        match &self.block {
            Some(block) if block.restarts() > 0 => block.restart_before(key, seq).map(Some),
            _ => Ok(None),
        }
    }

    /// How the current entry lies to (key, seq).
    fn order(&self, key: &[u8], seq: u64) -> Ordering {
        self.record().map_or(Ordering::Less, |record| {
            record.position().cmp(&(key, Reverse(seq)))
        })
    }

    /// Forward: the entry of a restart.
    fn begin_at(&mut self, restart: usize) -> Result<bool, Damage> {
        self.keys.clear();
        self.key_start = 0;
        match &self.block {
            Some(block) => {
                let at = block.restart(restart)?;
                self.decode(at)
            }
            None => Ok(false),
        }
    }

    /// Forward: the entry at `at`, whose predecessor's key is in the buffer.
    #[inline]
    fn decode(&mut self, at: usize) -> Result<bool, Damage> {
        self.entry = None;
        let Some(block) = &self.block else {
            return Ok(false);
        };
        if at >= block.entries_end() {
            return Ok(false);
        }
        let entry = block.entry(at)?;
        if entry.shared > self.keys.len() {
            return Err(Damage("entry shares more than there is"));
        }
        self.keys.truncate(entry.shared);
        self.keys.extend_from_slice(&block.bytes()[entry.suffix()]);
        self.entry = Some(entry);
        Ok(true)
    }

    /// Backward: decodes one restart interval.
    fn load_interval(&mut self, restart: usize) -> Result<(), Damage> {
        self.entry = None;
        self.restart = restart;
        self.interval.clear();
        self.keys.clear();
        let Some(block) = &self.block else {
            return Ok(());
        };
        let mut at = block.restart(restart)?;
        let end = if restart + 1 < block.restarts() {
            block.restart(restart + 1)?
        } else {
            block.entries_end()
        };
        let (mut start, mut len) = (0, 0);
        while at < end {
            let entry = block.entry(at)?;
            if entry.shared > len || self.interval.len() == RESTART_INTERVAL_MAX as usize {
                return Err(Damage(
                    "entry shares more than there is, or lies too far from a restart",
                ));
            }
            let shared = start..start + entry.shared;
            start = self.keys.len();
            len = entry.key_len();
            self.keys.extend_from_within(shared);
            self.keys.extend_from_slice(&block.bytes()[entry.suffix()]);
            self.interval.push((start, entry));
            at = entry.next();
        }
        if at != end || self.interval.is_empty() {
            return Err(Damage("restart points between entries"));
        }
        Ok(())
    }

    /// Backward: the last entry of the interval that is left.
    #[inline]
    fn pop(&mut self) -> bool {
        self.entry = None;
        if let Some((start, entry)) = self.interval.pop() {
            self.key_start = start;
            self.entry = Some(entry);
        }
        self.entry.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::sstable::block::{BlockBuilder, common_prefix};
    use crate::record::Kind;
    use proptest::prelude::*;

    type Position = (Vec<u8>, Reverse<u64>);

    fn block(positions: &[Position], interval: u32) -> Block {
        let mut builder = BlockBuilder::new(interval);
        for (key, seq) in positions {
            let common = common_prefix(builder.last_key(), key);
            let (kind, deadline_ms) = (Kind::Put, 0);
            builder.push(
                &Record {
                    key,
                    seq: seq.0,
                    kind,
                    deadline_ms,
                    value: key,
                },
                common,
            );
        }
        Block::new(std::mem::take(builder.finish()).into()).unwrap()
    }

    fn rest(cursor: &mut BlockCursor, mut found: bool) -> Vec<Position> {
        let mut seen = Vec::new();
        while found {
            let record = cursor.record().unwrap();
            assert_eq!(record.key, record.value);
            seen.push((record.key.to_vec(), Reverse(record.seq)));
            found = cursor.advance().unwrap();
        }
        assert!(!cursor.advance().unwrap());
        seen
    }

    proptest! {
        #[test]
        fn both_directions_agree_with_a_sorted_list(
            set in prop::collection::btree_set(
                (prop::collection::vec(0u8..3, 0..6), (0u64..20).prop_map(Reverse)), 0..80),
            interval in 1u32..20,
            target in (prop::collection::vec(0u8..4, 0..6), (0u64..22).prop_map(Reverse)),
        ) {
            let sorted: Vec<Position> = set.into_iter().collect();
            let block = block(&sorted, interval);
            let split = sorted.partition_point(|position| *position < target);

            let mut cursor = BlockCursor::new(Direction::Forward);
            cursor.reset(block.clone());
            let found = cursor.first().unwrap();
            prop_assert_eq!(&rest(&mut cursor, found), &sorted);
            let found = cursor.seek(&target.0, target.1.0).unwrap();
            prop_assert_eq!(&rest(&mut cursor, found), &sorted[split..]);

            let mut cursor = BlockCursor::new(Direction::Backward);
            cursor.reset(block);
            let reversed = |slice: &[Position]| slice.iter().rev().cloned().collect::<Vec<_>>();
            let found = cursor.first().unwrap();
            prop_assert_eq!(rest(&mut cursor, found), reversed(&sorted));
            let found = cursor.seek(&target.0, target.1.0).unwrap();
            prop_assert_eq!(rest(&mut cursor, found), reversed(&sorted[..split]));
            let found = cursor.seek_block_of(&target.0, target.1.0).unwrap();
            let including = &sorted[..(split + 1).min(sorted.len())];
            prop_assert_eq!(rest(&mut cursor, found), reversed(including));
        }
    }
}
