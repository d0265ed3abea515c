//! Many replicated ranges in one store.
//!
//! Their records share the store's log. They are applied only when their owner says so, which may be never:
//! a range's log is cut and rewritten by its master. The store keeps, for each range, what the owner has to
//! find again: what is in the log behind the state, and the newest term, vote and flags. It never applies
//! anything by itself, and never promises what has not settled.
//!
//! The manifest's records hold what the tables hold, and everything that was synced besides; so a segment
//! may go as soon as no entry in it is still to be applied. A range that stands still must not pin the log:
//! a flush writes its few entries again at the log's end.
//!
//! Locks are taken in this order: applier, manifest, book, commit.

mod alone;
mod append;
mod apply;
mod book;
mod forward;
mod gather;
mod mend;
mod open;
mod record;
mod replace;
mod replay;
mod rewrite;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use bytes::Bytes;
use parking_lot::Mutex;

use super::machine::{Counts, Entry};
use crate::log::{LogKind, LogRecord};
use crate::lsm::manifest::Manifest;
use crate::{Error, ErrorKind, Result};

pub(crate) use alone::Alone;
pub(super) use book::Book;
pub(super) use forward::{Forwarded, FrozenRanges};
pub(super) use mend::Behind;
pub(crate) use replace::{AsyncRecords, Ingested, Replacement};

/// May have forgotten entries; the store sets it when it is opened.
pub(crate) const AMNESIAC: u32 = 1;

/// An entry of a range's log, as the store sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Whether it is a configuration; the state has no part in it.
    pub configures: bool,
    pub term: u64,
    pub index: u64,
    pub time_ms: u64,
    pub seed: u64,
    /// Empty if there is nothing to do.
    pub payload: Bytes,
}

impl Logged {
    /// As the log has it.
    fn of(of: &OfRange, entry: &Entry) -> Self {
        Self {
            configures: of.configures,
            term: of.term,
            index: entry.index,
            time_ms: entry.time_ms,
            seed: entry.seed,
            payload: entry.payload.clone(),
        }
    }

    /// As the one who applies takes it.
    fn of_range(&self, range: u32, span: &Span) -> (OfRange, Entry) {
        let of = OfRange {
            range,
            span: span.clone(),
            term: self.term,
            configures: self.configures,
        };
        let entry = Entry {
            index: self.index,
            time_ms: self.time_ms,
            seed: self.seed,
            payload: self.payload.clone(),
        };
        (of, entry)
    }

    fn record(&self, range: u32) -> LogRecord<'_> {
        LogRecord {
            kind: if self.configures {
                LogKind::Config
            } else {
                LogKind::Entry
            },
            range,
            term: self.term,
            index: self.index,
            time_ms: self.time_ms,
            seed: self.seed,
            payload: &self.payload,
        }
    }
}

/// Term, vote and flags of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hard {
    /// Counts up over the store: the greater one is the newer.
    pub version: u64,
    pub term: u64,
    pub vote: Option<u64>,
    pub flags: u32,
}

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Entry(Logged),
    /// Its version is the store's to give.
    Hard(Hard),
    Truncate(u64),
}

/// The last entry that is in the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub term: u64,
    pub index: u64,
    pub time_ms: u64,
}

/// What a range holds, between two of its entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub applied: Applied,
    /// The last entry that changed its keys, or one behind it, where that is not known.
    pub changed: Applied,
    pub counts: Counts,
    /// Counts how often all of it was replaced.
    pub generation: u64,
}

/// Which range an entry is of.
#[derive(Clone, Debug)]
pub(crate) struct OfRange {
    pub range: u32,
    pub span: Span,
    pub term: u64,
    /// Whether it is a configuration.
    pub configures: bool,
}

/// The keys of a range: one contiguous run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: Bytes,
    /// The first key behind it.
    pub end: Option<Bytes>,
}

impl Span {
    fn covers(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_ref().is_none_or(|end| key < &end[..])
    }
}

/// What is known of a range.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub range: u32,
    pub node: u64,
    pub incarnation: u128,
    pub destroyed: bool,
    pub hard: Hard,
    /// The newest configuration at or before `applied`, and its entry's index.
    pub configured: (u64, Bytes),
    pub applied: Applied,
    /// What the log holds behind `applied`.
    pub entries: Vec<Logged>,
}

/// What a store knows of its ranges.
#[derive(Default)]
pub(crate) struct Ranges {
    pub(in crate::db) book: Mutex<Book>,
    /// Counts the flushes that have moved what is in tables.
    flushes: AtomicU64,
    /// The segment at whose beginning the log was last trimmed.
    trimmed_at: AtomicU64,
    /// Ranges that are to begin or to go.
    wishes: gather::Wishes,
}

impl Ranges {
    /// Everything about every range, destroyed ones included.
    pub(crate) fn found(&self) -> Vec<Found> {
        self.book.lock().found()
    }

    /// How often what is in tables has moved, and the last index of each range that is in them.
    pub(crate) fn in_tables(&self) -> (u64, Vec<(u32, u64)>) {
        // Read first: what comes in between is told again.
        let flushes = self.flushes.load(Acquire);
        let book = self.book.lock();
        let live = book.ranges.iter().filter(|(_, state)| !state.destroyed);
        let indexes = live.map(|(&range, state)| (range, state.flushed));
        (flushes, indexes.collect())
    }

    /// What these ranges hold, together.
    pub(crate) fn counts(&self, ranges: &[u32]) -> Counts {
        let book = self.book.lock();
        let held = ranges.iter().filter_map(|range| book.ranges.get(range));
        held.fold(Counts::default(), |sum, state| sum.plus(state.counts))
    }

    /// The last entry of a range that is in the state, and its configuration by then.
    pub(crate) fn applied(&self, range: u32) -> Result<(Applied, (u64, Bytes))> {
        let book = self.book.lock();
        let state = book.live(range)?;
        Ok((state.applied, state.configured.clone()))
    }

    /// What a range holds now.
    pub(crate) fn standing(&self, range: u32) -> Result<Standing> {
        let book = self.book.lock();
        let state = book.live(range)?;
        Ok(Standing {
            applied: state.applied,
            changed: state.changed,
            counts: state.counts,
            generation: state.generation,
        })
    }

    fn moved(&self) {
        self.flushes.fetch_add(1, Release);
    }
}

/// The id of a store and what is known of its ranges, as its manifest has it: without opening it.
pub(crate) fn read_manifest(meta: &[u8]) -> Result<(u128, Vec<Found>)> {
    let manifest = Manifest::decode(meta)?;
    let book = Book::load(&manifest.ranges)?;
    Ok((manifest.store_id, book.found()))
}

/// Fails if a store that takes its entries as they come finds one of replicated ranges.
pub(super) fn refuse_replicated(manifest: &Manifest) -> Result<()> {
    let replicated = |record: &crate::lsm::manifest::RangeRecord| !record.configuration.is_empty();
    if manifest.ranges.iter().any(replicated) {
        return Err(Error::new(
            ErrorKind::Newer,
            "opening the store",
            "it is a ring's: open it with its node",
        ));
    }
    Ok(())
}

fn no_such_range(range: u32, detail: &'static str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "using a range",
        format!("range {range}: {detail}"),
    )
}
