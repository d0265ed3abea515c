//! A machine: a disk that may fail, and on it, while it runs, a node and the store of its ranges.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::TestRuntime;
use super::lanes::{Job, Lane};
use super::world::{Answer, Event, Trouble, World};
use crate::command::Reply;
use crate::ring::effect::{Input, Now};
use crate::ring::membership::Configuration;
use crate::ring::meta::Map;
use crate::ring::node::{Node, NodeEffect, NodeInput};
use crate::ring::range::Recovered;
use crate::ring::store::{RangeStore, Ticket};
use crate::ring::{Index, LogId, META, NodeId, RangeId, RequestId};
use crate::{ErrorKind, FaultyStorage, MaybeSend, Result, Runtime, Work};

pub(super) type Store = RangeStore<FaultyStorage, TestRuntime>;

/// Requests of this bit are the host's own.
const OWN: RequestId = 1 << 62;

/// What a store has to say when it is done with something.
pub(super) enum Done {
    Opened(Result<(Store, Vec<Recovered>)>),
    Settled(Batch, Result<()>),
    /// Something about one copy of a range; an exclusive job is over.
    Range(RangeId, LogId, Result<Option<Input>>),
    /// Entries have been applied.
    Applied(RangeId, LogId, Applied),
    Snapshot(RangeId, LogId, u64, Result<super::lanes::Pinned>),
    Read(RequestId, Result<Answer>),
    /// Keys whose time has come.
    Expired(RangeId, Result<Option<bytes::Bytes>>),
    /// The state of the meta range.
    Meta(Result<Option<bytes::Bytes>>),
}

/// Entries, and what became of them.
pub(super) struct Applied {
    pub(super) entries: Vec<Arc<crate::ring::entry::Entry>>,
    pub(super) replies: Result<Vec<(Index, Reply)>>,
}

/// Appends that are settled together.
pub(super) struct Batch {
    pub(super) ticket: Ticket,
    pub(super) synced: bool,
    pub(super) appends: Vec<(RangeId, LogId, u64)>,
}

/// A process.
pub(super) struct Running {
    pub(super) node: Node,
    pub(super) store: Store,
    pub(super) lanes: BTreeMap<RangeId, Lane>,
    /// What is to be settled together.
    pub(super) gathering: Option<Batch>,
    /// What the disk is busy with.
    pub(super) settling: VecDeque<Batch>,
    pub(super) settles_at: u64,
    pub(super) effects: Vec<NodeEffect>,
    pub(super) dirty: bool,
    pub(super) failed: bool,
    /// The node was told that its store takes nothing at present.
    pub(super) is_read_only: bool,
    pub(super) flushes_seen: u64,
    pub(super) ticks: u64,
}

/// See the module.
pub(super) struct Host {
    pub(super) place: usize,
    pub(super) id: NodeId,
    pub(super) disk: FaultyStorage,
    pub(super) process: TestRuntime,
    /// Counts the processes.
    pub(super) life: u64,
    pub(super) running: Option<Running>,
    pub(super) inbox: Arc<Mutex<Vec<Done>>>,
    /// By how much its wall clock is off.
    pub(super) skew_ms: i64,
    /// By how much it is off more with each second.
    pub(super) drift_ms: i64,
    /// What waits for a paused node.
    pub(super) paused: Option<Vec<NodeInput>>,
    /// Its disk has failed, so that errors are no surprise.
    pub(super) fails: bool,
    /// And may do so at any moment.
    pub(super) failing: bool,
    /// Its disk takes so many times as long.
    pub(super) slowness: u64,
    /// What it holds from the beginning.
    pub(super) founding: Vec<(RangeId, Configuration)>,
    next_own: RequestId,
    /// The map that it founds the cluster with.
    pub(super) founding_map: Option<Map>,
    /// Nodes that it is told of to join their cluster.
    pub(super) contacts: Vec<NodeId>,
    /// It takes no new connections.
    pub(super) is_leaving: bool,
    /// The machine is gone for good.
    pub(super) is_retired: bool,
}

