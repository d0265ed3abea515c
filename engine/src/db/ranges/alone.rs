//! Entries of ranges that are committed once they have settled: they go the way of a store that is alone, and whoever
//! finds them settled applies them.

use std::sync::atomic::Ordering::Relaxed;

use super::super::commit::{Commit, Pending, ReplySlot, Ticket};
use super::super::core::Core;
use super::super::machine::{Entry, Machine};
use super::book::{Book, NOT_LOGGED};
use super::{Logged, OfRange};
use crate::log::{LogKind, LogRecord};
use crate::storage::Durability;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// An entry that nobody else has a say in.
pub(crate) struct Alone<M: Machine> {
    pub of: OfRange,
    pub entry: Entry,
    /// Where its reply goes, if it is a command.
    pub reply: ReplySlot<M>,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Appends entries of ranges of which everything before is applied, or was appended so. Their order is fixed when
    /// this returns.
    ///
    /// # Errors
    /// `ReadOnly` while the log is being mended, or what has stopped it for good: then nothing was asked of `entries`.
    pub(crate) fn append_alone(&self, entries: impl Iterator<Item = Alone<M>>) -> Result<Ticket> {
        if let Some(error) = self.health.failure() {
            return Err(error);
        }
        let mut commit = self.commit.lock();
        if let Some(error) = &commit.broken {
            return Err(error.clone());
        }
        if commit.repairing {
            let detail = "the log is being mended";
            return Err(Error::new(ErrorKind::ReadOnly, "appending", detail));
        }
        for Alone { of, entry, reply } in entries {
            let record = LogRecord {
                kind: LogKind::Entry,
                range: of.range,
                term: of.term,
                index: entry.index,
                time_ms: entry.time_ms,
                seed: entry.seed,
                payload: &entry.payload,
            };
            let start = commit.log.end();
            let position = commit.log_record(&record);
            commit.last_time_ms = commit.last_time_ms.max(entry.time_ms);
            self.pending_bytes.fetch_add(entry.payload.len(), Relaxed);
            commit.pending.push_back(Pending {
                entry,
                start,
                position,
                reply: Some(reply),
                of_range: Some(of),
            });
        }
        Ok(self.appended(commit))
    }

    /// Ready when everything that was appended so up to the ticket has settled and is applied, however long it takes to
    /// mend the log meanwhile. An error is final.
    pub(crate) async fn finish_alone(&self, mut ticket: Ticket, to: Durability) -> Result<()> {
        loop {
            ticket = self.settle_range(ticket, to).await?;
            let applied = self.apply_upto(ticket).await;
            if applied.is_ok() || self.commit.lock().epoch == ticket.epoch {
                return applied;
            }
        }
    }
}

impl<S: Storage, M: Machine> Commit<S, M> {
    /// Has the ranges hold what is on its way, so that a log which is written anew has it.
    pub(super) fn hold_pending(&self, book: &mut Book) {
        for Pending {
            entry, of_range, ..
        } in &self.pending
        {
            if let Some(of) = of_range
                && let Ok(state) = book.live_mut(of.range)
            {
                state.hold(Logged::of(of, entry), NOT_LOGGED);
            }
        }
    }

    /// It lies in the log that begins at `start`, and has settled with it.
    pub(super) fn pending_is_in(&mut self, start: u64) {
        for pending in &mut self.pending {
            (pending.start, pending.position) = (start, start);
        }
    }
}
