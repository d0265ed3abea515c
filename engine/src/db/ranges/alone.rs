//! Entries of ranges that are committed once they have settled: they go the way of a store that is alone, and whoever
//! finds them settled applies them.

use std::sync::atomic::Ordering::Relaxed;

use super::super::commit::{Pending, ReplySlot, Ticket};
use super::super::core::Core;
use super::super::machine::{Entry, Machine};
use super::OfRange;
use crate::log::{LogKind, LogRecord};
use crate::storage::Durability;
use crate::{Result, Runtime, Storage};

/// An entry that nobody else has a say in.
pub(crate) struct Alone<M: Machine> {
    pub of: OfRange,
    pub entry: Entry,
    /// Where its reply goes, if it is a command.
    pub reply: ReplySlot<M>,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Appends entries of ranges of which everything before is applied, or was appended so. Their place in the log is
    /// fixed when this returns. An error is final, and which of them were logged is not known.
    pub(crate) fn append_alone(&self, entries: impl Iterator<Item = Alone<M>>) -> Result<Ticket> {
        self.health.check_writable()?;
        let mut commit = self.commit.lock();
        let mut appended = Ok(());
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
            let position = match commit.log.append(&record) {
                Ok(position) => position,
                Err(error) => {
                    appended = Err(error);
                    break;
                }
            };
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
        self.appended(commit, appended)
    }

    /// Ready when everything that was appended so up to the ticket has settled and is applied. An error is final.
    pub(crate) async fn finish_alone(&self, ticket: Ticket, to: Durability) -> Result<()> {
        self.settle_range(ticket, to).await?;
        self.apply_upto(ticket).await
    }
}
