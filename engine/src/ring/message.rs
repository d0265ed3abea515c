//! What replicas of one range tell each other.
//!
//! Messages may be lost, doubled, delayed and reordered; each says enough to be judged by itself. A node
//! merges what it has for another node into one packet.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::ids::{Index, LogId, RangeId, Term};
use super::membership::{Configuration, Member};

/// A message between two replicas of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The range.
    pub range: RangeId,
    /// Who sends it.
    pub from: Member,
    /// Whom it is for: another incarnation ignores it.
    pub to: Member,
    /// The sender's term; in a pre-vote, the term that it would campaign in.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// What a master hears that speaks to a copy which is gone for good, said on behalf of the copy.
    pub fn answer_of_one_gone(&self) -> Option<Self> {
        matches!(self.body, Body::Append(_) | Body::Chunk(_)).then(|| Self {
            range: self.range,
            from: self.to,
            to: self.from,
            term: 0,
            body: Body::Gone,
        })
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Would you vote for me?
    PreVote {
        /// The candidate's last entry.
        last: LogId,
    },
    /// Vote for me.
    Vote {
        /// The candidate's last entry.
        last: LogId,
        /// The master has asked for it, so that hearing it is no reason to refuse.
        handover: bool,
    },
    /// The answer to a vote or a pre-vote.
    Ballot {
        /// The term that was asked about.
        asked: Term,
        /// Whether it was a pre-vote.
        pre: bool,
        /// Whether the vote is given.
        granted: bool,
        /// The voter may have forgotten entries: its vote counts among all only.
        flagged: bool,
    },
    /// The master's entries, or its heartbeat.
    Append(Append),
    /// A follower's answer to an append.
    Report(Report),
    /// A part of a snapshot.
    Chunk(Box<Chunk>),
    /// How far a follower is with a snapshot.
    ChunkStored {
        /// The snapshot.
        id: u64,
        /// The part that it wants next.
        next: u64,
    },
    /// Campaign now: you are to be the master.
    Handover,
    /// At which index may I read?
    AskIndex {
        /// Tells the asker's questions apart.
        token: u64,
        /// Replicas that must be heard at least.
        at_least: u8,
    },
    /// The answer: apply up to here, then read.
    ReadIndex {
        /// The question's.
        token: u64,
        /// The index, or `None` if this is not the master.
        index: Option<Index>,
    },
    /// I am here and hear of no master: am I still a member?
    Knock {
        /// By a follower, who could not tell.
        passed_on: bool,
    },
    /// You are not a member any more: this configuration entry is committed and leaves you out.
    Removed {
        /// It, in the term of what is committed.
        at: LogId,
    },
    /// The copy that you speak to is gone for good.
    Gone,
    /// Sum up your state when you have applied this entry of mine, and nothing behind it.
    Scrub {
        /// Its index.
        at: Index,
    },
    /// The answer.
    Digested {
        /// The entry's index.
        at: Index,
        /// The sum.
        digest: u64,
    },
    /// Your state was not what it should have been: take a snapshot.
    Replace {
        /// The index of the entry that showed it.
        at: Index,
    },
}

/// Entries for a follower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The entry before the first; everything up to it must be equal.
    pub before: LogId,
    /// The entries; none in a heartbeat.
    pub entries: Vec<Arc<Entry>>,
    /// The master's commit index.
    pub commit: Index,
    /// The round of confirmations that the answer counts for.
    pub round: u64,
    /// The follower's nonce, and the master's last index when it was answered.
    pub nonce: Option<(u64, Index)>,
    /// Where each of the last terms began in the master's log, the newest last.
    pub terms: Vec<LogId>,
}

/// What a follower holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Up to here it has stored the master's log.
    pub stored: Index,
    /// The append's `before` was not found; go on behind this index.
    pub missing: Option<Missing>,
    /// Up to here it has applied.
    pub applied: Index,
    /// The append's round.
    pub round: u64,
    /// Set while it may have forgotten entries: it does not count.
    pub nonce: Option<u64>,
    /// Its clock, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Its store takes nothing at present: it is to be sent no entries.
    pub is_read_only: bool,
}

/// Why an append could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The index of the `before` that was not found.
    pub before: Index,
    /// Where the logs may meet.
    pub behind: Index,
    /// Nothing but a snapshot helps.
    pub snapshot: bool,
}

/// What a snapshot is a snapshot of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Tells the master's snapshots apart.
    pub id: u64,
    /// The last entry applied in it.
    pub at: LogId,
    /// That entry's time.
    pub time_ms: u64,
    /// The newest configuration at or before it.
    pub configuration: Configuration,
    /// The index of that configuration's entry.
    pub configured_at: Index,
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The snapshot it belongs to.
    pub head: SnapshotHead,
    /// Its place among the parts, from 0.
    pub number: u64,
    /// Whether it is the last.
    pub last: bool,
    /// Keys and values, as the store encodes them.
    pub bytes: Bytes,
    /// Where each of the last terms began in the master's log, the newest last.
    pub terms: Vec<LogId>,
}

impl Body {
    /// A stable name, for traces.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PreVote { .. } => "pre-vote",
            Self::Vote { .. } => "vote",
            Self::Ballot { .. } => "ballot",
            Self::Append(append) if append.entries.is_empty() => "heartbeat",
            Self::Append(_) => "append",
            Self::Report(_) => "report",
            Self::Chunk(_) => "chunk",
            Self::ChunkStored { .. } => "chunk-stored",
            Self::Handover => "handover",
            Self::AskIndex { .. } => "ask-index",
            Self::ReadIndex { .. } => "read-index",
            Self::Knock { .. } => "knock",
            Self::Removed { .. } => "removed",
            Self::Gone => "gone",
            Self::Scrub { .. } => "scrub",
            Self::Digested { .. } => "digested",
            Self::Replace { .. } => "replace",
        }
    }
}
