//! A replica whose store takes nothing at present, as its disk is full or its log is being mended.
//!
//! What was handed out to be logged is still in its order, and settles when the store takes something again; until
//! then it counts for nothing. So nothing has to be taken back here, and nothing new is asked for: no client's write,
//! no entry of a master's, no vote. What was promised holds, and what is here is read as before.

use std::sync::Arc;

use super::office::Pace;
use super::{Range, Role};
use crate::ring::effect::{Effect, Outcome, Refusal};
use crate::ring::entry::Entry;
use crate::ring::ids::Index;
use crate::ring::membership::Member;
use crate::ring::message::{Body, Message, Report};

impl Range {
    /// The store takes nothing for now, or does again.
    pub(super) fn note_read_only(&mut self, is_read_only: bool) {
        if std::mem::replace(&mut self.is_read_only, is_read_only) == is_read_only {
            return;
        }
        if is_read_only {
            self.give_up_writes();
            self.hand_over_for_room();
        }
    }

    /// Those who wait for a write hear that nothing is known of it. It may settle here, or where others have it.
    fn give_up_writes(&mut self) {
        let Role::Master(office) = &mut self.role else {
            return;
        };
        for request in std::mem::take(&mut office.writes).requests() {
            let outcome = Outcome::Unknown;
            self.out.push(Effect::Reply { request, outcome });
        }
    }

    /// Hands over, if that is sure to come about without this replica's vote, which it cannot give.
    pub(super) fn hand_over_for_room(&mut self) {
        if self.is_electable_elsewhere() {
            self.hand_over(None);
        }
    }

    /// Whether the others are enough to elect one of them.
    fn is_electable_elsewhere(&self) -> bool {
        let Role::Master(office) = &self.role else {
            return false;
        };
        let votes = |member: Member| member != self.me && self.reaches(office, member);
        self.log.configuration().elects(votes)
    }

    /// What a client hears that wants something logged: whoever takes over may take it, if somebody can.
    pub(super) fn check_writable(&self) -> Result<(), Outcome> {
        if !self.is_read_only {
            return Ok(());
        }
        if self.is_electable_elsewhere() {
            return Err(Outcome::NotMaster(None));
        }
        Err(Outcome::Refused(Refusal::ReadOnly))
    }

    /// Whether a master stays in office though its own append is outstanding: it has begun, and who follows it does so
    /// by a term that is stored.
    pub(super) fn stays_read_only(&self) -> bool {
        matches!(&self.role, Role::Master(office) if self.is_read_only && self.commit >= office.began_at)
    }

    /// Whether an entry that a read waits for will not come here for now.
    pub(super) fn lacks(&self, index: Index) -> bool {
        self.is_read_only && !self.is_master() && index > self.appends.stored()
    }

    /// Of a master's entries those that are here already.
    pub(super) fn known_of<'a>(&self, entries: &'a [Arc<Entry>]) -> &'a [Arc<Entry>] {
        let is_here = |entry: &&Arc<Entry>| {
            let forgotten = entry.index <= self.log.before().index;
            forgotten || self.log.term_at(entry.index) == Some(entry.term)
        };
        &entries[..entries.iter().take_while(is_here).count()]
    }

    /// Sends what depends on a term that is not stored yet, and will not be for now: what promises nothing goes out, so
    /// that a master knows not to send entries here, and reads can be asked for. Everything else is not said.
    pub(super) fn send_without_promise(&mut self, mut message: Message) {
        match &mut message.body {
            Body::Report(report) => {
                *report = Report {
                    stored: 0,
                    round: 0,
                    missing: None,
                    ..*report
                };
            }
            Body::AskIndex { .. } => {}
            _ => return,
        }
        self.send_message(message);
    }

    /// Takes note, at the master, of what a follower says of its store.
    pub(super) fn note_followers_store(&mut self, from: Member, is_read_only: bool) {
        let Some(follower) = self.follower_mut(from.node) else {
            return;
        };
        if std::mem::replace(&mut follower.is_read_only, is_read_only) == is_read_only {
            return;
        }
        follower.next = follower.stored + 1;
        follower.inflight.clear();
        let before = std::mem::replace(&mut follower.pace, Pace::Probe { sent: false });
        if let Pace::Snapshot(outgoing) = before {
            self.out.push(Effect::SnapshotClose { id: outgoing.id });
        }
    }
}
