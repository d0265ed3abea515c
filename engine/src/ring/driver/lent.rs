//! Ranges that are all here, borrowed from their cores (`Range::lend`): the short way of a write, and of a read.
//!
//! Writes are logged as they come, and are settled and applied by whoever waits for them, as in a store that is alone.
//! A read needs no lock: it holds if the range was lent all the while. Ticks lend, and what a core has to hear of
//! calls back.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::task::Poll;

use bytes::Bytes;
use parking_lot::Mutex;

use super::clients::{Kind, Op};
use super::inner::Inner;
use super::options::Transport;
use super::shard::Shard;
use super::view::Consistency;
use crate::command::{Command, Encoder};
use crate::ring::effect::{Now, Outcome};
use crate::ring::ids::{LogId, RangeId};
use crate::ring::range::Loan;
use crate::ring::store::{LentEntries, Ticket};
use crate::slot::{ARCS, arc_of, slot_of};
use crate::{Result, Runtime, Storage};

/// See the module.
pub(super) struct Lent {
    /// By range.
    table: Mutex<Vec<Option<Borrowed>>>,
    slots: Vec<Slot>,
}

struct Borrowed {
    loan: Loan,
    /// Of the last append.
    ticket: Option<Ticket>,
}

/// What is known of a range without a lock.
#[derive(Default)]
struct Slot {
    /// Counts up when the range is lent and when it is given back: odd as long as it is lent.
    turn: AtomicU64,
    /// The time of its last entry.
    time_ms: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
}

/// Entries that are logged, and the places of those who wait for them.
pub(super) struct Entered {
    ticket: Ticket,
    entries: LentEntries,
    places: Vec<(usize, LogId)>,
}

/// What has become of entries.
enum Finished {
    Applied,
    /// They take effect once the log has been mended, if it can be.
    Interrupted,
}

impl Entered {
    /// Whether one of the operations that were to enter has.
    pub(super) fn has(&self, place: usize) -> bool {
        let places = &self.places;
        places
            .binary_search_by_key(&place, |&(place, _)| place)
            .is_ok()
    }
}

impl Slot {
    fn note_entry(&self, kind: Kind, time_ms: u64) {
        self.time_ms.store(time_ms, Relaxed);
        self.writes
            .fetch_add(u64::from(kind == Kind::Write), Relaxed);
    }
}

impl Default for Lent {
    fn default() -> Self {
        let ranges = 0..ARCS;
        Self {
            table: Mutex::new(ranges.clone().map(|_| None).collect()),
            slots: ranges.map(|_| Slot::default()).collect(),
        }
    }
}

impl Lent {
    fn borrow(&self, range: RangeId, loan: Loan) {
        let mut table = self.table.lock();
        let (Some(place), Some(slot)) = (
            table.get_mut(range as usize),
            self.slots.get(range as usize),
        ) else {
            return;
        };
        slot.time_ms.store(loan.last_time_ms(), Relaxed);
        *place = Some(Borrowed { loan, ticket: None });
        slot.turn.fetch_add(1, AcqRel);
    }

    /// Takes a range out: nothing more enters.
    fn give_up(&self, range: RangeId) -> Option<Borrowed> {
        let mut table = self.table.lock();
        let borrowed = table.get_mut(range as usize)?.take()?;
        self.slots[range as usize].turn.fetch_add(1, AcqRel);
        Some(borrowed)
    }

    fn ranges(&self) -> Vec<RangeId> {
        let table = self.table.lock();
        let lent = (0..).zip(table.iter()).filter(|(_, place)| place.is_some());
        lent.map(|(range, _)| range).collect()
    }

    /// Whether nothing is lent.
    pub(super) fn is_empty(&self) -> bool {
        self.table.lock().iter().all(Option::is_none)
    }

    /// Whether a range is lent at this moment.
    pub(super) fn has(&self, range: RangeId) -> bool {
        self.turn(range).is_some()
    }

    /// Changes whenever a range is lent or given back; `None` while it is not lent.
    pub(super) fn turn(&self, range: RangeId) -> Option<u64> {
        let turn = self.slots.get(range as usize)?.turn.load(Acquire);
        (!turn.is_multiple_of(2)).then_some(turn)
    }

    /// The last entry of a range that is lent.
    pub(super) fn last(&self, range: RangeId) -> Option<LogId> {
        let table = self.table.lock();
        let borrowed = table.get(range as usize)?.as_ref()?;
        Some(borrowed.loan.last())
    }

    /// Clients' writes and reads of a range that went the short way.
    pub(super) fn heat(&self, range: RangeId) -> (u64, u64) {
        self.slots.get(range as usize).map_or((0, 0), |slot| {
            (slot.writes.load(Relaxed), slot.reads.load(Relaxed))
        })
    }

    /// Moves the clocks of all ranges that are lent; once a second.
    pub(super) fn slew(&self, now: Now) {
        for borrowed in self.table.lock().iter_mut().flatten() {
            borrowed.loan.slew(now);
        }
    }
}

