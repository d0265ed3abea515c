//! Carrying faults out, within what the promises cover: where a fault would take more copies than a promise
//! survives, it is passed over.

use bytes::Bytes;

use super::faults::{Fault, FaultKind};
use super::lanes::Lane;
use super::network::Weather;
use super::simulation::Simulation;
use super::steward::master_of;
use super::world::Event;
use crate::ErrorKind::{Failed, Full, ReadOnly, Unknown};
use crate::command::{Command, Expiry, command_payload};
use crate::db::Sync;
use crate::random::Random;
use crate::ring::effect::Input;
use crate::ring::node::NodeInput;
use crate::ring::{NodeId, Quorum, RangeId};
use crate::storage::faulty::{CrashMode, Fault as DiskFault, OpKind, Plan, When};
use crate::{FaultyStorage, Result};

/// What has to be undone when a fault is over.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    Front(u64),
    Resume(usize),
    Disk(usize),
    Drift(usize),
    /// A machine whose disk has rotted is started anew, so that it looks at what it has.
    Reread(usize),
    /// The same for one whose disk failed.
    Nothing,
}

impl Simulation {
    /// A fault strikes.
    pub(super) fn strike(&mut self, index: usize) {
        let Some(&fault) = self.world.faults.get(index) else {
            return;
        };
        let mut random = Random::new(fault.seed);
        let undo = self.inflict(fault, &mut random);
        if let Some(undo) = undo {
            *self.inflicted.entry(fault.kind.name()).or_default() += 1;
            self.undo.insert(index, undo);
            self.world.after(fault.for_ms * 1000, Event::Relent(index));
        }
    }

    fn inflict(&mut self, fault: Fault, random: &mut Random) -> Option<Undo> {
        let machines = self.hosts.len();
        let place = random.index(machines);
        let some = random.next();
        let everybody = u64::MAX;
        let front = |weather, from, to, this: &mut Self| {
            Some(Undo::Front(this.world.network.begin(weather, from, to)))
        };
        match fault.kind {
            FaultKind::Loss => front(Weather::Loss(20 + random.below(200)), some, everybody, self),
            FaultKind::Delay => front(
                Weather::Delay(2_000 + random.below(100_000)),
                some,
                random.next(),
                self,
            ),
            FaultKind::Duplicate => front(
                Weather::Duplicate(50 + random.below(400)),
                some,
                everybody,
                self,
            ),
            FaultKind::Reorder => front(Weather::Reorder, some, everybody, self),
            FaultKind::Clog => front(Weather::Clog, some, random.next(), self),
            FaultKind::OneWay => front(Weather::Cut, 1 << place, !(1 << place), self),
            FaultKind::Partition => {
                // Two fronts would need two undos: one that cuts both ways between the halves does not exist.
                let halves = some | 1;
                let first = self.world.network.begin(Weather::Cut, halves, !halves);
                let second = self.world.network.begin(Weather::Cut, !halves, halves);
                debug_assert_eq!(second, first + 1);
                Some(Undo::Front(first))
            }
            FaultKind::Pause => {
                let host = &mut self.hosts[place];
                (host.running.is_some() && host.paused.is_none()).then(|| {
                    host.paused = Some(Vec::new());
                    Undo::Resume(place)
                })
            }
            FaultKind::Crash => self.end_process(place, false, fault, random),
            FaultKind::Power => {
                let may = self.is_safe_to_forget();
                may.then(|| self.end_process(place, true, fault, random))
                    .flatten()
            }
            FaultKind::BitRot => self.rot(place, random),
            FaultKind::StateRot => self.rot_state(random),
            FaultKind::Eio | FaultKind::Enospc => self.fail_disk(place, fault.kind, random),
            FaultKind::SlowDisk => {
                self.hosts[place].slowness = 10 + random.below(200);
                Some(Undo::Disk(place))
            }
            FaultKind::ClockJump => {
                let by_ms = random.below(120_000) as i64 - 60_000;
                self.hosts[place].skew(by_ms);
                Some(Undo::Nothing)
            }
            FaultKind::ClockSkew => {
                self.hosts[place].drift_ms = random.below(400) as i64 - 200;
                Some(Undo::Drift(place))
            }
            FaultKind::DiskSwap => {
                let is_whole = self.is_whole();
                is_whole.then(|| {
                    self.swap_disk(place, fault.for_ms);
                    Undo::Nothing
                })
            }
            FaultKind::Members => self.change_members(random),
        }
    }

