//! Range deletes that are in no table yet, for readers that have found a record in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::lsm::range_deletes::RangeDeletes;
use crate::record::RangeDelete;

/// See the module. Asking costs two loads while there are none newer than the record.
#[derive(Default)]
pub(crate) struct UnflushedRanges {
    newest: AtomicU64,
    /// Counts how often ranges were taken out.
    generation: AtomicU64,
    ranges: RwLock<Arc<RangeDeletes>>,
}

/// What there was before a reader probed the hash table.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    newest: u64,
    generation: u64,
}

impl UnflushedRanges {
    /// To be asked before the hash table is probed.
    #[inline]
    pub(crate) fn before(&self) -> Before {
        Before {
            generation: self.generation.load(Ordering::Acquire),
            newest: self.newest.load(Ordering::Acquire),
        }
    }

    /// Whether a reader at `seq_max` must not see the version `seq` of `key` that it has found since
    /// `before`. `None` if ranges were taken out meanwhile: what they hid has left the hash table, so
    /// probe again.
    #[inline]
    pub(crate) fn hide(&self, before: Before, key: &[u8], seq: u64, seq_max: u64) -> Option<bool> {
        if seq >= before.newest {
            return Some(false);
        }
        self.hide_slowly(before, key, seq, seq_max)
    }

    #[cold]
    fn hide_slowly(&self, before: Before, key: &[u8], seq: u64, seq_max: u64) -> Option<bool> {
        let ranges = self.ranges.read();
        let same = self.generation.load(Ordering::Acquire) == before.generation;
        same.then(|| ranges.covering_seq(key, seq_max) > seq)
    }

    /// Whether there may be any. To be asked before a view is taken: then what has been taken out here is
    /// in the view's tables.
    pub(crate) fn any(&self) -> bool {
        self.newest.load(Ordering::Acquire) > 0
    }

    pub(crate) fn add(&self, range: &RangeDelete) {
        let mut ranges = self.ranges.write();
        Arc::make_mut(&mut *ranges).add(&range.start, range.end.as_deref(), range.seq);
        self.newest.store(range.seq, Ordering::Release);
    }

    /// Forgets those that a flush has written to a table, and all before them: memtables are flushed in
    /// order. What is left is taken from this list alone, under its lock: one that is being added at this
    /// moment may be in no memtable yet.
    pub(crate) fn forget_upto(&self, flushed_upto: u64) {
        let mut ranges = self.ranges.write();
        let mut kept = RangeDeletes::default();
        for range in ranges.clip(&[], None) {
            if range.seq > flushed_upto {
                kept.add(&range.start, range.end.as_deref(), range.seq);
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
        self.newest.store(kept.newest(), Ordering::Release);
        *ranges = Arc::new(kept);
    }
}