impl Host {
    pub(super) fn new(place: usize, id: NodeId, world: &mut World) -> Self {
        world.places.insert(id, place);
        Self {
            place,
            id,
            disk: FaultyStorage::new(),
            process: world.runtime.process(),
            life: 0,
            running: None,
            inbox: Arc::default(),
            skew_ms: 0,
            drift_ms: 0,
            paused: None,
            fails: false,
            failing: false,
            slowness: 1,
            founding: Vec::new(),
            next_own: OWN,
            founding_map: None,
            contacts: Vec::new(),
            is_leaving: false,
            is_retired: false,
        }
    }

    /// Carries work out: at once, if it does not have to wait.
    pub(super) fn run(&self, work: impl Future<Output = Done> + MaybeSend + 'static) {
        let mut work: Pin<Box<_>> = Box::pin(work);
        let inbox = Arc::clone(&self.inbox);
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => inbox.lock().push(done),
            Poll::Pending => self.process.spawn(Work::Upkeep, async move {
                let done = work.await;
                inbox.lock().push(done);
            }),
        }
    }

    pub(super) fn now(&self, world: &World) -> Now {
        Now {
            // Not zero, which a core takes for not having begun.
            monotonic_ms: world.now_ms() + 1,
            wall_ms: self.process.wall_ms(),
        }
    }

    /// Moves the wall clock.
    pub(super) fn skew(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
        self.process.skew_wall(by_ms);
    }

    pub(super) fn step(&mut self, input: NodeInput, world: &World) {
        let now = self.now(world);
        if let Some(running) = &mut self.running {
            running.node.step(now, input, &mut running.effects);
            running.dirty = true;
        }
    }

    /// Takes something from outside, now or when it goes on.
    pub(super) fn hear(&mut self, input: NodeInput, world: &World) {
        match &mut self.paused {
            Some(waiting) => waiting.push(input),
            None => self.step(input, world),
        }
    }

    pub(super) fn resume(&mut self, world: &World) {
        for input in self.paused.take().into_iter().flatten() {
            self.step(input, world);
        }
    }

    /// A number for a request that nobody waits for.
    pub(super) fn own_request(&mut self) -> RequestId {
        self.next_own += 1;
        self.next_own
    }

    /// Takes what the store is done with; false if there was nothing.
    pub(super) fn collect(&mut self, world: &mut World) -> bool {
        let done = std::mem::take(&mut *self.inbox.lock());
        let any = !done.is_empty();
        for done in done {
            self.take(done, world);
        }
        any
    }

    fn take(&mut self, done: Done, world: &mut World) {
        match done {
            Done::Opened(Ok((store, recovered))) => self.begin(store, recovered, world),
            Done::Opened(Err(error)) => self.trouble("opening the store", error, world),
            Done::Settled(batch, Ok(())) => {
                for (range, incarnation, append) in batch.appends {
                    world.invariants.settled(self.id, range, append);
                    self.tell(range, incarnation, Input::Settled { append }, world);
                }
            }
            Done::Settled(_, Err(error)) => self.fail("settling", error, world),
            Done::Range(range, incarnation, input) => {
                self.take_exclusive(range, incarnation, input, world)
            }
            Done::Snapshot(range, incarnation, id, pinned) => {
                self.take_snapshot(range, incarnation, id, pinned, world)
            }
            Done::Applied(range, incarnation, applied) => {
                self.take_applied(range, incarnation, applied, world)
            }
            Done::Read(request, answer) => {
                if let Err(error) = &answer {
                    self.trouble("reading", error.clone(), world);
                }
                world.answer(request, answer);
            }
            Done::Expired(range, Ok(Some(payload))) => {
                let request = self.own_request();
                let write = NodeInput::Write {
                    request,
                    range,
                    payload,
                    at_least: 0,
                };
                self.step(write, world);
            }
            Done::Expired(..) => {}
            Done::Meta(state) => self.take_map(state, world),
        }
    }

    pub(super) fn is_own(request: RequestId) -> bool {
        request & OWN != 0
    }

    /// Tells a copy of a range something, if it still is that copy.
    pub(super) fn tell(&mut self, range: RangeId, incarnation: LogId, input: Input, world: &World) {
        let Some(running) = &self.running else {
            return;
        };
        if running
            .node
            .range(range)
            .is_some_and(|range| range.me().incarnation == incarnation)
        {
            self.step(NodeInput::Range(range, input), world);
        }
    }

    pub(super) fn trouble(&mut self, doing: &'static str, error: crate::Error, world: &mut World) {
        world
            .digest
            .add_all([world.now_us, self.place as u64, error.kind() as u64]);
        if error.kind() != ErrorKind::Closed {
            world.troubles.push(Trouble {
                place: self.place,
                life: self.life,
                doing,
                error,
            });
        }
    }

    /// The store is of no more use to this process: it stops everything, and is restarted.
    pub(super) fn fail(&mut self, doing: &'static str, error: crate::Error, world: &mut World) {
        let Some(running) = &mut self.running else {
            return;
        };
        if std::mem::replace(&mut running.failed, true) {
            return;
        }
        let ranges: Vec<RangeId> = running.node.ranges().map(|range| range.id()).collect();
        for range in ranges {
            self.step(NodeInput::Range(range, Input::Failed), world);
        }
        self.trouble(doing, error, world);
        let delay_us = 50_000 + world.random.below(500_000);
        world.after(
            delay_us,
            Event::Restart {
                place: self.place,
                life: self.life,
            },
        );
    }

    /// Hands out what the steps have gathered, and carries it out; false if there was nothing.
    pub(super) fn flush(&mut self, world: &mut World) -> bool {
        let now = self.now(world);
        let Some(running) = &mut self.running else {
            return false;
        };
        if !std::mem::take(&mut running.dirty) {
            return false;
        }
        let mut effects = std::mem::take(&mut running.effects);
        running.node.flush(now, &mut effects);
        let mut touched = Vec::new();
        for effect in effects.drain(..) {
            self.carry_out(effect, &mut touched, world);
        }
        touched.sort_unstable();
        touched.dedup();
        for range in touched {
            self.advance_lane(range, world);
        }
        self.hand_to_disk(world);
        if let Some(running) = &mut self.running {
            running.effects = effects;
        }
        true
    }

    fn carry_out(&mut self, effect: NodeEffect, touched: &mut Vec<RangeId>, world: &mut World) {
        let Some(running) = &mut self.running else {
            return;
        };
        match effect {
            NodeEffect::Packet(packet) => world.send(self.place, packet),
            NodeEffect::Reply { request, .. } if Self::is_own(request) => {}
            NodeEffect::Reply { request, outcome } => {
                world.answers.push((request, Answer::Outcome(outcome)));
            }
            // Nothing is borrowed here.
            NodeEffect::Recall(_) => {}
            NodeEffect::Begin { range, me } => {
                world.begun += u64::from(range != META);
                let lane = running
                    .lanes
                    .entry(range)
                    .or_insert_with(|| Lane::new(me.incarnation, 0));
                lane.push(Job::Begin(me, Configuration::unknown()));
                touched.push(range);
            }
            NodeEffect::Range(range, crate::ring::effect::Effect::Trace(event)) => {
                world.invariants.saw(
                    world.now_us / 1000,
                    self.id,
                    range,
                    &event,
                    running.node.range(range),
                );
            }
            NodeEffect::Range(range, effect) => {
                if let Some(lane) = running.lanes.get_mut(&range) {
                    lane.push(Job::Effect(effect));
                    touched.push(range);
                }
            }
        }
    }
}
