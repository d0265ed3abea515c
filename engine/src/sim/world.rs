//! What all hosts share: time, the queue of what is to come, the network, and those who look on.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use super::TestRuntime;
use super::digest::Digest;
use super::faults::Fault;
use super::growth;
use super::invariants::Invariants;
use super::network::Network;
use super::setup::Setup;
use crate::command::Reply;
use crate::random::Random;
use crate::ring::effect::Outcome;
use crate::ring::message::{Body, Message};
use crate::ring::node::{Packet, Said};
use crate::ring::{LogId, NodeId, RangeId, RequestId};
use crate::{Error, Result};

/// Times are multiples of this, so that what comes at about one time comes together, as it does to a host
/// that was busy.
const GRAIN_US: u64 = 250;

/// Something that is to come.
#[derive(Debug)]
pub(super) enum Event {
    /// A node's clock ticks.
    Tick { place: usize, life: u64 },
    /// A packet arrives.
    Packet { place: usize, packet: Packet },
    /// A disk has taken its time; what was handed to it is settled now.
    Settle { place: usize, life: u64 },
    /// Entries that lay about are applied now.
    Apply {
        place: usize,
        life: u64,
        range: RangeId,
    },
    /// A process starts.
    Boot { place: usize, life: u64 },
    /// A process has to go, as its storage has failed it.
    Restart { place: usize, life: u64 },
    /// A client does what comes next.
    Client { client: usize, serial: u64 },
    /// A client gives up on what it has asked.
    TimeOut { client: usize, serial: u64 },
    /// A client hears.
    Answer {
        client: usize,
        serial: u64,
        answer: Box<Answer>,
    },
    /// A fault strikes.
    Strike(usize),
    /// A fault is over.
    Relent(usize),
    /// Whoever looks after members looks around.
    Steward,
}

/// What a client hears from a node.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// From the ring.
    Outcome(Outcome),
    /// What was read; none if the storage failed. Told too whether the clock may be past a deadline that the
    /// log is not.
    Read { reply: Option<Reply>, elapse: bool },
    /// The node is not there, and was not when it was asked.
    Refused,
    /// The connection is gone.
    Gone,
}

struct Scheduled {
    at_us: u64,
    serial: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.serial).cmp(&(self.at_us, self.serial))
    }
}

/// Something that has gone wrong with a host's storage.
pub(super) struct Trouble {
    pub(super) place: usize,
    pub(super) life: u64,
    pub(super) doing: &'static str,
    pub(super) error: Error,
}

