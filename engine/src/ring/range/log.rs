//! The part of a range's log that is held in memory: everything that is not applied, and some of what is,
//! for those who lag.
//!
//! What it holds and what the store has logged are the same, in the same order; it forgets from the front
//! only.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{Index, LogId, Term};
use crate::ring::membership::Configuration;

/// How many beginnings of terms are remembered.
const TERMS_MOST: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct RangeLog {
    /// The entry before the first that is held.
    before: LogId,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Configurations and the indexes from which on they act, the oldest first; never empty.
    configurations: Vec<(Index, Configuration)>,
    /// Where terms began, the oldest first, as far back as is known.
    terms: Vec<LogId>,
    last_time_ms: u64,
}

impl RangeLog {
    pub(super) fn new(
        before: LogId,
        time_ms: u64,
        configurations: Vec<(Index, Configuration)>,
    ) -> Self {
        let mut log = Self {
            before,
            entries: VecDeque::new(),
            bytes: 0,
            configurations,
            terms: Vec::new(),
            last_time_ms: time_ms,
        };
        if log.configurations.is_empty() {
            log.configurations.push((0, Configuration::unknown()));
        }
        log.note_term(before);
        log
    }

    fn note_term(&mut self, id: LogId) {
        if self.terms.last().is_none_or(|last| last.term < id.term) {
            self.terms.push(id);
            if self.terms.len() > TERMS_MOST {
                self.terms.remove(0);
            }
        }
    }

    /// The last entry.
    pub(super) fn last(&self) -> LogId {
        self.entries.back().map_or(self.before, |entry| entry.id())
    }

    /// The entry before the first that is held.
    pub(super) fn before(&self) -> LogId {
        self.before
    }

    /// The time of the last entry.
    pub(super) fn last_time_ms(&self) -> u64 {
        self.last_time_ms
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn place(&self, index: Index) -> Option<usize> {
        usize::try_from(index.checked_sub(self.before.index + 1)?).ok()
    }

    /// The entry at an index, if it is held.
    pub(super) fn entry(&self, index: Index) -> Option<&Arc<Entry>> {
        self.entries.get(self.place(index)?)
    }

    /// The term of the entry at an index, if it is known.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.before.index {
            return Some(self.before.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// The identity of the entry at an index, if it is known.
    pub(super) fn id_at(&self, index: Index) -> Option<LogId> {
        let term = self.term_at(index)?;
        Some(LogId { term, index })
    }

    /// Entries from `from` on, up to `upto` and to about so many bytes, but at least one.
    pub(super) fn slice(&self, from: Index, upto: Index, bytes_most: usize) -> Vec<Arc<Entry>> {
        let (Some(place), Some(end)) = (self.place(from), self.place(upto + 1)) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let within = self
            .entries
            .range(place.min(self.entries.len())..end.min(self.entries.len()));
        within
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += entry.bytes();
                first || bytes <= bytes_most
            })
            .cloned()
            .collect()
    }

