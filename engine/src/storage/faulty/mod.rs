//! Storage that fails on purpose: every crash, error and torn byte that the [`Storage`](crate::Storage) contract
//! allows, where a [`Plan`] says so. It must never promise less than the contract, nor more.
//!
//! # The fault model
//!
//! **Three states of a byte.** Appended: in the process's own buffer. Written: seen by readers, kept
//! when the process is killed. Synced: kept when power is lost. A settle moves exactly the bytes that
//! it was asked for (and those that others wait for at the same moment), never the rest of the buffer.
//!
//! **Names.** An object that is created is found after a power loss once its first `Synced` settle has
//! succeeded, or once [`replace`](crate::Storage::replace) has named it; a commit alone does not make an
//! unsynced object durable. Until then the object that had the name before comes back. `replace`
//! makes the name durable, but not bytes that were never synced. A removed object may come back until
//! a later [`commit`](crate::Storage::commit) has succeeded. What [`resume`](crate::Storage::resume) cuts off may
//! come back after a power loss until something settles behind the cut.
//!
//! **Crashes.** A plan crashes before, during or after one operation; from then on everything fails
//! with `Lost`, that operation included. [`FaultyStorage::restart`] gives what survived, as the
//! [`CrashMode`] says, and can be asked again with another mode or seed:
//! - [`ProcessKilled`](CrashMode::ProcessKilled): what was written, exactly.
//! - [`ProcessKilledTorn`](CrashMode::ProcessKilledTorn): besides, any prefix of what was appended;
//!   any removed objects whose removal no commit followed come back.
//! - [`PowerLoss`](CrashMode::PowerLoss): what was synced, exactly; the host's epoch changes.
//! - [`PowerLossTorn`](CrashMode::PowerLossTorn): besides, each unsynced append survives whole, in
//!   part, not at all, or with zeros or garbage in some of its 512-byte sectors, later ones perhaps
//!   without earlier ones; each name that was not durable is drawn, old or new.
//!
//! "During" means: half of the bytes of an append or settle, half of the objects of a remove, a
//! checkpoint with its objects but no meta. Everything else is atomic, and "during" is "after".
//!
//! **Errors.** A `Written` settle that fails leaves a prefix behind (what there is room for, or half);
//! that writer is then of no more use, and [`resume`](crate::Storage::resume) gives a new one. A `Synced`
//! settle first writes: if that fails, with `Full` too, it was a failed `Written` settle. If the sync
//! itself fails, the bytes are written and not synced, and the object can never be synced past its
//! last synced byte, not by another writer nor by the next process, until it is created anew or the
//! machine is restarted. Every other operation that fails has changed nothing.
//!
//! **Capacity** counts the written bytes of objects that have a name, and the meta blob.
//!
//! **Bit rot** strikes at rest ([`FaultyStorage::flip`], [`FaultyStorage::tamper`]) or on one read
//! ([`Fault::FlipRead`]); the meta blob is read by `load`.
//!
//! **Time.** Each asynchronous operation can stay pending for some polls, or until it is released. It
//! has its number from its first poll on, and takes effect at its end. A settle that is dropped while
//! pending still takes effect, as its contract says.
//!
//! # Enumerating crashes
//!
//! Run the workload once to count its operations, then once for each point where it can crash, and
//! check what each mode leaves:
//!
//! ```
//! use trilith::storage::faulty::{CrashMode, Plan};
//! use trilith::{Durability, FaultyStorage, Object, Result, Storage, Writer};
//! use futures_lite::future::block_on;
//!
//! /// Appends and syncs two records; tells how many were acknowledged.
//! async fn workload(storage: FaultyStorage, acked: &mut u64) -> Result<()> {
//!     storage.load().await?;
//!     let mut log = storage.create(Object::Segment(1)).await?;
//!     for record in [[1u8; 700], [2u8; 700]] {
//!         let upto = log.append(&record)?;
//!         log.settle(upto, Durability::Synced).await?;
//!         *acked += 1;
//!     }
//!     Ok(())
//! }
//!
//! let calm = FaultyStorage::new();
//! block_on(workload(calm.clone(), &mut 0)).unwrap();
//! for point in Plan::every_crash(calm.operations()) {
//!     let storage = FaultyStorage::with_plan(point.plan());
//!     let mut acked = 0;
//!     block_on(workload(storage.clone(), &mut acked)).unwrap_err();
//!     for mode in CrashMode::all(0..20) {
//!         let survivor = storage.restart(mode);
//!         let log = survivor.bytes_of(&Object::Segment(1)).unwrap_or_default();
//!         assert!(log.len() as u64 >= acked * 700, "{point:?}, {mode:?}");
//!     }
//! }
//! ```
//!
//! Recovery is a workload too: give the survivor a plan of its own and crash it again.

