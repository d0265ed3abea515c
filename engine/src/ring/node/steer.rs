//! The cluster's map on this node: how it begins, how it spreads, and how the ranges that are mastered here follow it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::packet::Said;
use super::{Node, NodeEffect};
use crate::ring::effect::{Change, Input, Now};
use crate::ring::ids::{META, NodeId, RangeId, RequestId};
use crate::ring::meta::{Map, Proposal, encode_proposal, mover};
use crate::ring::range::Range;

/// How often a node looks whether its ranges are where the map wants them.
const STEER_EVERY_MS: u64 = 100;

/// How often a node that has nothing to say lets some other node hear of its map.
const GREET_EVERY_MS: u64 = 1_000;

/// Requests of this bit are the node's own.
pub(super) const OWN: RequestId = 1 << 62;

/// What a node knows of the map and of who else does.
#[derive(Debug, Default)]
pub(super) struct Steering {
    pub(super) map: Option<Map>,
    /// When that map was learned, by the first step that followed.
    pub(super) learned_ms: Option<u64>,
    pub(super) next_knock_ms: u64,
    /// Nodes to greet as long as there is no map.
    contacts: Vec<NodeId>,
    /// The map to found the cluster with.
    founding: Option<Bytes>,
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
    /// Those of them that are where the map wants them, and mastered by whom it prefers of those that can.
    pub in_place: usize,
    /// Those of them that have copies which are catching up.
    pub moving: usize,
    /// Bytes, of snapshots and of entries, that this node has made copies elsewhere of since it started.
    pub sent_bytes: u64,
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
            self.steering.learned_ms = None;
            self.steering.next_steer_ms = 0;
            self.steering.founding = None;
        }
    }

    /// Names nodes of the cluster that this node is to join: one that it can reach will do.
    pub fn meet(&mut self, contacts: Vec<NodeId>) {
        self.steering.contacts = contacts;
    }

    /// Founds a cluster with this map, once this node is the master of the meta range, unless a map turns up.
    pub fn found_cluster(&mut self, map: Map) {
        let found = Proposal::Found(Box::new(map));
        self.steering.founding = Some(encode_proposal(&found));
    }

    /// Another node greets: what it was sent may have been lost.
    pub(super) fn greeted(&mut self, by: NodeId, version: u64) {
        self.steering.told.insert(by, version);
        self.compare_maps(by, version);
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
            // One share of the node speaks for all.
            if self.share.0 == 0 {
                self.greet();
            }
        }
        if now.monotonic_ms >= self.steering.next_steer_ms {
            self.steering.next_steer_ms = now.monotonic_ms + STEER_EVERY_MS;
            self.propose_founding(now, out);
            for (range, change) in self.changes() {
                let successor = self.successor(range, &change);
                let input = match successor {
                    Some(to) => Input::Handover { to: Some(to) },
                    None => {
                        let request = self.own_request();
                        Input::Change { request, change }
                    }
                };
                self.step_range(now, range, input, out);
            }
        }
    }

    /// Who is to make a change instead of this node, which it leaves out.
    fn successor(&self, range: RangeId, change: &Change) -> Option<NodeId> {
        let Change::Voters { nodes, .. } = change else {
            return None;
        };
        self.ranges.get(&range)?.successor_among(nodes)
    }

    fn own_request(&mut self) -> RequestId {
        self.steering.changes += 1;
        OWN | self.steering.changes
    }

    fn propose_founding(&mut self, now: Now, out: &mut Vec<NodeEffect>) {
        if self.master_of(META) == Some(self.id)
            && let Some(payload) = self.steering.founding.clone()
        {
            let request = self.own_request();
            let input = Input::Propose {
                request,
                payload,
                at_least: 0,
            };
            self.step_range(now, META, input, out);
        }
    }

    fn greet(&mut self) {
        let known = match &self.steering.map {
            Some(map) => map.members.keys().copied().collect(),
            None => self.steering.contacts.clone(),
        };
        let others = known.into_iter().filter(|&node| node != self.id);
        let others: Vec<NodeId> = others.collect();
        if !others.is_empty() {
            let node = others[self.random.index(others.len())];
            // A node may have lost its map, or never got it.
            self.steering.told.remove(&node);
            self.packets.add(node, Said::Greeting);
        }
    }

    /// What the ranges that are mastered here should do next, not more of them at a time than the map allows.
    fn changes(&mut self) -> Vec<(RangeId, Change)> {
        let Some(map) = &self.steering.map else {
            return Vec::new();
        };
        if map.moving.paused {
            return Vec::new();
        }
        let moving = self.progress().moving + self.others.moving;
        let mut free = usize::from(map.moving.at_once)
            .saturating_sub(moving)
            .min(self.pace.may_begin());
        let mut begun = 0;
        let mut changes = Vec::new();
        for replica in self.ranges().filter(|replica| replica.is_master()) {
            let (target, quorum) = map.wanted(replica.id());
            let caught_up = |node| replica.has_caught_up(node);
            let change = mover::next_change(replica.configuration(), &target, quorum, caught_up);
            let begins = matches!(&change, Some(Change::Learners { add, .. }) if !add.is_empty());
            // A copy that will never be made, as its node is gone, must not keep another from being begun.
            if begins && free == 0 && !is_moving(map, replica) {
                continue;
            }
            free = free.saturating_sub(usize::from(begins));
            begun += usize::from(begins);
            changes.extend(change.map(|change| (replica.id(), change)));
        }
        self.pace.have_begun(begun);
        changes
    }

    /// How far the ranges that are mastered here are from where the map wants them.
    pub fn progress(&self) -> Progress {
        let Some(map) = &self.steering.map else {
            return Progress {
                sent_bytes: self.throttle.sent_bytes,
                ..Progress::default()
            };
        };
        let mastered = || self.ranges().filter(|replica| replica.is_master());
        Progress {
            mastered: mastered().count(),
            in_place: mastered()
                .filter(|replica| is_in_place(map, replica) && !replica.has_better_master())
                .count(),
            moving: mastered().filter(|replica| is_moving(map, replica)).count(),
            sent_bytes: self.throttle.sent_bytes,
        }
    }
}

fn is_in_place(map: &Map, replica: &Range) -> bool {
    let (target, quorum) = map.wanted(replica.id());
    mover::is_in_place(replica.configuration(), &target, quorum)
}

/// Whether a copy is being made that is to vote.
fn is_moving(map: &Map, replica: &Range) -> bool {
    let configuration = replica.configuration();
    configuration.is_joint() || (!configuration.learners.is_empty() && !is_in_place(map, replica))
}
