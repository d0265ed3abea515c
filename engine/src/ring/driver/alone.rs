//! Writes of ranges that this node holds alone, by the short way: logged as they come, then settled, applied and
//! answered by the batch, those of all shards together.
//!
//! One batch is under way at a time, and what comes meanwhile is the next: so they are applied in the order of the
//! log, and share its syncs. Nobody who waits carries a batch, so that a client that leaves takes nothing with it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use super::clients::Op;
use super::inner::Inner;
use super::options::Transport;
use super::requests::Round;
use super::shard::Shard;
use crate::command::Reply;
use crate::ring::effect::{Now, Outcome};
use crate::ring::entry::Entry;
use crate::ring::ids::{LogId, RangeId};
use crate::ring::store::Ticket;
use crate::storage::Durability;
use crate::{Result, Runtime, Storage, Work};

/// Batches that are carried by whoever has begun to, before they become a task of their own.
const AT_ONCE: usize = 4;

/// An entry that is logged.
pub(super) struct Entered {
    range: RangeId,
    entry: Arc<Entry>,
    append: u64,
    round: Arc<Round>,
    place: usize,
}

/// What goes the short way.
#[derive(Default)]
pub(super) struct Alone {
    entered: Vec<Entered>,
    /// What the last of them is settled by.
    ticket: Option<Ticket>,
    is_busy: bool,
    /// The batch that is under way waits until the log is mended.
    is_interrupted: bool,
}

impl Alone {
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy && self.entered.is_empty()
    }

    /// The next batch, if none is under way.
    fn begin(&mut self) -> Option<(Ticket, Vec<Entered>)> {
        if self.is_busy {
            return None;
        }
        self.is_busy = true;
        self.go_on()
    }

    /// The batch behind the one that has arrived.
    fn go_on(&mut self) -> Option<(Ticket, Vec<Entered>)> {
        self.is_interrupted = false;
        let ticket = self.ticket.take();
        self.is_busy = ticket.is_some();
        ticket.map(|ticket| (ticket, std::mem::take(&mut self.entered)))
    }
}

impl<S: Storage, R: Runtime> Shard<S, R> {
    /// Logs a write of a range that is all here. False if it has to go the long way.
    pub(super) fn enter_alone(
        &mut self,
        now: Now,
        op: &Op<'_>,
        alone: &mut Alone,
        round: &Arc<Round>,
        place: usize,
    ) -> Result<bool> {
        let range = op.range;
        let Some(lane) = self.lanes.get_mut(&range).filter(|lane| lane.is_clear()) else {
            return Ok(false);
        };
        let Some((entry, append)) = self.node.append_alone(now, range, &op.payload) else {
            return Ok(false);
        };
        lane.enter_alone();
        lane.writes += 1;
        self.counters.appends.add(1);
        alone.ticket = Some(self.store.append_entry(range, lane.incarnation, &entry)?);
        alone.entered.push(Entered {
            range,
            entry,
            append,
            round: Arc::clone(round),
            place,
        });
        Ok(true)
    }

    /// Takes note that entries of a range have arrived.
    fn arrived_alone(&mut self, now: Now, range: RangeId, last: &Last) {
        if let Some(lane) = self.lanes.get_mut(&range) {
            lane.arrived_alone(last.entries);
            self.touched.push(range);
        }
        let effects = &mut self.effects;
        self.node
            .applied_alone(now, range, last.append, last.upto, effects);
    }
}

/// The last of a batch's entries of one range.
#[derive(Default)]
struct Last {
    append: u64,
    upto: LogId,
    entries: usize,
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    /// Sees to it that what has entered arrives.
    pub(super) fn carry_alone(self: &Arc<Self>) {
        let Some(mut batch) = self.alone.lock().begin() else {
            return;
        };
        let this = Arc::clone(self);
        self.run(async move {
            for _ in 0..AT_ONCE {
                this.carry_batch(batch).await;
                batch = match this.alone.lock().go_on() {
                    Some(batch) => batch,
                    None => return,
                };
            }
            let runtime = this.runtime.clone();
            runtime.spawn(Work::Ring, async move {
                let mut next = Some(batch);
                while let Some(batch) = next {
                    this.carry_batch(batch).await;
                    next = this.alone.lock().go_on();
                }
            });
        });
    }

    async fn carry_batch(self: &Arc<Self>, (ticket, entered): (Ticket, Vec<Entered>)) {
        match self.settle_and_apply(ticket, &entered).await {
            Ok(replies) => {
                self.note_arrival(&entered);
                for (one, reply) in entered.into_iter().zip(replies) {
                    let at = one.entry.id();
                    answer(&one, Outcome::Done { reply, at });
                }
            }
            Err(error) => {
                self.fail(error);
                entered.iter().for_each(|one| answer(one, Outcome::Unknown));
            }
        }
    }

    async fn settle_and_apply(&self, ticket: Ticket, entered: &[Entered]) -> Result<Vec<Reply>> {
        let mut settled = pin!(self.store.settle(ticket, Durability::Written));
        let mut interrupted = pin!(self.store.is_interrupted(ticket));
        let mut is_told = false;
        poll_fn(|context| {
            let settled = settled.as_mut().poll(context);
            if settled.is_pending() && !is_told && interrupted.as_mut().poll(context).is_ready() {
                // They take effect when the log has been mended, if it can be.
                is_told = true;
                entered.iter().for_each(|one| answer(one, Outcome::Unknown));
                self.alone.lock().is_interrupted = true;
            }
            settled
        })
        .await?;
        let entries = entered.iter().map(|one| (one.range, &*one.entry));
        self.store.apply_each(entries).await
    }

    /// Whoever has entered behind a batch that waits for the log to be mended hears what those in it have heard.
    pub(super) fn give_up_waiting(&self) {
        let alone = self.alone.lock();
        if alone.is_interrupted {
            let entered = alone.entered.iter();
            entered.for_each(|one| answer(one, Outcome::Unknown));
        }
    }

    /// Tells the ranges how far they are applied.
    fn note_arrival(self: &Arc<Self>, entered: &[Entered]) {
        let mut ranges: BTreeMap<(usize, RangeId), Last> = BTreeMap::new();
        for one in entered {
            let last = ranges
                .entry((self.shard_of(one.range), one.range))
                .or_default();
            last.append = one.append;
            last.upto = one.entry.id();
            last.entries += 1;
        }
        for place in 0..self.shards.len() {
            let mut its = ranges.range((place, 0)..(place + 1, 0)).peekable();
            if its.peek().is_some() {
                self.step(place, |shard, now| {
                    for (&(_, range), last) in its {
                        shard.arrived_alone(now, range, last);
                    }
                });
            }
        }
    }
}

fn answer(one: &Entered, outcome: Outcome) {
    if let Some(waker) = one.round.put(one.place, outcome) {
        waker.wake();
    }
}
