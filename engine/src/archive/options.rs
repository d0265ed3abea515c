//! What can be chosen about the archive.

use std::time::Duration;

/// When the files of the AOF are synced. Nobody's answer waits for it: the log is what makes a write last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// As soon as there is anything.
    Always,
    /// Each second.
    #[default]
    EverySecond,
    /// When the host feels like it, and before the log lets go of what is in them.
    No,
}

/// Which files the archive consists of, and when they are written. Everything is off by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// Whether commands are appended to an AOF.
    pub aof: bool,
    /// When the AOF is synced.
    pub fsync: Fsync,
    /// The AOF is rewritten when it has grown by this many percent since it was last; 0 for never.
    pub rewrite_percent: u32,
    /// Below this many bytes it is not rewritten because it has grown.
    pub rewrite_least_bytes: u64,
    /// What a rewrite has replaced is kept for so long, for going back in time.
    pub retain: Duration,
    /// And so much of it at most, in bytes.
    pub retain_bytes: u64,
    /// How often a snapshot (RDB) is written if something has changed; `None` for only when asked.
    pub save_every: Option<Duration>,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self {
            aof: false,
            fsync: Fsync::default(),
            rewrite_percent: 100,
            rewrite_least_bytes: 64 << 20,
            retain: Duration::from_secs(24 * 3600),
            retain_bytes: 1 << 30,
            save_every: None,
        }
    }
}