/// See the module.
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) runtime: TestRuntime,
    pub(super) now_us: u64,
    queue: BinaryHeap<Scheduled>,
    serial: u64,
    pub(super) network: Network,
    /// Delays of disks, ticks and clients' links.
    pub(super) random: Random,
    pub(super) digest: Digest,
    pub(super) invariants: Invariants,
    /// By node, its machine; a node whose disk is lost has none.
    pub(super) places: BTreeMap<NodeId, usize>,
    pub(super) answers: Vec<(RequestId, Answer)>,
    pub(super) troubles: Vec<Trouble>,
    /// Copies that were begun on nodes that joined their ranges, and bytes of snapshots that were read for them.
    pub(super) begun: u64,
    pub(super) moved_bytes: u64,
    /// The schedule of this run.
    pub(super) faults: Vec<Fault>,
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let runtime = TestRuntime::new(random.next());
        let faults = setup.faults_to_come();
        Self {
            runtime,
            now_us: 0,
            queue: BinaryHeap::new(),
            serial: 0,
            network: Network::new(setup.nodes + growth::SPARE_MACHINES, random.fork()),
            random: random.fork(),
            digest: Digest::default(),
            invariants: Invariants::new(setup.promises()),
            places: BTreeMap::new(),
            answers: Vec::new(),
            troubles: Vec::new(),
            begun: 0,
            moved_bytes: 0,
            faults,
            setup,
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    /// Lets something happen in so many microseconds.
    pub(super) fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.now_us + delay_us, event);
    }

    pub(super) fn at(&mut self, at_us: u64, event: Event) {
        let at_us = at_us.max(self.now_us + 1).next_multiple_of(GRAIN_US);
        self.serial += 1;
        let serial = self.serial;
        self.queue.push(Scheduled {
            at_us,
            serial,
            event,
        });
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|scheduled| scheduled.at_us)
    }

    /// What happens now, if anything still does.
    pub(super) fn due(&mut self) -> Option<Event> {
        if self.next_at()? > self.now_us {
            return None;
        }
        self.queue.pop().map(|scheduled| scheduled.event)
    }

    /// Lets time pass, and what the stores do in the background happen.
    pub(super) fn pass_to(&mut self, at_us: u64) {
        let by_us = at_us.saturating_sub(self.now_us);
        self.runtime
            .advance(std::time::Duration::from_micros(by_us));
        self.now_us = at_us;
    }

    pub(super) fn send(&mut self, from: usize, packet: Packet) {
        let Some(&to) = self.places.get(&packet.to) else {
            return;
        };
        note_packet(&mut self.digest, self.now_us, &packet);
        let mut arrivals = Vec::new();
        self.network
            .send(self.now_us, from, to, packet, &mut |at, to, packet| {
                arrivals.push((at, to, packet))
            });
        self.deliver(arrivals);
    }

    pub(super) fn deliver(&mut self, arrivals: Vec<(u64, usize, Packet)>) {
        for (at_us, place, packet) in arrivals {
            self.at(at_us, Event::Packet { place, packet });
        }
    }

    /// Ends a front of bad weather.
    pub(super) fn clear(&mut self, front: u64) {
        let mut arrivals = Vec::new();
        self.network.end(front, self.now_us, &mut |at, to, packet| {
            arrivals.push((at, to, packet))
        });
        self.deliver(arrivals);
    }

    /// Ends all bad weather.
    pub(super) fn clear_up(&mut self) {
        let mut arrivals = Vec::new();
        self.network.heal(self.now_us, &mut |at, to, packet| {
            arrivals.push((at, to, packet))
        });
        self.deliver(arrivals);
    }

    pub(super) fn answer(&mut self, request: RequestId, answer: Result<Answer>) {
        let answer = answer.unwrap_or(Answer::Read {
            reply: None,
            elapse: false,
        });
        self.answers.push((request, answer));
    }
}

pub(super) fn note_packet(digest: &mut Digest, now_us: u64, packet: &Packet) {
    digest.add_all([now_us, packet.from.0, packet.to.0, packet.said.len() as u64]);
    for said in &packet.said {
        match said {
            Said::Replica(message) => note_message(digest, message),
            Said::Asked(asked) => digest.add_all([1, asked.request, u64::from(asked.range)]),
            Said::Answered { request, .. } => digest.add_all([2, *request]),
            Said::Map(_) | Said::Greeting => digest.add(3),
            // Drivers of real nodes say these.
            Said::Led(_) | Said::AskedToRead(_) | Said::AnsweredRead { .. } => {}
            Said::Knock(range, member) => {
                let LogId { term, index } = member.incarnation;
                digest.add_all([4, u64::from(*range), term, index])
            }
        }
    }
}

fn note_message(digest: &mut Digest, message: &Message) {
    digest.add_all([
        u64::from(message.range),
        message.term,
        message.body.name().len() as u64,
    ]);
    match &message.body {
        Body::Append(append) => {
            let last = append
                .entries
                .last()
                .map_or(append.before, |entry| entry.id());
            digest.add_all([
                append.before.index,
                last.index,
                last.term,
                append.commit,
                append.round,
            ]);
        }
        Body::Report(report) => {
            let missing = report.missing.map_or(0, |missing| missing.behind + 1);
            digest.add_all([
                report.stored,
                report.applied,
                report.round,
                missing,
                report.wall_ms,
            ]);
        }
        Body::Ballot { asked, granted, .. } => digest.add_all([*asked, u64::from(*granted)]),
        Body::Chunk(chunk) => {
            digest.add_all([chunk.head.at.index, chunk.number, chunk.bytes.len() as u64])
        }
        _ => {}
    }
}
