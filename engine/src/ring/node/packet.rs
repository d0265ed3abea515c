//! What one node tells another, merged: heartbeats of all ranges that two nodes share travel together.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ring::effect::{Outcome, ReadLevel};
use crate::ring::ids::{NodeId, RangeId, RequestId, Term};
use crate::ring::membership::Member;
use crate::ring::message::Message;
use crate::ring::meta::Map;

/// Everything that one node has for another at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The version of the map that the sender has; 0 for none.
    pub map_version: u64,
    /// What it says, in order.
    pub said: Vec<Said>,
}

/// One thing that a node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// A replica's message to another.
    Replica(Message),
    /// The newest map.
    Map(Box<Map>),
    /// Nothing but the version of the sender's map, which the receiver may have sent in vain.
    Greeting,
    /// Is this copy of mine still a member of its range? Nobody is heard there.
    Knock(RangeId, Member),
    /// A client's request, for the master of its range.
    Asked(Forwarded),
    /// What became of one.
    Answered {
        /// The asking node's number of the request.
        request: RequestId,
        /// What its client hears.
        outcome: Outcome,
    },
    /// The ranges that the sender is the master of, all of them, and since which term. From driver to driver: the
    /// node has no part in it, nor in the next two.
    Led(Vec<(RangeId, Term)>),
    /// A client's read, for a node that holds the range.
    AskedToRead(ForwardedRead),
    /// What became of one: `Done`, or why not.
    AnsweredRead {
        /// The asking node's number of the request.
        request: RequestId,
        /// What its client hears.
        outcome: Outcome,
    },
}

/// A client's read on its way to a node that holds the range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedRead {
    /// The asking node's number of the request.
    pub request: RequestId,
    /// The range.
    pub range: RangeId,
    /// How.
    pub level: ReadLevel,
    /// The command.
    pub payload: Bytes,
}

/// A client's write on its way to the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The asking node's number of the request.
    pub request: RequestId,
    /// The range.
    pub range: RangeId,
    /// The command.
    pub payload: Bytes,
    /// Replicas that must store it at least.
    pub at_least: u8,
}

/// What is to be sent, by receiver.
#[derive(Debug, Default)]
pub(super) struct Packets {
    waiting: BTreeMap<NodeId, Vec<Said>>,
}

impl Packets {
    pub(super) fn add(&mut self, to: NodeId, said: Said) {
        self.waiting.entry(to).or_default().push(said);
    }

    /// Takes a packet for each node that there is something for.
    pub(super) fn take(
        &mut self,
        from: NodeId,
        map_version: u64,
    ) -> impl Iterator<Item = Packet> + use<> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(move |(to, said)| Packet {
            from,
            to,
            map_version,
            said,
        })
    }
}
