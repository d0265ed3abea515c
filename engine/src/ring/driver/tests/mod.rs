//! Whole nodes over a network in memory, in virtual time.

mod alone;
mod backup;
mod cluster;
mod full_disk;
mod short_way;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Consistency, Driver, DriverOptions, Opened, RangeStatus, Start, Transport};
use crate::command::{Command, Parsed, Reply, parse};
use crate::db;
use crate::ring::meta::{Map, Moving, Proposal};
use crate::ring::node::Packet;
use crate::ring::{NodeId, Quorum};
use crate::sim::TestRuntime;
use crate::{FaultyStorage, Runtime, Work};

type Node = Driver<FaultyStorage, TestRuntime, Wire>;

/// Packets on their way, by receiver. Those for whom there is no queue are lost.
#[derive(Clone, Default)]
struct Wire {
    queues: Arc<Mutex<BTreeMap<NodeId, Vec<Vec<u8>>>>>,
    sent_bytes: Arc<Mutex<BTreeMap<NodeId, usize>>>,
}

impl Transport for Wire {
    fn send(&self, packet: Packet) {
        if let Some(queue) = self.queues.lock().get_mut(&packet.to) {
            let packet_bytes = postcard::to_allocvec(&packet).unwrap();
            *self.sent_bytes.lock().entry(packet.to).or_default() += packet_bytes.len();
            queue.push(packet_bytes);
        }
    }

    fn learn(&self, _map: &Map) {}

    fn is_cut(&self, node: NodeId) -> bool {
        !self.queues.lock().contains_key(&node)
    }
}

impl Wire {
    /// To a node, by all others.
    fn sent_bytes(&self, to: NodeId) -> usize {
        self.sent_bytes.lock().get(&to).copied().unwrap_or(0)
    }

    fn take(&self, node: NodeId) -> Vec<Packet> {
        let queue = self.queues.lock().get_mut(&node).map(std::mem::take);
        let packets = queue.into_iter().flatten();
        packets
            .map(|packet| postcard::from_bytes(&packet).unwrap())
            .collect()
    }
}

/// A machine, and the node that runs on it.
struct Machine {
    storage: FaultyStorage,
    process: TestRuntime,
    node: Option<Node>,
}

/// Nodes, wired to each other.
struct Cluster {
    runtime: TestRuntime,
    wire: Wire,
    machines: Vec<Machine>,
    shards: usize,
}

const BALANCED: (u8, u8, u8) = (3, 2, 2);

