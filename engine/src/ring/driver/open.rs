//! How a node begins: on what its store holds, or on nothing.

use std::sync::Arc;

use super::counters::Counters;
use super::inner::Inner;
use super::job::read_map;
use super::options::{DriverOptions, Start, Transport};
use super::shard::Shard;
use super::tick::tick_forever;
use crate::db::{Options as StoreOptions, Verified};
use crate::ring::ids::{LogId, META, NodeId, RangeId};
use crate::ring::membership::{Configuration, Member};
use crate::ring::meta::Map;
use crate::ring::node::Node;
use crate::ring::quorum::Quorum;
use crate::ring::range::Recovered;
use crate::ring::store::RangeStore;
use crate::slot::ARCS;
use crate::{Result, Runtime, Storage, Work};

/// The share of the store's memory that applied entries may take which are kept for replicas that lag.
const KEPT_SHARE: usize = 8;
/// Bytes of them that each range may keep in any case.
const KEPT_LEAST: usize = 16 << 10;

/// A store that is open, and whose node is yet to be started: it knows the node's id, which a transport may need.
pub struct Opened<S: Storage, R: Runtime> {
    runtime: R,
    store: RangeStore<S, R>,
    recovered: Vec<Recovered>,
}

impl<S: Storage, R: Runtime> Opened<S, R> {
    /// Opens the store that is in `storage`, or makes one there.
    ///
    /// # Errors
    /// As [`RangeStore::open`].
    pub async fn open(storage: S, runtime: R, options: StoreOptions) -> Result<Self> {
        let (store, recovered) = RangeStore::open(storage, runtime.clone(), options).await?;
        Ok(Self {
            runtime,
            store,
            recovered,
        })
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.store.node_id()
    }

    /// Whether the store belongs to a cluster already.
    pub fn is_member(&self) -> bool {
        !self.recovered.is_empty()
    }

    /// Reads everything that the store has written.
    ///
    /// # Errors
    /// As [`Db::verify`](crate::Db::verify).
    pub async fn verify(&self) -> Result<Verified> {
        self.store.db().verify().await
    }

    /// Closes the store: its node is not started.
    ///
    /// # Errors
    /// As [`RangeStore::close`].
    pub async fn close(self) -> Result<()> {
        self.store.close().await
    }
}

/// What a founder begins with: every range, of which it is the only member.
async fn found<S: Storage, R: Runtime>(store: &RangeStore<S, R>) -> Result<Vec<Recovered>> {
    let me = Member {
        node: store.node_id(),
        incarnation: LogId::default(),
    };
    let alone = Configuration::founding(&[me.node], Quorum::ALONE);
    let ranges: Vec<RangeId> = (0..RangeId::from(ARCS)).chain([META]).collect();
    store.found_all(&ranges, me, &alone).await?;
    let begun = |range| begin(range, me, &alone);
    Ok(ranges.into_iter().map(begun).collect())
}

/// What one of several founders begins with: the ranges that are its by the map, if it names enough nodes for them.
async fn found_together<S: Storage, R: Runtime>(
    store: &RangeStore<S, R>,
    map: &Map,
) -> Result<Vec<Recovered>> {
    let me = Member {
        node: store.node_id(),
        incarnation: LogId::default(),
    };
    let mut founded: Vec<(Configuration, Vec<RangeId>)> = Vec::new();
    for range in (0..RangeId::from(ARCS)).chain([META]) {
        let (holders, quorum) = map.wanted(range);
        let n = usize::from(quorum.replicas());
        let founding = match holders.get(..n) {
            Some(voters) => Configuration::founding(voters, quorum),
            None => Configuration::founding(&holders[..holders.len().min(1)], Quorum::ALONE),
        };
        if founding.is_voter(me.node) {
            match founded.iter_mut().find(|(other, _)| *other == founding) {
                Some((_, ranges)) => ranges.push(range),
                None => founded.push((founding, vec![range])),
            }
        }
    }
    let mut begun = Vec::new();
    for (configuration, ranges) in founded {
        store.found_all(&ranges, me, &configuration).await?;
        begun.extend(
            ranges
                .into_iter()
                .map(|range| begin(range, me, &configuration)),
        );
    }
    Ok(begun)
}

/// A copy that nothing has happened to.
fn begin(range: RangeId, me: Member, configuration: &Configuration) -> Recovered {
    Recovered {
        range,
        me,
        state: Default::default(),
        configurations: vec![(0, configuration.clone())],
        applied: LogId::default(),
        applied_time_ms: 0,
        before: LogId::default(),
        entries: Vec::new(),
    }
}

/// Starts the node of a store.
pub(super) async fn start<S: Storage, R: Runtime, T: Transport>(
    opened: Opened<S, R>,
    transport: T,
    options: DriverOptions,
) -> Result<Arc<Inner<S, R, T>>> {
    let Opened {
        runtime,
        store,
        mut recovered,
    } = opened;
    let destroyed = store.destroyed();
    if recovered.is_empty() && destroyed.is_empty() {
        recovered = match &options.start {
            Start::Found { .. } => found(&store).await?,
            Start::FoundTogether { map } => found_together(&store, map).await?,
            Start::Join { .. } => recovered,
        };
    }
    let map = read_map(&store).await?;
    let counters = Arc::<Counters>::default();
    let count = options.shards.clamp(1, usize::from(ARCS));
    let mut ring = options.ring.clone();
    let keep_bytes = options.store.memory_bytes / KEPT_SHARE / usize::from(ARCS);
    ring.keep_bytes = ring.keep_bytes.min(keep_bytes.max(KEPT_LEAST));
    let mut shards = Vec::with_capacity(count);
    for place in 0..count {
        let mut node = Node::new(store.node_id(), ring.clone(), runtime.seed());
        node.share(place as u64, count as u64);
        shards.push(Shard::new(node, store.clone(), Arc::clone(&counters)));
    }
    let shard_of = |range: RangeId| match range {
        META => 0,
        range => range as usize % count,
    };
    for (range, member) in destroyed {
        let shard = &mut shards[shard_of(range)];
        shard.node.remember_destroyed(range, member.incarnation);
    }
    for recovered in recovered {
        let (range, me) = (recovered.range, recovered.me);
        let shard = &mut shards[shard_of(range)];
        shard.add_lane(range, me.incarnation);
        shard.node.restore(recovered);
    }
    begin_cluster(&mut shards[0].node, map.as_ref(), &options);
    let inner = Arc::new(Inner::new(
        runtime, store, transport, options, counters, shards,
    ));
    if let Some(map) = map {
        inner.spread(&map);
    }
    inner.runtime.spawn(
        Work::Ring,
        tick_forever(Arc::downgrade(&inner), inner.runtime.clone()),
    );
    Ok(inner)
}

fn begin_cluster(node: &mut Node, map: Option<&Map>, options: &DriverOptions) {
    match &options.start {
        Start::Join { contacts } => node.meet(contacts.clone()),
        // The first map may not have been taken before the node was stopped.
        Start::Found { quorum } if map.is_none() && node.range(META).is_some() => {
            let (address, zone) = (options.address.clone(), options.zone.clone());
            node.found_cluster(Map::alone(node.id(), address, zone, *quorum));
        }
        Start::FoundTogether { map: first } if map.is_none() => {
            node.meet(first.members.keys().copied().collect());
            if node.range(META).is_some() {
                node.found_cluster(first.clone());
            }
        }
        Start::Found { .. } | Start::FoundTogether { .. } => {}
    }
}