mod crash;
mod disk;
mod host;
mod plan;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;

use self::disk::Disk;
use super::Object;
use super::hold::{Hold, Lock};
use crate::{Error, ErrorKind, Result};

pub use crash::CrashMode;
pub use host::{FaultyReader, FaultyWriter};
pub use plan::{CrashPoint, Fault, Moment, Op, OpKind, Plan, When};

use plan::Ticket;

/// Storage in memory that fails where its plan says so. Clones share it; a checkpoint goes to
/// another, empty `FaultyStorage`. What it does is written in the [module's header](self).
///
/// It is locked from its load on as [`MemoryStorage`](super::MemoryStorage) is.
#[derive(Clone, Default)]
pub struct FaultyStorage {
    core: Arc<Core>,
    hold: Hold,
}

#[derive(Default)]
struct Core {
    state: Mutex<State>,
    lock: Lock,
}

#[derive(Default)]
struct State {
    disk: Disk,
    plan: Plan,
    log: Vec<Op>,
    /// Operations so far.
    operations: u64,
    /// Operations are counted, and not kept.
    forgets: bool,
    crashed: bool,
    cold_reads: bool,
    /// Operations that wait to be released, and who to wake then.
    held: BTreeSet<u64>,
    waiting: BTreeMap<u64, Waker>,
}

fn lost(doing: &'static str) -> Error {
    Error::new(ErrorKind::Lost, doing, "the storage has crashed")
}

impl State {
    /// Numbers and notes an operation, and asks the plan about it. After a crash there are no more
    /// operations.
    fn begin(&mut self, kind: OpKind, objects: Vec<Object>, bytes: u64) -> Result<Ticket> {
        if self.crashed {
            let error = lost(kind.doing());
            return Err(match objects.first() {
                Some(object) => error.on(object.clone()),
                None => error,
            });
        }
        let op = Op {
            index: self.operations,
            kind,
            objects,
            bytes,
            failed: None,
        };
        let ticket = self.plan.decide(&op);
        self.operations += 1;
        if !self.forgets {
            self.log.push(op);
        }
        if ticket.crash == Some(Moment::Before) {
            self.crash();
            return Err(self.fail(&ticket, lost(kind.doing())));
        }
        if ticket.hold {
            self.held.insert(ticket.index);
        }
        Ok(ticket)
    }

    /// Ends an operation: takes effect, unless the plan or a crash has it otherwise.
    fn finish<T>(
        &mut self,
        ticket: &Ticket,
        effect: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.held.remove(&ticket.index);
        self.waiting.remove(&ticket.index);
        if self.crashed {
            return Err(self.fail(ticket, lost(ticket.kind.doing())));
        }
        let result = effect(self);
        if ticket.crash.is_some() {
            self.crash();
            return Err(self.fail(ticket, lost(ticket.kind.doing())));
        }
        result.map_err(|error| self.fail(ticket, error))
    }

    /// Notes how the operation failed, and names its object.
    fn fail(&mut self, ticket: &Ticket, error: Error) -> Error {
        let Some(op) = self.log.get_mut(ticket.index as usize) else {
            return error;
        };
        op.failed = Some(error.kind());
        match op.objects.first() {
            Some(object) => error.on(object.clone()),
            None => error,
        }
    }

    fn crash(&mut self) {
        self.crashed = true;
        self.held.clear();
        for waker in std::mem::take(&mut self.waiting).into_values() {
            waker.wake();
        }
    }
}

impl FaultyStorage {
    /// An empty storage with no faults planned.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty storage with faults planned.
    pub fn with_plan(plan: Plan) -> Self {
        let storage = Self::new();
        storage.set_plan(plan);
        storage
    }

    /// Plans anew. Operations keep their numbers; a rule that skips matches starts to count now.
    pub fn set_plan(&self, plan: Plan) {
        self.core.state.lock().plan = plan;
    }

