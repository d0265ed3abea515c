//! A share of the node's ranges: stepped under one lock, with what it asks for handed out to be carried out without.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use super::counters::Counters;
use super::job::{Done, Job};
use super::lane::{Lane, Order};
use super::requests::Waiting;
use super::settling::Settling;
use crate::ring::effect::{Effect, Input, Now, Record};
use crate::ring::ids::{LogId, META, RangeId};
use crate::ring::membership::Configuration;
use crate::ring::meta::Map;
use crate::ring::node::{Node, NodeEffect, NodeInput, Packet};
use crate::ring::store::RangeStore;
use crate::ring::trace::Event;
use crate::{Error, Result, Runtime, Storage};

/// What a step asks for, to be carried out without the lock.
pub(super) struct Outbox<S: Storage, R: Runtime> {
    pub(super) packets: Vec<Packet>,
    pub(super) wakers: Vec<Waker>,
    /// Ranges that are lent and have something to hear.
    pub(super) recalls: Vec<RangeId>,
    pub(super) jobs: Vec<Job<S, R>>,
    /// The storage has failed.
    pub(super) failure: Option<Error>,
    /// A newer map than before.
    pub(super) map: Option<Map>,
    /// Some range has got a master here, or has lost it.
    pub(super) office_changed: bool,
    /// What has happened, for whoever looks on.
    pub(super) events: Vec<(RangeId, Event)>,
}

impl<S: Storage, R: Runtime> Default for Outbox<S, R> {
    fn default() -> Self {
        Self {
            packets: Vec::new(),
            wakers: Vec::new(),
            recalls: Vec::new(),
            jobs: Vec::new(),
            failure: None,
            map: None,
            office_changed: false,
            events: Vec::new(),
        }
    }
}

/// See the module.
pub(super) struct Shard<S: Storage, R: Runtime> {
    pub(super) node: Node,
    pub(super) lanes: BTreeMap<RangeId, Lane<S, R>>,
    pub(super) waiting: Waiting,
    pub(super) store: RangeStore<S, R>,
    pub(super) counters: Arc<Counters>,
    pub(super) effects: Vec<NodeEffect>,
    pub(super) touched: Vec<RangeId>,
    settling: Settling,
    map_version: u64,
    /// The storage has failed: nothing is begun any more.
    has_stopped: bool,
}

impl<S: Storage, R: Runtime> Shard<S, R> {
    pub(super) fn new(node: Node, store: RangeStore<S, R>, counters: Arc<Counters>) -> Self {
        Self {
            node,
            lanes: BTreeMap::new(),
            waiting: Waiting::new(1),
            store,
            counters,
            effects: Vec::new(),
            touched: Vec::new(),
            settling: Settling::default(),
            map_version: 0,
            has_stopped: false,
        }
    }

    /// Gives a copy that the store holds its lane.
    pub(super) fn add_lane(&mut self, range: RangeId, incarnation: LogId) {
        self.lanes.insert(range, Lane::new(incarnation));
    }

    pub(super) fn step(&mut self, now: Now, input: NodeInput) {
        self.node.step(now, input, &mut self.effects);
    }

    /// Tells a copy of a range something, if it still is that copy.
    fn tell(&mut self, now: Now, range: RangeId, incarnation: LogId, input: Input) {
        let is_here = self
            .node
            .range(range)
            .is_some_and(|range| range.me().incarnation == incarnation);
        if is_here {
            self.step(now, NodeInput::Range(range, input));
        }
    }

    /// Whether nothing waits for the storage.
    pub(super) fn is_idle(&self) -> bool {
        self.settling.is_idle()
    }

    /// Hands out what the steps have gathered.
    pub(super) fn flush(&mut self, now: Now, out: &mut Outbox<S, R>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.node.flush(now, &mut effects);
        for effect in effects.drain(..) {
            self.sort_out(effect, out);
        }
        self.effects = effects;
        self.touched.sort_unstable();
        self.touched.dedup();
        let mut touched = std::mem::take(&mut self.touched);
        for range in touched.drain(..) {
            self.advance(range, out);
        }
        self.touched = touched;
        out.jobs.extend(self.settling.begin().map(Job::Settle));
        out.office_changed |= self.node.take_office_change();
        if let Some(map) = self.node.map()
            && map.version > self.map_version
        {
            self.map_version = map.version;
            out.map = Some(map.clone());
        }
        if self.has_stopped {
            out.jobs.clear();
        }
    }

    fn sort_out(&mut self, effect: NodeEffect, out: &mut Outbox<S, R>) {
        match effect {
            NodeEffect::Packet(packet) => out.packets.push(packet),
            NodeEffect::Reply { request, outcome } => {
                out.wakers.extend(self.waiting.answer(request, outcome));
            }
            NodeEffect::Recall(range) => out.recalls.push(range),
            NodeEffect::Begin { range, me } => {
                let lane = self
                    .lanes
                    .entry(range)
                    .or_insert_with(|| Lane::new(me.incarnation));
                lane.push(Order::Begin(me, Configuration::unknown()));
                self.touched.push(range);
            }
            NodeEffect::Range(range, effect) => self.take_effect(range, effect, out),
        }
    }

