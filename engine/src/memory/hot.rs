//! What is in use, told and cached ahead of need: for a store that is opened again.
//!
//! In use is what bears the mark that spares a record when its chunk is evicted, so readers pay nothing for this.

use std::sync::atomic::{Ordering, fence};

use super::bucket::SLOTS;
use super::{Memory, probe};
use crate::record::Kind;

/// How many buckets are gone through before fills and evictions are let in.
const BUCKETS_AT_ONCE: usize = 256;

/// Buckets whose records are fetched ahead of the one that is looked at.
const FETCHED_AHEAD: usize = 8;

/// A key in use.
#[derive(Clone, Copy, Debug)]
pub struct Hot<'a> {
    /// The key.
    pub key: &'a [u8],
    /// When it expires, in milliseconds since the Unix epoch; 0 for never.
    pub deadline_ms: u64,
    /// What its record takes of the arena.
    pub record_bytes: usize,
}

impl Memory {
    /// Tells keys whose values lie with them and that were read since they came, or since they were last spared: those
    /// of some buckets from `from` (0 at first) on. Where to go on, until all have been told. In the order of
    /// the table, which is none: any part of it is a fair sample.
    pub fn hot_keys(&self, from: usize, mut each: impl FnMut(Hot<'_>)) -> Option<usize> {
        let all = self.table.bucket_count();
        let end = from.saturating_add(BUCKETS_AT_ONCE).min(all);
        // While this is held no clean chunk is reused: any record seen in a slot stays readable.
        let mut filler = self.filler.lock();
        for index in from..end {
            self.prefetch_hot(index + FETCHED_AHEAD);
            let bucket = self.table.bucket(index);
            for slot in 0..SLOTS {
                let Some(addr) = bucket
                    .slot(slot)
                    .addr()
                    .filter(|_| bucket.is_referenced(slot))
                else {
                    continue;
                };
                fence(Ordering::Acquire);
                let header = self.arena.header(addr);
                if header.kind() != Some(Kind::Put) {
                    continue;
                }
                self.arena.copy_key(addr, header, &mut filler.key);
                each(Hot {
                    key: &filler.key,
                    deadline_ms: self.arena.deadline_ms(addr, header),
                    record_bytes: header.words() * 8,
                });
            }
        }
        (end < all).then_some(end)
    }

    fn prefetch_hot(&self, index: usize) {
        if index >= self.table.bucket_count() {
            return;
        }
        let bucket = self.table.bucket(index);
        for slot in 0..SLOTS {
            if bucket.is_referenced(slot)
                && let Some(addr) = bucket.slot(slot).addr()
            {
                probe::prefetch(self.arena.pointer(addr));
            }
        }
    }

    /// How many records, and how many bytes of them, are cached ahead of need at most: a quarter of arena and table is
    /// left to what is asked for and written.
    pub fn most_ahead(&self) -> (usize, usize) {
        let chunks = self.arena.chunk_count() as usize;
        let bytes = chunks.saturating_sub(self.chunks_left()) * self.chunk_bytes();
        (self.slots_limit / 4 * 3, bytes)
    }

    /// Whether there is room for one more record ahead of need, for which nothing is evicted.
    pub fn has_room_ahead(&self) -> bool {
        self.free.load(Ordering::Relaxed) > self.chunks_left()
            && self.table.used() < self.slots_limit / 4 * 3
    }

    /// Chunks that stay free. A fill evicts nothing as long as there are more than one.
    fn chunks_left(&self) -> usize {
        (self.arena.chunk_count() as usize / 4).max(2)
    }
}
