//! Writes of ranges that are lent: logged, settled and applied without their cores.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{RangeStore, Ticket, span_of};
use crate::command::Reply;
use crate::db::{Alone, Entry, OfRange, ReplySlot};
use crate::ring::ids::RangeId;
use crate::ring::range::Head;
use crate::{Result, Runtime, Storage};

/// Entries of ranges that are lent, on their way.
#[derive(Default)]
pub struct LentEntries {
    replies: Arc<Mutex<Vec<Option<Reply>>>>,
}

impl LentEntries {
    /// What each command answers, in their order, once the ticket of their append is
    /// [finished](RangeStore::finish_lent); `None` for those that are no command.
    pub fn take_replies(&self) -> Vec<Option<Reply>> {
        std::mem::take(&mut self.replies.lock())
    }
}

impl<S: Storage, R: Runtime> RangeStore<S, R> {
    /// Logs entries of ranges that are lent, each with the command that it carries: an empty one only moves the
    /// range's clock on.
    ///
    /// # Errors
    /// `ReadOnly` while the log is being mended, anything else is final: then nothing was asked of `entries`.
    pub fn append_lent(
        &self,
        entries: impl Iterator<Item = (RangeId, Head, Bytes)>,
        lent: &LentEntries,
    ) -> Result<Ticket> {
        let entries = entries
            .enumerate()
            .map_while(|(place, (range, head, payload))| {
                let of = OfRange {
                    range,
                    span: span_of(range).ok()?,
                    term: head.at.term,
                    configures: false,
                };
                let entry = Entry {
                    index: head.at.index,
                    time_ms: head.time_ms,
                    seed: head.seed,
                    payload,
                };
                let reply = ReplySlot {
                    replies: Arc::clone(&lent.replies),
                    place,
                };
                Some(Alone { of, entry, reply })
            });
        self.db().core().append_alone(entries).map(Ticket)
    }

    /// Waits until what was logged so, up to the ticket, is as durable as the store's entries have to be, and sees to
    /// it that it is applied.
    ///
    /// # Errors
    /// Final: `Unknown`, or why an entry could not be applied.
    pub async fn finish_lent(&self, ticket: Ticket) -> Result<()> {
        let core = self.db().core();
        core.finish_alone(ticket.0, self.durability()).await
    }
}
