//! Numbers about the archive.

use crate::Error;

/// The archive's state, as INFO tells it.
#[derive(Clone, Debug, Default)]
pub struct ArchiveStats {
    /// The AOF.
    pub aof: AofStats,
    /// Snapshots.
    pub rdb: RdbStats,
}

/// The AOF's state.
#[derive(Clone, Debug, Default)]
pub struct AofStats {
    /// Whether there is to be one.
    pub is_enabled: bool,
    /// Why nothing can be written to it at present, if nothing can.
    pub trouble: Option<Error>,
    /// Since which second it does not have everything, until the next base is written.
    pub gap_s: Option<u64>,
    /// Bytes of its base.
    pub base_bytes: u64,
    /// Bytes of its base and all that goes on from it.
    pub bytes: u64,
    /// What this was after the last rewrite.
    pub rewritten_bytes: u64,
    /// Bytes of what rewrites have replaced and that is kept.
    pub history_bytes: u64,
    /// Bytes that are applied and yet to be written.
    pub waiting_bytes: u64,
    /// Bytes written since the store was opened.
    pub written_bytes: u64,
    /// Rewrites of it.
    pub rewrites: JobStats,
}

/// The snapshots' state.
#[derive(Clone, Debug, Default)]
pub struct RdbStats {
    /// Keys that were set or removed since the last one.
    pub changes: u64,
    /// When the last one was complete, in seconds since the Unix epoch; when the store was opened if there is none.
    pub last_s: u64,
    /// Writing them.
    pub saves: JobStats,
}

/// Something that is done in the background, now and then.
#[derive(Clone, Debug, Default)]
pub struct JobStats {
    /// It is under way, for so many milliseconds.
    pub running_ms: Option<u64>,
    /// It will begin when something else has ended.
    pub is_scheduled: bool,
    /// Keys written by the one that is under way.
    pub keys: u64,
    /// Of so many.
    pub keys_total: u64,
    /// How long the last one took, in milliseconds.
    pub last_ms: Option<u64>,
    /// How often it was done.
    pub done: u64,
    /// Why the last one failed, if it did.
    pub error: Option<Error>,
    /// How often it has failed since it last succeeded.
    pub failures: u64,
}
