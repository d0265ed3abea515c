//! The way of a write: append, settle, apply in log order, answer.
//!
//! There is no leader. Whoever finds its entry settled applies everything that has settled, in log order;
//! a future that is dropped on the way leaves its entry in the queue for the next. Nothing unsettled is
//! visible.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use bytes::Bytes;
use parking_lot::Mutex;

use super::apart::apart;
use super::applier::Applier;
use super::core::Core;
use super::health::Health;
use super::machine::{Entry, Machine};
use super::options::Sync;
use super::ranges::{Behind, OfRange};
use crate::log::{Log, LogKind, LogRecord};
use crate::storage::Durability;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// Where a submitter finds what its entry did. Plain batches have none: for them, applied is all.
pub(crate) struct ReplySlot<M: Machine> {
    /// Of those who were submitted together.
    pub replies: Replies<M>,
    pub place: usize,
}

/// What entries did that were submitted together, as far as that is known.
pub(crate) type Replies<M> = Arc<Mutex<Vec<Option<<M as Machine>::Reply>>>>;

impl<M: Machine> ReplySlot<M> {
    fn put(&self, reply: M::Reply) {
        let mut replies = self.replies.lock();
        if replies.len() <= self.place {
            replies.resize_with(self.place + 1, || None);
        }
        replies[self.place] = Some(reply);
    }
}

/// An entry between the log and the state.
pub(crate) struct Pending<M: Machine> {
    pub entry: Entry,
    /// Log positions before and behind it.
    pub start: u64,
    pub position: u64,
    pub reply: Option<ReplySlot<M>>,
    /// The range whose entry it is, in a store of ranges.
    pub of_range: Option<OfRange>,
}

/// The end of the log and what waits behind it. One lock, held for the time of a copy.
pub(crate) struct Commit<S: Storage, M: Machine> {
    pub log: Log<S::Writer>,
    /// The segment before, as long as it is being synced.
    pub previous: Option<Log<S::Writer>>,
    /// Segments that are still there, with the position at which each begins; the last is `log`'s.
    pub segments: VecDeque<(u64, u64)>,
    pub pending: VecDeque<Pending<M>>,
    pub next_index: u64,
    pub last_time_ms: u64,
    /// Everything up to here has reached the durability that answers need.
    pub settled: u64,
    /// Counts the repairs of the log. Positions mean something within one epoch only.
    pub epoch: u64,
    /// How the last epoch ended.
    pub ended: Option<Ended>,
    pub rotating: bool,
    /// Set while the log is repaired.
    pub repairing: bool,
    /// Why the log could not be repaired. Nothing settles any more, and no repair is tried again: entries
    /// may be missing from it.
    pub broken: Option<Error>,
    /// Position at which the log was opened.
    pub opened_at: u64,
    /// What ranges have asked to log since it failed, see [`ranges`](super::ranges).
    pub behind: Behind,
}

/// The end of an epoch: some entries had settled, the others' fate is the repair's to decide.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub epoch: u64,
    /// Entries up to here had settled.
    pub kept_upto: u64,
    /// What the submitters of the others hear, once it is decided.
    pub verdict: Option<Error>,
}

/// A submitted entry: where it ends in the log, and in which epoch that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Ticket {
    pub epoch: u64,
    pub position: u64,
}

impl<S: Storage, M: Machine> Commit<S, M> {
    /// Appends an entry to the log and to the queue.
    pub(crate) fn append(
        &mut self,
        payload: Bytes,
        now_ms: u64,
        seed: u64,
        reply: Option<ReplySlot<M>>,
    ) -> Result<Ticket> {
        self.last_time_ms = self.last_time_ms.max(now_ms);
        let entry = Entry {
            index: self.next_index,
            time_ms: self.last_time_ms,
            seed,
            payload,
        };
        let start = self.log.end();
        let position = self.log.append(&record_of(&entry))?;
        self.next_index += 1;
        self.pending.push_back(Pending {
            entry,
            start,
            position,
            reply,
            of_range: None,
        });
        Ok(Ticket {
            position,
            epoch: self.epoch,
        })
    }

    /// Takes note that a submitter's wait has ended well. `None` if a repair has ended the epoch and has
    /// not decided yet what that means.
    fn note_settled(&mut self, ticket: Ticket) -> Option<Result<()>> {
        if ticket.epoch == self.epoch {
            self.settled = self.settled.max(ticket.position);
            return Some(Ok(()));
        }
        self.judge(ticket)
    }

