//! The rules: what a replica does when something happens to it. Each step is one atomic action of a replica;
//! what it sends may arrive at any time after it, several times, or never.

use crate::log::{Entry, Index, Log, Payload, Term};
use crate::mutation::Mutation;
use crate::quorum::{Id, Set};
use crate::state::{Ballot, Message, Replica, Role, State};

/// A state on its way to the next one.
pub struct Step {
    pub state: State,
    pub mutation: Option<Mutation>,
}

impl Step {
    pub fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn replica(&self, id: Id) -> &Replica {
        self.state.replica(id)
    }

    pub fn replica_mut(&mut self, id: Id) -> &mut Replica {
        self.state.replica_mut(id)
    }

    pub fn send(&mut self, message: Message) {
        self.state.send(message);
    }

    // Elections.

    /// Its patience is at an end: it stands for the next term.
    pub fn campaign(&mut self, id: Id) {
        let term = self.replica(id).ballot.term + 1;
        self.take_ballot(id, term, Some(id));
        let replica = self.replica_mut(id);
        replica.role = Role::Candidate;
        let log = replica.log;
        let flagged = self.votes_as_flagged(id);
        self.send(Message::RequestVote {
            term,
            from: id,
            last: (log.last_term(), log.last_index()),
        });
        self.count_vote(id, id, flagged);
    }

    /// Rule 1: a term and a vote are on disk before anything that depends on them leaves.
    fn take_ballot(&mut self, id: Id, term: Term, vote: Option<Id>) {
        let synced = !self.breaks(Mutation::VoteBeforeSync);
        let replica = self.replica_mut(id);
        if term > replica.ballot.term {
            replica.lose_office();
        }
        replica.ballot = Ballot { term, vote };
        if synced {
            replica.disk = replica.ballot;
        }
    }

    /// Follows a newer term. False if the message is of an older one, and to be ignored.
    pub fn admit(&mut self, id: Id, term: Term) -> bool {
        if term > self.replica(id).ballot.term {
            self.take_ballot(id, term, None);
        }
        term == self.replica(id).ballot.term
    }

    fn on_request_vote(&mut self, id: Id, term: Term, from: Id, last: (Term, Index)) {
        if !self.admit(id, term) {
            return;
        }
        let replica = self.replica(id);
        let is_free = replica.ballot.vote.is_none_or(|vote| vote == from);
        if !is_free || !Log::is_up_to_date_with(last, replica.log) {
            return;
        }
        let flagged = self.votes_as_flagged(id);
        self.take_ballot(id, term, Some(from));
        self.send(Message::Vote {
            term,
            from: id,
            to: from,
            flagged,
        });
    }

    /// Rule 9: a flagged replica says that it is, and its vote counts only among those of all.
    fn votes_as_flagged(&self, id: Id) -> bool {
        self.replica(id).flagged && !self.breaks(Mutation::FlaggedVotes)
    }

    fn count_vote(&mut self, id: Id, from: Id, flagged: bool) {
        let replica = self.replica_mut(id);
        match flagged {
            true => replica.flagged_votes = replica.flagged_votes.with(from),
            false => replica.votes = replica.votes.with(from),
        }
        if self.is_elected(id) {
            self.take_office(id);
        }
    }

    /// Rule 2: by E, on both sides of a joint configuration; or, with flagged ones, by all (rule 9).
    fn is_elected(&self, id: Id) -> bool {
        let replica = self.replica(id);
        let all = Set(replica.votes.0 | replica.flagged_votes.0);
        self.counts(id, |side| {
            let needed = match self.breaks(Mutation::ElectByMajority) {
                true => side.n() / 2 + 1,
                false => side.election(),
            };
            side.members_among(replica.votes) >= needed || side.members_among(all) == side.n()
        })
    }

    fn take_office(&mut self, id: Id) {
        let replica = self.replica_mut(id);
        let term = replica.ballot.term;
        replica.role = Role::Leader;
        (replica.votes, replica.flagged_votes) = Default::default();
        // It is the current leader now, and holds the log up to its own last index, once that is synced.
        if replica.flagged {
            replica.sync_and_unflag();
        }
        replica.matched[usize::from(id)] = replica.stored;
        let leaders = &mut self.state.seen.leaders[usize::from(term)];
        *leaders = leaders.with(id);
        // Rule 3: a term begins with an empty entry.
        self.append(id, Payload::Empty);
    }

    // Replication.

    /// A leader appends, and tells the others at once; its own append settles later.
    pub fn append(&mut self, id: Id, payload: Payload) {
        let replica = self.replica_mut(id);
        let term = replica.ballot.term;
        replica.log = replica.log.with(Entry { term, payload });
        self.replicate(id);
    }

    /// To whom it goes, and how much of it arrives, is for the network to say.
    fn replicate(&mut self, id: Id) {
        self.apply_early(id);
        let replica = self.replica(id);
        self.send(Message::Append {
            term: replica.ballot.term,
            from: id,
            log: replica.log,
            commit: replica.commit,
        });
    }

