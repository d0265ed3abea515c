//! A machine of a ring: a disk in memory, and on it, while it runs, a node.

use std::sync::Arc;
use std::time::Duration;

use super::action::Number;
use super::disk::Paced;
use super::options::RingOptions;
use super::wire::{Gathered, Node, Said, Wire};
use crate::db;
use crate::random::Random;
use crate::ring::NodeId;
use crate::ring::driver::{Driver, DriverOptions, Opened, Start};
use crate::ring::meta::{Map, Proposal};
use crate::ring::node::Packet;
use crate::ring::range;
use crate::sim::TestRuntime;
use crate::storage::faulty::CrashMode;
use crate::{FaultyStorage, Result, Runtime, Work};

/// Bytes of a segment of the log: small, so that segments come and go.
const SEGMENT_BYTES: u64 = 256 << 10;
/// How often a snapshot is written, where there is an archive.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// See the module.
pub(super) struct Machine {
    pub(super) number: Number,
    /// Its node, running or not; none as long as a fresh disk has not been opened.
    pub(super) id: Option<NodeId>,
    pub(super) disk: FaultyStorage,
    pub(super) process: TestRuntime,
    /// Counts its processes.
    pub(super) life: u64,
    pub(super) node: Option<Node>,
    /// A process is being started.
    pub(super) is_starting: bool,
    pub(super) is_paused: bool,
    pub(super) is_draining: bool,
    /// It has left for good.
    pub(super) is_gone: bool,
    pub(super) skew_ms: i64,
    /// Packets for a process that stands still.
    pub(super) backlog: Vec<Packet>,
    /// What its node does on a disk that belongs to no cluster.
    pub(super) start: Start,
}

/// A disk with nothing on it.
pub(super) fn blank_disk() -> FaultyStorage {
    let disk = FaultyStorage::new();
    disk.keep_no_log();
    disk
}

fn address_of(number: Number) -> String {
    format!("node-{number}:6379")
}

fn driver_options(
    options: &RingOptions,
    number: Number,
    start: Start,
    wire: Wire,
) -> DriverOptions {
    DriverOptions {
        store: store_options(options),
        ring: range::Options {
            trace: true,
            ..range::Options::default()
        },
        observer: Some(Arc::new(wire)),
        ..DriverOptions::new(address_of(number), start)
    }
}

fn store_options(options: &RingOptions) -> db::Options {
    let mut store = db::Options {
        sync: options.sync,
        memory_bytes: options.memory_bytes as usize,
        memtable_bytes: Some(options.memtable_bytes as usize),
        segment_bytes: SEGMENT_BYTES,
        ..db::Options::default()
    };
    store.archive.aof = options.archive;
    store.archive.save_every = options.archive.then_some(SAVE_EVERY);
    store
}

impl Machine {
    /// A machine that has not been switched on.
    pub(super) fn new(number: Number, runtime: &TestRuntime, start: Start) -> Self {
        Self {
            number,
            id: None,
            disk: blank_disk(),
            process: runtime.process(),
            life: 0,
            node: None,
            is_starting: false,
            is_paused: false,
            is_draining: false,
            is_gone: false,
            skew_ms: 0,
            backlog: Vec::new(),
            start,
        }
    }

    /// Machines whose nodes have founded a cluster, and its map.
    pub(super) fn found(
        options: &RingOptions,
        runtime: &TestRuntime,
        gathered: &Arc<Gathered>,
        random: &mut Random,
    ) -> Result<(Vec<Self>, Map)> {
        let nobody = || Start::Join {
            contacts: Vec::new(),
        };
        let mut machines = Vec::new();
        let mut opened = Vec::new();
        for number in 1..=options.nodes {
            let mut machine = Self::new(number, runtime, nobody());
            let wire = Wire::new(gathered, number as usize - 1, 0);
            let driver = driver_options(options, number, nobody(), wire);
            let disk = Paced::new(machine.disk.clone(), machine.process.clone(), random.next());
            let opening = Opened::open(disk, machine.process.clone(), driver.store);
            let one = runtime.block_on(opening)?;
            machine.id = Some(one.id());
            opened.push(one);
            machines.push(machine);
        }
        let map = first_map(options, &machines);
        for (place, one) in opened.into_iter().enumerate() {
            let machine = &mut machines[place];
            machine.start = Start::FoundTogether { map: map.clone() };
            let wire = Wire::new(gathered, place, machine.life);
            let driver =
                driver_options(options, machine.number, machine.start.clone(), wire.clone());
            let node = runtime.block_on(Driver::start(one, wire, driver))?;
            gathered.set_up(node.id(), true);
            machine.node = Some(node);
        }
        Ok((machines, map))
    }

    /// Starts a process on the disk as it is. The end of it is said on the wire.
    pub(super) fn boot(
        &mut self,
        options: &RingOptions,
        runtime: &TestRuntime,
        gathered: &Arc<Gathered>,
        seed: u64,
    ) {
        self.life += 1;
        self.is_starting = true;
        self.process = runtime.process();
        self.process.skew_wall(self.skew_ms);
        let wire = Wire::new(gathered, self.number as usize - 1, self.life);
        let driver = driver_options(options, self.number, self.start.clone(), wire.clone());
        let disk = Paced::new(self.disk.clone(), self.process.clone(), seed);
        let process = self.process.clone();
        self.process.spawn(Work::Ring, async move {
            let started = async {
                let opened = Opened::open(disk, process, driver.store.clone()).await?;
                Driver::start(opened, wire.clone(), driver).await
            };
            let started = started.await;
            wire.say(Said::Started(started));
        });
    }

    /// Ends the process, and leaves of the disk what such an end leaves.
    pub(super) fn crash(&mut self, power: bool) {
        self.life += 1;
        self.disk.crash();
        self.process.resume();
        self.process.kill();
        self.node = None;
        // Those that were dropped may have begun something anew.
        self.process.kill();
        self.disk = self.disk.restart(match power {
            true => CrashMode::PowerLoss,
            false => CrashMode::ProcessKilled,
        });
        self.disk.keep_no_log();
        self.is_paused = false;
        self.is_starting = false;
        self.backlog.clear();
    }

    /// What it does, in a word.
    pub(super) fn state(&self) -> State {
        match self {
            Self { is_gone: true, .. } => State::Gone,
            Self {
                is_starting: true, ..
            } => State::Starting,
            Self { node: None, .. } => State::Dead,
            Self {
                is_paused: true, ..
            } => State::Paused,
            Self {
                is_draining: true, ..
            } => State::Draining,
            _ => State::Running,
        }
    }
}

/// What a machine does. The numbers stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    Dead = 0,
    Running = 1,
    Paused = 2,
    Starting = 3,
    Draining = 4,
    Gone = 5,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

fn first_map(options: &RingOptions, machines: &[Machine]) -> Map {
    let zone = String::new;
    let mut nodes = machines
        .iter()
        .filter_map(|machine| Some((machine.id?, address_of(machine.number))));
    let (first, address) = nodes.next().unwrap_or_default();
    let mut map = Map::alone(first, address, zone(), options.quorum);
    for (node, address) in nodes {
        // Nothing speaks against a node that joins for the first time.
        let _ = map.apply(&Proposal::join(node, address, zone()));
    }
    map
}
