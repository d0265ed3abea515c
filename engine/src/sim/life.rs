//! The lives of a machine's processes: each begins on what the last one left on the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::host::{Done, Host, Running, Store};
use super::lanes::{Job, Lane};
use super::world::World;
use crate::Result;
use crate::db::Options as StoreOptions;
use crate::ring::membership::Member;
use crate::ring::meta::decode_map;
use crate::ring::node::Node;
use crate::ring::range::{Options, Recovered};
use crate::ring::store::RangeStore;
use crate::ring::{LogId, META, RangeId};
use crate::storage::faulty::CrashMode;

/// How often stores note which keys are in use: often, for a run is short.
const NOTE_EVERY: Duration = Duration::from_millis(300);

impl Host {
    fn ring_options(world: &World) -> Options {
        Options {
            // Small, so that whoever lags needs snapshots.
            keep_bytes: 1 << 10,
            message_bytes: 4 << 10,
            inflight: 8,
            trace: true,
            mutation: world.setup.mutation,
            ..Options::default()
        }
    }

    fn store_options(world: &World) -> StoreOptions {
        StoreOptions {
            sync: world.setup.sync,
            // Small, so that a run of seconds flushes, compacts and drops segments.
            memory_bytes: 1 << 20,
            memtable_bytes: Some(12 << 10),
            segment_bytes: 32 << 10,
            warm_restart_every: world.setup.warm.then_some(NOTE_EVERY),
            ..StoreOptions::default()
        }
    }

    /// Starts a process on the disk as it is.
    pub(super) fn boot(&mut self, world: &mut World) {
        self.life += 1;
        self.process = world.runtime.process();
        self.process.skew_wall(self.skew_ms);
        self.inbox = Arc::default();
        let opening = RangeStore::open(
            self.disk.clone(),
            self.process.clone(),
            Self::store_options(world),
        );
        self.run(async move { Done::Opened(opening.await) });
    }

    /// Ends the process, if there is one, and leaves of the disk what such an end leaves.
    pub(super) fn crash(&mut self, mode: CrashMode, world: &mut World) {
        self.life += 1;
        self.disk.crash();
        self.process.kill();
        self.running = None;
        // Those that were dropped may have begun something anew.
        self.process.kill();
        self.inbox = Arc::default();
        self.disk = self.disk.restart(mode);
        self.paused = None;
        world
            .digest
            .add_all([world.now_us, self.place as u64, 0xdead]);
    }

    /// A node begins on what the store has found.
    pub(super) fn begin(&mut self, store: Store, recovered: Vec<Recovered>, world: &mut World) {
        let seed = world.random.next();
        let mut node = Node::new(self.id, Self::ring_options(world), seed);
        for (range, member) in store.destroyed() {
            self.founding.retain(|&(founded, _)| founded != range);
            node.remember_destroyed(range, member.incarnation);
        }
        let mut lanes = BTreeMap::new();
        for recovered in recovered {
            let (range, me) = (recovered.range, recovered.me);
            self.founding.retain(|&(founded, _)| founded != range);
            let chain = world.invariants.restored(self.id, &recovered);
            lanes.insert(range, Lane::new(me.incarnation, chain));
            node.restore(recovered);
        }
        for (range, configuration) in &self.founding {
            let me = Member {
                node: self.id,
                incarnation: LogId::default(),
            };
            node.found(*range, configuration.clone());
            let mut lane = Lane::new(me.incarnation, 0);
            lane.push(Job::Begin(me, configuration.clone()));
            lanes.insert(*range, lane);
        }
        node.meet(self.contacts.clone());
        if let Some(map) = self
            .founding_map
            .clone()
            .filter(|_| node.range(META).is_some())
        {
            node.found_cluster(map);
        }
        world
            .digest
            .add_all([world.now_us, self.place as u64, lanes.len() as u64]);
        self.running = Some(Running {
            node,
            store,
            lanes,
            gathering: None,
            settling: VecDeque::new(),
            settles_at: 0,
            effects: Vec::new(),
            dirty: true,
            failed: false,
            is_read_only: false,
            flushes_seen: 0,
            ticks: 0,
        });
        let ranges: Vec<RangeId> = self.founding.iter().map(|&(range, _)| range).collect();
        for range in ranges {
            self.advance_lane(range, world);
        }
        self.look_at_map();
    }

    /// Reads the map, if the meta range is here.
    pub(super) fn look_at_map(&self) {
        if let Some(running) = &self.running
            && running.node.range(META).is_some()
        {
            let store = running.store.clone();
            self.run(async move { Done::Meta(store.meta().await) });
        }
    }

    pub(super) fn take_map(&mut self, state: Result<Option<bytes::Bytes>>, world: &mut World) {
        let map = state.and_then(|state| decode_map(state.as_deref().unwrap_or_default()));
        match (map, &mut self.running) {
            (Ok(Some(map)), Some(running)) => {
                running.node.learn(map);
                running.dirty = true;
            }
            (Err(error), _) => self.fail("reading the map", error, world),
            _ => {}
        }
    }
}

/// A process holds its tasks, and they hold it.
impl Drop for Host {
    fn drop(&mut self) {
        self.process.kill();
        self.running = None;
        self.process.kill();
    }
}
