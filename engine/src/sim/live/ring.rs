//! The ring itself: time, the queue of what is to come, and what follows from it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Number};
use super::clients::Clients;
use super::events::{Events, Kind, Row, row_of};
use super::machine::Machine;
use super::offices::Offices;
use super::operate::Weather;
use super::options::RingOptions;
use super::packets::{Gist, MESSAGES_MOST, PacketView, Reported, gist, view};
use super::record::Record;
use super::script::Script;
use super::verdict::Found;
use super::wire::{Gathered, Said, Wire};
use super::wishes::Wish;
use crate::random::Random;
use crate::ring::node::Packet;
use crate::ring::trace::Event;
use crate::ring::{NodeId, Quorum, RangeId};
use crate::sim::TestRuntime;
use crate::sim::digest::Digest;
use crate::sim::invariants::Invariants;
use crate::sim::network::Network;
use crate::sim::world::note_packet;
use crate::{Result, Runtime};

/// Packets with news that can be looked at afterwards.
const PACKETS_MOST: usize = 2_000;
/// How far one call looks for something that happens.
const QUIET_MOST_US: u64 = 10_000_000;

/// Something that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A packet arrives.
    Arrival(u64),
    /// The load's next request.
    Load(u64),
    /// Somebody looks after wishes.
    Tend,
}

/// A packet on its way.
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) sent_us: u64,
    pub(super) arrives_us: u64,
    /// What it says most of all; none if it says no more than that its sender is there.
    pub(super) news: Option<Gist>,
    packet: Packet,
}

/// A packet that was sent, for whoever asks.
struct Seen {
    id: u64,
    from: Number,
    to: Number,
    sent_us: u64,
    count: usize,
    packet: Packet,
}

/// A cluster of real nodes that is driven from outside. See the [module](super).
pub struct Ring {
    pub(super) options: RingOptions,
    pub(super) quorum: Quorum,
    /// Every quorum so far has promised that nothing is lost and nothing stale.
    pub(super) has_promised: bool,
    /// What was done that goes beyond that.
    pub(super) paid: Option<String>,
    pub(super) runtime: TestRuntime,
    pub(super) now_us: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Due)>>,
    serial: u64,
    pub(super) random: Random,
    pub(super) network: Network,
    pub(super) weather: Weather,
    pub(super) gathered: Arc<Gathered>,
    pub(super) machines: Vec<Machine>,
    pub(super) flights: BTreeMap<u64, Flight>,
    next_packet: u64,
    seen: VecDeque<Seen>,
    reported: Reported,
    pub(super) clients: Clients,
    pub(super) record: Record,
    pub(super) found: BTreeMap<u16, Found>,
    /// Ranges that have changed hands since they were last seen in peace.
    pub(super) shaken: BTreeSet<RangeId>,
    pub(super) offices: Offices,
    pub(super) invariants: Invariants,
    pub(super) events: Events,
    pub(super) digest: Digest,
    pub(super) wishes: Vec<Wish>,
    /// Wishes that there ever were.
    pub(super) wished: u64,
    pub(super) steps: Vec<(u64, Action)>,
}

impl Ring {
    /// Opens a ring: its nodes have founded their cluster, and nothing has been asked yet.
    ///
    /// # Errors
    /// `Invalid` if the options make no sense.
    pub fn open(options: RingOptions) -> Result<Self> {
        options.check()?;
        let mut random = Random::new(options.seed);
        let runtime = TestRuntime::new(random.next());
        let network = Network::new(super::options::MACHINES_MOST, random.fork());
        let gathered = Arc::<Gathered>::default();
        let clients = Clients::new(random.fork());
        let (machines, map) = Machine::found(&options, &runtime, &gathered, &mut random)?;
        let number_of = |node: NodeId| number_in(&machines, node);
        let mut ring = Self {
            quorum: options.quorum,
            has_promised: promises(options.quorum),
            paid: None,
            now_us: runtime.monotonic().as_micros() as u64 + 1,
            queue: BinaryHeap::new(),
            serial: 0,
            random,
            network,
            weather: Weather::default(),
            flights: BTreeMap::new(),
            next_packet: 1,
            seen: VecDeque::new(),
            reported: Reported::default(),
            clients,
            record: Record::default(),
            found: BTreeMap::new(),
            shaken: BTreeSet::new(),
            offices: Offices::new(&map, number_of),
            invariants: Invariants::new(false),
            events: Events::default(),
            digest: Digest::default(),
            wishes: Vec::new(),
            wished: 0,
            steps: Vec::new(),
            options,
            runtime,
            gathered,
            machines,
        };
        ring.after(super::wishes::TEND_US, Due::Tend);
        ring.run_to(ring.now_us);
        Ok(ring)
    }

    /// Does again what a script tells.
    ///
    /// # Errors
    /// `Invalid` if the script does what cannot be done.
    pub fn replay(script: &Script) -> Result<Self> {
        let mut ring = Self::open(script.options.clone())?;
        for (at_us, action) in &script.steps {
            ring.run_to(*at_us);
            ring.act(action.clone())?;
        }
        ring.run_to(script.end_us);
        Ok(ring)
    }

