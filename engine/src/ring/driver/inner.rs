//! What the driver's parts share: the shards, and how work gets into and out of them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::counters::Counters;
use super::job::{Done, Job, perform};
use super::lent::Lent;
use super::map::Known;
use super::options::{DriverOptions, Transport};
use super::others::Heard;
use super::read::Remote;
use super::shard::{Outbox, Shard};
use super::view::View;
use crate::command::Cursors;
use crate::ring::effect::{Effect, Now, Outcome};
use crate::ring::ids::{META, NodeId, RangeId, RequestId};
use crate::ring::node::{NodeInput, Packet, Said};
use crate::ring::store::RangeStore;
use crate::{Error, ErrorKind, MaybeSend, Runtime, Storage, Work};

/// How long the keys of a copy that has left its range lie there yet.
const DESTROYED_AFTER: Duration = Duration::from_millis(1_000);
/// What has changed in who masters what is made known at once, but not more often than this; then with the next tick.
const LOOKS_APART_MS: u64 = 10;

/// See the module.
pub(super) struct Inner<S: Storage, R: Runtime, T: Transport> {
    pub(super) id: NodeId,
    pub(super) runtime: R,
    pub(super) store: RangeStore<S, R>,
    pub(super) transport: T,
    pub(super) options: DriverOptions,
    pub(super) shards: Vec<Mutex<Shard<S, R>>>,
    pub(super) counters: Arc<Counters>,
    pub(super) view: ArcSwap<View>,
    pub(super) known: Mutex<Known>,
    pub(super) heard: Mutex<Heard>,
    /// Ranges that are all here.
    pub(super) lent: Lent,
    /// Reads that were sent on to other nodes.
    pub(super) remote: Mutex<Remote>,
    pub(super) cursors: Mutex<Cursors>,
    /// Bytes of commands that are being carried out.
    pub(super) open_bytes: AtomicUsize,
    /// Reads that are carried out for other nodes.
    pub(super) serving: AtomicUsize,
    /// Expired keys are being looked for.
    pub(super) is_sweeping: AtomicBool,
    /// A wish to join is on its way.
    pub(super) is_joining: AtomicBool,
    /// When the last look at who masters what was, by the monotonic clock.
    pub(super) looked_ms: AtomicU64,
    /// There is something new to be seen.
    pub(super) must_look: AtomicBool,
    /// The shards have been told that the store takes nothing at present.
    is_read_only: AtomicBool,
    failure: Mutex<Option<Error>>,
    is_closed: AtomicBool,
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    pub(super) fn new(
        runtime: R,
        store: RangeStore<S, R>,
        transport: T,
        options: DriverOptions,
        counters: Arc<Counters>,
        shards: Vec<Shard<S, R>>,
    ) -> Self {
        let id = store.node_id();
        Self {
            id,
            remote: Mutex::new(Remote::new(runtime.seed() >> 2)),
            runtime,
            store,
            transport,
            options,
            shards: shards.into_iter().map(Mutex::new).collect(),
            counters,
            view: ArcSwap::from_pointee(View::unknown(id)),
            known: Mutex::default(),
            heard: Mutex::default(),
            lent: Lent::default(),
            cursors: Mutex::default(),
            open_bytes: AtomicUsize::new(0),
            serving: AtomicUsize::new(0),
            is_sweeping: AtomicBool::new(false),
            is_joining: AtomicBool::new(false),
            looked_ms: AtomicU64::new(0),
            must_look: AtomicBool::new(false),
            is_read_only: AtomicBool::new(false),
            failure: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            // Not zero, which a core takes for not having begun.
            monotonic_ms: self.runtime.monotonic().as_millis() as u64 + 1,
            wall_ms: self.runtime.wall_ms(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now().monotonic_ms
    }

    pub(super) async fn sleep_ms(&self, time_ms: u64) {
        self.runtime.sleep(Duration::from_millis(time_ms)).await;
    }

    /// The shard that has a range.
    pub(super) fn shard_of(&self, range: RangeId) -> usize {
        match range {
            META => 0,
            range => range as usize % self.shards.len(),
        }
    }

    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    /// Why nothing is taken any more, if nothing is.
    pub(super) fn trouble(&self) -> Option<Error> {
        if self.is_closed.load(SeqCst) {
            let detail = "the node has been closed";
            return Some(Error::new(ErrorKind::Closed, "using the ring", detail));
        }
        self.failure()
    }

    /// Tells the shards whether the store takes anything at present.
    pub(super) fn look_at_store(self: &Arc<Self>) {
        let trouble = self.store.trouble();
        let is_read_only = trouble.is_some();
        if self.is_read_only.swap(is_read_only, SeqCst) == is_read_only {
            return;
        }
        match trouble {
            Some(error) => tracing::warn!(%error, "the node takes no writes for now"),
            None => tracing::info!("the node takes writes again"),
        }
        for place in 0..self.shards.len() {
            self.step(place, |shard, now| {
                shard.step(now, NodeInput::ReadOnly(is_read_only));
            });
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Nothing is taken from now on. False if that was so already.
    pub(super) fn set_closed(&self) -> bool {
        !self.is_closed.swap(true, SeqCst)
    }

    /// Steps a shard, and carries out what follows.
    pub(super) fn step<O>(
        self: &Arc<Self>,
        place: usize,
        act: impl FnOnce(&mut Shard<S, R>, Now) -> O,
    ) -> O {
        let (done, out) = self.with_shard(place, |shard, now, _| act(shard, now));
        self.carry_out(place, out);
        done
    }

    fn with_shard<O>(
        &self,
        place: usize,
        act: impl FnOnce(&mut Shard<S, R>, Now, &mut Outbox<S, R>) -> O,
    ) -> (O, Outbox<S, R>) {
        let mut out = Outbox::default();
        let mut shard = self.shards[place].lock();
        let now = self.now();
        let done = act(&mut shard, now, &mut out);
        shard.flush(now, &mut out);
        (done, out)
    }

    /// Carries out what a shard asks for, and what follows from that, until all that is left has to wait.
    pub(super) fn carry_out(self: &Arc<Self>, place: usize, mut out: Outbox<S, R>) {
        loop {
            if let Some(observer) = &self.options.observer {
                for (range, event) in out.events {
                    observer.saw(range, event);
                }
            }
            for packet in out.packets {
                self.dispatch(packet);
            }
            out.wakers.into_iter().for_each(Waker::wake);
            for range in out.recalls {
                self.recall(range);
            }
            if let Some(map) = out.map {
                self.spread(&map);
            }
            if out.office_changed {
                self.look_soon();
            }
            if let Some(error) = out.failure {
                return self.fail(error);
            }
            let ended: Vec<Done<S, R>> = out
                .jobs
                .into_iter()
                .filter_map(|job| self.begin(place, job))
                .collect();
            if ended.is_empty() {
                return;
            }
            out = self.finish(place, ended);
        }
    }

    fn finish(&self, place: usize, ended: Vec<Done<S, R>>) -> Outbox<S, R> {
        let (_, out) = self.with_shard(place, |shard, now, out| {
            for done in ended {
                shard.take(now, done, out);
            }
        });
        out
    }

    /// Does a job, if it does not have to wait; else a task does.
    fn begin(self: &Arc<Self>, place: usize, job: Job<S, R>) -> Option<Done<S, R>> {
        if job.is_long() {
            self.begin_long(place, job);
            return None;
        }
        let mut work = Box::pin(perform(self.store.clone(), job));
        if let Some(done) = poll_once(&mut work) {
            return Some(done);
        }
        let this = Arc::clone(self);
        self.runtime.spawn(Work::Ring, async move {
            let done = work.await;
            this.go_on(place, done);
        });
        None
    }

    /// Does a job where nobody waits for it: not the heartbeats, nor who has stepped the shard.
    fn begin_long(self: &Arc<Self>, place: usize, job: Job<S, R>) {
        let this = Arc::clone(self);
        self.runtime.spawn(Work::Upkeep, async move {
            if let Job::Effect(_, _, Effect::Destroy) = job {
                // Others that leave at about the same time go together.
                this.runtime.sleep(DESTROYED_AFTER).await;
            }
            let done = perform(this.store.clone(), job).await;
            let runtime = this.runtime.clone();
            runtime.spawn(Work::Ring, async move { this.go_on(place, done) });
        });
    }

    fn go_on(self: &Arc<Self>, place: usize, done: Done<S, R>) {
        let out = self.finish(place, vec![done]);
        self.carry_out(place, out);
    }

    /// Something has changed in who masters what: it is made known in a moment.
    pub(super) fn look_soon(self: &Arc<Self>) {
        self.must_look.store(true, SeqCst);
        if self.now_ms() >= self.looked_ms.load(SeqCst) + LOOKS_APART_MS {
            self.look();
        }
    }

    /// Runs something that nobody waits for, at once as far as it does not have to wait.
    pub(super) fn run(&self, work: impl Future<Output = ()> + MaybeSend + 'static) {
        let mut work = Box::pin(work);
        if poll_once(&mut work).is_none() {
            self.runtime.spawn(Work::Ring, work);
        }
    }

    /// Sends a packet, but for clients' writes to a node that is cut off: as they were surely not taken, they may go
    /// to another.
    fn dispatch(self: &Arc<Self>, mut packet: Packet) {
        if self.transport.is_cut(packet.to) {
            let is_asked = |said: &mut Said| matches!(said, Said::Asked(_));
            let asked: Vec<Said> = packet.said.extract_if(.., is_asked).collect();
            for said in asked {
                if let Said::Asked(asked) = said {
                    self.return_asked(packet.to, asked.request);
                }
            }
        }
        if !packet.said.is_empty() {
            self.send(packet);
        }
    }

    fn return_asked(self: &Arc<Self>, node: NodeId, request: RequestId) {
        let outcome = Outcome::NotMaster(None);
        let answer = Packet {
            from: node,
            to: self.id,
            // Nothing is known of its map.
            map_version: 0,
            said: vec![Said::Answered { request, outcome }],
        };
        // The shard that has asked, as its numbers show.
        let place = (request % self.shards.len() as u64) as usize;
        self.step(place, |shard, now| {
            shard.step(now, NodeInput::Packet(answer))
        });
    }

    pub(super) fn send(&self, packet: Packet) {
        let is_asked = |said: &&Said| matches!(said, Said::Asked(_) | Said::AskedToRead(_));
        let asked = packet.said.iter().filter(is_asked).count();
        if asked > 0 {
            self.counters.forwards.add(asked as u64);
        }
        self.transport.send(packet);
    }

    /// The storage is of no more use to this node: everything stops.
    pub(super) fn fail(self: &Arc<Self>, error: Error) {
        if self.is_closed() {
            return;
        }
        {
            let mut failure = self.failure.lock();
            if failure.is_some() {
                return;
            }
            *failure = Some(error.clone());
        }
        tracing::error!(%error, "the node has stopped: its storage failed");
        for shard in &self.shards {
            let mut out = Outbox::default();
            shard.lock().stop(self.now(), &mut out);
            out.packets.into_iter().for_each(|packet| self.send(packet));
            out.wakers.into_iter().for_each(Waker::wake);
        }
        self.forget_remote();
        // Nobody is to be sent here any more.
        self.look();
    }
}

fn poll_once<F: Future + ?Sized>(work: &mut Pin<Box<F>>) -> Option<F::Output> {
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