    /// A fault is over.
    pub(super) fn relent(&mut self, index: usize) {
        match self.undo.remove(&index) {
            Some(Undo::Front(front)) => {
                self.world.clear(front);
                let is_partition = (self.world.faults.get(index))
                    .is_some_and(|fault| fault.kind == FaultKind::Partition);
                if is_partition {
                    self.world.clear(front + 1);
                }
            }
            Some(Undo::Resume(place)) => self.hosts[place].resume(&self.world),
            Some(Undo::Disk(place)) => self.mend_disk(place),
            Some(Undo::Drift(place)) => self.hosts[place].drift_ms = 0,
            Some(Undo::Reread(place)) => {
                if self.hosts[place].running.is_some() {
                    self.kill(place, CrashMode::ProcessKilled, 100);
                }
            }
            Some(Undo::Nothing) | None => {}
        }
    }

    pub(super) fn mend_disk(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        host.slowness = 1;
        host.failing = false;
        host.disk.set_full(false);
        host.disk.set_plan(Plan::new());
    }

    /// Whether nothing that a promise rests on is away at present, known to be or not.
    fn is_whole(&self) -> bool {
        let running = self.hosts.iter().filter_map(|host| host.running.as_ref());
        let rots = running.flat_map(|running| running.lanes.values().map(|lane| &lane.rot));
        let is_rotten = self.world.invariants.is_rotten() || rots.flatten().next().is_some();
        self.steward.is_whole(&self.hosts) && !is_rotten
    }

    /// Whether one machine may forget what was only written: no other has, and none is away.
    fn is_safe_to_forget(&self) -> bool {
        let setup = &self.world.setup;
        setup.sync == Sync::Always || self.is_whole()
    }

    /// Ends a process and lets it start again in so many milliseconds.
    pub(super) fn kill(&mut self, place: usize, mode: CrashMode, for_ms: u64) {
        self.clients.disconnect(place, &mut self.world);
        let host = &mut self.hosts[place];
        host.crash(mode, &mut self.world);
        let life = host.life;
        self.world.after(for_ms * 1000, Event::Boot { place, life });
    }

    fn end_process(
        &mut self,
        place: usize,
        power: bool,
        fault: Fault,
        random: &mut Random,
    ) -> Option<Undo> {
        self.hosts[place].running.as_ref()?;
        let seed = random.next();
        // What a cut tail held was never acknowledged, but it cannot be told from what was: such a copy may have
        // forgotten something, and with another one away that is more than is promised.
        let may_tear = (self.growth.is_none() || self.steward.dead.is_empty())
            && (!self.world.setup.promises() || self.is_whole());
        let is_torn = random.coin() && may_tear;
        let mode = match (power, is_torn) {
            (false, false) => CrashMode::ProcessKilled,
            (false, true) => CrashMode::ProcessKilledTorn { seed },
            (true, false) => CrashMode::PowerLoss,
            (true, true) => CrashMode::PowerLossTorn { seed },
        };
        self.kill(place, mode, fault.for_ms);
        Some(Undo::Nothing)
    }

    /// A machine's disk is gone: it comes back as a new node with nothing on it.
    pub(super) fn swap_disk(&mut self, place: usize, for_ms: u64) {
        self.kill(place, CrashMode::PowerLoss, for_ms);
        let host = &mut self.hosts[place];
        let (old, new) = (host.id, NodeId(self.steward.next_node));
        self.steward.next_node += 1;
        host.disk = FaultyStorage::new();
        host.founding.clear();
        host.id = new;
        self.world.places.remove(&old);
        self.world.places.insert(new, place);
        self.steward.dead.push(old);
        self.world.invariants.is_gone(old);
        if self.steward.rotten == Some(place) {
            self.steward.rotten = None;
        }
        for target in self.steward.targets.values_mut() {
            for voter in &mut target.voters {
                if *voter == old {
                    *voter = new;
                }
            }
        }
    }

    fn rot(&mut self, place: usize, random: &mut Random) -> Option<Undo> {
        if !self.is_whole() {
            return None;
        }
        let disk = &self.hosts[place].disk;
        let objects = disk.objects();
        let (object, len) = objects.get(random.index(objects.len()))?;
        if *len == 0 || !disk.flip(object, random.below(*len), random.below(8) as u8) {
            return None;
        }
        self.steward.rotten = Some(place);
        Some(Undo::Reread(place))
    }

    /// A copy of a range changes a value that the others do not; the scrubber has to find it.
    fn rot_state(&mut self, random: &mut Random) -> Option<Undo> {
        let ranges: Vec<RangeId> = self.steward.targets.keys().copied().collect();
        // A cluster that grows has no ranges that are looked after one by one.
        let &range = ranges.get(random.index(ranges.len().max(1)))?;
        if !self.is_whole() {
            return None;
        }
        let key = self.clients.workload.keys().unused(range)?;
        let mut lanes: Vec<&mut Lane> = (self.hosts.iter_mut())
            .filter_map(|host| host.running.as_mut()?.lanes.get_mut(&range))
            .collect();
        let place = random.index(lanes.len().max(1));
        let number = Bytes::from(random.next().to_string());
        let set = Command::set(key, number, Expiry::Clear);
        lanes.get_mut(place)?.rot = Some(command_payload(&set));
        Some(Undo::Nothing)
    }

