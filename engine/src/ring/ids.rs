//! What the ring's parts call each other by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node, or rather its store: a new disk is a new node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A range: the number of its arc, or [`META`].
pub type RangeId = u32;

/// The range that holds members, zones, placement and settings.
pub const META: RangeId = u32::MAX;

/// A master's time in office, numbered.
pub type Term = u64;

/// An entry's place in its range's log; the first is 1.
pub type Index = u64;

/// A client's request, as its node numbers them.
pub type RequestId = u64;

/// An entry's identity: two logs that hold an entry of one term at one index are equal up to there.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogId {
    /// The term it was appended in; compared first.
    pub term: Term,
    /// Its index.
    pub index: Index,
}

impl LogId {
    /// One number in the same order, for those who need not know what it means.
    pub fn to_number(self) -> u128 {
        u128::from(self.term) << 64 | u128::from(self.index)
    }

    /// What [`to_number`](Self::to_number) made a number of.
    pub fn from_number(number: u128) -> Self {
        Self {
            term: (number >> 64) as Term,
            index: number as Index,
        }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
