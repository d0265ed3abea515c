//! A cluster under faults, from its founding until it has healed.

use std::collections::BTreeMap;

use super::clients::Clients;
use super::growth::Growth;
use super::host::Host;
use super::inflict::Undo;
use super::report::Report;
use super::setup::{Scenario, Setup};
use super::steward::{Steward, Target};
use super::world::{Event, World};
use crate::ring::membership::{Configuration, Member};
use crate::ring::node::NodeInput;
use crate::ring::{NodeId, RangeId};
use crate::storage::faulty::CrashMode;

/// Ranges are to have masters, and equal copies, so long after the last fault.
const HEAL_MS: u64 = 5_000;
/// After which the run is given up on.
const HEAL_MOST_MS: u64 = 30_000;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Virtual milliseconds.
    pub now_ms: u64,
    /// Of these, healing excluded.
    pub millis: u64,
    /// What clients have asked so far.
    pub operations: u64,
    /// Violations so far.
    pub violations: usize,
}

/// See the module.
pub struct Simulation {
    pub(super) world: World,
    pub(super) hosts: Vec<Host>,
    pub(super) clients: Clients,
    pub(super) steward: Steward,
    /// What is to be undone when a fault is over.
    pub(super) undo: BTreeMap<usize, Undo>,
    pub(super) inflicted: BTreeMap<&'static str, u64>,
    last_drift_ms: u64,
    /// How the cluster grows and shrinks, if it does.
    pub(super) growth: Option<Growth>,
}

impl Simulation {
    /// A cluster about to start.
    pub fn new(mut setup: Setup) -> Self {
        let least = match setup.scenario {
            Scenario::Storm => usize::from(setup.quorum.replicas()),
            Scenario::Grow => 1,
        };
        setup.nodes = setup.nodes.clamp(least, 32);
        let mut world = World::new(setup);
        let mut hosts = Vec::new();
        for place in 0..world.setup.nodes {
            hosts.push(Host::new(place, NodeId(place as u64 + 1), &mut world));
        }
        let clients = Clients::new(&mut world);
        let mut simulation = Self {
            steward: Steward {
                targets: BTreeMap::new(),
                dead: Vec::new(),
                rotten: None,
                next_node: world.setup.nodes as u64 + 1,
                leaderless: BTreeMap::new(),
            },
            world,
            hosts,
            clients,
            undo: BTreeMap::new(),
            inflicted: BTreeMap::new(),
            last_drift_ms: 0,
            growth: None,
        };
        match simulation.world.setup.scenario {
            Scenario::Storm => simulation.found(),
            Scenario::Grow => simulation.found_to_grow(),
        }
        simulation.begin();
        simulation
    }

    fn found(&mut self) {
        let (nodes, quorum) = (self.world.setup.nodes, self.world.setup.quorum);
        for (place, range) in self.clients.workload.keys().ranges().enumerate() {
            let copies = (0..usize::from(quorum.replicas())).map(|copy| (place + copy) % nodes);
            let voters: Vec<NodeId> = copies.clone().map(|place| self.hosts[place].id).collect();
            let founding = Configuration::founding(&voters, quorum);
            for place in copies {
                self.hosts[place].founding.push((range, founding.clone()));
            }
            self.steward
                .targets
                .insert(range, Target { voters, quorum });
        }
    }

    fn begin(&mut self) {
        for place in 0..self.hosts.len() {
            self.boot(place);
        }
        for fault in 0..self.world.faults.len() {
            self.world
                .at(self.world.faults[fault].at_ms * 1000, Event::Strike(fault));
        }
        self.world.at(1_000_000, Event::Steward);
    }

    pub(super) fn boot(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        host.boot(&mut self.world);
        let life = host.life;
        self.world.after(1_000, Event::Tick { place, life });
    }

    /// Lets everything happen up to a time.
    pub fn run_to(&mut self, until_ms: u64) {
        let until_us = until_ms * 1000;
        while let Some(at_us) = self.world.next_at().filter(|&at_us| at_us <= until_us) {
            self.world.pass_to(at_us);
            while let Some(event) = self.world.due() {
                self.happen(event);
            }
            self.settle_down();
        }
        self.world.pass_to(until_us);
        self.drift();
    }

