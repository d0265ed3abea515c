//! How a node is driven, and what it asks of its network.

use std::fmt;
use std::sync::Arc;

use crate::db;
use crate::ring::ids::{NodeId, RangeId};
use crate::ring::meta::Map;
use crate::ring::node::Packet;
use crate::ring::quorum::Quorum;
use crate::ring::range;
use crate::ring::trace::Event;
use crate::{MaybeSend, MaybeSync};

/// Carries packets to other nodes. May lose, delay and double them; never blocks, and never calls the driver back
/// from within.
pub trait Transport: Clone + MaybeSend + MaybeSync + 'static {
    /// Sends a packet to the node that it names.
    fn send(&self, packet: Packet);

    /// The members, and where they are reached: told whenever the map has changed.
    fn learn(&self, map: &Map);

    /// Whether the connection to a node has broken and there is no new one yet: what is sent to it now does not arrive.
    fn is_cut(&self, _node: NodeId) -> bool {
        false
    }
}

/// Looks on while a node is driven: for whoever draws it.
pub trait Observer: fmt::Debug + MaybeSend + MaybeSync {
    /// Something has happened to a copy of a range that is here. Told in the order in which it happened to that copy;
    /// must return soon, and never call the driver back.
    fn saw(&self, range: RangeId, event: Event);
}

/// How a node is driven.
#[derive(Clone, Debug)]
pub struct DriverOptions {
    /// How its store is opened.
    pub store: db::Options,
    /// How its ranges behave. All nodes should have the same.
    pub ring: range::Options,
    /// Where its clients reach it: host and port.
    pub address: String,
    /// What fails together with it.
    pub zone: String,
    /// Its share, relative to that of others.
    pub weight: u32,
    /// What it does if its store belongs to no cluster.
    pub start: Start,
    /// Shards that its ranges are spread over: as many as there are processors.
    pub shards: usize,
    /// Who is told what happens to its ranges, where [`range::Options::trace`] is set.
    pub observer: Option<Arc<dyn Observer>>,
}

impl DriverOptions {
    /// Defaults for a node of an address.
    pub fn new(address: impl Into<String>, start: Start) -> Self {
        Self {
            store: db::Options::default(),
            ring: range::Options::default(),
            address: address.into(),
            zone: String::new(),
            weight: 1,
            start,
            shards: 1,
            observer: None,
        }
    }
}

/// What a node does whose store belongs to no cluster.
#[derive(Clone, Debug)]
pub enum Start {
    /// It founds one, of which it is the only node.
    Found {
        /// The cluster's quorums, which hold as soon as there are enough nodes.
        quorum: Quorum,
    },
    /// It founds one together with the others that the map names, each of which is started with the same map.
    FoundTogether {
        /// Who is a member, and who holds what.
        map: Map,
    },
    /// It joins one.
    Join {
        /// Nodes of it; the transport knows where they are.
        contacts: Vec<NodeId>,
    },
}
