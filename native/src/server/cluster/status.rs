//! RING's answers as JSON. Ids are hexadecimal texts: a number of 64 bits does not survive every reader.

use serde::Serialize;
use trilith::ring::driver::{RangeStatus, View};
use trilith::ring::meta::{Map, MemberInfo, Moving};
use trilith::ring::placement::State;
use trilith::ring::{NodeId, Quorum, RangeId};
use trilith::slot::{ARCS, SLOTS};

use super::{Topology, Trouble, short_id};

#[derive(Serialize)]
struct Status {
    me: String,
    /// The version of the map; 0 for none.
    version: u64,
    quorum: Option<QuorumStatus>,
    moving: Option<Moving>,
    members: Vec<MemberStatus>,
    progress: ProgressStatus,
    /// What keeps this node from taking writes.
    trouble: Option<Trouble>,
}

#[derive(Serialize)]
struct QuorumStatus {
    n: u8,
    w: u8,
    r: u8,
}

#[derive(Serialize)]
struct MemberStatus {
    id: String,
    address: String,
    zone: String,
    weight: u32,
    state: &'static str,
    silent: bool,
    /// Ranges that clients are sent to it for.
    masters: usize,
    /// Copies that the map wants on it.
    copies: usize,
}

/// How far the ranges that this node masters are.
#[derive(Serialize)]
struct ProgressStatus {
    mastered: usize,
    in_place: usize,
    moving: usize,
    sent_bytes: u64,
}

#[derive(Serialize)]
struct RangeRow<'a> {
    range: RangeId,
    role: &'a str,
    master: Option<String>,
    term: u64,
    last: u64,
    commit: u64,
    applied: u64,
    voters: Vec<String>,
    learners: Vec<String>,
    n: u8,
    w: u8,
    r: u8,
    writes: u64,
    reads: u64,
}

/// RING STATUS.
pub fn status(view: &View, topology: &Topology<'_>, trouble: Option<Trouble>) -> String {
    let map = view.map.as_ref();
    json(&Status {
        me: short_id(view.me),
        version: topology.version(),
        quorum: map.map(|map| quorum(map.quorum)),
        moving: map.map(|map| map.moving),
        members: map.map_or_else(Vec::new, |map| members(map, topology)),
        progress: ProgressStatus {
            mastered: view.progress.mastered,
            in_place: view.progress.in_place,
            moving: view.progress.moving,
            sent_bytes: view.progress.sent_bytes,
        },
        trouble,
    })
}

fn quorum(quorum: Quorum) -> QuorumStatus {
    QuorumStatus {
        n: quorum.replicas(),
        w: quorum.acknowledge(),
        r: quorum.read(),
    }
}

fn members(map: &Map, topology: &Topology<'_>) -> Vec<MemberStatus> {
    let runs = topology.runs();
    let masters = |node: NodeId| {
        let slots = runs.iter().filter(|run| run.node == node);
        let slots: u16 = slots.map(|run| run.last - run.first + 1).sum();
        usize::from(slots / (SLOTS / ARCS))
    };
    let copies = |node: NodeId| map.table.rows().filter(|row| row.contains(&node)).count();
    let member = |(&node, info): (&NodeId, &MemberInfo)| MemberStatus {
        id: short_id(node),
        address: info.address.clone(),
        zone: info.zone.clone(),
        weight: info.weight,
        state: match info.state {
            State::Joining => "joining",
            State::Active => "active",
            State::Draining => "draining",
        },
        silent: topology.is_silent(node),
        masters: masters(node),
        copies: copies(node),
    };
    map.members.iter().map(member).collect()
}

/// RING RANGES.
pub fn ranges(ranges: &[RangeStatus]) -> String {
    let ids = |nodes: &[NodeId]| nodes.iter().copied().map(short_id).collect();
    let rows: Vec<_> = ranges
        .iter()
        .map(|range| RangeRow {
            range: range.range,
            role: &range.role,
            master: range.master.map(short_id),
            term: range.term,
            last: range.last,
            commit: range.commit,
            applied: range.applied,
            voters: ids(&range.voters),
            learners: ids(&range.learners),
            n: range.n,
            w: range.w,
            r: range.r,
            writes: range.writes,
            reads: range.reads,
        })
        .collect();
    json(&rows)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them are JSON")
}
