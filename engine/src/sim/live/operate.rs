//! Carrying actions out: what cannot be done is an error and changes nothing, what is done is written down.

use std::collections::BTreeMap;

use super::action::{Action, Number};
use super::clients::command_of;
use super::events::{Kind, Row};
use super::machine::{Machine, State, blank_disk};
use super::options::{MACHINES_MOST, invalid};
use super::ring::{Ring, promises};
use super::wire::Node;
use crate::Result;
use crate::ring::driver::Start;
use crate::ring::meta::Proposal;
use crate::ring::{NodeId, Quorum};
use crate::sim::network::Weather as Front;

/// The longest delay of packets, in milliseconds.
const DELAY_MS_MOST: u32 = 60_000;
/// The furthest that a clock may be off: a day.
const SKEW_MS_MOST: u64 = 86_400_000;

/// What is wrong with the network.
#[derive(Default)]
pub(super) struct Weather {
    partition: Vec<u64>,
    pub(super) groups: Vec<Vec<Number>>,
    /// By node, 0 standing for all: the fronts, and how bad they are.
    pub(super) delays: BTreeMap<Number, (Vec<u64>, u32)>,
    pub(super) losses: BTreeMap<Number, (Vec<u64>, u32)>,
}

fn bit(number: Number) -> u64 {
    1 << (number - 1)
}

impl Ring {
    /// Does something to the ring, at this moment. Gives the number of a request.
    ///
    /// # Errors
    /// `Invalid`, with the reason, if that cannot be done: then nothing has changed.
    pub fn act(&mut self, action: Action) -> Result<Option<u64>> {
        self.settle();
        let price = self.price(&action);
        let done = self.carry_out(&action)?;
        self.paid = self.paid.take().or(price);
        self.steps.push((self.now_us, action));
        self.settle();
        Ok(done)
    }

    /// What an action may cost beyond what N, W and R promise; to be said before it is done. `None` if nothing.
    pub fn price(&self, action: &Action) -> Option<String> {
        let Action::Wipe(number) = *action else {
            return None;
        };
        let machine = self.machine(number).ok()?;
        let led = self
            .offices
            .led()
            .get(&machine.number)
            .copied()
            .unwrap_or(0);
        if !self.is_whole() {
            return Some(
                "another disk or node is away: where this one holds the last copies of a majority, ranges are left without a master, and acknowledged writes may be lost".into(),
            );
        }
        if self.quorum.acknowledge() < 2 && led > 0 {
            return Some(format!(
                "W is 1: writes that only this node has acknowledged are lost with its disk; it leads {led} ranges"
            ));
        }
        None
    }

    fn machine(&self, number: Number) -> Result<&Machine> {
        let place = (number as usize).checked_sub(1);
        let machine = place.and_then(|place| self.machines.get(place));
        let machine = machine.ok_or_else(|| {
            let there = self.machines.len();
            refuse(format!(
                "there is no node {number}: there are nodes 1 to {there}"
            ))
        })?;
        match machine.is_gone {
            true => Err(refuse(format!("node {number} has left for good"))),
            false => Ok(machine),
        }
    }

    /// A machine with a running process.
    fn running(&self, number: Number) -> Result<usize> {
        let machine = self.machine(number)?;
        match machine.state() {
            State::Dead => Err(refuse(format!("node {number} is not running"))),
            State::Starting => Err(refuse(format!("node {number} is starting"))),
            _ => Ok(number as usize - 1),
        }
    }

