//! Other nodes: when each was last heard, and what it says to be the master of.

use std::collections::{BTreeMap, BTreeSet};

use crate::ring::ids::{NodeId, RangeId, Term};
use crate::ring::meta::Map;

/// See the module.
#[derive(Default)]
pub(super) struct Heard {
    nodes: BTreeMap<NodeId, Other>,
}

#[derive(Default)]
struct Other {
    heard_ms: u64,
    led: Vec<(RangeId, Term)>,
}

impl Heard {
    /// A packet has come.
    pub(super) fn note(&mut self, node: NodeId, now_ms: u64) {
        // Those who are no members are not remembered.
        if let Some(other) = self.nodes.get_mut(&node) {
            other.heard_ms = now_ms;
        }
    }

    /// A node has said what it leads. Whether that is news.
    pub(super) fn note_led(&mut self, node: NodeId, led: Vec<(RangeId, Term)>) -> bool {
        let other = self.nodes.get_mut(&node);
        other.is_some_and(|other| std::mem::replace(&mut other.led, led) != other.led)
    }

    /// Remembers the members, and nobody else. Whoever is new counts as heard.
    pub(super) fn adopt(&mut self, map: &Map, now_ms: u64) {
        self.nodes.retain(|node, _| map.members.contains_key(node));
        for &node in map.members.keys() {
            self.nodes.entry(node).or_insert_with(|| Other {
                heard_ms: now_ms,
                led: Vec::new(),
            });
        }
    }

    /// Who has not been heard for so long.
    pub(super) fn silent(&self, me: NodeId, now_ms: u64, patience_ms: u64) -> BTreeSet<NodeId> {
        let silent = self
            .nodes
            .iter()
            .filter(|(_, other)| other.heard_ms + patience_ms <= now_ms);
        silent
            .map(|(&node, _)| node)
            .filter(|&node| node != me)
            .collect()
    }

    /// Who says to be the master of what.
    pub(super) fn led(&self) -> impl Iterator<Item = (RangeId, Term, NodeId)> + '_ {
        self.nodes.iter().flat_map(|(&node, other)| {
            let led = other.led.iter();
            led.map(move |&(range, term)| (range, term, node))
        })
    }
}
