//! What is kept in memory of each range.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::record::{DESTROYED, Extra};
use super::{AMNESIAC, Applied, Found, Hard, Logged, Span, no_such_range};
use crate::Result;
use crate::db::archive::Reach;
use crate::db::machine::Counts;
use crate::lsm::manifest::RangeRecord;

/// The position of an entry that no log holds yet: the log is being mended.
pub(super) const NOT_LOGGED: u64 = u64::MAX;

/// All ranges of a store.
#[derive(Default)]
pub(in crate::db) struct Book {
    pub(super) ranges: BTreeMap<u32, RangeState>,
    /// The newest version of a hard state that was given.
    pub(super) hard_version: u64,
}

/// One range.
#[derive(Clone, Default)]
pub(super) struct RangeState {
    pub node: u64,
    pub incarnation: u128,
    pub destroyed: bool,
    /// Counts how often the range was replaced since the store was opened.
    pub generation: u64,
    pub hard: Hard,
    /// The sequence number at which it is being replaced: its entries must not be written again, behind what is to be
    /// void.
    pub replacing: Option<u64>,
    /// Where the hash table may still have records of it: it is destroyed.
    pub left_over: Option<Span>,
    /// The sequence number of the last range delete over all its keys since the store was opened.
    pub deleted_at: u64,
    /// Log records up to this position are void.
    pub void_upto: u64,
    pub configured: (u64, Bytes),
    pub applied: Applied,
    /// The last entry that changed its keys. What was read from a store or came from elsewhere does not say: then it is
    /// the last one that had been applied. Where it is equal on two copies, their keys are.
    pub changed: Applied,
    pub counts: Counts,
    /// The last index that is in tables.
    pub flushed: u64,
    /// Entries that the log holds and a flush may have to write again, by index: those that are not applied, and
    /// those that were applied after a memtable had been frozen that is yet to be flushed.
    pub held: BTreeMap<u64, Held>,
}

/// An entry, and the log position behind its record.
#[derive(Clone)]
pub(super) struct Held {
    pub position: u64,
    pub entry: Logged,
}

impl RangeState {
    /// Takes note of an entry. Tells whether it takes the place of others.
    pub fn hold(&mut self, entry: Logged, position: u64) {
        let other = |held: &Held| held.entry.term != entry.term;
        if self.held.get(&entry.index).is_some_and(other) {
            self.held.split_off(&entry.index);
        }
        if entry.index > self.flushed {
            self.held.insert(entry.index, Held { position, entry });
        }
    }

    /// Takes note that an entry is applied. The log up to `frozen_upto` may go before the memtable that it is in.
    pub fn let_go(&mut self, index: u64, frozen_upto: u64) {
        let stays = |held: &Held| held.position > frozen_upto;
        if self.held.get(&index).is_some_and(stays) {
            self.held.remove(&index);
        }
    }

    /// Whether another entry is in the place of this one, or behind it where there should be nothing.
    pub fn is_replaced_by(&self, entry: &Logged) -> bool {
        let there = self.held.get(&entry.index);
        there.is_some_and(|held| held.entry.term != entry.term)
    }

    /// Whether anything may have been written to its keys.
    pub fn may_have_keys(&self) -> bool {
        self.applied.index > 0
    }

    pub fn record(&self, range: u32) -> RangeRecord {
        let extra = Extra {
            node: self.node,
            hard_version: self.hard.version,
            void_upto: self.void_upto,
            with_deadline: self.counts.with_deadline,
            configured_at: self.configured.0,
            configuration: self.configured.1.clone(),
        };
        RangeRecord {
            range,
            term: self.hard.term,
            vote: self.hard.vote,
            configuration: extra.encode(),
            applied_index: self.applied.index,
            applied_term: self.applied.term,
            applied_time_ms: self.applied.time_ms,
            log_start_index: self.applied.index + 1,
            incarnation: self.incarnation,
            keys: self.counts.keys,
            flags: self.hard.flags | if self.destroyed { DESTROYED } else { 0 },
        }
    }

