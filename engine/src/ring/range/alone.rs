//! The short way of a write, where one copy is all there is of a range.
//!
//! Nobody has to be asked, told or waited for: an entry is committed once it has settled. So the driver logs it
//! itself, applies it when it has settled, and says so here, and no step and no effect is needed for each. It is the
//! same log in the same order. Whatever else happens to the range goes the long way, behind what is under way here.

use std::sync::Arc;

use bytes::Bytes;

use super::{Range, Role};
use crate::ring::effect::{Effect, Now};
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::LogId;

impl Range {
    /// Appends a command, and numbers the append; `None` if somebody else has a say, or if something that goes the
    /// long way is yet to be applied. The caller logs the entry at once, applies it once it has settled, before
    /// anything that comes later, and then calls [`Range::applied_alone`].
    pub fn append_alone(&mut self, now: Now, payload: &Bytes) -> Option<(Arc<Entry>, u64)> {
        if !self.may_append_alone() {
            return None;
        }
        self.now = now;
        let entry = Arc::new(self.next_entry(Content::Command(payload.clone())));
        self.log.push(Arc::clone(&entry));
        let append = self.appends.begin(entry.index, now.monotonic_ms);
        // It is handed out.
        self.applying = entry.index;
        Some((entry, append))
    }

    fn may_append_alone(&self) -> bool {
        let Role::Master(office) = &self.role else {
            return false;
        };
        let goes_on = office.handover.is_none() && office.change.is_none() && !self.is_read_only;
        let is_all = self.votes_alone() && self.log.configuration().learners.is_empty();
        let nothing_waits = self.records.is_empty() && self.applying == self.log.last().index;
        goes_on && is_all && nothing_waits && self.may_read_alone()
    }

    /// Entries that were appended so have settled, up to an append's, and are applied up to one.
    pub fn applied_alone(&mut self, now: Now, append: u64, upto: LogId, out: &mut Vec<Effect>) {
        self.within(now, out, |replica| {
            if replica.ended {
                return;
            }
            replica.commit = replica.commit.max(upto.index);
            replica.settled(append);
            replica.note_applied(upto, Vec::new());
        });
    }
}
