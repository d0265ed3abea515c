//! Everything that the handles and the background tasks of one store share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::applier::{Applier, ApplyTurns};
use super::archive::Archive;
use super::assumed::Assumed;
use super::commit::Commit;
use super::compact::Manual;
use super::flush::Frozen;
use super::health::Health;
use super::machine::Machine;
use super::options::{Budget, Options};
use super::pressure::Pressure;
use super::ranges::Ranges;
use super::snapshot::Snapshots;
use super::stats::Counters;
use super::unflushed::UnflushedRanges;
use super::view::{Present, View};
use super::warm::Warm;
use crate::lsm::cache::BlockCache;
use crate::lsm::compaction::CompactionOptions;
use crate::lsm::manifest::Manifest;
use crate::lsm::memtable::Memtable;
use crate::memory::{ChunkSet, Memory};
use crate::signal::Signal;
use crate::{Error, ErrorKind, MaybeSend, Object, Result, Runtime, Storage, Work};

/// How far clocks that are read at one moment may differ.
const CLOCK_MARGIN_MS: u64 = 1000;

/// What background work that the store's end cuts short fails with.
pub(super) fn ending() -> Error {
    let detail = "the store is being closed";
    Error::new(ErrorKind::Closed, "working in the background", detail)
}

/// See the module.
pub(crate) struct Core<S: Storage, R: Runtime, M: Machine> {
    /// For tasks that outlive the call which starts them.
    pub myself: Weak<Self>,
    pub storage: S,
    pub store_id: u128,
    pub runtime: R,
    pub machine: M,
    pub options: Options,
    pub budget: Budget,
    pub compaction: CompactionOptions,

    // Reading.
    pub memory: Arc<Memory>,
    pub cache: Arc<BlockCache>,
    pub view: Present<S>,
    /// The sequence number up to which everything is visible.
    pub visible: AtomicU64,
    /// Behind this number tables of ranges may still come that are older than what the active memtable holds.
    pub complete_upto: AtomicU64,
    pub unflushed_ranges: UnflushedRanges,
    pub snapshots: Snapshots,

    // Writing.
    pub commit: Mutex<Commit<S, M>>,
    /// `None` while somebody applies.
    pub applier: Mutex<Option<Applier<S>>>,
    /// Who waits for the right to apply.
    pub apply_turns: ApplyTurns,
    /// Log position behind the last entry applied.
    pub applied: AtomicU64,
    /// Bytes of entries that were appended and not yet applied.
    pub pending_bytes: AtomicUsize,
    /// Memtables that wait to be flushed, the oldest first.
    pub frozen: Mutex<VecDeque<Frozen>>,
    /// Set while a repair flushes what the log could not sync.
    pub flush_without_log: AtomicBool,
    /// Set until the log has been replayed.
    pub replaying: AtomicBool,
    /// The replicated ranges, if the log is theirs.
    pub ranges: Ranges,
    /// What replay has assumed of keys.
    pub assumed: Assumed,
    /// Tails that replay cut off.
    pub cuts: Mutex<Vec<crate::log::Cut>>,

    /// The AOF and the snapshots.
    pub archive: Archive<S, R, M>,
    /// What is in use, for the next opening.
    pub warm: Warm,

    // Background.
    pub manifest: async_lock::Mutex<Manifest>,
    pub next_id: AtomicU64,
    pub memtables_made: AtomicU64,
    /// Objects that nobody refers to but that a checkpoint may be copying.
    pub doomed: Mutex<Vec<Object>>,
    pub checkpoints: AtomicUsize,
    pub pressure: Pressure,
    pub health: Health,
    pub counters: Counters,
    /// Something that somebody may wait for has changed: applied, settled, repaired, flushed, compacted.
    pub changed: Signal,
    pub flush_wanted: Signal,
    pub compaction_wanted: Signal,
    /// Background tasks that have not ended.
    pub tasks: AtomicUsize,
    /// Asks them to.
    pub stopping: AtomicBool,
    /// Tables that compaction holds, or has found damaged.
    pub compacting: Mutex<BTreeSet<u64>>,
    /// Nothing was to be compacted at the last look.
    pub compaction_idle: AtomicBool,
    /// A compaction of everything that somebody waits for.
    pub manual: Mutex<Option<Manual>>,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The present view.
    pub(crate) fn view(&self) -> Arc<View<S>> {
        self.view.get()
    }

    /// Replaces the view by a changed copy.
    pub(crate) fn change_view(&self, change: impl FnOnce(&mut View<S>)) {
        self.view.change(change);
    }

    /// A fresh memtable and the one writer of its chunks.
    pub(crate) fn new_memtable(&self) -> (Arc<Memtable>, ChunkSet) {
        use std::sync::atomic::Ordering::Relaxed;
        let chunks = self.memory.chunk_set();
        let id = self.memtables_made.fetch_add(1, Relaxed) + 1;
        (
            Arc::new(Memtable::new(id, Arc::clone(chunks.chunks()))),
            chunks,
        )
    }

    /// How full a memtable is, from 0 to 1: in bytes, or in entries of the hash table.
    pub(crate) fn fullness(&self, memtable: &Memtable) -> f64 {
        let bytes = memtable.bytes() as f64 / self.budget.memtable_bytes as f64;
        // One memtable is filled while up to two are flushed, and the cache wants some, too.
        let entries = memtable.entries() as f64 * 5.0 / self.memory.slots() as f64;
        bytes.max(entries)
    }

    /// A number for a new object.
    pub(crate) fn new_id(&self) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        self.next_id.fetch_add(1, Relaxed)
    }

    /// Runs a task that holds the store until it ends; closing waits for it.
    pub(crate) fn spawn<F>(&self, work: Work, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + MaybeSend + 'static,
    {
        use std::sync::atomic::Ordering::SeqCst;
        let Some(this) = self.myself.upgrade() else {
            return;
        };
        this.tasks.fetch_add(1, SeqCst);
        let task = task(Arc::clone(&this));
        self.runtime.spawn(work, async move {
            task.await;
            this.tasks.fetch_sub(1, SeqCst);
            this.changed.notify();
        });
    }

    /// The sequence numbers that readers hold.
    pub(crate) fn snapshot_seqs(&self) -> Vec<u64> {
        self.snapshots.seqs()
    }

    /// The oldest sequence number that a reader holds, and a clock that no reader's is behind.
    pub(crate) fn oldest_reader(&self) -> (u64, u64) {
        // The host's clock may be coarse, and differ a little from thread to thread.
        let now_ms = self.runtime.wall_ms().saturating_sub(CLOCK_MARGIN_MS);
        self.snapshots.oldest(now_ms)
    }

    /// Removes objects that the committed manifest does not name, now or after the checkpoints that run.
    pub(crate) async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        let objects = {
            let mut doomed = self.doomed.lock();
            doomed.extend(objects);
            if self.checkpoints.load(SeqCst) > 0 {
                return Ok(());
            }
            std::mem::take(&mut *doomed)
        };
        if objects.is_empty() {
            return Ok(());
        }
        self.storage.remove(objects).await
    }
}
