//! Who masters which slots, as clients are told.

use trilith::ring::NodeId;
use trilith::ring::driver::View;
use trilith::slot::{ARCS, SLOTS, arc_of};

/// One view, read as a map of masters in which no slot is missing.
pub struct Topology<'a> {
    view: &'a View,
    own_address: &'a str,
}

/// Neighbouring slots of one master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// Their master.
    pub node: NodeId,
}

/// Where a node is reached by clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The host, without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
}

impl<'a> Endpoint<'a> {
    /// Reads `host:port` or `[host]:port`.
    fn new(address: &'a str) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Self {
            host,
            port: port.parse().unwrap_or(0),
        }
    }
}

impl std::fmt::Display for Endpoint<'_> {
    /// As Redis writes it: an IPv6 address has no brackets, and the port is what follows the last colon.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl<'a> Topology<'a> {
    /// Reads `view`; `own_address` is told as long as this node is not on the map.
    pub fn new(view: &'a View, own_address: &'a str) -> Self {
        Self { view, own_address }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.view.me
    }

    /// The version of the map; 0 for none.
    pub fn version(&self) -> u64 {
        self.view.map.as_ref().map_or(0, |map| map.version)
    }

    /// Whom clients should ask for a slot. Always somebody who can be reached by an address: where the map
    /// does not say, this node, which forwards.
    pub fn master(&self, slot: u16) -> NodeId {
        self.master_of_arc(arc_of(slot))
    }

    /// Likewise for all slots of an arc.
    pub fn master_of_arc(&self, arc: u16) -> NodeId {
        let view = self.view;
        let Some(map) = &view.map else {
            return view.me;
        };
        let route = view.routes.get(usize::from(arc));
        if let Some(route) = route.filter(|node| map.members.contains_key(node)) {
            return *route;
        }
        let mut holders = map.holders(arc.into()).iter();
        holders
            .find(|node| map.members.contains_key(node) && !view.silent.contains(node))
            .copied()
            .unwrap_or(view.me)
    }

    /// Whether a slot is known to have the master that clients are told of.
    pub fn has_master(&self, slot: u16) -> bool {
        let known = self.view.mastered.get(usize::from(arc_of(slot)));
        known.copied().unwrap_or(false)
    }

    /// Whether the map has a copy of a slot on this node.
    pub fn is_held_here(&self, slot: u16) -> bool {
        let map = self.view.map.as_ref();
        map.is_none_or(|map| map.holders(arc_of(slot).into()).contains(&self.view.me))
    }

    /// All slots in order, neighbours of one master together.
    pub fn runs(&self) -> Vec<Run> {
        let slots_per_arc = SLOTS / ARCS;
        let mut runs: Vec<Run> = Vec::new();
        for arc in 0..ARCS {
            let (node, first) = (self.master_of_arc(arc), arc * slots_per_arc);
            let last = first + (slots_per_arc - 1);
            match runs.last_mut() {
                Some(run) if run.node == node => run.last = last,
                _ => runs.push(Run { first, last, node }),
            }
        }
        runs
    }

    /// All nodes in order of their ids: the members, and this node.
    pub fn nodes(&self) -> Vec<NodeId> {
        let members = self.view.map.iter().flat_map(|map| map.members.keys());
        let mut nodes: Vec<NodeId> = members.copied().collect();
        if let Err(at) = nodes.binary_search(&self.view.me) {
            nodes.insert(at, self.view.me);
        }
        nodes
    }

    /// Where a node is reached; one that is not on the map can only be this one.
    pub fn endpoint(&self, node: NodeId) -> Endpoint<'a> {
        let map = self.view.map.as_ref();
        let member = map.and_then(|map| map.members.get(&node));
        Endpoint::new(member.map_or(self.own_address, |member| member.address.as_str()))
    }

    /// Whether nothing has been heard of a node for a while.
    pub fn is_silent(&self, node: NodeId) -> bool {
        self.view.silent.contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_at_its_last_colon() {
        let of = |address| {
            let endpoint = Endpoint::new(address);
            (
                endpoint.host.to_owned(),
                endpoint.port,
                endpoint.to_string(),
            )
        };
        assert_eq!(of("a.b:7000"), ("a.b".into(), 7000, "a.b:7000".into()));
        assert_eq!(of("[::1]:7000"), ("::1".into(), 7000, "::1:7000".into()));
        assert_eq!(of("nowhere"), ("nowhere".into(), 0, "nowhere:0".into()));
    }
}
