//! A node: all the ranges that one store holds, stepped together.
//!
//! The node routes inputs to its ranges, merges what they have for other nodes into one packet each, makes
//! copies where a master wants one, and forwards clients' requests to whoever is the master. Like a range it
//! does no I/O: a driver carries effects out.

mod forward;
mod lending;
mod orphans;
mod pace;
mod packet;
mod steer;
mod throttle;

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Effect, Input, Now, Outcome, ReadLevel};
use super::ids::{LogId, NodeId, RangeId, RequestId};
use super::membership::{Configuration, Member};
use super::message::{Body, Message};
use super::range::{Options, Range, Recovered};
use crate::random::Random;

use forward::Forwards;
use pace::Pace;
use packet::Packets;
use steer::{OWN, Steering};
use throttle::Throttle;

pub use packet::{Forwarded, ForwardedRead, Packet, Said};
pub use steer::Progress;

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum NodeInput {
    /// Time has passed.
    Tick,
    /// Another node has said something.
    Packet(Packet),
    /// Something has happened to a range: its storage has answered, or an operator wants something.
    Range(RangeId, Input),
    /// The store takes nothing for now, or does again.
    ReadOnly(bool),
    /// A client wants something written, wherever the master may be.
    Write {
        /// The client's request; no other that is open has this number.
        request: RequestId,
        /// The range that holds its keys.
        range: RangeId,
        /// The command.
        payload: Bytes,
        /// Replicas that must store it at least; W in any case.
        at_least: u8,
    },
    /// A client wants to read here, if this node holds the range.
    Read {
        /// The client's request.
        request: RequestId,
        /// The range that holds its keys.
        range: RangeId,
        /// How.
        level: ReadLevel,
    },
}

/// What a node asks its driver to do.
#[derive(Clone, Debug)]
pub enum NodeEffect {
    /// Send this to another node.
    Packet(Packet),
    /// Carry this out for a range; the ranges' effects are independent of each other, one range's are in
    /// order. `Send` does not come here, nor does `Reply`.
    Range(RangeId, Effect),
    /// Make room for a copy of a range, which begins empty, before any effect of it.
    Begin {
        /// The range.
        range: RangeId,
        /// This copy.
        me: Member,
    },
    /// Give back a range that was lent.
    Recall(RangeId),
    /// Tell a client.
    Reply {
        /// Its request.
        request: RequestId,
        /// What it hears.
        outcome: Outcome,
    },
}

/// What a driver knows of other nodes, beyond what their replicas say here.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Who says to be the master of which range.
    pub masters: BTreeMap<RangeId, NodeId>,
    /// Members that are not heard any more.
    pub silent: BTreeSet<NodeId>,
    /// Ranges that the other shares of this node are moving.
    pub moving: usize,
}

/// A node. See the module.
pub struct Node {
    id: NodeId,
    options: Options,
    random: Random,
    ranges: BTreeMap<RangeId, Range>,
    /// Ranges that are lent, and what has happened to them meanwhile.
    lent: BTreeMap<RangeId, Vec<Input>>,
    /// Copies that were destroyed here, by the last incarnation: none of them may come back.
    destroyed: BTreeMap<RangeId, LogId>,
    forwards: Forwards,
    packets: Packets,
    steering: Steering,
    throttle: Throttle,
    pace: Pace,
    others: Others,
    /// Which share of the node's ranges this is, and of how many.
    share: (u64, u64),
    /// The store takes nothing at present.
    is_read_only: bool,
    /// Ranges that have something to hand out.
    touched: Vec<RangeId>,
    /// Ranges that are mastered here.
    led: BTreeSet<RangeId>,
    /// Whether these are others than when it was asked last.
    office_changed: bool,
    effects: Vec<Effect>,
}

