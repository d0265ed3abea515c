//! The face that a node of a cluster shows: to Redis Cluster's clients, to operators, to monitors.
//!
//! What clients are told comes from one [`View`] at a time, so that CLUSTER SLOTS, CLUSTER NODES and MOVED
//! agree. Masters alone are announced, and every slot always has one: clients reject a map with holes, and a
//! node holds requests for a range without a master until there is one. Nothing here decides anything about
//! the cluster: that is the ring's.

mod answer;
mod backup;
mod figures;
mod operate;
mod redirect;
mod status;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod topology;
mod words;

use std::convert::Infallible;
use std::sync::Arc;

use serde::Serialize;
use trilith::ring::driver::{Consistency, RangeStatus, View};
use trilith::ring::meta::Proposal;
use trilith::ring::{NodeId, RangeId};
use trilith::{Error, ErrorKind, Result};

pub use answer::answer;
pub use backup::{Backups, OpenBackup};
pub use figures::Figures;
pub use redirect::redirect;
pub use topology::Topology;

/// A node of a cluster, as the server sees it. Cloning shares it.
pub trait Cluster: Clone + Send + Sync + 'static {
    /// What the node knows of the cluster at this moment. Asked for with every batch of commands, so it
    /// must cost next to nothing.
    fn view(&self) -> Arc<View>;

    /// Whether a range is mastered here at this very moment; the view may be a little older.
    fn masters(&self, range: RangeId) -> bool;

    /// Where clients reach this node, `host:port`: told while it is not on any map yet.
    fn address(&self) -> &str;

    /// The copies of ranges that are here, the meta range's too.
    fn ranges(&self) -> Vec<RangeStatus>;

    /// The ways to other nodes.
    fn links(&self) -> Vec<Link>;

    /// What keeps the node from taking writes, if anything does.
    fn trouble(&self) -> Option<Trouble>;

    /// Proposes a change of the map, and answers once it is made.
    ///
    /// # Errors
    /// `Invalid` if it was refused, `Unknown` if it may yet be made.
    fn propose(&self, proposal: Proposal) -> impl Future<Output = Result<()>> + Send;

    /// Begins to hand a range that is mastered here over to `to`, or to whoever is fittest.
    fn hand_over(&self, range: RangeId, to: Option<NodeId>);

    /// Lets the copy here lead a range whose other copies are lost for good.
    ///
    /// # Errors
    /// There is no such copy here, or nothing is to be recovered.
    fn recover(&self, range: RangeId) -> impl Future<Output = Result<()>> + Send;

    /// Pins the copy here of a range, to be read by one who makes a backup.
    ///
    /// # Errors
    /// There is no such copy here, it is not known to be up to date, or too many are being read.
    fn backup(&self, range: RangeId) -> impl Future<Output = Result<OpenBackup>> + Send;
}

/// What keeps a node from taking writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// It has to be started again; else it goes on by itself.
    pub stopped: bool,
    /// Its disk is full.
    pub full: bool,
    /// What has happened.
    pub what: String,
}

impl Trouble {
    /// An error of a store's, of which its node has stopped or has not.
    pub fn of(error: &Error, stopped: bool) -> Self {
        Self {
            stopped,
            full: error.kind() == ErrorKind::Full,
            what: error.to_string(),
        }
    }
}

/// What has happened, and what to do about it.
impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let remedy = match (self.stopped, self.full) {
            (true, _) => "look at its disk, then start it again",
            (false, true) => "free some space, writes resume by themselves",
            (false, false) => "writes resume by themselves once that is mended",
        };
        write!(f, "{}; {remedy}", self.what)
    }
}

/// The way to another node, and what has passed on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The other node.
    pub node: NodeId,
    /// Whether there is a connection to it.
    pub is_connected: bool,
    /// How long that connection has stood.
    pub connected_for_ms: u64,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// Bytes sent to it since this node started.
    pub sent_bytes: u64,
    /// Bytes that came from it.
    pub received_bytes: u64,
    /// Packets to it that were dropped.
    pub dropped: u64,
}

/// What a connection has said about the cluster.
#[derive(Debug, Default)]
pub struct Stance {
    /// It has asked for the map, so it is redirected where others are forwarded.
    pub knows_map: bool,
    /// READONLY: it reads from copies that are not mastered here.
    pub reads_copies: bool,
    /// How its commands are to be run.
    pub consistency: Consistency,
    /// The smallest W that a write of its was run with; 0 is the cluster's.
    stored_by: Option<u8>,
    /// The range that it reads for a backup.
    backup: Option<OpenBackup>,
}

impl Stance {
    /// Takes note of a write that is run.
    pub fn writes(&mut self) {
        let w = self.consistency.w;
        self.stored_by = Some(self.stored_by.map_or(w, |least| least.min(w)));
    }

    /// Ends a backup that was begun and that nobody goes on with; never ready while there is none.
    pub async fn lapse(&mut self) {
        match &self.backup {
            Some(open) => open.lapsed().await,
            None => std::future::pending().await,
        }
        self.backup = None;
    }
}

/// A store that is no node of any cluster.
impl Cluster for Infallible {
    fn view(&self) -> Arc<View> {
        match *self {}
    }

    fn masters(&self, _: RangeId) -> bool {
        match *self {}
    }

    fn address(&self) -> &str {
        match *self {}
    }

    fn ranges(&self) -> Vec<RangeStatus> {
        match *self {}
    }

    fn links(&self) -> Vec<Link> {
        match *self {}
    }

    fn trouble(&self) -> Option<Trouble> {
        match *self {}
    }

    async fn propose(&self, _: Proposal) -> Result<()> {
        match *self {}
    }

    fn hand_over(&self, _: RangeId, _: Option<NodeId>) {
        match *self {}
    }

    async fn recover(&self, _: RangeId) -> Result<()> {
        match *self {}
    }

    async fn backup(&self, _: RangeId) -> Result<OpenBackup> {
        match *self {}
    }
}

/// A node's id as CLUSTER has it: 40 hexadecimal digits.
fn long_id(node: NodeId) -> String {
    format!("{:040x}", node.0)
}

/// A node's id as RING has it: 16 hexadecimal digits.
fn short_id(node: NodeId) -> String {
    format!("{:016x}", node.0)
}

/// The id in either form.
fn parse_id(word: &[u8]) -> Option<NodeId> {
    let text = std::str::from_utf8(word).ok()?;
    if !matches!(text.len(), 16 | 40) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(text.trim_start_matches('0'), 16).ok()?;
    u64::try_from(number).ok().map(NodeId)
}