    fn carry_out(&mut self, action: &Action) -> Result<Option<u64>> {
        match action {
            Action::Ask { node, how, words } => {
                let command = command_of(words)?;
                let place = self.machine(*node)?.number as usize - 1;
                return Ok(Some(self.send_request(place, command, *how, true)));
            }
            Action::Load(load) => {
                Self::check_load(load)?;
                self.set_load(*load);
            }
            Action::Kill { node, power } => {
                if self.machine(*node)?.state() == State::Dead {
                    return Err(refuse(format!("node {node} is dead already")));
                }
                self.kill(*node as usize - 1, *power);
            }
            Action::Restart(node) => {
                let place = self.machine(*node)?.number as usize - 1;
                self.kill(place, false);
                self.boot(place);
            }
            Action::Pause(node) => {
                let place = self.running(*node)?;
                if self.machines[place].is_paused {
                    return Err(refuse(format!("node {node} is paused already")));
                }
                self.machines[place].is_paused = true;
                self.machines[place].process.pause();
                self.note(Kind::Paused, *node);
            }
            Action::Resume(node) => {
                let place = self.running(*node)?;
                if !self.machines[place].is_paused {
                    return Err(refuse(format!("node {node} is not paused")));
                }
                self.resume(place);
            }
            Action::Wipe(node) => self.wipe(*node)?,
            Action::Partition(groups) => self.partition(groups)?,
            Action::Heal => self.heal(),
            Action::Delay { ms, node } => {
                if *ms > DELAY_MS_MOST {
                    return Err(refuse(format!("{ms} ms: {DELAY_MS_MOST} at most")));
                }
                let node = self.named(*node)?;
                let front = Front::Delay(u64::from(*ms) * 1_000);
                let mut delays = std::mem::take(&mut self.weather.delays);
                self.set_front(&mut delays, node, *ms, front);
                self.weather.delays = delays;
            }
            Action::Drop { permille, node } => {
                if *permille > 1_000 {
                    return Err(refuse(format!("{permille} of a thousand packets")));
                }
                let node = self.named(*node)?;
                let front = Front::Loss(u64::from(*permille));
                let mut losses = std::mem::take(&mut self.weather.losses);
                self.set_front(&mut losses, node, *permille, front);
                self.weather.losses = losses;
            }
            Action::Skew { node, ms } => {
                let place = self.machine(*node)?.number as usize - 1;
                if ms.unsigned_abs() > SKEW_MS_MOST {
                    return Err(refuse(format!("{ms} ms: a day at most")));
                }
                let machine = &mut self.machines[place];
                machine.process.skew_wall(ms - machine.skew_ms);
                machine.skew_ms = *ms;
            }
            Action::Add => self.add()?,
            Action::Drain(node) => self.drain(*node)?,
            Action::Quorum(quorum) => self.set_quorum(*quorum)?,
        }
        Ok(None)
    }

    pub(super) fn note(&mut self, kind: Kind, node: Number) {
        let row = Row {
            node,
            ..Row::default()
        };
        self.digest
            .add_all([self.now_us, kind as u64, u64::from(node)]);
        self.events.add(self.now_us, kind, row);
    }

    /// A node that an action may be about; 0 stands for all of them.
    fn named(&self, node: Option<Number>) -> Result<Number> {
        match node {
            None => Ok(0),
            Some(node) => Ok(self.machine(node)?.number),
        }
    }

    pub(super) fn kill(&mut self, place: usize, power: bool) {
        self.disconnect(place);
        let machine = &mut self.machines[place];
        let (number, was_there) = (machine.number, machine.state() != State::Dead);
        if let Some(id) = machine.id {
            self.gathered.set_up(id, false);
        }
        machine.crash(power);
        self.offices.vacate(number);
        if was_there {
            self.note(Kind::Killed, number);
        }
    }

    fn boot(&mut self, place: usize) {
        let (seed, contacts) = (self.random.next(), self.contacts(place));
        let machine = &mut self.machines[place];
        // Whoever was to be asked when the disk was fresh may be gone by now.
        if matches!(machine.start, Start::Join { .. }) && !contacts.is_empty() {
            machine.start = Start::Join { contacts };
        }
        machine.boot(&self.options, &self.runtime, &self.gathered, seed);
    }

    pub(super) fn has_started(&mut self, place: usize, started: Result<Node>) {
        let machine = &mut self.machines[place];
        machine.is_starting = false;
        let number = machine.number;
        match started {
            Ok(node) => {
                self.gathered.set_up(node.id(), true);
                machine.id = Some(node.id());
                machine.node = Some(node);
                self.note(Kind::Started, number);
            }
            Err(error) => {
                self.invariants
                    .violate(format!("node {number} does not start: {error}"));
                self.note(Kind::Failed, number);
            }
        }
    }

    fn resume(&mut self, place: usize) {
        let machine = &mut self.machines[place];
        machine.is_paused = false;
        machine.process.resume();
        if let Some(node) = &machine.node {
            let backlog = std::mem::take(&mut machine.backlog);
            backlog.into_iter().for_each(|packet| node.receive(packet));
        }
        let number = machine.number;
        self.note(Kind::Resumed, number);
    }

    /// Nodes that can be connected to, but for one machine's.
    fn contacts(&self, but: usize) -> Vec<NodeId> {
        let others = self.machines.iter().enumerate();
        let running = others.filter(|(place, machine)| *place != but && machine.node.is_some());
        running.filter_map(|(_, machine)| machine.id).collect()
    }

