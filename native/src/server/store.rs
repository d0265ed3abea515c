//! The store of a node: how it is opened, and its figures.

use std::time::Duration;

use trilith::archive::ArchiveStats;
use trilith::command::StoreStats;
use trilith::{Options, Sync};

use super::backend::{Figure, Stats};
use super::cluster::Trouble;
use super::config::{AppendFsync, Config};

/// Segments of the log follow the memory budget between these.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// How a store is opened.
pub(super) fn store_options(config: &Config) -> Options {
    Options {
        sync: match config.appendfsync {
            AppendFsync::Always => Sync::Always,
            AppendFsync::Everysec => Sync::EverySecond,
            AppendFsync::No => Sync::No,
        },
        memory_bytes: usize::try_from(config.memory).unwrap_or(usize::MAX),
        // What a restart replays is up to a segment more than was in memory.
        segment_bytes: (config.memory / 8).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
        archive: config.archive.options(),
        warm_restart_every: (config.warm_restart > 0)
            .then(|| Duration::from_secs(config.warm_restart)),
        ..Options::default()
    }
}

/// A store's figures.
pub(super) fn stats_of(stats: &StoreStats) -> Stats {
    let (db, memory) = (&stats.db, &stats.db.memory);
    let chunks = memory.chunks - memory.free_chunks;
    let trouble = (db.trouble.as_ref()).map(|error| Trouble::of(error, false));
    Stats {
        keys: stats.keys,
        keys_with_deadline: stats.keys_with_deadline,
        hits: stats.hits,
        misses: stats.misses,
        expired: stats.expired,
        memory_bytes: (chunks * memory.chunk_bytes) as u64 + db.cache.bytes,
        disk_bytes: db.stored_bytes(),
        disk_full: trouble.as_ref().is_some_and(|trouble| trouble.full),
        read_only: trouble.map(|trouble| trouble.to_string()),
        // Who keeps one says how it stands.
        archive: ArchiveStats::default(),
        more: figures(db),
    }
}

fn figures(db: &trilith::Stats) -> Vec<Figure> {
    let counter = |name, help, value| Figure {
        name,
        help,
        is_counter: true,
        value,
    };
    let gauge = |name, help, value| Figure {
        name,
        help,
        is_counter: false,
        value,
    };
    let tables = db.levels.iter().map(|level| level.tables as u64).sum();
    vec![
        counter(
            "log_written_bytes",
            "Bytes appended to the log.",
            db.log_bytes,
        ),
        counter("flushes", "Memtables written to tables.", db.flushes),
        counter(
            "flush_written_bytes",
            "Bytes that flushes wrote.",
            db.flush_bytes,
        ),
        counter(
            "compactions",
            "Compactions that merged tables.",
            db.compactions,
        ),
        counter(
            "compaction_moves",
            "Compactions that only moved a table down.",
            db.moves,
        ),
        counter(
            "compaction_read_bytes",
            "Bytes that compactions read.",
            db.compaction_read_bytes,
        ),
        counter(
            "compaction_written_bytes",
            "Bytes that compactions wrote.",
            db.compaction_write_bytes,
        ),
        counter(
            "cold_reads",
            "Reads that memory could not answer.",
            db.cold_reads,
        ),
        counter(
            "block_cache_hits",
            "Blocks found in the cache.",
            db.cache.hits,
        ),
        counter(
            "block_cache_misses",
            "Blocks read from storage.",
            db.cache.misses,
        ),
        counter(
            "delayed_writes",
            "Writes slowed down by backpressure.",
            db.delayed_writes,
        ),
        counter(
            "stopped_writes",
            "Writes stopped by backpressure.",
            db.stopped_writes,
        ),
        gauge(
            "backpressure_percent",
            "Backpressure: 0 is none, 100 stops writers.",
            (db.pressure * 100.0) as u64,
        ),
        gauge(
            "memtable_bytes",
            "Bytes in the active memtable.",
            db.memtable_bytes as u64,
        ),
        gauge(
            "frozen_memtables",
            "Memtables that wait to be flushed.",
            db.frozen_memtables as u64,
        ),
        gauge(
            "log_segments",
            "Segments of the log that are kept.",
            db.segments as u64,
        ),
        gauge(
            "l0_tables",
            "Tables in level 0.",
            db.levels.first().map_or(0, |level| level.tables as u64),
        ),
        gauge("tables", "Tables in all levels.", tables),
        gauge(
            "values_bytes",
            "Bytes in files of large values.",
            db.values_bytes,
        ),
        gauge(
            "block_cache_bytes",
            "Memory that the block cache takes.",
            db.cache.bytes,
        ),
        gauge(
            "warm_restart_keys_noted",
            "Keys in use that were noted last, for a restart.",
            db.warm.keys_noted,
        ),
        counter(
            "warm_restart_keys_loaded",
            "Keys read back into memory since the start because they were in use before.",
            db.warm.keys_loaded,
        ),
        gauge(
            "warm_restart_in_progress",
            "1 while keys that were in use are read back.",
            db.warm.is_loading.into(),
        ),
        gauge(
            "background_errors",
            "Kinds of background work that fail at present.",
            db.background_errors.len() as u64,
        ),
    ]
}
