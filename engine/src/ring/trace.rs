//! What an observer may see of the ring: structured events with stable names.
//!
//! EXPLAIN, the tests and the demo's animation all read these; a field that is there stays there.

use serde::Serialize;

use super::ids::{Index, LogId, NodeId, RangeId, RequestId, Term};

/// An event, where it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Traced {
    /// Virtual or monotonic milliseconds.
    pub at_ms: u64,
    /// The node.
    pub node: NodeId,
    /// The range.
    pub range: RangeId,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A message left.
    Sent {
        /// For whom.
        to: NodeId,
        /// The message's name.
        message: &'static str,
    },
    /// A replica asks whether it would be elected.
    PreVote {
        /// The term it would campaign in.
        term: Term,
    },
    /// A replica campaigns.
    Campaign {
        /// The term.
        term: Term,
    },
    /// A vote was given.
    Voted {
        /// The term.
        term: Term,
        /// To whom.
        candidate: NodeId,
    },
    /// A master takes office.
    Elected {
        /// Its term.
        term: Term,
        /// Its last entry at that time.
        last: LogId,
        /// It needed votes of replicas that may have forgotten entries: up to a second's writes may be lost.
        by_flagged: bool,
    },
    /// A master leaves office.
    SteppedDown {
        /// Its term.
        term: Term,
        /// Why.
        why: &'static str,
    },
    /// An entry was appended.
    Appended {
        /// The entry.
        at: LogId,
        /// The client's request, at the master.
        request: Option<RequestId>,
    },
    /// An append has settled.
    Stored {
        /// The last entry stored.
        upto: Index,
    },
    /// A follower has stored entries.
    Acked {
        /// The follower.
        by: NodeId,
        /// The last entry it has stored.
        upto: Index,
    },
    /// Entries are committed.
    Committed {
        /// The last of them.
        upto: LogId,
    },
    /// Entries are applied.
    Applied {
        /// The last of them.
        upto: LogId,
    },
    /// Entries were cut off.
    Truncated {
        /// The first of them.
        from: Index,
    },
    /// A read was confirmed.
    Confirmed {
        /// The round.
        round: u64,
        /// The index it reads at.
        index: Index,
    },
    /// Members or quorums have changed here; a joint configuration says so.
    Configured {
        /// The entry's index.
        at: Index,
        /// Those who vote.
        voters: Vec<NodeId>,
        /// Those who voted, while it is joint.
        outgoing: Vec<NodeId>,
        /// Those who follow.
        learners: Vec<NodeId>,
    },
    /// A snapshot is on its way.
    SnapshotStarted {
        /// For whom.
        to: NodeId,
        /// The last entry in it.
        at: LogId,
    },
    /// The state was replaced.
    SnapshotInstalled {
        /// The last entry in it.
        at: LogId,
    },
    /// This replica may have forgotten entries.
    Amnesiac,
    /// It has caught up with a master, and counts again.
    Remembered,
    /// This replica's state differs from the master's log; entries were written to the lost-writes file.
    Diverged {
        /// The last entry that both have.
        behind: LogId,
        /// How many entries are lost.
        entries: u64,
    },
    /// An operator has made this copy the whole range: what the others had behind its last entry is lost.
    Recovered {
        /// Its last entry.
        behind: LogId,
    },
    /// A copy's state is not what the others have at the same entry; it is replaced.
    Mismatch {
        /// Who holds it.
        node: NodeId,
        /// The entry's index.
        at: Index,
    },
    /// This copy is no longer a member.
    Destroyed,
}