    /// Appends an entry, whose index follows the last one's.
    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        debug_assert_eq!(entry.index, self.last().index + 1);
        self.note_term(entry.id());
        self.bytes += entry.bytes();
        self.last_time_ms = self.last_time_ms.max(entry.time_ms);
        if let Content::Configuration(configuration) = &entry.content {
            self.configurations
                .push((entry.index, configuration.clone()));
        }
        self.entries.push_back(entry);
    }

    /// Cuts off everything from `from` on and returns it; a configuration among it acts no more.
    pub(super) fn truncate(&mut self, from: Index) -> Vec<Arc<Entry>> {
        let place = self.place(from).unwrap_or(0).min(self.entries.len());
        let cut: Vec<_> = self.entries.drain(place..).collect();
        self.bytes -= cut.iter().map(|entry| entry.bytes()).sum::<usize>();
        self.configurations
            .retain(|&(index, _)| index < from || index == 0);
        self.terms.retain(|began| began.index < from);
        self.note_term(self.last());
        if let Some(last) = self.entries.back() {
            self.last_time_ms = last.time_ms;
        }
        cut
    }

    /// Forgets what comes before `first`, but for its configuration.
    pub(super) fn forget_before(&mut self, first: Index) {
        while self.before.index + 1 < first
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry.bytes();
            self.before = entry.id();
        }
        let acting = self
            .configurations
            .partition_point(|&(index, _)| index <= self.before.index);
        self.configurations.drain(..acting.saturating_sub(1));
    }

    /// Goes on behind an entry that is not held, nor anything before it.
    pub(super) fn go_on_after(&mut self, last: LogId, time_ms: u64) {
        self.forget_before(Index::MAX);
        self.before = last;
        self.note_term(last);
        self.last_time_ms = self.last_time_ms.max(time_ms);
    }

    /// The configuration that acts: the newest, committed or not (rule 8).
    pub(super) fn configuration(&self) -> &Configuration {
        &self.newest().1
    }

    /// The index of the entry that it came with.
    pub(super) fn configured_at(&self) -> Index {
        self.newest().0
    }

    fn newest(&self) -> &(Index, Configuration) {
        self.configurations
            .last()
            .expect("there is always a configuration")
    }

    /// The configuration that acted at an index.
    pub(super) fn configuration_at(&self, index: Index) -> &(Index, Configuration) {
        let upto = self.configurations.partition_point(|&(at, _)| at <= index);
        &self.configurations[upto.saturating_sub(1)]
    }

    /// Where terms began.
    pub(super) fn terms(&self) -> &[LogId] {
        &self.terms
    }

    /// The last entry of this log that another one has too, by where the other one's terms began; `None`
    /// if that cannot be told.
    pub(super) fn common_with(&self, terms: &[LogId], last: Index) -> Option<LogId> {
        let theirs = |index: Index| {
            let upto = terms.partition_point(|began| began.index <= index);
            Some(terms.get(upto.checked_sub(1)?)?.term)
        };
        let mut index = self.last().index.min(last);
        loop {
            let ours = self.id_at(index)?;
            if theirs(index)? == ours.term {
                return Some(ours);
            }
            index = index.checked_sub(1)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::ids::NodeId;
    use crate::ring::quorum::Quorum;

    fn entry(term: Term, index: Index) -> Arc<Entry> {
        Arc::new(Entry {
            term,
            index,
            time_ms: index * 10,
            seed: 0,
            content: Content::Empty,
        })
    }

    fn log(terms: &[Term]) -> RangeLog {
        let founding = Configuration::founding(&[NodeId(1)], Quorum::ALONE);
        let mut log = RangeLog::new(LogId::default(), 0, vec![(0, founding)]);
        for (place, &term) in terms.iter().enumerate() {
            log.push(entry(term, place as u64 + 1));
        }
        log
    }

    #[test]
    fn what_is_forgotten_in_front_leaves_its_identity() {
        let mut log = log(&[1, 1, 2, 2]);
        log.forget_before(3);
        assert_eq!(log.before(), LogId { term: 1, index: 2 });
        assert_eq!(log.term_at(2), Some(1));
        assert_eq!(log.term_at(1), None);
        assert_eq!(log.slice(3, 9, 1).len(), 1);
        assert_eq!(log.slice(2, 9, 1000).len(), 0);
    }

    #[test]
    fn a_configuration_that_is_cut_off_acts_no_more() {
        let mut log = log(&[1, 1]);
        let next = Configuration::founding(&[NodeId(1), NodeId(2)], Quorum::ALONE);
        let content = Content::Configuration(next.clone());
        log.push(Arc::new(Entry {
            content,
            ..Entry::clone(&entry(1, 3))
        }));
        assert_eq!(log.configuration(), &next);
        assert_eq!(log.configured_at(), 3);
        log.truncate(3);
        assert_eq!(log.configured_at(), 0);
        assert_eq!(log.last().index, 2);
        assert_eq!(log.last_time_ms(), 20);
    }

    #[test]
    fn two_logs_meet_where_their_terms_do() {
        let (ours, theirs) = (log(&[1, 1, 2, 2, 2]), log(&[1, 1, 2, 3]));
        let met = ours.common_with(theirs.terms(), theirs.last().index);
        assert_eq!(met, Some(LogId { term: 2, index: 3 }));
        let mut cut = log(&[1, 1, 2, 2, 2]);
        cut.forget_before(5);
        assert_eq!(cut.common_with(&[LogId { term: 9, index: 1 }], 9), None);
    }
}