    fn take_effect(&mut self, range: RangeId, effect: Effect, out: &mut Outbox<S, R>) {
        let Some(lane) = self.lanes.get_mut(&range) else {
            return;
        };
        match effect {
            Effect::Append {
                append,
                records,
                synced,
            } if lane.may_append() => self.append(range, append, &records, synced, out),
            Effect::SnapshotClose { id } => {
                lane.snapshots.remove(&id);
            }
            // The state is pinned: it can be read whatever else happens.
            Effect::SnapshotRead { id, number } => {
                if let Some(snapshot) = lane.snapshots.get(&id) {
                    let (incarnation, snapshot) = (lane.incarnation, Arc::clone(snapshot));
                    let job = Job::SnapshotRead(range, incarnation, snapshot, id, number);
                    out.jobs.push(job);
                }
            }
            Effect::Trace(event) => out.events.push((range, event)),
            Effect::Send(_) | Effect::Reply { .. } => {}
            effect => {
                lane.push(Order::Effect(effect));
                self.touched.push(range);
            }
        }
    }

    fn append(
        &mut self,
        range: RangeId,
        append: u64,
        records: &[Record],
        synced: bool,
        out: &mut Outbox<S, R>,
    ) {
        if self.has_stopped {
            return;
        }
        let Some(incarnation) = self.lanes.get(&range).map(|lane| lane.incarnation) else {
            return;
        };
        self.counters.appends.add(1);
        match self.store.append(range, incarnation, records) {
            Ok(ticket) => self
                .settling
                .add((range, incarnation), append, ticket, synced),
            Err(error) => out.failure = Some(error),
        }
    }

    /// Begins what a range asks for, as far as it can begin.
    fn advance(&mut self, range: RangeId, out: &mut Outbox<S, R>) {
        while let Some(lane) = self.lanes.get_mut(&range)
            && let Some(order) = lane.next()
        {
            let incarnation = lane.incarnation;
            let job = match order {
                Order::Begin(me, configuration) => {
                    lane.incarnation = me.incarnation;
                    lane.snapshots.clear();
                    Job::Begin(range, me, configuration)
                }
                Order::Effect(Effect::Append {
                    append,
                    records,
                    synced,
                }) => {
                    self.append(range, append, &records, synced, out);
                    continue;
                }
                Order::Effect(Effect::Apply(entries)) => Job::Apply(range, incarnation, entries),
                Order::Effect(Effect::SnapshotOpen { id }) => {
                    self.counters.snapshots.add(1);
                    Job::SnapshotOpen(range, incarnation, id)
                }
                Order::Effect(effect) => Job::Effect(range, incarnation, effect),
            };
            out.jobs.push(job);
        }
    }

    /// Takes note of what came of a job. The next flush goes on from there.
    pub(super) fn take(&mut self, now: Now, done: Done<S, R>, out: &mut Outbox<S, R>) {
        if let Err(error) = self.try_take(now, done, out) {
            out.failure = Some(error);
        }
    }

    fn try_take(&mut self, now: Now, done: Done<S, R>, out: &mut Outbox<S, R>) -> Result<()> {
        match done {
            Done::Settled(batch, settled) => {
                self.settling.ended(&batch);
                settled?;
                for ((range, incarnation), append) in batch.appends {
                    self.tell(now, range, incarnation, Input::Settled { append });
                }
            }
            Done::Applied(range, incarnation, upto, replies) => {
                let replies = replies?;
                self.go_on(range);
                self.tell(now, range, incarnation, Input::Applied { upto, replies });
                if range == META {
                    out.jobs.push(Job::Map);
                }
            }
            Done::SnapshotOpened(range, incarnation, id, pinned) => {
                let pinned = pinned?;
                let (at, time_ms) = (pinned.at(), pinned.time_ms());
                if let Some(lane) = self.lanes.get_mut(&range) {
                    lane.snapshots.insert(id, pinned);
                }
                self.go_on(range);
                let input = Input::SnapshotOpened { id, at, time_ms };
                self.tell(now, range, incarnation, input);
            }
            Done::SnapshotRead(range, incarnation, input) => {
                self.tell(now, range, incarnation, input?);
            }
            Done::Effect(range, incarnation, input) => {
                let input = input?;
                if range == META && matches!(input, Some(Input::SnapshotInstalled { .. })) {
                    out.jobs.push(Job::Map);
                }
                self.go_on(range);
                if let Some(input) = input {
                    self.tell(now, range, incarnation, input);
                }
            }
            Done::Map(map) => {
                if let Some(map) = map? {
                    self.node.learn(map);
                }
            }
        }
        Ok(())
    }

    /// What a range's next order waited for is done.
    fn go_on(&mut self, range: RangeId) {
        if let Some(lane) = self.lanes.get_mut(&range) {
            lane.done();
            self.touched.push(range);
        }
    }

    /// The storage is of no more use: every range stops, and whoever waits hears what is known.
    pub(super) fn stop(&mut self, now: Now, out: &mut Outbox<S, R>) {
        self.has_stopped = true;
        let ranges: Vec<RangeId> = self.node.ranges().map(|range| range.id()).collect();
        for range in ranges {
            self.step(now, NodeInput::Range(range, Input::Failed));
        }
        self.flush(now, out);
        self.waiting.give_up(&mut out.wakers);
    }
}