fn command(line: &str) -> Command {
    let mut words: Vec<bytes::Bytes> = line
        .split(' ')
        .map(|word| bytes::Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    match parse(&mut words) {
        Ok(Parsed::Store(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn bulk(text: &str) -> Reply {
    Reply::text(text)
}

impl Cluster {
    /// A cluster of one.
    fn founded((n, w, r): (u8, u8, u8), shards: usize) -> Self {
        let runtime = TestRuntime::new(7);
        runtime.set_time_limit(Duration::from_secs(600));
        let mut cluster = Self {
            runtime,
            wire: Wire::default(),
            machines: Vec::new(),
            shards,
        };
        let quorum = Quorum::new(n, w, r).unwrap();
        cluster.add(Start::Found { quorum });
        cluster.await_that("a map is there", |cluster| {
            cluster.node(0).view().map.is_some()
        });
        cluster
    }

    /// A cluster of several, every range of which is where it belongs.
    fn of(nodes: usize, quorum: (u8, u8, u8)) -> Self {
        let mut cluster = Self::founded(quorum, 2);
        // As fast as can be.
        let moving = Moving {
            at_once: 256,
            ..Moving::default()
        };
        cluster.propose(Proposal::Moving(moving));
        let contacts = vec![cluster.node(0).id()];
        for _ in 1..nodes {
            let contacts = contacts.clone();
            cluster.add(Start::Join { contacts });
        }
        cluster.await_that("all ranges are in place", |cluster| {
            cluster.are_in_place(nodes)
        });
        cluster
    }

    fn options(&self, place: usize, start: Start) -> DriverOptions {
        DriverOptions {
            store: db::Options {
                memory_bytes: 4 << 20,
                ..db::Options::default()
            },
            shards: self.shards,
            ..DriverOptions::new(format!("127.0.0.1:{}", 7000 + place), start)
        }
    }

    fn add(&mut self, start: Start) {
        self.machines.push(Machine {
            storage: FaultyStorage::new(),
            process: self.runtime.process(),
            node: None,
        });
        self.boot(self.machines.len() - 1, start);
    }

    /// Starts a node on a machine as it is.
    fn boot(&mut self, place: usize, start: Start) {
        let options = self.options(place, start);
        let process = self.runtime.process();
        let storage = self.machines[place].storage.clone();
        let wire = self.wire.clone();
        let opening = async {
            let opened = Opened::open(storage, process.clone(), options.store.clone()).await?;
            wire.queues.lock().insert(opened.id(), Vec::new());
            Driver::start(opened, wire.clone(), options).await
        };
        let node = self.runtime.block_on(opening).unwrap();
        let (pumped, clock) = (node.clone(), process.clone());
        process.spawn(Work::Upkeep, async move {
            loop {
                clock.sleep(Duration::from_millis(1)).await;
                for packet in wire.take(pumped.id()) {
                    pumped.receive(packet);
                }
            }
        });
        self.machines[place].process = process;
        self.machines[place].node = Some(node);
    }

    /// Ends a node without a word.
    fn kill(&mut self, place: usize) {
        let machine = &mut self.machines[place];
        if let Some(node) = machine.node.take() {
            self.wire.queues.lock().remove(&node.id());
        }
        machine.storage.crash();
        machine.process.kill();
    }

    fn node(&self, place: usize) -> &Node {
        self.machines[place].node.as_ref().unwrap()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.machines
            .iter()
            .filter_map(|machine| machine.node.as_ref())
    }

    fn propose(&self, proposal: Proposal) {
        let proposed = self.node(0).propose(proposal);
        self.runtime.block_on(proposed).unwrap();
    }

    fn run(&self, place: usize, lines: &[&str]) -> Vec<Reply> {
        self.run_with(place, lines, Consistency::default())
    }

    fn run_with(&self, place: usize, lines: &[&str], how: Consistency) -> Vec<Reply> {
        let batch = lines.iter().map(|line| command(line)).collect();
        self.runtime.block_on(self.node(place).execute(batch, how))
    }

    fn ask(&self, place: usize, line: &str) -> Reply {
        self.run(place, &[line]).pop().unwrap()
    }

    /// Asks until the answer is not that nothing is known.
    fn insist(&self, place: usize, line: &str) -> Reply {
        for _ in 0..20 {
            match self.ask(place, line) {
                Reply::Error(text) if text.starts_with("UNKNOWN") => {}
                reply => return reply,
            }
        }
        panic!("{line} is never answered");
    }

    fn pass(&self, time_ms: u64) {
        let sleep = self.runtime.sleep(Duration::from_millis(time_ms));
        self.runtime.block_on(sleep);
    }

    fn await_that(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..1200 {
            if holds(self) {
                return;
            }
            self.pass(50);
        }
        for node in self.nodes() {
            eprintln!("{:?}", node.view().progress);
            for range in node.ranges().iter().take(4) {
                eprintln!("{range:?}");
            }
        }
        panic!("it is awaited in vain that {what}");
    }

    /// Whether every node knows all members, and every range is mastered and where it belongs.
    fn are_in_place(&self, members: usize) -> bool {
        let mut mastered = 0;
        for node in self.nodes() {
            let view = node.view();
            let knows = view.map.as_ref().map(|map| map.members.len()) == Some(members);
            if !knows || view.progress.in_place != view.progress.mastered {
                return false;
            }
            mastered += view.progress.mastered;
        }
        mastered == 257
    }

    fn range(&self, place: usize, range: u32) -> Option<RangeStatus> {
        let ranges = self.node(place).ranges();
        ranges.into_iter().find(|status| status.range == range)
    }

    /// The machine whose node is the master of a range.
    fn master_of(&self, range: u32) -> usize {
        let is_master = |&place: &usize| {
            self.machines[place].node.is_some()
                && self
                    .range(place, range)
                    .is_some_and(|status| status.role == "master")
        };
        (0..self.machines.len()).find(is_master).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.machines.clear();
        self.runtime.kill_all();
    }
}

/// The arc of a key.
fn arc(key: &str) -> u32 {
    u32::from(crate::slot::arc_of(crate::slot::slot_of(key.as_bytes())))
}
