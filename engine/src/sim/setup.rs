//! What a run is made of: everything that, together with the code, decides it.

use super::faults::{Fault, FaultKind};
use crate::db::Sync;
use crate::ring::Quorum;
use crate::ring::range::Mutation;

/// What a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scenario {
    /// A cluster that stays as it is but for faults.
    #[default]
    Storm,
    /// Nodes join, are drained and are replaced, as the meta range has it.
    Grow,
}

/// A run, before it has begun.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it is about.
    pub scenario: Scenario,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Simulated milliseconds with clients and faults; healing comes on top.
    pub millis: u64,
    /// Machines.
    pub nodes: usize,
    /// Copies, and how many of them write and read.
    pub quorum: Quorum,
    /// Ranges.
    pub arcs: u32,
    /// What goes wrong.
    pub faults: Vec<FaultKind>,
    /// What lies outside the promise goes wrong, too. Nothing is promised then; what is lost is to be found.
    pub beyond: bool,
    /// Exactly what goes wrong when, instead of what the seed makes of `faults`.
    pub schedule: Option<Vec<Fault>>,
    /// When an entry counts as stored.
    pub sync: Sync,
    /// A rule to break.
    pub mutation: Option<Mutation>,
    /// Clients, each of which asks one thing at a time.
    pub clients: u32,
    /// The mean time that a client waits between two questions, in milliseconds.
    pub think_ms: u64,
    /// Stores note which keys are in use, and read them back after a restart.
    pub warm: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            scenario: Scenario::Storm,
            seed: 1,
            millis: 20_000,
            nodes: 5,
            quorum: Quorum::new(3, 2, 2).unwrap_or(Quorum::ALONE),
            arcs: 8,
            faults: Vec::new(),
            beyond: false,
            schedule: None,
            sync: Sync::Always,
            mutation: None,
            clients: 12,
            think_ms: 40,
            warm: false,
        }
    }
}

impl Setup {
    /// Whether the promises of this triple are to be kept under what is to come: no acknowledged write is lost, reads are
    /// linearizable.
    pub fn promises(&self) -> bool {
        !self.beyond && self.quorum.reads_are_strong() && self.quorum.writes_survive()
    }

    /// What goes wrong when: as given, or as the seed has it, less what lies outside the promise.
    pub fn faults_to_come(&self) -> Vec<Fault> {
        match &self.schedule {
            Some(schedule) => schedule.clone(),
            None => {
                let covered: Vec<FaultKind> = self
                    .faults
                    .iter()
                    .copied()
                    .filter(|&kind| self.covers(kind))
                    .collect();
                Fault::schedule(self.seed, &covered, self.millis)
            }
        }
    }

    /// Whether the promise of this triple holds under such faults. What its price names does not count: a
    /// range whose writes are acknowledged by one replica loses them with that replica's disk.
    pub fn covers(&self, kind: FaultKind) -> bool {
        let alone = self.quorum.acknowledge() < 2 && !self.beyond;
        if self.scenario == Scenario::Grow && kind.changes_members() {
            return false;
        }
        match kind {
            FaultKind::DiskSwap | FaultKind::BitRot | FaultKind::StateRot => !alone,
            FaultKind::Power | FaultKind::Eio | FaultKind::Enospc => {
                !alone || self.sync == Sync::Always
            }
            _ => true,
        }
    }

    /// How far apart the ranges are that are used.
    pub(super) fn apart(&self) -> u32 {
        match self.scenario {
            Scenario::Storm => (u32::from(crate::slot::ARCS) / self.arcs.max(1)).max(1),
            Scenario::Grow => 1,
        }
    }

    /// The command line that replays it.
    pub fn command_line(&self) -> String {
        let sync = match self.sync {
            Sync::Always => "always",
            Sync::EverySecond => "everysec",
            Sync::No => "no",
        };
        let mut line = format!(
            "trilith sim --seed {} --seconds {} --nodes {} --n {} --w {} --r {} --arcs {} --clients {} --think-ms {} --sync {sync}",
            self.seed,
            self.millis as f64 / 1000.0,
            self.nodes,
            self.quorum.replicas(),
            self.quorum.acknowledge(),
            self.quorum.read(),
            self.arcs,
            self.clients,
            self.think_ms,
        );
        if self.scenario == Scenario::Grow {
            line.push_str(" --scenario grow");
        }
        if self.warm {
            line.push_str(" --warm");
        }
        if self.beyond {
            line.push_str(" --beyond");
        }
        if let Some(mutation) = self.mutation {
            line.push_str(&format!(" --mutation {}", mutation_name(mutation)));
        }
        match &self.schedule {
            Some(schedule) => {
                let faults: Vec<String> = schedule.iter().map(Fault::to_string).collect();
                line.push_str(&format!(
                    " --schedule {}",
                    if faults.is_empty() {
                        "none".into()
                    } else {
                        faults.join(",")
                    }
                ));
            }
            None if self.faults.is_empty() => line.push_str(" --faults none"),
            None if self.faults.len() == FaultKind::ALL.len() => line.push_str(" --faults all"),
            None => {
                let names: Vec<&str> = self.faults.iter().map(|kind| kind.name()).collect();
                line.push_str(&format!(" --faults {}", names.join(",")));
            }
        }
        line
    }
}

/// A mutation's name on the command line: `elect-by-majority`.
pub fn mutation_name(mutation: Mutation) -> String {
    let mut name = String::new();
    for letter in format!("{mutation:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The mutation of that name.
pub fn mutation_named(name: &str) -> Option<Mutation> {
    Mutation::ALL
        .into_iter()
        .find(|&mutation| mutation_name(mutation) == name)
}