    /// What became of an entry of an epoch that has ended.
    fn judge(&self, ticket: Ticket) -> Option<Result<()>> {
        match &self.ended {
            Some(ended) if ended.epoch == ticket.epoch => {
                if ticket.position <= ended.kept_upto {
                    return Some(Ok(()));
                }
                ended.verdict.clone().map(Err)
            }
            _ => Some(Err(Error::new(
                ErrorKind::Unknown,
                "writing",
                "the log was repaired more than once while this write waited",
            ))),
        }
    }

    /// Why nobody but its repair may wait for the log: the repair itself waits for flushes, and it may
    /// put another writer in the place of this one at any moment.
    pub(crate) fn stuck(&self, health: &Health) -> Option<Error> {
        let repair = || health.trouble().filter(|_| self.repairing);
        self.broken.clone().or_else(repair)
    }

    /// Ends the epoch. Returns the entries that had not settled, which are no longer in the queue.
    pub(crate) fn end_epoch(&mut self) -> Vec<Pending<M>> {
        self.ended = Some(Ended {
            epoch: self.epoch,
            kept_upto: self.settled,
            verdict: None,
        });
        self.epoch += 1;
        let kept = self
            .pending
            .partition_point(|pending| pending.position <= self.settled);
        self.pending.split_off(kept).into()
    }

    /// Takes the oldest entry off the queue, if it has settled.
    fn next_settled(&mut self) -> Option<Pending<M>> {
        if self.pending.front()?.position > self.settled {
            return None;
        }
        self.pending.pop_front()
    }
}

