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

    /// Puts what is left after a flush in place of all.
    pub(crate) fn replace(
        &self,
        flushed_upto: u64,
        rest: impl IntoIterator<Item = Arc<RangeDeletes>>,
    ) {
        let mut ranges = self.ranges.write();
        let mut kept = RangeDeletes::default();
        for rest in rest {
            for range in rest.clip(&[], None) {
                if range.seq > flushed_upto {
                    kept.add(&range.start, range.end.as_deref(), range.seq);
                }
            }
        }
        self.newest.store(kept.newest(), Ordering::Release);
        *ranges = Arc::new(kept);
    }
}
