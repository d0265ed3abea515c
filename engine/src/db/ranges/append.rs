//! Logging what ranges ask for.
//!
//! While the log is being mended, what is asked for is taken note of in memory only; it settles with the log that
//! takes the place of the one that failed.

use std::sync::atomic::Ordering::Relaxed;

use parking_lot::MutexGuard;

use super::super::commit::{Commit, Ticket};
use super::super::core::Core;
use super::super::machine::Machine;
use super::book::{NOT_LOGGED, RangeState};
use super::{Hard, Note, no_such_range};
use crate::log::{LogKind, LogRecord};
use crate::storage::Durability;
use crate::{ErrorKind, Result, Runtime, Storage, Work};

/// With more segments than this the log is trimmed even if little has changed.
const SEGMENTS_MOST: usize = 4;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Appends a range's records. Their order is fixed when this returns.
    pub(crate) fn append_to_range(
        &self,
        range: u32,
        incarnation: u128,
        notes: impl IntoIterator<Item = Note>,
    ) -> Result<Ticket> {
        if let Some(error) = self.health.failure() {
            return Err(error);
        }
        let mut book = self.ranges.book.lock();
        if book.live(range)?.incarnation != incarnation {
            return Err(no_such_range(range, "another incarnation of it is here"));
        }
        let mut commit = self.commit.lock();
        if let Some(error) = &commit.broken {
            return Err(error.clone());
        }
        for note in notes {
            let note = match note {
                Note::Hard(hard) => Note::Hard(Hard {
                    version: book.next_version(),
                    ..hard
                }),
                note => note,
            };
            commit.append_note(range, book.live_mut(range)?, note);
        }
        drop(book);
        Ok(self.appended(commit))
    }

    /// What an append has brought about: a ticket, and perhaps a full segment, or a log that has to be mended.
    pub(super) fn appended(&self, mut commit: MutexGuard<'_, Commit<S, M>>) -> Ticket {
        // Under the same lock: nothing may be logged behind what was not.
        let failed = commit.behind.error.take();
        let mends = failed.filter(|error| commit.begin_mending(self, error));
        let ticket = Ticket {
            position: commit.log.end(),
            epoch: commit.epoch,
        };
        let full = commit.log.bytes() >= self.options.segment_bytes
            && !commit.rotating
            && !commit.repairing;
        commit.rotating |= full;
        self.counters
            .log_bytes
            .store(commit.log.end() - commit.opened_at, Relaxed);
        let (segments, segment) = (commit.segments.len(), commit.log.segment());
        drop(commit);
        if let Some(error) = mends {
            self.spawn_mending(error);
        }
        if full {
            self.rotate(ticket.epoch);
        }
        if segments > SEGMENTS_MOST {
            self.trim_log(segment);
        }
        ticket
    }

    /// Waits until the log has reached `to` up to the ticket, however long it takes to mend it: where
    /// the ticket's records lie now. An error is final.
    pub(crate) async fn settle_range(&self, ticket: Ticket, to: Durability) -> Result<Ticket> {
        loop {
            let ticket = self.await_mended(ticket).await?;
            let settled = self.settle(ticket, to).await;
            let mut commit = self.commit.lock();
            if commit.epoch != ticket.epoch || commit.repairing {
                // What came of it is the mending's to tell.
                continue;
            }
            match settled {
                Ok(()) => {
                    commit.settled = commit.settled.max(ticket.position);
                    return Ok(ticket);
                }
                Err(error) => {
                    drop(commit);
                    self.repair(&error, ticket.epoch);
                }
            }
        }
    }

    /// Waits until the log is not being mended: where the ticket's records lie from then on.
    async fn await_mended(&self, ticket: Ticket) -> Result<Ticket> {
        self.changed
            .wait(|| {
                let commit = self.commit.lock();
                if let Some(error) = &commit.broken {
                    return Some(Err(error.clone().into_kind(ErrorKind::Unknown)));
                }
                if commit.repairing {
                    return None;
                }
                let moved = Ticket {
                    position: commit.behind.mended_upto,
                    epoch: commit.epoch,
                };
                let is_same = commit.epoch == ticket.epoch;
                Some(Ok(if is_same { ticket } else { moved }))
            })
            .await
    }

    /// Ready as soon as it is seen that the ticket's records have to wait for the log to be mended.
    pub(crate) async fn is_interrupted(&self, ticket: Ticket) {
        self.changed
            .wait(|| {
                let commit = self.commit.lock();
                let waits = commit.repairing || commit.epoch != ticket.epoch;
                (waits || commit.broken.is_some()).then_some(())
            })
            .await;
    }

    /// Lets segments go that nothing but idle ranges holds; once for each segment that is begun.
    fn trim_log(&self, segment: u64) {
        if self.ranges.trimmed_at.fetch_max(segment, Relaxed) >= segment {
            return;
        }
        self.spawn(Work::Upkeep, |this| async move {
            // Opened, closed or failed meanwhile: then there is nothing to do.
            if let Ok(mut applying) = this.begin_apply().await
                && this.frozen.lock().is_empty()
                && this.commit.lock().segments.len() > SEGMENTS_MOST
            {
                applying.freeze_even_empty();
            }
        });
    }
}

impl<S: Storage, M: Machine> Commit<S, M> {
    fn append_note(&mut self, range: u32, state: &mut RangeState, note: Note) {
        match note {
            Note::Entry(entry) => {
                if state.is_replaced_by(&entry) {
                    // Said outright: once the record of what is replaced is dropped with its segment, a
                    // replay could not tell that what stood behind it is void.
                    self.append_note(range, state, Note::Truncate(entry.index));
                }
                let position = self.log_record(&entry.record(range));
                self.last_time_ms = self.last_time_ms.max(entry.time_ms);
                state.hold(entry, position);
            }
            Note::Hard(hard) => {
                let payload = hard.payload();
                self.log_record(&hard.record(range, self.last_time_ms, &payload));
                state.hard = hard;
            }
            Note::Truncate(index) => {
                self.log_record(&truncate(range, index, self.last_time_ms));
                state.held.split_off(&index);
            }
        }
    }

    /// The position behind the record. A failure is kept: who appends looks for it before the lock is given back.
    pub(super) fn log_record(&mut self, record: &LogRecord<'_>) -> u64 {
        if self.repairing || self.behind.error.is_some() {
            self.behind.ranges.insert(record.range);
            return NOT_LOGGED;
        }
        self.log.append(record).unwrap_or_else(|error| {
            self.behind.error = Some(error);
            self.behind.ranges.insert(record.range);
            NOT_LOGGED
        })
    }
}

/// A record that says that a range's entries from an index on are void.
pub(super) fn truncate(range: u32, index: u64, time_ms: u64) -> LogRecord<'static> {
    LogRecord {
        kind: LogKind::Truncate,
        range,
        term: 0,
        index,
        time_ms,
        seed: 0,
        payload: &[],
    }
}
