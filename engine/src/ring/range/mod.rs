//! One range: a replicated log and who holds it, as a core that is stepped and does no I/O.

use std::sync::Arc;

use super::effect::HardState;
use super::entry::Entry;
use super::ids::{Index, LogId, RangeId};
use super::membership::{Configuration, Member};

/// What a store found of a range when it was opened.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The range.
    pub range: RangeId,
    /// This copy.
    pub me: Member,
    /// Term, vote and flags.
    pub state: HardState,
    /// The configurations that are known, the oldest first: the newest at or before `applied`, and those
    /// among `entries`.
    pub configurations: Vec<(Index, Configuration)>,
    /// The last entry whose effects the store holds.
    pub applied: LogId,
    /// That entry's time.
    pub applied_time_ms: u64,
    /// The entry before the first of `entries`; not behind `applied`.
    pub before: LogId,
    /// What the log holds since, without gaps, committed or not.
    pub entries: Vec<Arc<Entry>>,
}
