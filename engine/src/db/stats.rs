//! Numbers about a store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::warm::WarmStats;
use crate::Error;
use crate::lsm::cache::BlockCacheStats;
use crate::memory::MemoryStats;
use crate::striped::Striped;

/// The name of the flush in [`Counters::set_background_error`].
pub(crate) const FLUSH: &str = "flush";

/// Counted since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub user_bytes: AtomicU64,
    pub log_bytes: AtomicU64,
    pub flushes: AtomicU64,
    pub flush_bytes: AtomicU64,
    pub compactions: AtomicU64,
    pub moves: AtomicU64,
    pub compaction_read_bytes: AtomicU64,
    pub compaction_write_bytes: AtomicU64,
    pub cold_reads: Striped,
    pub apply_reads: AtomicU64,
    pub delayed_writes: AtomicU64,
    pub stopped_writes: AtomicU64,
    /// What background work last failed with and has not overcome, by its name.
    errors: Mutex<BTreeMap<&'static str, Error>>,
}

impl Counters {
    /// Notes how the last attempt of some background work went.
    pub(crate) fn set_background_error(&self, work: &'static str, error: Option<Error>) {
        let mut errors = self.errors.lock();
        match error {
            Some(error) => errors.insert(work, error),
            None => errors.remove(work),
        };
    }

    /// What keeps some background work from going on, if anything does.
    pub(crate) fn background_error(&self) -> Option<Error> {
        self.errors.lock().values().next().cloned()
    }

    /// What keeps the flush from going on, if anything does. A compaction that fails is not in its way.
    pub(crate) fn flush_error(&self) -> Option<Error> {
        self.errors.lock().get(FLUSH).cloned()
    }

    /// What keeps this background work from going on, if anything does.
    pub(crate) fn error_of(&self, work: &'static str) -> Option<Error> {
        self.errors.lock().get(work).cloned()
    }

    pub(crate) fn background_errors(&self) -> BTreeMap<&'static str, Error> {
        self.errors.lock().clone()
    }
}

/// One level of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Tables in it.
    pub tables: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A store's numbers at one moment. Counts are since it was opened.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// About how many keys there are: records in memtables and tables, less two for each tombstone. Off by
    /// the versions and tombstones that compaction has not met yet, in either direction.
    pub records_estimate: u64,
    /// The store's write counter.
    pub seq: u64,
    /// The levels of the tree, from 0 on.
    pub levels: Vec<LevelStats>,
    /// Bytes in files of large values.
    pub values_bytes: u64,
    /// Bytes in the active memtable.
    pub memtable_bytes: usize,
    /// Memtables that wait to be flushed.
    pub frozen_memtables: usize,
    /// Segments of the log that are kept.
    pub segments: usize,
    /// Bytes of keys and values that were written.
    pub user_bytes: u64,
    /// Bytes appended to the log.
    pub log_bytes: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Bytes that flushes wrote.
    pub flush_bytes: u64,
    /// Compactions that merged.
    pub compactions: u64,
    /// Compactions that only moved a table down.
    pub moves: u64,
    /// Bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_write_bytes: u64,
    /// Reads that memory could not answer.
    pub cold_reads: u64,
    /// Writes that were slowed down.
    pub delayed_writes: u64,
    /// Writes that had to wait for background work.
    pub stopped_writes: u64,
    /// Backpressure, from 0 (none) to 1 (writers stand still).
    pub pressure: f64,
    /// The hash table and its arena.
    pub memory: MemoryStats,
    /// The block cache.
    pub cache: BlockCacheStats,
    /// What background work failed with and has not overcome, by its name.
    pub background_errors: BTreeMap<&'static str, Error>,
    /// What keeps the store from taking writes, if anything.
    pub trouble: Option<Error>,
    /// Tails that the last opening cut off.
    pub cuts: Vec<crate::log::Cut>,
    /// The keys that were in use, and their way back into memory.
    pub warm: WarmStats,
}

impl Stats {
    /// Bytes in all tables and files of large values.
    pub fn stored_bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.bytes).sum::<u64>() + self.values_bytes
    }

    /// Bytes written to tables for each byte written by the user: flushes and compactions, without the
    /// log.
    pub fn write_amplification(&self) -> f64 {
        (self.flush_bytes + self.compaction_write_bytes) as f64 / self.user_bytes.max(1) as f64
    }
}

impl Counters {
    pub(crate) fn fill(&self, stats: &mut Stats) {
        stats.user_bytes = self.user_bytes.load(Relaxed);
        stats.log_bytes = self.log_bytes.load(Relaxed);
        stats.flushes = self.flushes.load(Relaxed);
        stats.flush_bytes = self.flush_bytes.load(Relaxed);
        stats.compactions = self.compactions.load(Relaxed);
        stats.moves = self.moves.load(Relaxed);
        stats.compaction_read_bytes = self.compaction_read_bytes.load(Relaxed);
        stats.compaction_write_bytes = self.compaction_write_bytes.load(Relaxed);
        stats.cold_reads = self.cold_reads.sum();
        stats.delayed_writes = self.delayed_writes.load(Relaxed);
        stats.stopped_writes = self.stopped_writes.load(Relaxed);
        stats.background_errors = self.background_errors();
    }
}
