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

/// The sequence numbers that readers hold: how many hold each, and the oldest of their clocks.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<BTreeMap<u64, (usize, u64)>>);

impl Snapshots {
    /// Holds what is visible now.
    fn hold(&self, visible: &AtomicU64, now_ms: u64) -> u64 {
        let mut held = self.0.lock();
        // Read under the lock: a flush or compaction that does not see the hold began before it.
        let seq = visible.load(Acquire);
        held.entry(seq).or_insert((0, now_ms)).0 += 1;
        seq
    }

    fn hold_again(&self, seq: u64, now_ms: u64) {
        self.0.lock().entry(seq).or_insert((0, now_ms)).0 += 1;
    }

    fn release(&self, seq: u64) {
        let mut held = self.0.lock();
        if let Some((count, _)) = held.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                held.remove(&seq);
            }
        }
    }

    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.0.lock().keys().copied().collect()
    }

    /// The oldest sequence number held (or the largest there is), and the oldest clock (or `now_ms`).
    pub(crate) fn oldest(&self, now_ms: u64) -> (u64, u64) {
        let held = self.0.lock();
        let seq = held.keys().next().copied().unwrap_or(u64::MAX);
        (
            seq,
            held.values()
                .map(|&(_, clock_ms)| clock_ms)
                .fold(now_ms, u64::min),
        )
    }
}

/// Holds a sequence number for the time of one call.
pub(crate) struct Brief<'a, S: Storage, R: Runtime, M: Machine> {
    core: &'a Core<S, R, M>,
    seq: u64,
}

impl<'a, S: Storage, R: Runtime, M: Machine> Brief<'a, S, R, M> {
    /// Holds what is visible now.
    pub(crate) fn hold(core: &'a Core<S, R, M>) -> Self {
        let seq = core.snapshots.hold(&core.visible, core.runtime.wall_ms());
        Self { core, seq }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}

impl<S: Storage, R: Runtime, M: Machine> Drop for Brief<'_, S, R, M> {
    fn drop(&mut self) {
        self.core.snapshots.release(self.seq);
    }
}

/// Keeps every version that is visible at a sequence number, until it is dropped.
pub(crate) struct Pin<S: Storage, R: Runtime, M: Machine> {
    core: Arc<Core<S, R, M>>,
    seq: u64,
    now_ms: u64,
}

impl<S: Storage, R: Runtime, M: Machine> Pin<S, R, M> {
    /// Pins what is visible now.
    pub(crate) fn new(core: &Arc<Core<S, R, M>>) -> Self {
        let now_ms = core.runtime.wall_ms();
        let seq = core.snapshots.hold(&core.visible, now_ms);
        Self {
            core: Arc::clone(core),
            seq,
            now_ms,
        }
    }

    /// As [`Pin::new`], for a reader to whom what has expired is still there.
    pub(crate) fn unexpired(core: &Arc<Core<S, R, M>>) -> Self {
        let seq = core.snapshots.hold(&core.visible, 0);
        Self {
            core: Arc::clone(core),
            seq,
            now_ms: 0,
        }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

impl<S: Storage, R: Runtime, M: Machine> Clone for Pin<S, R, M> {
    fn clone(&self) -> Self {
        self.core.snapshots.hold_again(self.seq, self.now_ms);
        Self {
            core: Arc::clone(&self.core),
            seq: self.seq,
            now_ms: self.now_ms,
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Drop for Pin<S, R, M> {
    fn drop(&mut self) {
        self.core.snapshots.release(self.seq);
    }
}

/// The store as it was when the snapshot was taken. Cheap to take; while it lives, compaction keeps what
/// it can see.
pub struct Snapshot<S: Storage, R: Runtime, M: Machine> {
    pin: Pin<S, R, M>,
}

impl<S: Storage, R: Runtime, M: Machine> Clone for Snapshot<S, R, M> {
    fn clone(&self) -> Self {
        Self {
            pin: self.pin.clone(),
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Snapshot<S, R, M> {
    pub(crate) fn new(core: &Arc<Core<S, R, M>>) -> Self {
        Self {
            pin: Pin::new(core),
        }
    }

    /// The value of `key` at the time of the snapshot; what has expired since is still there.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.pin.core.get(key, self.pin.seq, &mut ()).await?;
        let alive =
            found.filter(|&(_, deadline_ms)| deadline_ms == 0 || deadline_ms > self.pin.now_ms);
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
