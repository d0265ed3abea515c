//! The network: where a message may go, and when it may as well be forgotten.

use crate::log::Term;
use crate::mutation::Mutation;
use crate::quorum::Id;
use crate::state::{Message, Read, Role, State};

impl Message {
    pub fn goes_to(&self, id: Id) -> bool {
        match *self {
            Self::RequestVote { from, .. }
            | Self::Append { from, .. }
            | Self::Confirm { from, .. }
            | Self::Ask { from, .. } => from != id,
            Self::Vote { to, .. }
            | Self::Ack { to, .. }
            | Self::Confirmed { to, .. }
            | Self::Answer { to, .. } => to == id,
        }
    }
}

impl State {
    /// Forgets what no longer has any effect, so that equal futures are one state.
    pub fn tidy(&mut self, mutation: Option<Mutation>) {
        for read in &mut self.reads {
            if let Read::Waiting { leader, term, .. } = *read
                && !self.replicas[usize::from(leader)].leads(term)
            {
                *read = Read::Lost;
            }
        }
        let mut network = std::mem::take(&mut self.network);
        // That mutant lives off what would have no effect.
        let needs_old_answers = mutation == Some(Mutation::AnyNonce);
        let is_answer = |message: &Message| matches!(message, Message::Answer { .. });
        network
            .retain(|message| self.has_effect(message) || needs_old_answers && is_answer(message));
        self.network = network;
    }

    fn has_effect(&self, message: &Message) -> bool {
        let others = |from: Id| {
            let replicas = self.replicas.iter().zip(0..);
            replicas.filter(move |(_, id)| *id != from).map(|(r, _)| r)
        };
        let is_awaited = |leader: Id, of: Term, read: u8| {
            matches!(self.reads[usize::from(read)],
                Read::Waiting { leader: l, term, .. } if l == leader && term == of)
        };
        match *message {
            Message::RequestVote { term, from, .. } => others(from)
                .any(|r| r.ballot.term < term || r.ballot.term == term && r.ballot.vote.is_none()),
            Message::Vote { term, to, .. } => {
                let candidate = self.replica(to);
                candidate.role == Role::Candidate && candidate.ballot.term == term
            }
            Message::Append { term, from, .. } => others(from).any(|r| r.ballot.term <= term),
            Message::Ack {
                term,
                to,
                from,
                matched,
            } => {
                let leader = self.replica(to);
                leader.leads(term) && leader.matched[usize::from(from)] < matched
            }
            Message::Confirm { term, from, read } => is_awaited(from, term, read),
            Message::Confirmed { term, to, read, .. } => is_awaited(to, term, read),
            Message::Ask { from, nonce } => {
                let asker = self.replica(from);
                asker.flagged && asker.nonce == nonce
            }
            Message::Answer {
                to, term, nonce, ..
            } => {
                let asker = self.replica(to);
                asker.flagged && asker.nonce == nonce && asker.ballot.term <= term
            }
        }
    }
}
