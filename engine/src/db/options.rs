//! What can be chosen when a store is opened, and what follows from it.

use std::time::Duration;

use crate::archive::ArchiveOptions;
use crate::lsm::compaction::CompactionOptions;

/// When a write is durable enough to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Synced before every answer: an acknowledged write survives a power loss.
    Always,
    /// Written before every answer, synced each second: it survives the process; a power loss can take
    /// the last second.
    #[default]
    EverySecond,
    /// Written before every answer, synced when the host feels like it.
    No,
}

/// How a store is opened. Everything has a default that suits a server of moderate size.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a write is answered.
    pub sync: Sync,
    /// All the memory that the store may use, in bytes: hash table, memtables, block cache, filters,
    /// indexes and log buffers share it. At least 1 MiB; 256 MiB by default.
    pub memory_bytes: usize,
    /// When a memtable is frozen, in bytes; by default 64 MiB, or less where the budget is small.
    pub memtable_bytes: Option<usize>,
    /// Values from this length on are kept apart from the keys, so that compaction does not copy them.
    pub large_value_bytes: usize,
    /// Where a log segment ends, in bytes.
    pub segment_bytes: u64,
    /// How tables are merged; by default in proportion to the memtable.
    pub compaction: Option<CompactionOptions>,
    /// The most that compaction may write in a second, in bytes; `None` for no limit.
    pub compaction_bytes_per_second: Option<u64>,
    /// Compress blocks with LZ4 where that saves enough.
    pub compress: bool,
    /// What else a node writes of its ranges, for Redis's tools and for people. A store without ranges has none.
    pub archive: ArchiveOptions,
    /// How often the keys that are in use are noted, if they have changed, so that a store that is opened again reads
    /// them back into memory; they are noted at a close, too. `None`, the default: neither noted nor read back.
    pub warm_restart_every: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: Sync::default(),
            memory_bytes: 256 << 20,
            memtable_bytes: None,
            large_value_bytes: 4096,
            segment_bytes: 64 << 20,
            compaction: None,
            compaction_bytes_per_second: None,
            compress: true,
            archive: ArchiveOptions::default(),
            warm_restart_every: None,
        }
    }
}

/// How the memory budget is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Buckets of the hash table.
    pub table_bytes: usize,
    /// Records: memtables, and the cache of what was flushed or read.
    pub arena_bytes: usize,
    /// Blocks, filters and indexes.
    pub cache_bytes: usize,
    /// When a memtable is frozen.
    pub memtable_bytes: usize,
    /// The most that may wait between the log and the memtable.
    pub pending_bytes: usize,
}

impl Options {
    /// How tables are merged.
    pub(crate) fn compaction(&self) -> CompactionOptions {
        self.compaction.clone().unwrap_or_else(|| {
            CompactionOptions::for_memtables_of(self.budget().memtable_bytes as u64)
        })
    }

    /// Memtables get at most a fifth of the arena each, so that one active, two frozen and what is on its
    /// way leave room for a cache.
    pub(crate) fn budget(&self) -> Budget {
        let total = self.memory_bytes.max(1 << 20);
        let arena_bytes = total / 16 * 9;
        let memtable_most = arena_bytes / 5;
        Budget {
            table_bytes: arena_bytes / 8,
            arena_bytes,
            cache_bytes: total / 16 * 5,
            memtable_bytes: self
                .memtable_bytes
                .unwrap_or(64 << 20)
                .min(memtable_most)
                .max(4096),
            pending_bytes: (arena_bytes / 16).max(64 << 10),
        }
    }
}
