//! The cluster's map on this node: how it spreads, and how the ranges that are mastered here follow it.

use std::collections::BTreeMap;

use super::packet::Said;
use super::{Node, NodeEffect};
use crate::ring::effect::{Change, Input, Now};
use crate::ring::ids::{META, NodeId, RangeId, RequestId};
use crate::ring::meta::{Map, mover};
use crate::ring::quorum::Quorum;
use crate::ring::range::Range;

/// How often a node looks whether its ranges are where the map wants them.
const STEER_EVERY_MS: u64 = 200;

/// How often a node that has nothing to say lets some other node hear of its map.
const GREET_EVERY_MS: u64 = 1_000;

/// Requests of this bit are the node's own.
pub(super) const OWN: RequestId = 1 << 62;

/// What a node knows of the map and of who else does.
#[derive(Debug, Default)]
pub(super) struct Steering {
    map: Option<Map>,
    /// The version that each node was last sent.
    told: BTreeMap<NodeId, u64>,
    next_steer_ms: u64,
    next_greeting_ms: u64,
    changes: RequestId,
}

/// How far moving is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Ranges that are mastered here.
    pub mastered: usize,
    /// Those of them that are where the map wants them.
    pub in_place: usize,
    /// Those of them that have copies which are catching up.
    pub moving: usize,
}

impl Node {
    /// The newest map that this node has heard of.
    pub fn map(&self) -> Option<&Map> {
        self.steering.map.as_ref()
    }

    /// The version of that map; 0 for none.
    pub(super) fn map_version(&self) -> u64 {
        self.map().map_or(0, |map| map.version)
    }

    /// Takes note of a map, if it is newer than the one known.
    pub fn learn(&mut self, map: Map) {
        if map.version > self.map_version() {
            self.steering.map = Some(map);
            self.steering.next_steer_ms = 0;
        }
    }

    /// Tells a node whose map is older.
    pub(super) fn compare_maps(&mut self, with: NodeId, version: u64) {
        let told = self.steering.told.entry(with).or_default();
        *told = version.max(*told);
        if let Some(map) = &self.steering.map
            && map.version > *told
        {
            *told = map.version;
            let map = Box::new(map.clone());
            self.packets.add(with, Said::Map(map));
        }
    }

    pub(super) fn steer(&mut self, now: Now, out: &mut Vec<NodeEffect>) {
        if now.monotonic_ms >= self.steering.next_greeting_ms {
            self.steering.next_greeting_ms = now.monotonic_ms + GREET_EVERY_MS;
            self.greet();
        }
        if now.monotonic_ms >= self.steering.next_steer_ms {
            self.steering.next_steer_ms = now.monotonic_ms + STEER_EVERY_MS;
            for (range, change) in self.changes() {
                let request = OWN | self.steering.changes;
                self.steering.changes += 1;
                self.step_range(now, range, Input::Change { request, change }, out);
            }
        }
    }

    fn greet(&mut self) {
        let Some(map) = &self.steering.map else {
            return;
        };
        let others: Vec<NodeId> = map
            .members
            .keys()
            .copied()
            .filter(|&node| node != self.id)
            .collect();
        if !others.is_empty() {
            let node = others[self.random.index(others.len())];
            // A node may have lost its map, or never got it.
            self.steering.told.remove(&node);
            self.packets.add(node, Said::Greeting);
        }
    }

    /// What the ranges that are mastered here should do next, not more of them at a time than the map allows.
    fn changes(&self) -> Vec<(RangeId, Change)> {
        let Some(map) = &self.steering.map else {
            return Vec::new();
        };
        if map.moving.paused {
            return Vec::new();
        }
        let mut free = usize::from(map.moving.at_once).saturating_sub(self.progress().moving);
        let mut changes = Vec::new();
        for replica in self.ranges().filter(|replica| replica.is_master()) {
            let (target, quorum) = wanted(map, replica.id());
            let caught_up = |node| replica.has_caught_up(node);
            let change = mover::next_change(replica.configuration(), &target, quorum, caught_up);
            let begins = matches!(&change, Some(Change::Learners { add, .. }) if !add.is_empty());
            if begins && free == 0 {
                continue;
            }
            free -= usize::from(begins);
            changes.extend(change.map(|change| (replica.id(), change)));
        }
        changes
    }

    /// How far the ranges that are mastered here are from where the map wants them.
    pub fn progress(&self) -> Progress {
        let Some(map) = &self.steering.map else {
            return Progress::default();
        };
        let mastered = || self.ranges().filter(|replica| replica.is_master());
        Progress {
            mastered: mastered().count(),
            in_place: mastered()
                .filter(|replica| is_in_place(map, replica))
                .count(),
            moving: mastered().filter(|replica| is_moving(map, replica)).count(),
        }
    }
}

/// Who should hold a range, and by which quorums.
fn wanted(map: &Map, range: RangeId) -> (Vec<NodeId>, Quorum) {
    if range == META {
        (map.meta_holders(), map.meta_quorum())
    } else {
        (map.holders(range).to_vec(), map.quorum)
    }
}

fn is_in_place(map: &Map, replica: &Range) -> bool {
    let (target, quorum) = wanted(map, replica.id());
    mover::is_in_place(replica.configuration(), &target, quorum)
}

/// Whether a copy is being made that is to vote.
fn is_moving(map: &Map, replica: &Range) -> bool {
    let configuration = replica.configuration();
    configuration.is_joint() || (!configuration.learners.is_empty() && !is_in_place(map, replica))
}
