//! How a driver reaches other nodes: the network is the host's.

use crate::ring::meta::Map;
use crate::ring::node::Packet;
use crate::{MaybeSend, MaybeSync};

/// Carries packets to other nodes. It may lose, delay and double them, and never blocks.
pub trait Transport: Clone + MaybeSend + MaybeSync + 'static {
    /// Sends a packet to the node that it names, if that can be reached.
    fn send(&self, packet: Packet);

    /// The members, and where they are reached: told whenever the map has changed.
    fn learn(&self, map: &Map);
}
