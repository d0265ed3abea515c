//! Applying entries: the one writer of memtable and hash table.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Release, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::task::Poll;

use bytes::Bytes;

use super::batch::{BATCH_TAG, Op, Ops};
use super::changes::Changes;
use super::core::Core;
use super::flush::Frozen;
use super::machine::{Entry, Machine};
use crate::lsm::memtable::Memtable;
use crate::lsm::values::ValueRef;
use crate::memory::ChunkSet;
use crate::record::{Kind, RangeDelete, Record, hash_key};
use crate::signal::Signal;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// The file number that says that a large value still lies in a memtable; the offset then names the
/// memtable (upper half) and the value's place in it (lower half).
pub(crate) const IN_MEMTABLE: u64 = 0;

/// What applying changes. There is one of it, and whoever holds it applies.
pub(crate) struct Applier<S: Storage> {
    /// The last sequence number given.
    pub seq: u64,
    /// Of two sequence numbers, below all in the active memtable and above all before it, the first: for the tables of
    /// ranges of which nothing is here yet.
    pub below_active: u64,
    /// The last entry applied.
    pub index: u64,
    /// The time of the last entry applied.
    pub time_ms: u64,
    /// Log position behind the last entry applied.
    pub position: u64,
    active: Arc<Memtable>,
    chunks: ChunkSet,
    _storage: std::marker::PhantomData<fn() -> S>,
}

impl<S: Storage> Applier<S> {
    pub(crate) fn new(active: Arc<Memtable>, chunks: ChunkSet) -> Self {
        Self {
            seq: 0,
            below_active: 0,
            index: 0,
            time_ms: 0,
            position: 0,
            active,
            chunks,
            _storage: std::marker::PhantomData,
        }
    }

    /// Applies one entry and makes it visible. The machine's reply, if the entry was the machine's.
    pub(crate) async fn apply<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        entry: &Entry,
    ) -> Result<Option<M::Reply>> {
        let mut summary = None;
        let reply = if entry.payload.first() == Some(&BATCH_TAG) {
            let ops = Ops::new(&entry.payload).ok_or_else(|| {
                Error::corrupt("applying a batch", "its payload is not a batch's")
            })?;
            self.apply_ops(core, &entry.payload, ops)?;
            None
        } else {
            let mut changes = Changes::new(core, entry.time_ms, self.seq);
            let reply = core.machine.apply(entry, &mut changes).await?;
            let (batch, changed, assumed) = changes.into_parts();
            let before = self.seq;
            if !batch.is_empty() {
                let (ops, count) = batch.into_ops()?;
                self.apply_ops(core, &ops, Ops::of(&ops, count))?;
            }
            for op in assumed {
                core.assumed.mark(before + 1 + op);
            }
            summary = Some(changed);
            Some(reply)
        };
        self.index = entry.index;
        self.time_ms = entry.time_ms;
        core.visible.store(self.seq, Release);
        if let Some(summary) = summary {
            // Last: who looks through the store after hearing of this finds it there.
            core.machine.applied(summary);
        }
        Ok(reply)
    }

    pub(super) fn apply_ops<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        payload: &Bytes,
        ops: Ops<'_>,
    ) -> Result<()> {
        for op in ops {
            self.seq += 1;
            match op? {
                Op::Put {
                    key,
                    value,
                    deadline_ms,
                } if value.len() >= core.options.large_value_bytes => {
                    self.put_large(core, key, payload.slice_ref(value), deadline_ms)?;
                }
                Op::Put {
                    key,
                    value,
                    deadline_ms,
                } => {
                    self.write(core, key, Kind::Put, deadline_ms, value)?;
                }
                Op::Delete { key } => self.write(core, key, Kind::Delete, 0, &[])?,
                Op::DeleteRange { start, end } => self.delete_range(core, start, end),
            }
        }
        Ok(())
    }

    fn put_large<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        key: &[u8],
        value: Bytes,
        deadline_ms: u64,
    ) -> Result<()> {
        let len = value.len() as u64;
        // A slice would keep the whole entry alive; most large values are entries of their own.
        let place = self.active.push_large(value);
        let reference = ValueRef {
            file: IN_MEMTABLE,
            offset: self.active.id << 32 | place,
            stored_len: len,
            len,
        };
        let mut encoded = Vec::with_capacity(24);
        reference.encode(&mut encoded);
        self.write(core, key, Kind::PutApart, deadline_ms, &encoded)
    }

    #[inline]
    fn write<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        key: &[u8],
        kind: Kind,
        deadline_ms: u64,
        value: &[u8],
    ) -> Result<()> {
        let record = Record {
            key,
            seq: self.seq,
            kind,
            deadline_ms,
            value,
        };
        let addr = self.chunks.write(&record).ok_or_else(|| {
            Error::new(
                ErrorKind::Full,
                "applying a write",
                "the memory budget is used up: too much of it is pinned by iterators or waits to be flushed",
            )
        })?;
        core.memory.publish(hash_key(key), addr);
        self.active.push(addr, key.len() + value.len() + 32);
        Ok(())
    }

    fn delete_range<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        start: &[u8],
        end: Option<&[u8]>,
    ) {
        let range = RangeDelete {
            start: start.into(),
            end: end.map(Into::into),
            seq: self.seq,
        };
        self.active.push_range_delete(range.clone());
        core.unflushed_ranges.add(&range);
    }

    /// Freezes the memtable when it is full.
    pub(crate) fn freeze_if_full<R: Runtime, M: Machine>(&mut self, core: &Core<S, R, M>) {
        if core.fullness(&self.active) >= 1.0 {
            self.freeze(core);
        }
    }

    /// Hands the memtable to the flush and starts another. Does nothing while it is empty.
    pub(crate) fn freeze<R: Runtime, M: Machine>(&mut self, core: &Core<S, R, M>) {
        if self.active.entries() > 0 {
            self.freeze_even_empty(core);
        }
    }

    /// Leaves out the sequence numbers below the active memtable, which is empty, where there are ranges. Gives the
    /// number up to which nothing comes any more.
    pub(super) fn leave_out_below<M: Machine>(&mut self, machine: &M) -> u64 {
        if !M::HAS_RANGES || !machine.is_replicated() {
            return u64::MAX;
        }
        let complete_upto = self.seq;
        self.below_active = self.seq + 1;
        self.seq += 2;
        complete_upto
    }

    /// As [`Self::freeze`]; a memtable that holds nothing still moves what is recorded of ranges.
    pub(super) fn freeze_even_empty<R: Runtime, M: Machine>(&mut self, core: &Core<S, R, M>) {
        let (next, chunks) = core.new_memtable();
        let memtable = std::mem::replace(&mut self.active, Arc::clone(&next));
        self.chunks = chunks;
        core.change_view(|view| {
            view.frozen.insert(0, memtable.clone());
            view.active = next;
        });
        core.frozen.lock().push_back(Frozen {
            memtable,
            seq: self.seq,
            index: self.index,
            time_ms: self.time_ms,
            position: core.freezes_at(self.position),
            machine: core.machine.save(),
            ranges: core.ranges.freeze(),
            archived: core.archive_entries(),
        });
        let complete_upto = self.leave_out_below(&core.machine);
        core.complete_upto.store(complete_upto, Release);
        core.visible.store(self.seq, Release);
        core.pressure_changed();
        core.flush_wanted.notify();
    }
}