    /// Carries out everything that this moment asks for.
    fn settle_down(&mut self) {
        loop {
            let mut busy = false;
            for host in &mut self.hosts {
                busy |= host.collect(&mut self.world);
                busy |= host.flush(&mut self.world);
            }
            busy |= self.clients.hear(&mut self.hosts, &mut self.world);
            self.take_troubles();
            if !busy {
                return;
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let (hosts, world) = (&mut self.hosts, &mut self.world);
        match event {
            Event::Tick { place, life } => {
                if hosts[place].life == life {
                    hosts[place].tick(world);
                    let next_us = 10_000 + world.random.below(15_000);
                    world.after(next_us, Event::Tick { place, life });
                }
            }
            Event::Packet { place, packet } => hosts[place].hear(NodeInput::Packet(packet), world),
            Event::Settle { place, life } => {
                if hosts[place].life == life {
                    hosts[place].settle();
                }
            }
            Event::Apply { place, life, range } => {
                if hosts[place].life == life {
                    hosts[place].apply_now(range);
                }
            }
            Event::Boot { place, life } => {
                if hosts[place].life == life && hosts[place].running.is_none() {
                    self.reboot(place);
                }
            }
            Event::Restart { place, life } => {
                if hosts[place].life == life {
                    self.kill(place, CrashMode::ProcessKilled, 20);
                }
            }
            Event::Client { client, serial } => self.clients.act(client, serial, hosts, world),
            Event::TimeOut { client, serial } => self.clients.time_out(client, serial, world),
            Event::Answer {
                client,
                serial,
                answer,
            } => self.clients.take(client, serial, *answer, world),
            Event::Strike(fault) => self.strike(fault),
            Event::Relent(fault) => self.relent(fault),
            Event::Steward if self.growth.is_some() => self.grow(),
            Event::Steward => self.steward.look_around(hosts, world),
        }
    }

    /// Starts a process where there was one before, whose lock is void.
    fn reboot(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        // An attempt that failed has left its tasks behind.
        host.crash(CrashMode::ProcessKilled, &mut self.world);
        self.boot(place);
    }

    /// Clocks that run fast or slow move on.
    fn drift(&mut self) {
        let now_ms = self.world.now_ms();
        let passed_ms = (now_ms - self.last_drift_ms) as i64;
        self.last_drift_ms = now_ms;
        for host in &mut self.hosts {
            if host.drift_ms != 0 {
                host.skew(host.drift_ms * passed_ms / 1000);
            }
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            now_ms: self.world.now_ms(),
            millis: self.world.setup.millis,
            operations: self.clients.operations,
            violations: self.world.invariants.violations().len(),
        }
    }

    /// Runs to the end: clients and faults for as long as was asked for, then healing, then the verdict.
    pub fn run(mut self, mut progress: impl FnMut(&Progress)) -> Report {
        let millis = self.world.setup.millis;
        while self.world.now_ms() < millis || self.is_growing() {
            let end_ms = if self.is_growing() { u64::MAX } else { millis };
            let next_ms = (self.world.now_ms() + 100).min(end_ms);
            self.run_to(next_ms);
            self.world.invariants.set_now(next_ms);
            progress(&self.progress());
            if !self.world.invariants.violations().is_empty() {
                break;
            }
        }
        self.conclude()
    }

    /// Lets everything heal, and judges.
    pub(super) fn conclude(mut self) -> Report {
        self.clients.end();
        self.aim_at_map();
        self.heal();
        let healed_ms = self.await_peace();
        self.judge(healed_ms)
    }

    /// Waits until every range is as it should be; tells how long that took.
    fn await_peace(&mut self) -> u64 {
        let since_ms = self.world.now_ms();
        loop {
            self.run_to(self.world.now_ms() + 50);
            self.world.invariants.set_now(self.world.now_ms());
            let took_ms = self.world.now_ms() - since_ms;
            let peace = self.is_at_peace();
            let is_late = took_ms >= HEAL_MS;
            match peace {
                Ok(()) if self.clients.are_idle() => return took_ms,
                Err(why) if is_late && self.world.invariants.violations().is_empty() => {
                    let what = format!("{HEAL_MS} ms after the last fault: {why}");
                    self.world.invariants.violate(what);
                }
                _ => {}
            }
            if took_ms >= HEAL_MOST_MS {
                return took_ms;
            }
        }
    }

    fn is_at_peace(&self) -> Result<(), String> {
        if let Some(host) = self
            .hosts
            .iter()
            .find(|host| host.running.is_none() && !host.is_retired)
        {
            return Err(format!("{} is not running", host.id));
        }
        if self.world.invariants.is_rotten() {
            return Err("a copy that differs has not been found".to_owned());
        }
        let mut ranges = self.steward.targets.keys();
        ranges.try_for_each(|&range| {
            let settled = self.steward.has_settled(&self.hosts, range);
            settled.map_err(|why| format!("{why}{}", self.describe(range)))
        })
    }

    /// Every copy of a range, a line each.
    fn describe(&self, range: RangeId) -> String {
        let target = &self.steward.targets[&range];
        let mut text = format!("\nwanted: {:?} {}", target.voters, target.quorum);
        for host in &self.hosts {
            let Some(copy) = host
                .running
                .as_ref()
                .and_then(|running| running.node.range(range))
            else {
                continue;
            };
            let nodes = |members: &[Member]| {
                members
                    .iter()
                    .map(|member| member.node.to_string())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            let configuration = copy.configuration();
            text.push_str(&format!(
                "\n{}+{}: term {} {} of {:?}, last {} stored {} commit {} applied {} {:?}; at {}: voters {} outgoing {} learners {}",
                host.id,
                copy.me().incarnation,
                copy.term(),
                if copy.is_master() { "master" } else { "follower" },
                copy.master(),
                copy.last(),
                copy.stored(),
                copy.commit(),
                copy.applied(),
                copy.state(),
                copy.configured_at(),
                nodes(&configuration.voters.members),
                configuration.outgoing.as_ref().map_or(String::new(), |side| nodes(&side.members)),
                nodes(&configuration.learners),
            ));
        }
        text
    }
}
