//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::inner::Inner;
use super::options::Transport;
use crate::command::StoreStats;
use crate::{Runtime, Storage};

/// Something that is counted.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) elections: Count,
    pub(super) appends: Count,
    pub(super) waits: Count,
    pub(super) forwards: Count,
    pub(super) refused: Count,
    pub(super) unknown: Count,
    pub(super) snapshots: Count,
    pub(super) hits: Count,
    pub(super) misses: Count,
}

/// Numbers about a node. Counts are since it was started.
#[derive(Clone, Debug, Default)]
pub struct DriverStats {
    /// The store: keys of all copies that are here.
    pub store: StoreStats,
    /// Ranges of which it became the master.
    pub elections: u64,
    /// Appends to the log, each of one range and any number of records.
    pub appends: u64,
    /// Requests that had to be asked again, as the range had no master or too few replicas in reach.
    pub quorum_waits: u64,
    /// Requests that were sent on to other nodes.
    pub forwards: u64,
    /// Writes that were answered NOREPLICAS, TRYAGAIN or with another refusal.
    pub refused: u64,
    /// Writes that were answered UNKNOWN.
    pub unknown: u64,
    /// Snapshots of ranges that were begun for other nodes.
    pub snapshots: u64,
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    pub(super) fn stats(&self) -> DriverStats {
        let counters = &self.counters;
        let (db, commands) = (self.store.db(), self.store.db().machine());
        DriverStats {
            store: StoreStats {
                keys: commands.keys(),
                keys_with_deadline: commands.keys_with_deadline(),
                hits: counters.hits.get(),
                misses: counters.misses.get(),
                expired: commands.expired(),
                db: db.stats(),
            },
            elections: counters.elections.get(),
            appends: counters.appends.get(),
            quorum_waits: counters.waits.get(),
            forwards: counters.forwards.get(),
            refused: counters.refused.get(),
            unknown: counters.unknown.get(),
            snapshots: counters.snapshots.get(),
        }
    }
}