    fn from_record(record: &RangeRecord) -> Result<Self> {
        let extra = Extra::decode(&record.configuration)?;
        let applied = Applied {
            term: record.applied_term,
            index: record.applied_index,
            time_ms: record.applied_time_ms,
        };
        Ok(Self {
            node: extra.node,
            incarnation: record.incarnation,
            destroyed: record.flags & DESTROYED != 0,
            generation: 0,
            replacing: None,
            left_over: None,
            deleted_at: 0,
            hard: Hard {
                version: extra.hard_version,
                term: record.term,
                vote: record.vote,
                flags: record.flags & !DESTROYED,
            },
            void_upto: extra.void_upto,
            configured: (extra.configured_at, extra.configuration),
            applied,
            changed: applied,
            counts: Counts {
                keys: record.keys,
                with_deadline: extra.with_deadline,
            },
            flushed: record.applied_index,
            held: BTreeMap::new(),
        })
    }

    fn found(&self, range: u32) -> Found {
        let behind = self.held.range(self.applied.index + 1..);
        Found {
            range,
            node: self.node,
            incarnation: self.incarnation,
            destroyed: self.destroyed,
            hard: self.hard,
            configured: self.configured.clone(),
            applied: self.applied,
            entries: behind.map(|(_, held)| held.entry.clone()).collect(),
        }
    }
}

impl Book {
    /// The lowest sequence number at which a range is being replaced.
    pub(in crate::db) fn replacing_since(&self) -> Option<u64> {
        let states = self.ranges.values();
        states.filter_map(|state| state.replacing).min()
    }

    /// As the manifest has it.
    pub fn load(records: &[RangeRecord]) -> Result<Self> {
        let mut book = Self::default();
        for record in records {
            let state = RangeState::from_record(record)?;
            book.hard_version = book.hard_version.max(state.hard.version);
            book.ranges.insert(record.range, state);
        }
        Ok(book)
    }

    /// What the manifest is to say if everything that is known here is synced.
    pub fn records(&self) -> Vec<RangeRecord> {
        let ranges = self.ranges.iter();
        ranges.map(|(&range, state)| state.record(range)).collect()
    }

    pub fn found(&self) -> Vec<Found> {
        let ranges = self.ranges.iter();
        ranges.map(|(&range, state)| state.found(range)).collect()
    }

    /// Keys of all ranges.
    pub(in crate::db) fn counts(&self) -> Counts {
        let counts = self.ranges.values().map(|state| state.counts);
        counts.fold(Counts::default(), Counts::plus)
    }

    /// The last entry that is applied of each live range that `wanted` names, and the newest one's time.
    pub(in crate::db) fn positions(
        &self,
        wanted: impl Fn(u32) -> bool,
    ) -> (BTreeMap<u32, u64>, u64) {
        let live = self.ranges.iter().filter(|(_, state)| !state.destroyed);
        let (mut at, mut time_ms) = (BTreeMap::new(), 0);
        for (&range, state) in live.filter(|(range, _)| wanted(**range)) {
            at.insert(range, state.applied.index);
            time_ms = state.applied.time_ms.max(time_ms);
        }
        (at, time_ms)
    }

    /// How far each live range that `wanted` names has come.
    pub(in crate::db) fn reaches(&self, wanted: impl Fn(u32) -> bool) -> BTreeMap<u32, Reach> {
        let live = self.ranges.iter().filter(|(_, state)| !state.destroyed);
        live.filter(|(range, _)| wanted(**range))
            .map(|(&range, state)| {
                let last = state.held.last_key_value().map(|(&index, _)| index);
                let known = last.unwrap_or(0).max(state.applied.index);
                let in_tables = state.flushed;
                (range, Reach { in_tables, known })
            })
            .collect()
    }

    pub(super) fn live(&self, range: u32) -> Result<&RangeState> {
        match self.ranges.get(&range) {
            Some(state) if !state.destroyed => Ok(state),
            Some(_) => Err(no_such_range(range, "it has been destroyed here")),
            None => Err(no_such_range(range, "it is not here")),
        }
    }

    pub(super) fn live_mut(&mut self, range: u32) -> Result<&mut RangeState> {
        self.live(range)?;
        self.ranges
            .get_mut(&range)
            .ok_or_else(|| no_such_range(range, "it is not here"))
    }

    /// The version of a hard state that is about to be logged.
    pub fn next_version(&mut self) -> u64 {
        self.hard_version += 1;
        self.hard_version
    }

    /// Every range may have forgotten entries.
    pub fn forget(&mut self) {
        for state in self.ranges.values_mut().filter(|state| !state.destroyed) {
            self.hard_version += 1;
            state.hard.version = self.hard_version;
            state.hard.flags |= AMNESIAC;
        }
    }
}
