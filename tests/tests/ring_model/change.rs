//! Rules 8 and 9: changes of the configuration, and replicas that may have forgotten something.

use crate::log::{Index, Log, Payload, Term};
use crate::mutation::Mutation;
use crate::quorum::{Config, Id, Set, Sides};
use crate::state::{Message, Read, Replica, Role, State, last_change};
use crate::step::Step;

impl Step {
    /// Rule 8: the configuration that a replica acts on is the last one that it has appended, which a
    /// truncation takes back.
    pub fn sides(&self, id: Id) -> Sides {
        let replica = self.state.replica(id);
        let log = match self.mutation {
            Some(Mutation::ActOnCommit) => replica.log.prefix(replica.commit),
            _ => replica.log,
        };
        self.state.sides_by(log)
    }

    /// Whether `enough` holds on every side that counts.
    pub fn counts(&self, id: Id, enough: impl Fn(Config) -> bool) -> bool {
        let sides = self.sides(id);
        match (self.mutation, sides.second) {
            (Some(Mutation::NewSideOnly), Some(new)) => enough(new),
            _ => sides.all(enough),
        }
    }

    /// The next entry of a change, if the leader may append it now: one change at a time, and after an entry
    /// of its own term is committed.
    pub fn next_change(&self, id: Id) -> Option<Payload> {
        let replica = self.state.replica(id);
        if replica.role != Role::Leader || !replica.has_committed_in_its_term() {
            return None;
        }
        match last_change(replica.log) {
            None if self.mutation == Some(Mutation::SingleStep) => Some(Payload::Leave),
            None => Some(Payload::Joint),
            Some((index, Payload::Joint)) if index <= replica.commit => Some(Payload::Leave),
            Some(_) => None,
        }
    }

    // Crashes.

    /// The process dies and starts again. What was written is there; what had not settled is not.
    pub fn crash_process(&mut self, id: Id) {
        self.state.process_crashes += 1;
        let replica = self.state.replica_mut(id);
        replica.restart(replica.log.prefix(replica.stored));
        if replica.flagged {
            self.look_for_a_leader(id);
        }
    }

    /// The machine dies under less than `always`: what was not synced may be gone, and the replica cannot
    /// know (rule 9).
    pub fn crash_machine(&mut self, id: Id, kept: Log) {
        self.state.machine_crashes += 1;
        let replica = self.state.replica_mut(id);
        replica.restart(kept);
        replica.flagged = true;
        self.look_for_a_leader(id);
        let flagged = self.state.replicas.iter().filter(|r| r.flagged).count();
        self.state.seen.two_flagged |= flagged > 1;
    }

    // The flag.

    fn look_for_a_leader(&mut self, id: Id) {
        let replica = self.state.replica_mut(id);
        replica.nonce += 1;
        let nonce = replica.nonce;
        self.state.send(Message::Ask { from: id, nonce });
    }

    pub fn on_ask(&mut self, id: Id, from: Id, nonce: u8) {
        let replica = self.state.replica(id);
        if replica.role == Role::Leader {
            let answer = Message::Answer {
                term: replica.ballot.term,
                to: from,
                nonce,
                last: replica.log.last_index(),
            };
            self.state.send(answer);
        }
    }

    pub fn on_answer(&mut self, id: Id, term: Term, nonce: u8, last: Index) {
        let is_fresh =
            nonce == self.state.replica(id).nonce || self.mutation == Some(Mutation::AnyNonce);
        let clears_at_once = self.mutation == Some(Mutation::ClearByLength);
        if self.admit(id, term) && is_fresh && self.state.replica(id).flagged {
            let replica = self.state.replica_mut(id);
            replica.target = Some(last);
            if clears_at_once {
                let length = replica.log.last_index();
                self.unflag(id, length);
            }
        }
    }

    /// The log is the leader's up to `matched`. If that is so much as the answer asked for, it is synced and
    /// the flag cleared.
    pub fn unflag(&mut self, id: Id, matched: Index) {
        let replica = self.state.replica_mut(id);
        if replica.flagged && replica.target.is_some_and(|target| matched >= target) {
            replica.sync_and_unflag();
        }
    }
}

impl Replica {
    /// Becomes a follower and forgets what only an office needs.
    pub fn lose_office(&mut self) {
        self.role = Role::Follower;
        (self.votes, self.flagged_votes) = Default::default();
        self.matched = Default::default();
    }

    fn restart(&mut self, kept: Log) {
        self.lose_office();
        self.ballot = self.disk;
        self.log = kept;
        self.stored = kept.last_index();
        self.synced = self.synced.min(self.stored);
        self.commit = 0;
        self.target = None;
    }

    /// Takes over the leader's entries. Only a conflict cuts the log: an older message must not.
    pub fn take_entries(&mut self, log: Log) {
        if self.log.starts_with(log) {
            return;
        }
        let common = self.log.common(log);
        if common < self.log.last_index() {
            self.overwritten = self.log;
        }
        self.stored = self.stored.min(common);
        self.synced = self.synced.min(common);
        // Only where W + E <= N; there, rule 10 replaces the copy.
        self.commit = self.commit.min(common);
        self.log = log;
    }

    pub fn sync_and_unflag(&mut self) {
        self.synced = self.stored;
        self.overwritten = Log::EMPTY;
        self.flagged = false;
        self.target = None;
    }

    /// What a crash of the machine may leave of the log.
    pub fn remains(&self) -> Vec<Log> {
        let written = self.log.prefix(self.stored);
        let mut remains = Vec::new();
        for log in [written, self.overwritten] {
            for kept in self.synced..=log.last_index() {
                let kept = log.prefix(kept);
                if !remains.contains(&kept) {
                    remains.push(kept);
                }
            }
        }
        remains
    }

    /// Who has stored the entry at `index`, as far as this leader knows.
    pub fn holders(&self, index: Index) -> Set {
        Set::where_(|id| self.matched[usize::from(id)] >= index)
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