    fn fail_disk(&mut self, place: usize, kind: FaultKind, random: &mut Random) -> Option<Undo> {
        let host = &mut self.hosts[place];
        if host.running.is_none() || !self.is_whole() {
            return None;
        }
        let host = &mut self.hosts[place];
        (host.fails, host.failing) = (true, true);
        if kind == FaultKind::Enospc {
            host.disk.set_full(true);
            return Some(Undo::Disk(place));
        }
        let settles = match random.below(3) {
            0 => When::kind(OpKind::SettleSynced),
            1 => When::kind(OpKind::SettleWritten).or_kind(OpKind::SettleSynced),
            _ => When::kind(OpKind::Read)
                .or_kind(OpKind::Commit)
                .or_kind(OpKind::Create),
        };
        host.disk
            .set_plan(Plan::new().once(settles.after(random.below(20)), DiskFault::Fail));
        Some(Undo::Disk(place))
    }

    fn change_members(&mut self, random: &mut Random) -> Option<Undo> {
        let ranges: Vec<RangeId> = self.steward.targets.keys().copied().collect();
        let &range = ranges.get(random.index(ranges.len().max(1)))?;
        let target = self.steward.targets.get_mut(&range)?;
        let others: Vec<NodeId> = (self.world.places.keys().copied())
            .filter(|node| !target.voters.contains(node))
            .collect();
        let voter = random.index(target.voters.len());
        match random.below(5) {
            0..=1 if !others.is_empty() => {
                target.voters[voter] = others[random.index(others.len())]
            }
            2 => target.voters.swap(0, voter),
            3 => target.quorum = other_quorum(target.quorum).unwrap_or(target.quorum),
            _ => {
                let to = random.coin().then(|| target.voters[voter]);
                let (place, _) = master_of(&self.hosts, range)?;
                let input = NodeInput::Range(range, Input::Handover { to });
                self.hosts[place].hear(input, &self.world);
            }
        }
        Some(Undo::Nothing)
    }

    /// A storage has failed its node. What must not happen is a violation; the rest is mended.
    pub(super) fn take_troubles(&mut self) {
        for trouble in std::mem::take(&mut self.world.troubles) {
            let place = trouble.place;
            let host = &mut self.hosts[place];
            if host.life != trouble.life {
                continue;
            }
            let kind = trouble.error.kind();
            let rotten = self.steward.rotten == Some(place);
            match kind {
                // Damaged bytes may look like anything.
                _ if rotten && kind != Full => {
                    self.swap_disk(place, 200);
                }
                // Whoever runs waits for room.
                Full | Failed | ReadOnly | Unknown
                    if host.fails && !(kind == Full && host.running.is_some()) =>
                {
                    if host.running.is_none() {
                        let life = host.life;
                        self.world.after(250_000, Event::Boot { place, life });
                    }
                }
                _ => {
                    let what = format!(
                        "{} {} on a sound disk: {}",
                        host.id, trouble.doing, trouble.error
                    );
                    self.world.invariants.violate(what);
                    if host.running.is_none() {
                        self.swap_disk(place, 200);
                    }
                }
            }
        }
    }

    /// Mends everything that is broken.
    pub(super) fn heal(&mut self) {
        self.undo.clear();
        self.world.clear_up();
        for place in 0..self.hosts.len() {
            self.mend_disk(place);
            let host = &mut self.hosts[place];
            host.drift_ms = 0;
            host.skew(-host.skew_ms);
            host.resume(&self.world);
            if self.steward.rotten == Some(place) {
                // An operator who has been told of the scrubber's find.
                self.swap_disk(place, 50);
            } else if host.running.is_none() && !host.is_retired {
                let life = host.life;
                self.world.after(1_000, Event::Boot { place, life });
            }
        }
    }
}

/// Another triple with the same promise.
fn other_quorum(quorum: Quorum) -> Option<Quorum> {
    let (n, w, r) = match (quorum.replicas(), quorum.acknowledge(), quorum.read()) {
        (3, 2, 2) => (3, 3, 1),
        (3, 3, 1) => (3, 2, 2),
        _ => return None,
    };
    let other: Result<Quorum> = Quorum::new(n, w, r);
    other.ok()
}