    /// What was appended is stored now: as the row's `appendfsync` says, not necessarily synced.
    pub fn settle(&mut self, id: Id) {
        let replica = self.replica_mut(id);
        replica.stored = replica.log.last_index();
        if replica.role == Role::Leader {
            replica.matched[usize::from(id)] = replica.stored;
            self.advance(id);
        }
    }

    fn on_append(&mut self, id: Id, term: Term, from: Id, log: Log, commit: Index) {
        if !self.admit(id, term) || self.replica(id).role == Role::Leader {
            return;
        }
        let settles = !self.breaks(Mutation::AckBeforeSettling);
        let replica = self.replica_mut(id);
        replica.role = Role::Follower;
        replica.take_entries(log);
        if settles {
            replica.stored = replica.log.last_index();
        }
        let matched = log.last_index();
        self.unflag(id, matched);
        self.commit_to(id, commit.min(matched));
        self.apply_early(id);
        // Rule 9: what a flagged replica stores does not count, so it does not say.
        if !self.replica(id).flagged {
            self.send(Message::Ack {
                term,
                from: id,
                to: from,
                matched,
            });
        }
    }

    fn on_ack(&mut self, id: Id, term: Term, from: Id, matched: Index) {
        let replica = self.replica_mut(id);
        if replica.leads(term) {
            let known = &mut replica.matched[usize::from(from)];
            *known = matched.max(*known);
            self.advance(id);
        }
    }

    /// A leader commits what C hold, and acknowledges what W hold.
    fn advance(&mut self, id: Id) {
        let replica = self.replica(id);
        let (term, log) = (replica.ballot.term, replica.log);
        let known = replica.commit;
        // Rule 3: by counting only entries of its own term; those before come along.
        let may_count =
            |index: &Index| log.term_at(*index) == term || self.breaks(Mutation::CountOlderTerms);
        let is_held = |index: &Index| {
            let holders = replica.holders(*index);
            self.counts(id, |side| side.members_among(holders) >= side.commit())
        };
        let new = (known + 1..=log.last_index())
            .rev()
            .find(|index| may_count(index) && is_held(index));
        if let Some(new) = new {
            self.commit_to(id, new);
            self.replicate(id);
        }
        self.acknowledge(id);
    }

    /// Rule 2: an applied write is acknowledged once W have stored it.
    fn acknowledge(&mut self, id: Id) {
        let replica = *self.replica(id);
        for index in 1..=replica.commit {
            let value = replica.log.get(index).and_then(|e| e.payload.value());
            let Some(value) = value.filter(|v| self.state.history.awaits_write(*v)) else {
                continue;
            };
            let holders = replica.holders(index);
            let is_held = self.counts(id, |side| {
                let needed = match self.breaks(Mutation::AcknowledgeByC) {
                    true => side.commit(),
                    false => side.w,
                };
                side.members_among(holders) >= needed
            });
            // Who took the write, and still leads that term, knows whom to tell.
            if is_held && replica.log.term_at(index) == replica.ballot.term {
                self.state.history.acknowledge(value);
            }
        }
    }

    fn commit_to(&mut self, id: Id, commit: Index) {
        let replica = self.replica_mut(id);
        if commit <= replica.commit {
            return;
        }
        replica.commit = commit;
        self.note_applied(id, commit);
    }

    /// Rule 4, broken: stored is as good as committed.
    fn apply_early(&mut self, id: Id) {
        if self.breaks(Mutation::ApplyBeforeCommit) {
            self.note_applied(id, self.replica(id).log.last_index());
        }
    }

    fn note_applied(&mut self, id: Id, applied: Index) {
        let applied = self.replica(id).log.prefix(applied);
        let seen = &mut self.state.seen;
        if applied.starts_with(seen.committed) {
            seen.committed = applied;
        } else if !seen.committed.starts_with(applied) {
            seen.diverged = true;
        }
    }

    // Messages.

    pub fn deliver(&mut self, message: Message, id: Id) {
        match message {
            Message::RequestVote { term, from, last } => self.on_request_vote(id, term, from, last),
            Message::Vote {
                term,
                from,
                flagged,
                ..
            } => {
                let replica = self.replica(id);
                if replica.role == Role::Candidate && replica.ballot.term == term {
                    self.count_vote(id, from, flagged);
                }
            }
            Message::Append {
                term,
                from,
                log,
                commit,
            } => self.on_append(id, term, from, log, commit),
            Message::Ack {
                term,
                from,
                matched,
                ..
            } => self.on_ack(id, term, from, matched),
            Message::Confirm { term, from, read } => self.on_confirm(id, term, from, read),
            Message::Confirmed {
                term, from, read, ..
            } => {
                if self.replica(id).leads(term) {
                    self.confirm(id, read, from);
                }
            }
            Message::Ask { from, nonce } => self.on_ask(id, from, nonce),
            Message::Answer {
                term, nonce, last, ..
            } => self.on_answer(id, term, nonce, last),
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

    /// Who has stored the entry at `index`, as far as this leader knows.
    pub fn holders(&self, index: Index) -> Set {
        Set::where_(|id| self.matched[usize::from(id)] >= index)
    }
}
