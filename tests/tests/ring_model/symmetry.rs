//! Replicas are alike: two states that differ only in who is called what are one. The checker tells states
//! apart by their hash, so the hash is that of a representative, while traces keep their names.

use std::hash::{Hash, Hasher};

use crate::quorum::{Id, REPLICAS, Set};
use crate::state::{Message, Read, Replica, State};

/// New names: `0[old]` is the new one, `1[new]` the old one.
struct Names([Id; REPLICAS as usize], [Id; REPLICAS as usize]);

impl Names {
    /// Sorts the replicas by what does not depend on names. Ties are broken by the old name, which makes
    /// two states of one that would be one: more states, never fewer than there are.
    fn of(state: &State) -> Self {
        let mut old = [0, 1, 2];
        old.sort_by_cached_key(|id| {
            let Replica {
                ballot,
                log,
                role,
                commit,
                stored,
                flagged,
                ..
            } = *state.replica(*id);
            let is_member = state.configs.map(|c| c.members.contains(*id));
            let votes_for_itself = ballot.vote == Some(*id);
            let messages = state
                .network
                .iter()
                .map(|m| involvement(m, *id))
                .sum::<u32>();
            let own = (ballot.term, log, role, commit, stored, flagged);
            (own, is_member, votes_for_itself, messages, *id)
        });
        let mut new = [0; REPLICAS as usize];
        for (name, id) in old.iter().enumerate() {
            new[usize::from(*id)] = name as Id;
        }
        Self(new, old)
    }

    fn id(&self, id: Id) -> Id {
        self.0[usize::from(id)]
    }

    fn set(&self, set: Set) -> Set {
        Set::where_(|new| set.contains(self.1[usize::from(new)]))
    }

    fn message(&self, message: &Message) -> Message {
        let mut message = *message;
        match &mut message {
            Message::RequestVote { from, .. }
            | Message::Append { from, .. }
            | Message::Confirm { from, .. }
            | Message::Ask { from, .. } => *from = self.id(*from),
            Message::Vote { from, to, .. }
            | Message::Ack { from, to, .. }
            | Message::Confirmed { from, to, .. } => {
                *from = self.id(*from);
                *to = self.id(*to);
            }
            Message::Answer { to, .. } => *to = self.id(*to),
        }
        message
    }

    fn replica(&self, state: &State, name: usize) -> Replica {
        let mut replica = *state.replica(self.1[name]);
        replica.ballot.vote = replica.ballot.vote.map(|id| self.id(id));
        replica.disk.vote = replica.disk.vote.map(|id| self.id(id));
        replica.votes = self.set(replica.votes);
        replica.flagged_votes = self.set(replica.flagged_votes);
        replica.matched = self.1.map(|old| replica.matched[usize::from(old)]);
        replica
    }

    fn read(&self, read: Read) -> Read {
        match read {
            Read::Waiting {
                leader,
                term,
                index,
                heard,
            } => Read::Waiting {
                leader: self.id(leader),
                term,
                index,
                heard: self.set(heard),
            },
            other => other,
        }
    }
}

/// A number that says what part a replica has in a message, whatever it is called.
fn involvement(message: &Message, id: Id) -> u32 {
    let of = |from: Id, kind: u32, term: u8, length: u8| {
        u32::from(from == id) * (kind << 12 | u32::from(term) << 6 | u32::from(length))
    };
    match *message {
        Message::RequestVote { from, term, .. } => of(from, 1, term, 0),
        Message::Vote { from, to, term, .. } => of(from, 3, term, 0) + of(to, 7, term, 0),
        Message::Append {
            from, term, log, ..
        } => of(from, 11, term, log.last_index()),
        Message::Ack {
            from,
            to,
            term,
            matched,
        } => of(from, 17, term, matched) + of(to, 29, term, matched),
        Message::Confirm { from, term, .. } => of(from, 37, term, 0),
        Message::Confirmed { from, to, term, .. } => of(from, 43, term, 0) + of(to, 53, term, 0),
        Message::Ask { from, nonce } => of(from, 61, 0, nonce),
        Message::Answer { to, term, last, .. } => of(to, 71, term, last),
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let names = Names::of(self);
        for name in 0..REPLICAS.into() {
            names.replica(self, name).hash(hasher);
        }
        let mut network: Vec<Message> = self.network.iter().map(|m| names.message(m)).collect();
        network.sort_unstable();
        network.hash(hasher);
        self.reads.map(|read| names.read(read)).hash(hasher);
        self.history.hash(hasher);
        for config in self.configs {
            (names.set(config.members), config.w, config.r).hash(hasher);
        }
        (self.process_crashes, self.machine_crashes).hash(hasher);
        let mut seen = self.seen.clone();
        seen.leaders = seen.leaders.map(|leaders| names.set(leaders));
        seen.hash(hasher);
    }
}
