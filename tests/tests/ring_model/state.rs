//! What there is: three replicas of one range, the messages under way, one client, and what was seen so far.

use crate::history::History;
use crate::log::{Index, Log, Payload, Term};
use crate::quorum::{Config, Id, REPLICAS, Set, Sides};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
}

/// A term and the vote given in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ballot {
    pub term: Term,
    pub vote: Option<Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// In memory. The same as `disk` whenever a message leaves (rule 1).
    pub ballot: Ballot,
    pub disk: Ballot,
    pub log: Log,
    /// So much of the log survives a crash of the process.
    pub stored: Index,
    /// So much survives a crash of the machine for sure; of the rest, any prefix.
    pub synced: Index,
    /// The log before it was last cut. Until the cut is synced, a crash of the machine may undo it.
    pub overwritten: Log,
    /// Amnesia: may have forgotten what it has answered for (rule 9).
    pub flagged: bool,
    /// Raised at each crash, so that old answers are known as such.
    pub nonce: u8,
    /// The last index of a leader that answered the nonce: holding so much clears the flag.
    pub target: Option<Index>,

    // What follows is lost in a crash.
    pub role: Role,
    /// Of a candidate: who votes for it, and which of them are flagged.
    pub votes: Set,
    pub flagged_votes: Set,
    /// Of a leader: how much of its log each replica has stored.
    pub matched: [Index; REPLICAS as usize],
    pub commit: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// To all: vote for me; my log ends so.
    RequestVote {
        term: Term,
        from: Id,
        last: (Term, Index),
    },
    Vote {
        term: Term,
        from: Id,
        to: Id,
        flagged: bool,
    },
    /// To all: the leader's whole log. Older messages are its prefixes.
    Append {
        term: Term,
        from: Id,
        log: Log,
        commit: Index,
    },
    Ack {
        term: Term,
        from: Id,
        to: Id,
        matched: Index,
    },
    /// To all: do you still follow me? Asked for one read.
    Confirm { term: Term, from: Id, read: u8 },
    Confirmed {
        term: Term,
        from: Id,
        to: Id,
        read: u8,
    },
    /// To all: a flagged replica looks for its leader.
    Ask { from: Id, nonce: u8 },
    Answer {
        term: Term,
        to: Id,
        nonce: u8,
        last: Index,
    },
}

/// A strong read on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    Unsent,
    /// At a leader, which has noted its commit index.
    Waiting {
        leader: Id,
        term: Term,
        index: Index,
        heard: Set,
    },
    /// Any replica that has applied so much may answer.
    Ready {
        index: Index,
    },
    /// Its leader lost office: it is never answered.
    Lost,
    Done,
}

/// What has happened, for the properties; no replica knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// All that any replica took for committed.
    pub committed: Log,
    /// Two replicas took different entries for committed at one index.
    pub diverged: bool,
    /// Who has led, term by term.
    pub leaders: [Set; 8],
    /// How many were flagged at once, at most: rule 9 survives one, and acknowledged writes fewer than W.
    pub flagged_at_once: u8,
    pub linearizable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub replicas: [Replica; REPLICAS as usize],
    /// Sent, sorted. A message stays when it is delivered: it can be lost, late, doubled and out of order.
    pub network: Vec<Message>,
    pub reads: [Read; 2],
    pub history: History,
    /// The first configuration, and the one that a change leads to.
    pub configs: [Config; 2],
    pub process_crashes: u8,
    pub machine_crashes: u8,
    pub seen: Seen,
}

impl Replica {
    pub const NEW: Self = Self {
        ballot: Ballot {
            term: 0,
            vote: None,
        },
        disk: Ballot {
            term: 0,
            vote: None,
        },
        log: Log::EMPTY,
        stored: 0,
        synced: 0,
        overwritten: Log::EMPTY,
        flagged: false,
        nonce: 0,
        target: None,
        role: Role::Follower,
        votes: Set(0),
        flagged_votes: Set(0),
        matched: [0; REPLICAS as usize],
        commit: 0,
    };

    pub fn leads(&self, term: Term) -> bool {
        self.role == Role::Leader && self.ballot.term == term
    }

    /// A leader neither reads strongly nor changes the configuration before this (rule 3).
    pub fn has_committed_in_its_term(&self) -> bool {
        self.log.term_at(self.commit) == self.ballot.term
    }

    /// It holds this log, all of it synced, its term with it.
    pub fn with_log(mut self, log: Log) -> Self {
        self.log = log;
        self.stored = log.last_index();
        self.synced = self.stored;
        self
    }

    pub fn in_term(mut self, term: Term, vote: Option<Id>) -> Self {
        self.ballot = Ballot { term, vote };
        self.disk = self.ballot;
        self
    }
}

impl State {
    /// Empty replicas that have just met.
    pub fn new(configs: [Config; 2]) -> Self {
        Self {
            replicas: [Replica::NEW; REPLICAS as usize],
            network: Vec::new(),
            reads: [Read::Unsent; 2],
            history: History::default(),
            configs,
            process_crashes: 0,
            machine_crashes: 0,
            seen: Seen {
                committed: Log::EMPTY,
                diverged: false,
                leaders: [Set::default(); 8],
                flagged_at_once: 0,
                linearizable: true,
            },
        }
    }

    pub fn replica(&self, id: Id) -> &Replica {
        &self.replicas[usize::from(id)]
    }

    pub fn replica_mut(&mut self, id: Id) -> &mut Replica {
        &mut self.replicas[usize::from(id)]
    }

    /// The configuration that the last such entry in `log` puts in effect.
    pub fn sides_by(&self, log: Log) -> Sides {
        let [old, new] = self.configs;
        let (first, second) = match last_change(log) {
            None => (old, None),
            Some((_, Payload::Joint)) => (old, Some(new)),
            Some(_) => (new, None),
        };
        Sides { first, second }
    }

    pub fn send(&mut self, message: Message) {
        if let Err(at) = self.network.binary_search(&message) {
            self.network.insert(at, message);
        }
    }

    /// The leader that all others will follow or outvote: of the highest term that any replica knows.
    pub fn newest_leader(&self) -> Option<&Replica> {
        let newest = self.replicas.iter().map(|r| r.ballot.term).max()?;
        self.replicas.iter().find(|r| r.leads(newest))
    }
}

/// The last entry of `log` that changes the configuration.
pub fn last_change(log: Log) -> Option<(Index, Payload)> {
    let changes = (1..=log.last_index()).rev().filter_map(|index| {
        let payload = log.get(index)?.payload;
        matches!(payload, Payload::Joint | Payload::Leave).then_some((index, payload))
    });
    changes.into_iter().next()
}
