//! What a node tells of the cluster: to clients who look for a key, and to operators.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ring::ids::{NodeId, RangeId};
use crate::ring::meta::Map;
use crate::ring::node::Progress;

/// What a node knows of the cluster at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The node.
    pub me: NodeId,
    /// The newest map; `None` before the first is known.
    pub map: Option<Map>,
    /// For each arc the node that clients should ask: its master, as far as known, or else the first holder by
    /// the map that is not silent. Empty without a map.
    pub routes: Vec<NodeId>,
    /// For each arc whether that node is known to be its master. Clients are sent to no other: two nodes that only
    /// guess might name each other.
    pub mastered: Vec<bool>,
    /// Members of whom nothing has been heard for longer than an election takes.
    pub silent: BTreeSet<NodeId>,
    /// How far this node's ranges are from where the map wants them.
    pub progress: Progress,
}

/// A copy of a range, as it is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeStatus {
    /// The range.
    pub range: RangeId,
    /// `master`, `voter`, `learner`, `candidate` or `void`.
    pub role: String,
    /// Its master, as far as this copy knows.
    pub master: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// The index of the last entry in the log.
    pub last: u64,
    /// What is known to be committed.
    pub commit: u64,
    /// What has been applied.
    pub applied: u64,
    /// Who votes, the preferred master first.
    pub voters: Vec<NodeId>,
    /// Who learns.
    pub learners: Vec<NodeId>,
    /// Copies.
    pub n: u8,
    /// Copies that store a write before it is acknowledged.
    pub w: u8,
    /// Copies that a read hears.
    pub r: u8,
    /// Writes that this node has taken for it since it started.
    pub writes: u64,
    /// Reads likewise.
    pub reads: u64,
}

/// By how many copies a request wants to be answered, where that is more than the cluster's setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consistency {
    /// Copies that store a write; 0 for the setting.
    pub w: u8,
    /// Copies that a read hears; 0 for the setting.
    pub r: u8,
    /// Reads are answered at once, however old.
    pub weak: bool,
}