/// The exclusive right to apply. Given back on drop.
pub(crate) struct Applying<'a, S: Storage, R: Runtime, M: Machine> {
    pub(super) core: &'a Core<S, R, M>,
    applier: Option<Applier<S>>,
}

/// Who waits for the right to apply, and how often it was taken.
#[derive(Default)]
pub(crate) struct ApplyTurns {
    waiting: AtomicUsize,
    taken: AtomicU64,
}

/// One who waits.
struct Waits<'a> {
    turns: &'a ApplyTurns,
    changed: &'a Signal,
}

impl<'a> Waits<'a> {
    fn begin(turns: &'a ApplyTurns, changed: &'a Signal) -> Self {
        turns.waiting.fetch_add(1, SeqCst);
        Self { turns, changed }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.turns.waiting.fetch_sub(1, SeqCst);
        self.changed.notify();
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Lets somebody else apply first, if anybody waits, and other tasks of this thread go on: for who has much to
    /// apply, and does not hold the right now.
    pub(crate) async fn give_way(&self) {
        let mut has_yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let turns = &self.apply_turns;
        let taken = turns.taken.load(SeqCst);
        self.changed
            .wait(|| {
                let nobody_waits = turns.waiting.load(SeqCst) == 0;
                (nobody_waits || turns.taken.load(SeqCst) != taken).then_some(())
            })
            .await;
    }

    /// Waits for the right to apply.
    pub(crate) async fn begin_apply(&self) -> Result<Applying<'_, S, R, M>> {
        if let Some(error) = self.health.failure() {
            return Err(error);
        }
        let free = self.applier.lock().take();
        if let Some(applier) = free {
            self.apply_turns.taken.fetch_add(1, SeqCst);
            return Ok(Applying {
                core: self,
                applier: Some(applier),
            });
        }
        let _waits = Waits::begin(&self.apply_turns, &self.changed);
        let taken = self
            .changed
            .wait(|| {
                if let Some(error) = self.health.failure() {
                    return Some(Err(error));
                }
                self.applier.lock().take().map(Ok)
            })
            .await?;
        self.apply_turns.taken.fetch_add(1, SeqCst);
        Ok(Applying {
            core: self,
            applier: Some(taken),
        })
    }
}

impl<S: Storage, R: Runtime, M: Machine> Applying<'_, S, R, M> {
    pub(super) fn applier(&mut self) -> Result<&mut Applier<S>> {
        self.applier.as_mut().ok_or_else(|| {
            Error::new(
                ErrorKind::Closed,
                "applying",
                "the right has been given back",
            )
        })
    }

    /// Hands the memtable to the flush, unless it is empty.
    pub(super) fn freeze(&mut self) {
        if let Some(applier) = &mut self.applier {
            applier.freeze(self.core);
        }
    }

    /// Hands the memtable to the flush.
    pub(super) fn freeze_even_empty(&mut self) {
        if let Some(applier) = &mut self.applier {
            applier.freeze_even_empty(self.core);
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Drop for Applying<'_, S, R, M> {
    fn drop(&mut self) {
        *self.core.applier.lock() = self.applier.take();
        self.core.changed.notify();
    }
}
