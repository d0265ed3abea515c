//! Replicas are alike: two states that differ only in who is called what are one. The checker tells states
//! apart by their hash, so the hash is that of a representative, while traces keep their names.

use std::hash::{Hash, Hasher};

use crate::quorum::{Config, Id, REPLICAS, Set};
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

impl State {
    /// The same state, with the replicas called by their new names.
    fn renamed(&self, names: &Names) -> Self {
        let mut network: Vec<Message> = self.network.iter().map(|m| names.message(m)).collect();
        network.sort_unstable();
        let mut seen = self.seen.clone();
        seen.leaders = seen.leaders.map(|leaders| names.set(leaders));
        Self {
            replicas: [0, 1, 2].map(|name| names.replica(self, name)),
            network,
            reads: self.reads.map(|read| names.read(read)),
            history: self.history,
            configs: self.configs.map(|config| Config {
                members: names.set(config.members),
                ..config
            }),
            process_crashes: self.process_crashes,
            machine_crashes: self.machine_crashes,
            seen,
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            replicas,
            network,
            reads,
            history,
            configs,
            process_crashes,
            machine_crashes,
            seen,
        } = self.renamed(&Names::of(self));
        (replicas, network, reads, history, configs).hash(hasher);
        (process_crashes, machine_crashes, seen).hash(hasher);
    }
}

#[test]
fn a_state_under_other_names_is_the_same_state() {
    use crate::rows::{led, row};
    use crate::step::Step;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    let mut step = Step {
        state: led(row(2, 2)),
        mutation: None,
    };
    step.begin_read(0, 0);
    step.campaign(1);
    let is_request = |m: &&Message| matches!(m, Message::RequestVote { .. });
    let request = *step.state.network.iter().find(is_request).unwrap();
    step.deliver(request, 2);
    let before = step.state.clone();
    let hash = |state: &State| BuildHasherDefault::<DefaultHasher>::default().hash_one(state);
    for (new, old) in [
        ([1, 2, 0], [2, 0, 1]),
        ([2, 1, 0], [2, 1, 0]),
        ([0, 2, 1], [0, 2, 1]),
    ] {
        let renamed = before.renamed(&Names(new, old));
        assert_ne!(renamed, before);
        assert_eq!(hash(&renamed), hash(&before));
    }
    step.settle(0);
    step.campaign(2);
    assert_ne!(hash(&step.state), hash(&before));
}