    /// With what it was opened, and what was done to it until now.
    pub fn script(&self) -> Script {
        Script {
            options: self.options.clone(),
            steps: self.steps.clone(),
            end_us: self.now_us,
        }
    }

    /// Virtual microseconds since it was opened.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Equal for equal runs, on any platform: a hash of every packet, request and reply, and of their times.
    pub fn trace_hash(&self) -> String {
        format!("{:016x}", self.digest.value())
    }

    /// Lets so much virtual time pass.
    pub fn advance(&mut self, by_us: u64) {
        self.run_to(self.now_us.saturating_add(by_us));
    }

    /// Lets time pass until the next thing happens, be it only that a node's clock ticks.
    pub fn step(&mut self) {
        if let Some(at_us) = self.next_at() {
            self.run_to(at_us);
        }
    }

    /// Lets time pass until there is a new row in the trace, ten virtual seconds at most.
    pub fn advance_to_event(&mut self) {
        let (before, until_us) = (self.events.count, self.now_us + QUIET_MOST_US);
        while self.events.count == before && self.now_us < until_us {
            match self.next_at().filter(|&at_us| at_us <= until_us) {
                Some(at_us) => self.run_to(at_us),
                None => self.run_to(until_us),
            }
        }
    }

    /// The trace since the last call, [`COLUMNS`](super::COLUMNS) numbers a row, and how many rows had to be dropped
    /// before it.
    pub fn take_events(&mut self) -> (Vec<f64>, u64) {
        self.events.take()
    }

    /// What a packet says that was sent not long ago and had something to say.
    pub fn packet(&self, id: u64) -> Option<PacketView> {
        let seen = self.seen.iter().rev().find(|seen| seen.id == id)?;
        Some(PacketView {
            id,
            from: seen.from,
            to: seen.to,
            sent_ms: seen.sent_us as f64 / 1000.0,
            count: seen.count,
            messages: seen.packet.said.iter().map(view).collect(),
        })
    }

    pub(super) fn after(&mut self, delay_us: u64, due: Due) {
        self.at(self.now_us + delay_us, due);
    }

    fn at(&mut self, at_us: u64, due: Due) {
        self.serial += 1;
        self.queue
            .push(Reverse((at_us.max(self.now_us), self.serial, due)));
    }

    /// When the next thing happens.
    fn next_at(&self) -> Option<u64> {
        let queued = self.queue.peek().map(|Reverse((at_us, ..))| *at_us);
        let timer = self.runtime.next_timer();
        let timer_us = timer.map(|due| (due.as_nanos().div_ceil(1_000)) as u64);
        queued.into_iter().chain(timer_us).min()
    }

    /// Lets everything happen up to a time. That it is done in many calls or in one makes no difference.
    pub(super) fn run_to(&mut self, until_us: u64) {
        self.settle();
        while let Some(at_us) = self.next_at().filter(|&at_us| at_us <= until_us) {
            self.pass_to(at_us);
            while let Some(Reverse((_, _, due))) = self.take_due() {
                self.happen(due);
            }
            self.settle();
        }
        self.pass_to(until_us);
    }

    fn pass_to(&mut self, at_us: u64) {
        if at_us <= self.now_us {
            return self.runtime.advance(Duration::ZERO);
        }
        self.now_us = at_us;
        self.invariants.set_now(at_us / 1000);
        let target = Duration::from_micros(at_us);
        let by = target.saturating_sub(self.runtime.monotonic());
        self.runtime.advance(by);
    }

    fn take_due(&mut self) -> Option<Reverse<(u64, u64, Due)>> {
        let Reverse((at_us, ..)) = self.queue.peek()?;
        (*at_us <= self.now_us).then(|| self.queue.pop()).flatten()
    }

    /// Carries out everything that this moment asks for.
    pub(super) fn settle(&mut self) {
        loop {
            self.runtime.run_until_idle();
            let said = self.gathered.take();
            if said.is_empty() {
                return;
            }
            for (place, life, said) in said {
                if self.machines[place].life == life {
                    self.hear(place, said);
                }
            }
        }
    }

    fn hear(&mut self, place: usize, said: Said) {
        match said {
            Said::Packet(packet) => self.send(place, packet),
            Said::Event(range, event) => self.saw(place, range, &event),
            Said::Started(started) => self.has_started(place, started),
            Said::Answered(id, reply) => self.take_answer(id, reply),
            Said::Proposed(wish, outcome) => self.take_proposed(wish, outcome),
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrival(id) => self.arrive(id),
            Due::Load(serial) => self.load_on(serial),
            Due::Tend => self.tend(),
        }
    }

    pub(super) fn wire(&self, place: usize) -> Wire {
        Wire::new(&self.gathered, place, self.machines[place].life)
    }

