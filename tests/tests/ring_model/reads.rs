//! Rules 4 and 5: reads, strong and weak.

use crate::log::{Index, Term};
use crate::mutation::Mutation;
use crate::quorum::{Id, Set};
use crate::state::{Message, Read};
use crate::step::Step;

impl Step {
    /// Rule 5: the master notes its commit index when the read arrives, and asks who still follows it.
    pub fn begin_read(&mut self, id: Id, read: u8) {
        let replica = self.replica(id);
        let (term, index) = (replica.ballot.term, self.applied(id));
        let mut heard = Set::only(id);
        if self.breaks(Mutation::OldConfirmation) {
            heard = Set(heard.0 | replica.holders(1).0);
        }
        self.state.history.begin_read(read);
        self.set_read(
            read,
            Read::Waiting {
                leader: id,
                term,
                index,
                heard,
            },
        );
        self.send(Message::Confirm {
            term,
            from: id,
            read,
        });
        self.confirm(id, read, id);
    }

    pub fn on_confirm(&mut self, id: Id, term: Term, from: Id, read: u8) {
        if self.admit(id, term) && !self.replica(id).flagged {
            self.send(Message::Confirmed {
                term,
                from: id,
                to: from,
                read,
            });
        }
    }

    /// `from` still follows the leader that the read waits at.
    pub fn confirm(&mut self, id: Id, read: u8, from: Id) {
        let Read::Waiting {
            leader,
            term,
            index,
            heard,
        } = self.state.reads[usize::from(read)]
        else {
            return;
        };
        if leader != id {
            return;
        }
        let heard = heard.with(from);
        let is_confirmed = self.counts(id, |side| side.members_among(heard) >= side.confirmation())
            || self.breaks(Mutation::ReadUnconfirmed);
        let read_now = match is_confirmed {
            true => Read::Ready { index },
            false => Read::Waiting {
                leader,
                term,
                index,
                heard,
            },
        };
        self.set_read(read, read_now);
    }

    /// The replica has applied so much as the read asks for, and answers from that.
    pub fn answer_read(&mut self, id: Id, read: u8) {
        let value = self.replica(id).log.prefix(self.applied(id)).register();
        self.set_read(read, Read::Done);
        self.state.history.answer(read, value);
        let is_linearizable = self.state.history.is_linearizable();
        self.state.seen.linearizable &= is_linearizable;
    }

    /// A weak read asks nobody.
    pub fn read_weakly(&mut self, id: Id, read: u8) {
        self.state.history.begin_read(read);
        self.answer_read(id, read);
    }

    /// Rule 4: the state that reads see is what is committed.
    pub fn applied(&self, id: Id) -> Index {
        match self.breaks(Mutation::ApplyBeforeCommit) {
            true => self.replica(id).log.last_index(),
            false => self.replica(id).commit,
        }
    }

    fn set_read(&mut self, read: u8, to: Read) {
        self.state.reads[usize::from(read)] = to;
    }
}
