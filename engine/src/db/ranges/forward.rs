//! What a flush does for the ranges: their records in the manifest, and their entries at the log's end.

use std::collections::BTreeMap;

use super::super::commit::Ticket;
use super::super::core::Core;
use super::super::flush::Frozen;
use super::super::machine::Machine;
use super::book::Book;
use super::record::Extra;
use super::{Hard, Ranges};
use crate::lsm::manifest::{Manifest, RangeRecord};
use crate::{Result, Runtime, Storage};

/// This much is always written again rather than that a segment stays.
const FORWARD_BYTES_LEAST: u64 = 64 << 10;

/// The ranges when a memtable was frozen, each with its generation.
pub(in crate::db) type FrozenRanges = Vec<(u64, RangeRecord)>;

/// What is synced and may be written down with a flush.
pub(in crate::db) struct Forwarded {
    /// The first segment that replay needs from then on.
    log_start: u64,
    hard: BTreeMap<u32, Hard>,
}

impl Forwarded {
    /// The log stays as it is, and nothing of it is known to be synced.
    fn nothing() -> Self {
        Self {
            log_start: 0,
            hard: BTreeMap::new(),
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Writes entries that will not be in tables and whose segments are to go at the log's end, and syncs
    /// the log.
    pub(in crate::db) async fn forward(&self, frozen: &Frozen) -> Result<Forwarded> {
        let Some((ticket, forwarded)) = self.write_forward(frozen)? else {
            return Ok(Forwarded::nothing());
        };
        self.sync_log(ticket.position).await?;
        let commit = self.commit.lock();
        if commit.epoch != ticket.epoch || commit.repairing {
            // What was to be synced is in the mended log, or will be.
            return Ok(Forwarded::nothing());
        }
        Ok(forwarded)
    }

    /// Up to where the log must be synced; `None` while it is being mended: then no segment may go, and nothing needs
    /// to be written again.
    fn write_forward(&self, frozen: &Frozen) -> Result<Option<(Ticket, Forwarded)>> {
        let mut book = self.ranges.book.lock();
        let wished = self.log_start_after(frozen.position);
        let mut commit = self.commit.lock();
        if let Some(error) = &commit.broken {
            return Err(error.clone());
        }
        if commit.repairing {
            return Ok(None);
        }
        let after = in_tables(&book, &frozen.ranges);
        let most = (self.options.segment_bytes / 2).max(FORWARD_BYTES_LEAST);
        let segments = commit.segments.iter().rev();
        // From the segment that is wished for back to the one before which little lies.
        let start = segments
            .filter(|&&(segment, _)| segment <= wished)
            .find(|&&(_, start)| is_little_before(&book, &after, start, most))
            .or(commit.segments.front())
            .copied();
        let (log_start, start) = start.unwrap_or((commit.log.segment(), commit.log.start()));
        for (&range, state) in &mut book.ranges {
            let after = after.get(&range).copied().unwrap_or(u64::MAX);
            for (_, held) in state.held.range_mut(after.saturating_add(1)..) {
                if held.position > start {
                    continue;
                }
                match commit.log.append(&held.entry.record(range)) {
                    Ok(position) => held.position = position,
                    Err(error) => {
                        // Under the same lock: nothing may be logged behind what was not.
                        let mends = commit.begin_mending(self, &error);
                        drop(commit);
                        drop(book);
                        if mends {
                            self.spawn_mending(error);
                        }
                        return Ok(None);
                    }
                }
            }
        }
        let hard = book
            .ranges
            .iter()
            .map(|(&range, state)| (range, state.hard));
        let forwarded = Forwarded {
            log_start,
            hard: hard.collect(),
        };
        let ticket = Ticket {
            position: commit.log.end(),
            epoch: commit.epoch,
        };
        Ok(Some((ticket, forwarded)))
    }
}

/// The index up to which each range will be in tables.
fn in_tables(book: &Book, frozen: &FrozenRanges) -> BTreeMap<u32, u64> {
    let live = book.ranges.iter().filter(|(_, state)| !state.destroyed);
    let mut after: BTreeMap<u32, u64> =
        live.map(|(&range, state)| (range, state.flushed)).collect();
    for record in current(book, frozen) {
        after.insert(record.range, record.applied_index);
    }
    after
}

/// Those of the records whose ranges have not been replaced since.
fn current<'a>(book: &'a Book, frozen: &'a FrozenRanges) -> impl Iterator<Item = &'a RangeRecord> {
    let same = |(generation, record): &&(u64, RangeRecord)| {
        let state = book.ranges.get(&record.range);
        state.is_some_and(|state| state.generation == *generation)
    };
    frozen.iter().filter(same).map(|(_, record)| record)
}

/// Whether what is still needed of the entries before a position is little enough to be written again.
fn is_little_before(book: &Book, after: &BTreeMap<u32, u64>, start: u64, most: u64) -> bool {
    let mut bytes = 0;
    for (range, state) in &book.ranges {
        let after = after.get(range).copied().unwrap_or(u64::MAX);
        let needed = state.held.range(after.saturating_add(1)..);
        for (_, held) in needed.filter(|(_, held)| held.position <= start) {
            bytes += held.entry.payload.len() as u64 + 64;
            if state.replacing.is_some() || bytes > most {
                return false;
            }
        }
    }
    true
}

impl Ranges {
    /// The ranges as they stand. Called by who holds the right to apply.
    pub(in crate::db) fn freeze(&self) -> FrozenRanges {
        let book = self.book.lock();
        let ranges = book.ranges.iter();
        ranges
            .map(|(&range, state)| (state.generation, state.record(range)))
            .collect()
    }

    /// Writes into a manifest what a flush has brought about.
    pub(in crate::db) fn note(
        &self,
        frozen: &FrozenRanges,
        forwarded: &Forwarded,
        manifest: &mut Manifest,
    ) {
        let book = self.book.lock();
        let before = std::mem::take(&mut manifest.ranges);
        let mut records: BTreeMap<u32, RangeRecord> = before
            .into_iter()
            .map(|record| (record.range, record))
            .collect();
        for record in current(&book, frozen) {
            let newer = records.insert(record.range, record.clone());
            // What was written since, at a replacement of another range or at opening, is not older.
            if let Some(newer) = newer
                && let Some(hard) = hard_of(&newer)
                && let Some(record) = records.get_mut(&record.range)
            {
                set_hard(record, &hard);
            }
        }
        for (range, hard) in &forwarded.hard {
            if let Some(record) = records.get_mut(range) {
                set_hard(record, hard);
            }
        }
        manifest.ranges = records.into_values().collect();
        manifest.log_start = manifest.log_start.max(forwarded.log_start);
    }

    /// The manifest says so: what is in tables need not be held any more.
    pub(in crate::db) fn flushed(&self, frozen: &FrozenRanges) {
        let mut book = self.book.lock();
        let current: Vec<(u32, u64)> = current(&book, frozen)
            .map(|record| (record.range, record.applied_index))
            .collect();
        for (range, index) in current {
            if let Some(state) = book.ranges.get_mut(&range) {
                state.flushed = state.flushed.max(index);
                state.held = state.held.split_off(&(state.flushed + 1));
            }
        }
        drop(book);
        self.moved();
    }
}

fn hard_of(record: &RangeRecord) -> Option<Hard> {
    let extra = Extra::decode(&record.configuration).ok()?;
    Some(Hard {
        version: extra.hard_version,
        term: record.term,
        vote: record.vote,
        flags: record.flags & !super::record::DESTROYED,
    })
}

/// Writes a hard state into a record unless it has a newer one.
fn set_hard(record: &mut RangeRecord, hard: &Hard) {
    let Ok(mut extra) = Extra::decode(&record.configuration) else {
        return;
    };
    if extra.hard_version < hard.version {
        extra.hard_version = hard.version;
        record.configuration = extra.encode();
        (record.term, record.vote) = (hard.term, hard.vote);
        record.flags = record.flags & super::record::DESTROYED | hard.flags;
    }
}