impl Node {
    /// A node without ranges. `seed` decides everything that it draws.
    pub fn new(id: NodeId, options: Options, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            id,
            options,
            forwards: Forwards::new(random.next()),
            random,
            ranges: BTreeMap::new(),
            lent: BTreeMap::new(),
            destroyed: BTreeMap::new(),
            packets: Packets::default(),
            steering: Steering::default(),
            throttle: Throttle::default(),
            pace: Pace::default(),
            others: Others::default(),
            share: (0, 1),
            is_read_only: false,
            touched: Vec::new(),
            led: BTreeSet::new(),
            office_changed: false,
            effects: Vec::new(),
        }
    }

    /// A node may be driven in shares, each of which holds some of its ranges. The first speaks for all where it
    /// matters; requests that are sent on travel under numbers that are `place` modulo `of`.
    pub fn share(&mut self, place: u64, of: u64) {
        self.share = (place, of.max(1));
        self.forwards.share_numbers(place, of.max(1));
    }

    /// Takes note of what the driver has learned of others.
    pub fn note_others(&mut self, others: Others) {
        self.others = others;
    }

    /// Founds a range, of which this node is a member from the beginning.
    pub fn found(&mut self, range: RangeId, configuration: Configuration) {
        let me = Member {
            node: self.id,
            incarnation: LogId::default(),
        };
        let seed = self.random.next();
        let replica = Range::found(range, me, configuration, self.options.clone(), seed);
        self.ranges.insert(range, replica);
    }

    /// Takes a range as the store has found it.
    pub fn restore(&mut self, recovered: Recovered) {
        let seed = self.random.next();
        let range = recovered.range;
        let replica = Range::restore(recovered, self.options.clone(), seed);
        self.ranges.insert(range, replica);
    }

    /// Takes note of a copy that was destroyed here in an earlier life.
    pub fn remember_destroyed(&mut self, range: RangeId, incarnation: LogId) {
        let last = self.destroyed.entry(range).or_default();
        *last = incarnation.max(*last);
    }

    /// Takes one input; its effects come with the next [`flush`](Self::flush), so that many inputs share
    /// an append and a packet.
    pub fn step(&mut self, now: Now, input: NodeInput, out: &mut Vec<NodeEffect>) {
        match input {
            NodeInput::Tick => self.tick(now, out),
            NodeInput::Packet(packet) => self.unpack(now, packet, out),
            NodeInput::Range(range, input) => self.step_range(now, range, input, out),
            NodeInput::ReadOnly(is_read_only) => {
                self.is_read_only = is_read_only;
                self.step_all(now, &Input::ReadOnly(is_read_only), out);
            }
            NodeInput::Write {
                request,
                range,
                payload,
                at_least,
            } => self.write(now, request, range, payload, at_least, out),
            NodeInput::Read {
                request,
                range,
                level,
            } => self.read(now, request, range, level, out),
        }
    }

    /// Hands out what the steps since the last flush have gathered.
    pub fn flush(&mut self, now: Now, out: &mut Vec<NodeEffect>) {
        self.touched.sort_unstable();
        self.touched.dedup();
        self.fill_throttle(now);
        for range in std::mem::take(&mut self.touched) {
            let mut effects = std::mem::take(&mut self.effects);
            if let Some(replica) = self.ranges.get_mut(&range) {
                replica.feed_learners(self.throttle.left());
                replica.flush(now, &mut effects);
                self.throttle.charge(replica.take_fed());
            }
            self.sort_out(range, effects, out);
        }
        self.release_parts(out);
        let packets = self.packets.take(self.id, self.map_version());
        out.extend(packets.map(NodeEffect::Packet));
    }

    fn tick(&mut self, now: Now, out: &mut Vec<NodeEffect>) {
        self.step_all(now, &Input::Tick, out);
        self.forwards.expire(now, &self.others, out);
        self.set_pace(now);
        self.steer(now, out);
        self.look_after_orphans(now);
    }

    fn set_pace(&mut self, now: Now) {
        let waits = self.ranges.values().filter_map(Range::oldest_write_ms);
        let waits_ms = waits
            .min()
            .map(|oldest_ms| now.monotonic_ms.saturating_sub(oldest_ms));
        let moves = self.ranges.values().any(Range::has_learners);
        self.pace
            .note(now.monotonic_ms, waits_ms, moves, self.share.1);
    }

    fn step_all(&mut self, now: Now, input: &Input, out: &mut Vec<NodeEffect>) {
        let ranges: Vec<RangeId> = self.ranges.keys().copied().collect();
        for range in ranges {
            self.step_range(now, range, input.clone(), out);
        }
    }

    fn step_range(&mut self, now: Now, range: RangeId, input: Input, out: &mut Vec<NodeEffect>) {
        let Some(input) = self.keep_back(range, input, out) else {
            return;
        };
        if let Input::SnapshotRead { bytes, .. } = &input {
            self.throttle.charge(bytes.len());
        }
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(replica) = self.ranges.get_mut(&range) {
            replica.step(now, input, &mut effects);
            self.touched.push(range);
        }
        self.sort_out(range, effects, out);
    }

    /// Packs messages, answers forwarded requests, and leaves the rest to the driver.
    fn sort_out(&mut self, range: RangeId, mut effects: Vec<Effect>, out: &mut Vec<NodeEffect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(message) => {
                    self.packets.add(message.to.node, Said::Replica(message));
                }
                // Whether a change of the node's own came about shows at the next look.
                Effect::Reply { request, .. } if request & OWN != 0 => {}
                Effect::Reply { request, outcome } => self.answer(request, outcome, out),
                Effect::Destroy => {
                    if let Some(replica) = self.ranges.remove(&range) {
                        self.remember_destroyed(range, replica.me().incarnation);
                    }
                    out.push(NodeEffect::Range(range, Effect::Destroy));
                }
                Effect::SnapshotRead { id, number } => self.throttle.queue(range, id, number),
                Effect::SnapshotClose { id } => {
                    self.throttle.forget(id);
                    out.push(NodeEffect::Range(range, Effect::SnapshotClose { id }));
                }
                effect => out.push(NodeEffect::Range(range, effect)),
            }
        }
        self.effects = effects;
        let is_master = self.ranges.get(&range).is_some_and(Range::is_master);
        self.office_changed |= match is_master {
            true => self.led.insert(range),
            false => self.led.remove(&range),
        };
    }

    fn unpack(&mut self, now: Now, packet: Packet, out: &mut Vec<NodeEffect>) {
        if packet.to != self.id {
            return;
        }
        self.compare_maps(packet.from, packet.map_version);
        for said in packet.said {
            match said {
                Said::Replica(message) => self.hear(now, message, out),
                Said::Asked(asked) => self.take_forwarded(now, packet.from, asked, out),
                Said::Map(map) => self.learn(*map),
                Said::Greeting => self.greeted(packet.from, packet.map_version),
                Said::Knock(range, member) => self.take_knock(now, range, member, out),
                Said::Answered { request, outcome } => {
                    self.take_answer(now, request, outcome, out);
                }
                // The driver's own.
                Said::Led(_) | Said::AskedToRead(_) | Said::AnsweredRead { .. } => {}
            }
        }
    }

    fn hear(&mut self, now: Now, message: Message, out: &mut Vec<NodeEffect>) {
        if !self.ranges.contains_key(&message.range) {
            self.begin_copy(&message, out);
        }
        self.step_range(now, message.range, Input::Message(message), out);
    }

    /// A master wants a copy here that is not there yet.
    fn begin_copy(&mut self, message: &Message, out: &mut Vec<NodeEffect>) {
        let from_master = matches!(message.body, Body::Append(_) | Body::Chunk(_));
        let (range, me) = (message.range, message.to);
        let was_destroyed = self
            .destroyed
            .get(&range)
            .is_some_and(|&last| me.incarnation <= last);
        if was_destroyed
            && me.node == self.id
            && let Some(gone) = message.answer_of_one_gone()
        {
            self.packets.add(gone.to.node, Said::Replica(gone));
        }
        // A founding member has its copy from the beginning, or has lost it for good.
        if self.is_read_only
            || !from_master
            || was_destroyed
            || me.incarnation == LogId::default()
            || me.node != self.id
        {
            return;
        }
        let seed = self.random.next();
        let replica = Range::empty(range, me, self.options.clone(), seed);
        self.ranges.insert(range, replica);
        out.push(NodeEffect::Begin { range, me });
    }

    // What a driver, a client or an observer may ask.

    /// Whether other ranges are mastered here than when this was asked last.
    pub fn take_office_change(&mut self) -> bool {
        std::mem::take(&mut self.office_changed)
    }

    /// Its name.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// A range that it holds.
    pub fn range(&self, range: RangeId) -> Option<&Range> {
        self.ranges.get(&range)
    }

    /// The ranges that it holds, by number.
    pub fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.ranges.values()
    }
}