    fn wipe(&mut self, node: Number) -> Result<()> {
        let place = self.machine(node)?.number as usize - 1;
        let contacts = self.contacts(place);
        if contacts.is_empty() {
            return Err(refuse(
                "no other node runs that the new one could join".into(),
            ));
        }
        self.kill(place, true);
        let machine = &mut self.machines[place];
        machine.disk = blank_disk();
        machine.start = Start::Join { contacts };
        machine.is_draining = false;
        let old = machine.id.take();
        if let Some(old) = old {
            self.wish(Proposal::Remove(old));
        }
        self.note(Kind::Wiped, node);
        self.boot(place);
        Ok(())
    }

    fn end_fronts(&mut self, fronts: Vec<u64>) {
        for front in fronts {
            // Nothing waits for these: what they stop is lost.
            self.network.end(front, self.now_us, &mut |_, _, _| {});
        }
    }

    fn heal(&mut self) {
        let partition = std::mem::take(&mut self.weather.partition);
        self.end_fronts(partition);
        self.weather.groups.clear();
    }

    fn partition(&mut self, groups: &[Vec<Number>]) -> Result<()> {
        let mut named = 0_u64;
        for &node in groups.iter().flatten() {
            self.machine(node)?;
            if named & bit(node) != 0 {
                return Err(refuse(format!("node {node} is named twice")));
            }
            named |= bit(node);
        }
        if named == 0 {
            return Err(refuse("no node is named".into()));
        }
        self.heal();
        for group in groups {
            let bits = group.iter().fold(0, |bits, &node| bits | bit(node));
            for (from, to) in [(bits, !bits), (!bits, bits)] {
                let front = self.network.begin(Front::Cut, from, to);
                self.weather.partition.push(front);
            }
        }
        self.weather.groups = groups.to_vec();
        Ok(())
    }

    /// Replaces what is set for a node.
    fn set_front(
        &mut self,
        fronts: &mut BTreeMap<Number, (Vec<u64>, u32)>,
        node: Number,
        much: u32,
        front: Front,
    ) {
        if let Some((old, _)) = fronts.remove(&node) {
            self.end_fronts(old);
        }
        if much == 0 {
            return;
        }
        let everybody = u64::MAX;
        let new = match node {
            0 => vec![self.network.begin(front, everybody, everybody)],
            node => vec![
                self.network.begin(front, bit(node), everybody),
                self.network.begin(front, everybody, bit(node)),
            ],
        };
        fronts.insert(node, (new, much));
    }

    fn add(&mut self) -> Result<()> {
        let place = self.machines.len();
        if place >= MACHINES_MOST {
            return Err(refuse(format!("there is room for {MACHINES_MOST} nodes")));
        }
        let contacts = self.contacts(place);
        if contacts.is_empty() {
            return Err(refuse("no node runs that it could join".into()));
        }
        let start = Start::Join { contacts };
        let machine = Machine::new(place as Number + 1, &self.runtime, start);
        self.machines.push(machine);
        self.boot(place);
        Ok(())
    }

    /// Machines that hold something, or will.
    pub(super) fn members(&self) -> usize {
        let counts = |machine: &&Machine| !machine.is_gone && !machine.is_draining;
        self.machines.iter().filter(counts).count()
    }

    fn drain(&mut self, node: Number) -> Result<()> {
        let machine = self.machine(node)?;
        let Some(id) = machine.id else {
            return Err(refuse(format!("node {node} has not joined yet")));
        };
        if machine.is_draining {
            return Err(refuse(format!("node {node} is being drained already")));
        }
        let n = usize::from(self.quorum.replicas());
        if self.members() <= n {
            return Err(refuse(format!("N is {n}: so many nodes have to stay")));
        }
        self.machines[node as usize - 1].is_draining = true;
        self.wish(Proposal::Drain(id));
        Ok(())
    }

    fn set_quorum(&mut self, quorum: Quorum) -> Result<()> {
        let (n, members) = (usize::from(quorum.replicas()), self.members());
        if n > members {
            return Err(refuse(format!(
                "N {n} needs {n} nodes: there are {members}"
            )));
        }
        self.quorum = quorum;
        self.has_promised &= promises(quorum);
        self.wish(Proposal::Quorum(quorum));
        Ok(())
    }
}

fn refuse(detail: String) -> crate::Error {
    invalid("acting on the ring", detail)
}