/// An entry as the log records it: a store that is alone is range 0 in term 1.
pub(crate) fn record_of(entry: &Entry) -> LogRecord<'_> {
    LogRecord {
        kind: LogKind::Entry,
        range: 0,
        term: 1,
        index: entry.index,
        time_ms: entry.time_ms,
        seed: entry.seed,
        payload: &entry.payload,
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Appends one entry; its place in the order is fixed when this returns.
    pub(crate) fn append(
        &self,
        payload: Bytes,
        seed: u64,
        reply: Option<ReplySlot<M>>,
    ) -> Result<Ticket> {
        let (now_ms, bytes) = (self.runtime.wall_ms(), payload.len());
        let mut commit = self.commit.lock();
        self.health.check_writable()?;
        let ticket = match commit.append(payload, now_ms, seed, reply) {
            Ok(ticket) => ticket,
            Err(error) => {
                let epoch = commit.epoch;
                drop(commit);
                self.repair(&error, epoch);
                // Nothing of it has reached the storage.
                let is_full = error.kind() == ErrorKind::Full;
                return Err(if is_full {
                    error
                } else {
                    error.into_kind(ErrorKind::ReadOnly)
                });
            }
        };
        self.pending_bytes.fetch_add(bytes, Relaxed);
        self.counters
            .log_bytes
            .store(commit.log.end() - commit.opened_at, Relaxed);
        let full = commit.log.bytes() >= self.options.segment_bytes && !commit.rotating;
        commit.rotating |= full;
        drop(commit);
        if full {
            self.rotate(ticket.epoch);
        }
        Ok(ticket)
    }

    /// Ready when the entry has settled and has been applied.
    pub(crate) async fn finish(&self, ticket: Ticket) -> Result<()> {
        let durability = match self.options.sync {
            Sync::Always => Durability::Synced,
            Sync::EverySecond | Sync::No => Durability::Written,
        };
        if let Err(error) = self.settle(ticket, durability).await {
            self.repair(&error, ticket.epoch);
            if self.commit.lock().epoch == ticket.epoch {
                // Nobody mends the log of a store that is closed.
                return Err(error.into_kind(ErrorKind::Unknown));
            }
        }
        self.apply_upto(ticket).await
    }

    /// Waits until the log has reached `to` up to the ticket's position.
    pub(crate) async fn settle(&self, ticket: Ticket, to: Durability) -> Result<()> {
        loop {
            let wait = {
                let commit = self.commit.lock();
                if commit.epoch != ticket.epoch {
                    // A repair has taken over: what became of the entry is asked before it is applied.
                    return Ok(());
                }
                if let Some(error) = commit.stuck(&self.health) {
                    return Err(error);
                }
                if ticket.position <= commit.log.start() {
                    match &commit.previous {
                        Some(previous) => Some((previous.settle(ticket.position, to), false)),
                        // The segment was synced whole before its successor took over.
                        None => return Ok(()),
                    }
                } else if commit.log.is_held() {
                    None
                } else {
                    Some((commit.log.settle(ticket.position, to), true))
                }
            };
            let Some((settled, current)) = wait else {
                self.changed
                    .wait(|| {
                        let commit = self.commit.lock();
                        let moved_on =
                            commit.epoch != ticket.epoch || commit.stuck(&self.health).is_some();
                        (!commit.log.is_held() || moved_on).then_some(())
                    })
                    .await;
                continue;
            };
            let settled = settled.await;
            let mut commit = self.commit.lock();
            if commit.epoch != ticket.epoch {
                // As above, whatever became of the wait.
                return Ok(());
            }
            settled?;
            if to == Durability::Synced {
                // What is synced has settled, whoever it was that asked: a checkpoint's copy ends where
                // the log has settled and must not end before its watermark.
                commit.settled = commit.settled.max(ticket.position);
                if current {
                    commit.log.note_synced(ticket.position);
                }
            }
            return Ok(());
        }
    }

    /// Sees to it that everything up to the ticket's position is applied, by oneself or by others.
    pub(crate) async fn apply_upto(&self, ticket: Ticket) -> Result<()> {
        let noted = self.commit.lock().note_settled(ticket);
        match noted {
            Some(noted) => noted?,
            None => {
                self.changed
                    .wait(|| self.commit.lock().judge(ticket))
                    .await?
            }
        }
        loop {
            // Taken as a statement of its own: the lock must not live through the body.
            let taken = self.applier.lock().take();
            if let Some(applier) = taken {
                let mut turn = Turn {
                    core: self,
                    applier: Some(applier),
                    pending: None,
                };
                turn.apply_settled().await?;
            }
            if self.is_applied(ticket) {
                return Ok(());
            }
            self.await_turn(ticket).await?;
        }
    }

    fn is_applied(&self, ticket: Ticket) -> bool {
        self.applied.load(Acquire) >= ticket.position
    }

    /// Waits until somebody has applied the entry, or until it is our turn to apply.
    async fn await_turn(&self, ticket: Ticket) -> Result<()> {
        // Applying takes well under a microsecond a record: cheaper to look again than to sleep.
        for _ in 0..64 {
            if self.is_applied(ticket) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        self.changed
            .wait(|| {
                if self.is_applied(ticket) || self.applier.lock().is_some() {
                    return Some(Ok(()));
                }
                // Closing does not keep what has settled from being applied.
                let failed = self.health.check_alive().err()?;
                Some(Err(failed.into_kind(ErrorKind::Unknown)))
            })
            .await
    }
}

/// The exclusive right to apply. Given back on drop, together with an entry whose application was
/// interrupted.
struct Turn<'a, S: Storage, R: Runtime, M: Machine> {
    core: &'a Core<S, R, M>,
    applier: Option<Applier<S>>,
    pending: Option<Pending<M>>,
}

impl<S: Storage, R: Runtime, M: Machine> Turn<'_, S, R, M> {
    async fn apply_settled(&mut self) -> Result<()> {
        loop {
            self.core.health.check_alive()?;
            let settled = {
                let mut commit = self.core.commit.lock();
                self.pending = commit.next_settled();
                commit.settled
            };
            let (Some(pending), Some(applier)) = (&self.pending, &mut self.applier) else {
                // What lies between the last entry and here is a header: who waits for this position
                // would otherwise take turn after turn at nothing.
                self.core.applied.fetch_max(settled, Release);
                return Ok(());
            };
            let applied = match &pending.of_range {
                Some(of) if M::HAS_RANGES => {
                    apart(applier.apply_archived(self.core, of, &pending.entry)).await
                }
                _ => applier.apply(self.core, &pending.entry).await,
            };
            let reply = applied.map_err(|error| {
                self.core.health.fail(error.clone());
                error.into_kind(ErrorKind::Unknown)
            })?;
            if let (Some(slot), Some(reply)) = (&pending.reply, reply) {
                slot.put(reply);
            }
            applier.position = pending.position;
            self.core
                .pending_bytes
                .fetch_sub(pending.entry.payload.len(), Relaxed);
            self.core.applied.store(pending.position, Release);
            self.pending = None;
            applier.freeze_if_full(self.core);
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Drop for Turn<'_, S, R, M> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.core.commit.lock().pending.push_front(pending);
        }
        *self.core.applier.lock() = self.applier.take();
        self.core.changed.notify();
    }
}
