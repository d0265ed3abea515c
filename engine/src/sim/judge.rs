//! The verdict: what the checkers say of what clients saw, and whether copies are equal in the end.

use std::collections::BTreeMap;

use super::checkers::{
    Key, Op, Outcome as Ended, Reply as Seen, Value, Verdict, durability, expiry, linearizable,
};
use super::faults::FaultKind;
use super::host::Host;
use super::keys::Kind;
use super::report::Report;
use super::simulation::Simulation;
use super::steward::master_of;
use crate::Result;
use crate::command::{Command, Reply};
use crate::ring::RangeId;

/// Choices that a search for an order may make.
const BUDGET: u64 = 2_000_000;
/// By how much the end of a key's life may be off, in microseconds, where no clock is tampered with.
const TOLERANCE_US: u64 = 1_500_000;
/// The client who looks at everything in the end.
const LAST_CLIENT: u32 = u32::MAX;

impl Simulation {
    pub(super) fn judge(mut self, healed_ms: u64) -> Report {
        let last = self.read_everything();
        let promises = self.world.setup.promises();
        let history = &self.clients.history;
        let lost = durability::lost_writes(history, &last);
        let mut stale = durability::stale_reads(history);
        // A key that has expired is not behind.
        let keys = self.clients.workload.keys();
        stale.retain(|read| keys.all[read.key as usize].1 != Kind::Fleeting);
        let verdict = linearizable::check(history, BUDGET);
        let tampers = |fault: &super::Fault| {
            matches!(fault.kind, FaultKind::ClockJump | FaultKind::ClockSkew)
        };
        let tolerance_us = if self.world.faults.iter().any(tampers) {
            u64::MAX
        } else {
            TOLERANCE_US
        };
        let mut wrong = Vec::new();
        if promises {
            wrong.extend(
                lost.iter()
                    .map(|lost| format!("an acknowledged write was lost: {lost:?}")),
            );
            if let Verdict::Violation(violation) = &verdict {
                wrong.push(violation.to_string());
            }
            let faults = expiry::check(history, tolerance_us);
            wrong.extend(faults.iter().map(|fault| {
                let of = |op: usize| history.operations().get(op);
                let (expiry::Fault::AliveAgain {
                    gone: one,
                    alive: other,
                    ..
                }
                | expiry::Fault::Overdue {
                    write: one,
                    alive: other,
                    ..
                }
                | expiry::Fault::Vanished {
                    write: one,
                    gone: other,
                    ..
                }) = *fault;
                format!(
                    "a key that expires: {fault:?}: {:?}, {:?}",
                    of(one),
                    of(other)
                )
            }));
        }
        let unnamed = self.unnamed(&lost);
        // A process that has ended no longer holds what its tables hold, so it cannot name it.
        let forgets = |kind: &str| {
            ["crash", "power", "eio", "enospc", "disk-swap", "bit-rot"].contains(&kind)
        };
        if !self.inflicted.keys().any(|kind| forgets(kind)) {
            wrong.extend(unnamed.iter().cloned());
        }
        wrong
            .into_iter()
            .take(10)
            .for_each(|what| self.world.invariants.violate(what));
        let invariants = &self.world.invariants;
        Report {
            seed: self.world.setup.seed,
            quorum: self.world.setup.quorum.to_string(),
            simulated_seconds: self.world.now_us as f64 / 1e6,
            core_seconds: 0.0,
            operations: self.clients.operations,
            acknowledged: self.clients.acknowledged,
            lost: lost.len() as u64,
            unnamed: unnamed.len() as u64,
            stale: stale.len() as u64,
            linearizable: match verdict {
                Verdict::Linearizable => Some(true),
                Verdict::Violation(_) => Some(false),
                Verdict::Undecided => None,
            },
            healed_ms,
            elections: invariants.elections,
            by_flagged: invariants.by_flagged,
            snapshots: invariants.snapshots,
            recovered: invariants.recovered,
            mismatches: invariants.mismatches,
            violations: invariants.violations().to_vec(),
            faults: self.inflicted.clone(),
            phases: self.growth.map_or(Vec::new(), |growth| growth.phases),
            trace_hash: format!("{:016x}", self.world.digest.value()),
        }
    }

    /// Reads every key in every copy: the copies are equal, and what they hold is what the last client sees.
    fn read_everything(&mut self) -> BTreeMap<Key, Option<Value>> {
        let mut last = BTreeMap::new();
        for key in 0..self.clients.workload.keys().all.len() {
            let (slot, kind) = self.clients.workload.keys().all[key];
            if kind == Kind::Fleeting {
                continue;
            }
            let (range, slot) = {
                let slot = &self.clients.workload.keys().slots[slot];
                (slot.range, slot.slot)
            };
            let Some(reply) = self.read_copies(range, key as Key) else {
                continue;
            };
            let Some(value) = self.clients.workload.value_of(key as Key, &reply) else {
                self.world
                    .invariants
                    .violate(format!("key {key} holds {reply:?}"));
                continue;
            };
            let now_us = self.world.now_us;
            let history = &mut self.clients.history;
            let op = history.invoke(LAST_CLIENT, slot, Op::Get(key as Key), now_us);
            history.finish(op, Ended::Ok(Seen::Value(value.clone())), now_us);
            last.insert(key as Key, value);
        }
        last
    }

    /// What the master holds, if there is one; others that hold something else are violations.
    fn read_copies(&mut self, range: RangeId, key: Key) -> Option<Reply> {
        let name = self.clients.workload.keys().name(key).name;
        let (place, _) = master_of(&self.hosts, range)?;
        let first = read(&self.hosts[place], name.clone())?.ok()?;
        for host in &self.hosts {
            let holds =
                (host.running.as_ref()).is_some_and(|running| running.node.range(range).is_some());
            if !holds || host.place == place {
                continue;
            }
            match read(host, name.clone()) {
                Some(Ok(reply)) if reply == first => {}
                other => {
                    let what = format!(
                        "range {range}: {} holds {other:?} in {name:?}, the master {first:?}",
                        host.id
                    );
                    self.world.invariants.violate(what);
                }
            }
        }
        Some(first)
    }

    /// Lost writes that no lost-writes file names.
    fn unnamed(&self, lost: &[durability::LostWrite]) -> Vec<String> {
        let takes_files =
            |kind: &str| ["disk-swap", "bit-rot", "power", "eio", "enospc"].contains(&kind);
        if self.inflicted.keys().any(|kind| takes_files(kind)) {
            return Vec::new();
        }
        let running = self
            .hosts
            .iter()
            .filter_map(|host| host.running.as_ref().map(|running| (host, running)));
        let files = running.map(|(host, running)| host.process.block_on(running.store.lost()));
        let lines: Vec<String> = files.filter_map(Result::ok).flatten().collect();
        let mut unnamed = Vec::new();
        for lost in lost {
            let Some((range, at)) = self.clients.written.get(&lost.op) else {
                continue;
            };
            let start = format!("range {range} index {} term {} ", at.index, at.term);
            if !lines.iter().any(|line| line.starts_with(&start)) {
                unnamed.push(format!(
                    "{lost:?}, entry {at} of range {range}, is in no lost-writes file"
                ));
            }
        }
        unnamed
    }
}

fn read(host: &Host, name: bytes::Bytes) -> Option<Result<Reply>> {
    let running = host.running.as_ref()?;
    let command = Command::Get(name);
    Some(host.process.block_on(running.store.read(&command, 0)))
}
