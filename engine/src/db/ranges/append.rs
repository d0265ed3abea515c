//! Logging what ranges ask for, and what happens when the log fails.
//!
//! A log of ranges is not mended while the store runs: who counted on it stops. The store takes no writes
//! until it is opened anew, and the manifest remembers that every range may then have forgotten something.

use std::sync::atomic::Ordering::Relaxed;

use parking_lot::MutexGuard;

use super::super::commit::{Commit, Ticket};
use super::super::core::Core;
use super::super::machine::Machine;
use super::book::RangeState;
use super::record::Settings;
use super::{Hard, Note, no_such_range};
use crate::log::{LogKind, LogRecord};
use crate::storage::Durability;
use crate::{Error, ErrorKind, Result, Runtime, Storage, Work};

/// With more segments than this the log is trimmed even if little has changed.
const SEGMENTS_MOST: usize = 4;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Appends a range's records. Their place in the log is fixed when this returns.
    pub(crate) fn append_to_range(
        &self,
        range: u32,
        incarnation: u128,
        notes: impl IntoIterator<Item = Note>,
    ) -> Result<Ticket> {
        self.health.check_writable()?;
        let mut book = self.ranges.book.lock();
        if book.live(range)?.incarnation != incarnation {
            return Err(no_such_range(range, "another incarnation of it is here"));
        }
        let mut commit = self.commit.lock();
        let mut appended = Ok(());
        for note in notes {
            let note = match note {
                Note::Hard(hard) => Note::Hard(Hard {
                    version: book.next_version(),
                    ..hard
                }),
                note => note,
            };
            let state = book.live_mut(range)?;
            appended = commit.append_note(range, state, note);
            if appended.is_err() {
                break;
            }
        }
        drop(book);
        self.appended(commit, appended)
    }

    /// What an append has brought about: a ticket, and perhaps a full segment.
    pub(super) fn appended(
        &self,
        mut commit: MutexGuard<'_, Commit<S, M>>,
        appended: Result<()>,
    ) -> Result<Ticket> {
        let ticket = Ticket {
            position: commit.log.end(),
            epoch: commit.epoch,
        };
        let full = commit.log.bytes() >= self.options.segment_bytes && !commit.rotating;
        commit.rotating |= full && appended.is_ok();
        self.counters
            .log_bytes
            .store(commit.log.end() - commit.opened_at, Relaxed);
        let (segments, segment) = (commit.segments.len(), commit.log.segment());
        drop(commit);
        if let Err(error) = appended {
            self.fail_log(&error);
            return Err(error);
        }
        if full {
            self.rotate(ticket.epoch);
        }
        if segments > SEGMENTS_MOST {
            self.trim_log(segment);
        }
        Ok(ticket)
    }

    /// Waits until the log has reached `to` up to the ticket. An error is final.
    pub(crate) async fn settle_range(&self, ticket: Ticket, to: Durability) -> Result<()> {
        if let Err(error) = self.settle(ticket, to).await {
            self.fail_log(&error);
            self.note_failed_log().await;
            return Err(error.into_kind(ErrorKind::Unknown));
        }
        let mut commit = self.commit.lock();
        commit.settled = commit.settled.max(ticket.position);
        Ok(())
    }

    /// Nothing is logged any more.
    pub(in crate::db) fn fail_log(&self, error: &Error) {
        {
            let mut commit = self.commit.lock();
            if commit.broken.is_some() {
                return;
            }
            commit.broken = Some(error.clone());
        }
        tracing::error!(%error, "the log failed: read-only until reopened");
        self.health.refuse_writes(error.clone());
        self.changed.notify();
        self.spawn(Work::Upkeep, |this| async move {
            this.note_failed_log().await;
        });
    }

    /// Makes it last that the log has failed. If that fails too, no more is known than after a crash.
    async fn note_failed_log(&self) {
        let mut manifest = self.manifest.lock().await;
        let Ok(settings) = Settings::decode(&manifest.settings) else {
            return;
        };
        if settings.failed {
            return;
        }
        let mut next = manifest.clone();
        next.settings = Settings {
            failed: true,
            ..settings
        }
        .encode();
        match self.storage.commit(next.encode()).await {
            Ok(()) => *manifest = next,
            Err(error) => tracing::error!(%error, "could not note that the log has failed"),
        }
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
    fn append_note(&mut self, range: u32, state: &mut RangeState, note: Note) -> Result<()> {
        match note {
            Note::Entry(entry) => {
                if state.is_replaced_by(&entry) {
                    // Said outright: once the record of what is replaced is dropped with its segment, a
                    // replay could not tell that what stood behind it is void.
                    self.append_note(range, state, Note::Truncate(entry.index))?;
                }
                let position = self.log.append(&entry.record(range))?;
                self.last_time_ms = self.last_time_ms.max(entry.time_ms);
                state.hold(entry, position);
            }
            Note::Hard(hard) => {
                let payload = hard.payload();
                self.log.append(&LogRecord {
                    kind: LogKind::HardState,
                    range,
                    term: hard.term,
                    index: hard.version,
                    time_ms: self.last_time_ms,
                    seed: 0,
                    payload: &payload,
                })?;
                state.hard = hard;
            }
            Note::Truncate(index) => {
                self.log.append(&LogRecord {
                    kind: LogKind::Truncate,
                    range,
                    term: 0,
                    index,
                    time_ms: self.last_time_ms,
                    seed: 0,
                    payload: &[],
                })?;
                state.held.split_off(&index);
            }
        }
        Ok(())
    }
}