    /// The machine that a node runs on; 0 if it is none of these any more.
    pub(super) fn number_of(&self, node: NodeId) -> Number {
        number_in(&self.machines, node)
    }

    fn send(&mut self, from: usize, packet: Packet) {
        note_packet(&mut self.digest, self.now_us, &packet);
        let to = self.number_of(packet.to);
        let news = self.reported.news(from, &packet);
        let id = self.next_packet;
        self.next_packet += 1;
        let mut arrivals = Vec::new();
        let sender = self.machines[from].number;
        if !news.is_empty() {
            self.remember(id, sender, to, &packet);
        }
        if to > 0 {
            let place = to as usize - 1;
            self.network
                .send(self.now_us, from, place, packet, &mut |at_us, _, packet| {
                    arrivals.push((at_us, packet));
                });
        }
        let arrives_ms = arrivals
            .first()
            .map_or(0.0, |&(at_us, _)| at_us as f64 / 1e3);
        for said in news.iter().take(MESSAGES_MOST) {
            let row = row_of_gist(sender, to, id, said, arrives_ms);
            self.events.add(self.now_us, Kind::Sent, row);
        }
        // What it says most of all: the first that is about a range's log or a client, if there is one.
        let chief = news
            .iter()
            .find(|said| said.range.is_some())
            .or(news.first());
        if arrivals.is_empty()
            && let Some(chief) = chief
        {
            let row = row_of_gist(sender, to, id, chief, 0.0);
            self.events.add(self.now_us, Kind::Dropped, row);
        }
        for (at_us, packet) in arrivals {
            let flight = Flight {
                from,
                to: to as usize - 1,
                sent_us: self.now_us,
                arrives_us: at_us,
                news: chief.copied(),
                packet,
            };
            self.flights.insert(id, flight);
            self.at(at_us, Due::Arrival(id));
        }
    }

    fn remember(&mut self, id: u64, from: Number, to: Number, packet: &Packet) {
        let said = packet.said.iter().filter(|said| {
            let kind = gist(said);
            kind.kind > 0
        });
        let packet_kept = Packet {
            said: said.take(MESSAGES_MOST).cloned().collect(),
            ..Packet {
                from: packet.from,
                to: packet.to,
                map_version: packet.map_version,
                said: Vec::new(),
            }
        };
        if self.seen.len() >= PACKETS_MOST {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            id,
            from,
            to,
            sent_us: self.now_us,
            count: packet.said.len(),
            packet: packet_kept,
        });
    }

    fn arrive(&mut self, id: u64) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        let (from, to) = (
            self.machines[flight.from].number,
            self.machines[flight.to].number,
        );
        let machine = &mut self.machines[flight.to];
        let kind = match (&machine.node, machine.is_paused) {
            (None, _) => Kind::Dropped,
            (Some(_), true) => {
                machine.backlog.push(flight.packet);
                Kind::Delivered
            }
            (Some(node), false) => {
                node.receive(flight.packet);
                Kind::Delivered
            }
        };
        if let Some(said) = &flight.news {
            let mut row = row_of_gist(to, from, id, said, flight.sent_us as f64 / 1e3);
            if kind == Kind::Dropped {
                (row.node, row.peer, row.more) = (from, to, 0.0);
            }
            self.events.add(self.now_us, kind, row);
        }
    }

    fn saw(&mut self, place: usize, range: RangeId, event: &Event) {
        let (number, node) = (self.machines[place].number, self.machines[place].id);
        let machines = &self.machines;
        let number_of = |node: NodeId| number_in(machines, node);
        if let Some((kind, row)) = row_of(range, event, number_of) {
            let row = Row {
                node: number,
                ..row
            };
            self.events.add(self.now_us, kind, row);
        }
        self.offices.saw(number, range, event, number_of);
        if let Some(node) = node {
            let now_ms = self.now_us / 1000;
            self.invariants.saw(now_ms, node, range, event, None);
        }
        if matches!(event, Event::Elected { .. } | Event::Recovered { .. }) {
            self.shaken.insert(range);
        }
    }
}

/// Whether a triple promises that nothing is lost and nothing stale.
pub(super) fn promises(quorum: Quorum) -> bool {
    quorum.reads_are_strong() && quorum.writes_survive()
}

fn number_in(machines: &[Machine], node: NodeId) -> Number {
    let machine = machines.iter().find(|machine| machine.id == Some(node));
    machine.map_or(0, |machine| machine.number)
}

fn row_of_gist(node: Number, peer: Number, id: u64, said: &Gist, more: f64) -> Row {
    Row {
        node,
        peer,
        range: said.range,
        term: said.term,
        index: said.index,
        id,
        detail: said.kind as f64,
        more,
    }
}

/// Processes hold their tasks, and these hold them.
impl Drop for Ring {
    fn drop(&mut self) {
        self.runtime.kill_all();
        for machine in &mut self.machines {
            machine.node = None;
        }
        self.runtime.kill_all();
    }
}