impl<S: Storage, R: Runtime> Shard<S, R> {
    /// Lends what can be lent.
    pub(super) fn lend(&mut self, lent: &Lent) {
        for (&range, _) in self.lanes.iter().filter(|(_, lane)| lane.is_clear()) {
            if let Some(loan) = self.node.lend(range) {
                lent.borrow(range, loan);
            }
        }
    }
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    /// Gives a range back to its core, once everything that was logged is applied.
    pub(super) fn recall(self: &Arc<Self>, range: RangeId) {
        let Some(Borrowed { loan, ticket }) = self.lent.give_up(range) else {
            return;
        };
        let this = Arc::clone(self);
        self.run(async move {
            if let Some(ticket) = ticket
                && let Err(error) = this.store.finish_lent(ticket).await
            {
                return this.fail(error);
            }
            this.step(this.shard_of(range), |shard, now| {
                shard.node.take_back(now, range, &loan, &mut shard.effects);
            });
        });
    }

    pub(super) fn recall_all(self: &Arc<Self>) {
        for range in self.lent.ranges() {
            self.recall(range);
        }
    }

    /// Logs what can go the short way, if anything can. It takes the payloads: nothing of it is asked again.
    pub(super) fn enter(self: &Arc<Self>, ops: &mut [Op<'_>]) -> Option<Entered> {
        let mut table = self.lent.table.lock();
        let is_lent = |op: &Op<'_>| {
            let place = table.get(op.range as usize);
            op.kind != Kind::Read && place.is_some_and(Option::is_some)
        };
        if !ops.iter().any(is_lent) {
            return None;
        }
        let now = self.now();
        let mut places = Vec::with_capacity(ops.len());
        let entries = ops.iter_mut().enumerate().filter_map(|(place, op)| {
            if op.kind == Kind::Read {
                return None;
            }
            let borrowed = table.get_mut(op.range as usize)?.as_mut()?;
            let head = borrowed.loan.next(now);
            self.lent.slots[op.range as usize].note_entry(op.kind, head.time_ms);
            places.push((place, head.at));
            let payload = match op.kind {
                Kind::Write => std::mem::take(&mut op.payload),
                // It only moves the clock on; the read goes on with its own.
                _ => Bytes::new(),
            };
            Some((op.range, head, payload))
        });
        let lent = LentEntries::default();
        let Ok(ticket) = self.store.append_lent(entries, &lent) else {
            // It takes nothing at present: the ranges' cores, once they know, refuse what goes the long way.
            drop(table);
            self.look_at_store();
            return None;
        };
        for &(place, _) in &places {
            if let Some(Some(borrowed)) = table.get_mut(ops[place].range as usize) {
                borrowed.ticket = Some(ticket);
            }
        }
        self.counters.appends.add(1);
        Some(Entered {
            ticket,
            entries: lent,
            places,
        })
    }

    /// Waits until what was entered is done, and notes what came of it.
    pub(super) async fn finish_entered(
        self: &Arc<Self>,
        ops: &[Op<'_>],
        entered: Entered,
        outcomes: &mut [Option<Outcome>],
    ) {
        let finished = self.finish_or_give_up(entered.ticket).await;
        let is_applied = matches!(finished, Ok(Finished::Applied));
        let replies = entered.entries.take_replies().into_iter();
        // Behind the last command there may be entries that are none.
        let replies = replies.chain(std::iter::repeat_with(|| None));
        for ((place, at), reply) in entered.places.into_iter().zip(replies) {
            let done = match ops[place].kind {
                Kind::Write => reply.map(|reply| Outcome::Done { reply, at }),
                _ => Some(Outcome::Read {
                    index: at.index,
                    behind_ms: None,
                }),
            };
            outcomes[place] = done.filter(|_| is_applied).or(Some(Outcome::Unknown));
        }
        match finished {
            Ok(Finished::Applied) => {}
            Ok(Finished::Interrupted) => self.finish_later(entered.ticket),
            Err(error) => self.fail(error),
        }
    }

    async fn finish_or_give_up(&self, ticket: Ticket) -> Result<Finished> {
        let mut finish = pin!(self.store.finish_lent(ticket));
        let mut interrupt = pin!(self.store.is_interrupted(ticket));
        poll_fn(|context| match finish.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(done.map(|()| Finished::Applied)),
            Poll::Pending => {
                let interrupted = interrupt.as_mut().poll(context);
                interrupted.map(|()| Ok(Finished::Interrupted))
            }
        })
        .await
    }

    /// Sees to it that entries take effect for which nobody waits any more.
    fn finish_later(self: &Arc<Self>, ticket: Ticket) {
        let this = Arc::clone(self);
        self.run(async move {
            if let Err(error) = this.store.finish_lent(ticket).await {
                this.fail(error);
            }
        });
    }

    /// Answers a GET of a range that is lent, if memory suffices. False, and nothing written, if not.
    pub(super) fn execute_now(
        &self,
        command: &Command,
        how: Consistency,
        out: &mut Encoder<'_>,
    ) -> bool {
        let Command::Get(key) = command else {
            return false;
        };
        let slot = &self.lent.slots[usize::from(arc_of(slot_of(key)))];
        let turn = slot.turn.load(Acquire);
        if turn.is_multiple_of(2) || how.r > 1 || self.trouble().is_some() {
            return false;
        }
        let now_ms = self.runtime.wall_ms().max(slot.time_ms.load(Relaxed));
        let mut value = Vec::new();
        let Ok(Some(found)) = self.store.get_now(key, now_ms, &mut value) else {
            return false;
        };
        // Given back meanwhile, it could have been given away and destroyed.
        if slot.turn.load(Acquire) != turn {
            return false;
        }
        slot.reads.fetch_add(1, Relaxed);
        if found {
            self.counters.hits.add(1);
            out.bulk(&value);
        } else {
            self.counters.misses.add(1);
            out.null();
        }
        true
    }
}
