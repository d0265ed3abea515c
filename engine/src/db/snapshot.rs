//! Reading a store as it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire};

use bytes::Bytes;
use parking_lot::Mutex;

use super::core::Core;
use super::machine::Machine;
use super::scan::{Range, Scan};
use crate::{Result, Runtime, Storage};

/// Keeps every version that is visible at a sequence number, until it is dropped.
pub(crate) struct Pin<S: Storage, R: Runtime, M: Machine> {
    core: Arc<Core<S, R, M>>,
    seq: u64,
}

impl<S: Storage, R: Runtime, M: Machine> Pin<S, R, M> {
    /// Pins what is visible now.
    pub(crate) fn new(core: &Arc<Core<S, R, M>>) -> Self {
        Self { core: Arc::clone(core), seq: pin(&core.snapshots, &core.visible) }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}

impl<S: Storage, R: Runtime, M: Machine> Clone for Pin<S, R, M> {
    fn clone(&self) -> Self {
        *self.core.snapshots.lock().entry(self.seq).or_insert(0) += 1;
        Self { core: Arc::clone(&self.core), seq: self.seq }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Drop for Pin<S, R, M> {
    fn drop(&mut self) {
        unpin(&self.core.snapshots, self.seq);
    }
}

/// A pin for the time of one call.
pub(crate) struct Seq<'a> {
    snapshots: &'a Mutex<BTreeMap<u64, usize>>,
    seq: u64,
}

impl<'a> Seq<'a> {
    /// Pins what is visible now.
    pub(crate) fn pin<S: Storage, R: Runtime, M: Machine>(core: &'a Core<S, R, M>) -> Self {
        Self { snapshots: &core.snapshots, seq: pin(&core.snapshots, &core.visible) }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}

impl Drop for Seq<'_> {
    fn drop(&mut self) {
        unpin(self.snapshots, self.seq);
    }
}

fn pin(snapshots: &Mutex<BTreeMap<u64, usize>>, visible: &AtomicU64) -> u64 {
    let mut snapshots = snapshots.lock();
    // Read under the lock: a flush or compaction that does not see the pin began before it.
    let seq = visible.load(Acquire);
    *snapshots.entry(seq).or_insert(0) += 1;
    seq
}

fn unpin(snapshots: &Mutex<BTreeMap<u64, usize>>, seq: u64) {
    let mut snapshots = snapshots.lock();
    if let Some(count) = snapshots.get_mut(&seq) {
        *count -= 1;
        if *count == 0 {
            snapshots.remove(&seq);
        }
    }
}

/// The store as it was when the snapshot was taken. Cheap to take; while it lives, compaction keeps what
/// it can see.
pub struct Snapshot<S: Storage, R: Runtime, M: Machine> {
    pin: Pin<S, R, M>,
    now_ms: u64,
}

impl<S: Storage, R: Runtime, M: Machine> Clone for Snapshot<S, R, M> {
    fn clone(&self) -> Self {
        Self { pin: self.pin.clone(), now_ms: self.now_ms }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Snapshot<S, R, M> {
    pub(crate) fn new(core: &Arc<Core<S, R, M>>) -> Self {
        Self { pin: Pin::new(core), now_ms: core.runtime.wall_ms() }
    }

    /// The value of `key` at the time of the snapshot; what has expired since is still there.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.pin.core.get(key, self.pin.seq, &mut ()).await?;
        let alive = found.filter(|&(_, deadline_ms)| deadline_ms == 0 || deadline_ms > self.now_ms);
        Ok(alive.map(|(value, _)| value))
    }

    /// Walks the keys of `range` at the time of the snapshot.
    pub fn scan(&self, range: Range) -> Result<Scan<S, R, M>> {
        Scan::new(&self.pin.core, self.pin.clone(), range)
    }

    /// The store's write counter at the time of the snapshot.
    pub fn seq(&self) -> u64 {
        self.pin.seq
    }
}
