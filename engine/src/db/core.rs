//! Everything that the handles and the background tasks of one store share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::{Mutex, RwLock};

use super::applier::Applier;
use super::commit::Commit;
use super::flush::Frozen;
use super::health::Health;
use super::machine::Machine;
use super::options::{Budget, Options};
use super::pressure::Pressure;
use super::stats::Counters;
use super::unflushed::UnflushedRanges;
use super::view::View;
use crate::lsm::cache::BlockCache;
use crate::lsm::manifest::Manifest;
use crate::lsm::memtable::Memtable;
use crate::memory::{ChunkWriter, Memory};
use crate::signal::Signal;
use crate::{MaybeSend, Object, Result, Runtime, Storage, Work};

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

    // Reading.
    pub memory: Arc<Memory>,
    pub cache: Arc<BlockCache>,
    pub view: RwLock<Arc<View<S>>>,
    /// The sequence number up to which everything is visible.
    pub visible: AtomicU64,
    pub unflushed_ranges: UnflushedRanges,
    /// Sequence numbers that readers hold, and how many hold each.
    pub snapshots: Mutex<BTreeMap<u64, usize>>,

    // Writing.
    pub commit: Mutex<Commit<S, M>>,
    /// `None` while somebody applies.
    pub applier: Mutex<Option<Applier<S>>>,
    /// Log position behind the last entry applied.
    pub applied: AtomicU64,
    /// Bytes of entries that were appended and not yet applied.
    pub pending_bytes: AtomicUsize,
    /// Memtables that wait to be flushed, the oldest first.
    pub frozen: Mutex<VecDeque<Frozen>>,
    /// Set while a repair flushes what the log could not sync.
    pub flush_without_log: AtomicBool,

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
    pub compacting: Mutex<std::collections::BTreeSet<u64>>,
    pub manual_compaction: AtomicBool,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The present view.
    pub(crate) fn view(&self) -> Arc<View<S>> {
        Arc::clone(&self.view.read())
    }

    /// Replaces the view by a changed copy.
    pub(crate) fn change_view(&self, change: impl FnOnce(&mut View<S>)) {
        let mut view = self.view.write();
        let mut next = View::clone(&view);
        next.generation += 1;
        change(&mut next);
        *view = Arc::new(next);
    }

    /// A fresh memtable and the one writer of its chunks.
    pub(crate) fn new_memtable(&self) -> (Arc<Memtable>, ChunkWriter) {
        use std::sync::atomic::Ordering::Relaxed;
        let writer = self.memory.chunk_writer();
        let id = self.memtables_made.fetch_add(1, Relaxed) + 1;
        (Arc::new(Memtable::new(id, writer.chunks())), writer)
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
        let Some(this) = self.myself.upgrade() else { return };
        this.tasks.fetch_add(1, SeqCst);
        let task = task(Arc::clone(&this));
        self.runtime.spawn(work, async move {
            task.await;
            this.tasks.fetch_sub(1, SeqCst);
            this.changed.notify();
        });
    }

    /// The oldest to the newest sequence number that a reader holds.
    pub(crate) fn snapshot_seqs(&self) -> Vec<u64> {
        self.snapshots.lock().keys().copied().collect()
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
