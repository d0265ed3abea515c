//! What INFO and the metrics say of a cluster.

use trilith::ring::driver::RangeStatus;
use trilith::ring::{META, Quorum};

use super::{Cluster, Link};
use crate::server::Figure;

/// A cluster at one moment, in numbers, from where this node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The version of the map; 0 while this node is on none.
    pub version: u64,
    members: u64,
    silent: u64,
    quorum: Quorum,
    held: u64,
    mastered: u64,
    learning: u64,
    masterless: u64,
    in_place: u64,
    moving: u64,
    snapshot_bytes: u64,
    links: u64,
    sent_bytes: u64,
    received_bytes: u64,
    dropped: u64,
}

impl Figures {
    /// Takes them.
    pub fn of(cluster: &impl Cluster) -> Self {
        let view = cluster.view();
        let ranges = cluster.ranges();
        let count = |is: fn(&RangeStatus) -> bool| {
            let of_keys = ranges.iter().filter(|range| range.range != META);
            of_keys.filter(|range| is(range)).count() as u64
        };
        let links = cluster.links();
        let sum = |of: fn(&Link) -> u64| -> u64 { links.iter().map(of).sum() };
        let map = view.map.as_ref();
        Self {
            version: map.map_or(0, |map| map.version),
            members: map.map_or(0, |map| map.members.len() as u64),
            silent: view.silent.len() as u64,
            quorum: map.map_or(Quorum::ALONE, |map| map.quorum),
            held: count(|_| true),
            mastered: count(|range| range.role == "master"),
            learning: count(|range| range.role == "learner"),
            masterless: count(|range| range.master.is_none()),
            in_place: view.progress.in_place as u64,
            moving: view.progress.moving as u64,
            snapshot_bytes: view.progress.sent_bytes,
            links: links.iter().filter(|link| link.is_connected).count() as u64,
            sent_bytes: sum(|link| link.sent_bytes),
            received_bytes: sum(|link| link.received_bytes),
            dropped: sum(|link| link.dropped),
        }
    }

    /// The lines of INFO's section `Replication` behind the role.
    pub fn replication(&self) -> Vec<(&'static str, String)> {
        let quorum = self.quorum;
        let lines = [
            ("quorum_n", quorum.replicas().into()),
            ("quorum_w", quorum.acknowledge().into()),
            ("quorum_r", quorum.read().into()),
            ("quorum_elect", quorum.elect().into()),
            ("quorum_commit", quorum.commit().into()),
            ("quorum_confirm", quorum.confirm().into()),
            ("reads_are_strong", quorum.reads_are_strong().into()),
            ("writes_survive", quorum.writes_survive().into()),
            ("ranges_held", self.held),
            ("ranges_mastered", self.mastered),
            ("ranges_learning", self.learning),
            ("ranges_without_master", self.masterless),
        ];
        lines
            .map(|(name, value): (_, u64)| (name, value.to_string()))
            .into()
    }

    /// The lines of INFO's section `Cluster` behind the first.
    pub fn cluster(&self) -> Vec<(&'static str, String)> {
        let lines = [
            ("map_version", self.version),
            ("members", self.members),
            ("members_silent", self.silent),
            ("ranges_in_place", self.in_place),
            ("ranges_moving", self.moving),
            ("snapshot_sent_bytes", self.snapshot_bytes),
            ("links", self.links),
        ];
        lines.map(|(name, value)| (name, value.to_string())).into()
    }

    /// All of it for Prometheus.
    pub fn metrics(&self) -> Vec<Figure> {
        let gauge = |name, help, value| Figure {
            name,
            help,
            is_counter: false,
            value,
        };
        let counter = |name, help, value| Figure {
            is_counter: true,
            ..gauge(name, help, value)
        };
        vec![
            gauge("map_version", "Version of the cluster's map.", self.version),
            gauge("members", "Members of the cluster.", self.members),
            gauge(
                "members_silent",
                "Members of whom nothing has been heard for a while.",
                self.silent,
            ),
            gauge("ranges_held", "Ranges that have a copy here.", self.held),
            gauge(
                "ranges_mastered",
                "Ranges that are mastered here.",
                self.mastered,
            ),
            gauge(
                "ranges_learning",
                "Ranges whose copy here does not vote yet.",
                self.learning,
            ),
            gauge(
                "ranges_without_master",
                "Ranges with a copy here that knows no master.",
                self.masterless,
            ),
            gauge(
                "ranges_in_place",
                "Ranges mastered here whose copies are where the map wants them.",
                self.in_place,
            ),
            gauge(
                "ranges_moving",
                "Ranges mastered here with copies that catch up.",
                self.moving,
            ),
            gauge("links", "Connections to other nodes.", self.links),
            counter(
                "snapshot_sent_bytes",
                "Bytes that copies on other nodes were made of.",
                self.snapshot_bytes,
            ),
            counter(
                "bus_out_bytes",
                "Bytes sent to other nodes.",
                self.sent_bytes,
            ),
            counter(
                "bus_in_bytes",
                "Bytes received from other nodes.",
                self.received_bytes,
            ),
            counter(
                "bus_dropped_packets",
                "Packets to other nodes that were dropped.",
                self.dropped,
            ),
        ]
    }
}