    /// Limits the bytes it can hold; `None` for no limit.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.core.state.lock().disk.capacity_bytes = capacity_bytes;
    }

    /// Has no room for one byte more, whatever the capacity, until told otherwise.
    pub fn set_full(&self, full: bool) {
        self.core.state.lock().disk.full = full;
    }

    /// Makes every `read_now` answer that it would have to wait.
    pub fn set_cold_reads(&self, cold: bool) {
        self.core.state.lock().cold_reads = cold;
    }

    /// Keeps no [`log`](Self::log) from the next operation on, so that a run without end needs no memory without
    /// end. To be said of a storage that is fresh; what survives a crash has to be told again.
    pub fn keep_no_log(&self) {
        self.core.state.lock().forgets = true;
    }

    /// Crashes now, between two operations.
    pub fn crash(&self) {
        self.core.state.lock().crash();
    }

    /// Whether it has crashed.
    pub fn is_crashed(&self) -> bool {
        self.core.state.lock().crashed
    }

    /// Crashes, if nothing has crashed this storage yet, and gives what survives: a fresh storage with
    /// no plan, operations counted from zero and the same capacity.
    #[must_use]
    pub fn restart(&self, mode: CrashMode) -> Self {
        self.crash();
        self.survivor(mode)
    }

    /// What a crash at this moment would leave, while this storage goes on. Whatever has been
    /// acknowledged by now must be found in it.
    #[must_use]
    pub fn survivor(&self, mode: CrashMode) -> Self {
        let survivor = Self::new();
        survivor.core.state.lock().disk = self.core.state.lock().disk.survivor(mode);
        survivor
    }

    /// Frees the store, as if the process that holds it had ended.
    pub fn unlock(&self) {
        self.core.lock.force();
    }

    /// Operations so far: the index that the next one gets.
    pub fn operations(&self) -> u64 {
        self.core.state.lock().operations
    }

    /// Operations of one kind so far, failed ones included.
    pub fn count(&self, kind: OpKind) -> usize {
        let state = self.core.state.lock();
        state.log.iter().filter(|op| op.kind == kind).count()
    }

    /// Every operation so far, in order of index.
    pub fn log(&self) -> Vec<Op> {
        self.core.state.lock().log.clone()
    }

    /// Syncs of the disk so far: settles that waited together shared one, and those that found
    /// everything synced already made none.
    pub fn syncs(&self) -> u64 {
        self.core.state.lock().disk.syncs
    }

    /// Operations that wait to be released, in order.
    pub fn held(&self) -> Vec<u64> {
        self.core.state.lock().held.iter().copied().collect()
    }

    /// Lets an operation that [`Fault::Hold`] holds go on.
    pub fn release(&self, index: u64) {
        let waker = {
            let mut state = self.core.state.lock();
            state.held.remove(&index);
            state.waiting.remove(&index)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets every held operation go on.
    pub fn release_all(&self) {
        for index in self.held() {
            self.release(index);
        }
    }

    /// Every object and the bytes written to it, in order of name.
    pub fn objects(&self) -> Vec<(Object, u64)> {
        self.core.state.lock().disk.objects()
    }

    /// Every object that a power loss would leave and the bytes left of it, in order of name.
    pub fn durable_objects(&self) -> Vec<(Object, u64)> {
        self.core.state.lock().disk.durable_objects()
    }

    /// An object's written bytes.
    pub fn bytes_of(&self, object: &Object) -> Option<Vec<u8>> {
        let state = self.core.state.lock();
        Some(state.disk.file_named(object)?.live.clone())
    }

    /// The bytes of an object that a power loss would leave.
    pub fn durable_bytes_of(&self, object: &Object) -> Option<Vec<u8>> {
        self.core.state.lock().disk.durable_bytes_of(object)
    }

    /// The meta blob of the last commit.
    pub fn meta(&self) -> Option<Bytes> {
        self.core.state.lock().disk.meta.clone()
    }

    /// Flips bit `bit` (0 to 7) of one written byte at rest. False when there is no such byte.
    pub fn flip(&self, object: &Object, offset: u64, bit: u8) -> bool {
        let mut flipped = false;
        self.tamper(object, |bytes| {
            flipped = flip_bit(bytes, offset, bit);
        });
        flipped
    }

    /// Flips bit `bit` (0 to 7) of one byte of the meta blob at rest. False when there is none.
    pub fn flip_meta(&self, offset: u64, bit: u8) -> bool {
        let mut state = self.core.state.lock();
        let Some(meta) = &state.disk.meta else {
            return false;
        };
        let mut bytes = meta.to_vec();
        let flipped = flip_bit(&mut bytes, offset, bit);
        state.disk.meta = Some(bytes.into());
        flipped
    }

    /// Changes an object's written bytes at rest, in any way. False when there is no such object.
    pub fn tamper(&self, object: &Object, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.core.state.lock();
        match state.disk.file_named_mut(object) {
            Some(file) => {
                file.tamper(change);
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for FaultyStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.core.state.lock();
        f.debug_struct("FaultyStorage")
            .field("operations", &state.operations)
            .field("crashed", &state.crashed)
            .field("objects", &state.disk.objects())
            .finish()
    }
}

fn flip_bit(bytes: &mut [u8], offset: u64, bit: u8) -> bool {
    let byte = usize::try_from(offset)
        .ok()
        .and_then(|at| bytes.get_mut(at));
    match byte {
        Some(byte) => {
            *byte ^= 1 << (bit & 7);
            true
        }
        None => false,
    }
}
