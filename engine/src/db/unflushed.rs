//! Range deletes that are in no table yet, for readers that have found a record in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::lsm::range_deletes::RangeDeletes;
use crate::record::RangeDelete;

/// See the module. Asking costs one load while there are none newer than the record.
#[derive(Default)]
pub(crate) struct UnflushedRanges {
    newest: AtomicU64,
    ranges: RwLock<Arc<RangeDeletes>>,
}

impl UnflushedRanges {
    /// Whether a reader at `seq_max` must not see the version `seq` of `key`.
    #[inline]
    pub(crate) fn hide(&self, key: &[u8], seq: u64, seq_max: u64) -> bool {
        seq < self.newest.load(Ordering::Acquire)
            && self.ranges.read().covering_seq(key, seq_max) > seq
    }

    pub(crate) fn add(&self, range: &RangeDelete) {
        Arc::make_mut(&mut *self.ranges.write()).add(&range.start, range.end.as_deref(), range.seq);
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
        self.newest.store(kept.newest(), Ordering::Release);
        *ranges = Arc::new(kept);
    }
}
