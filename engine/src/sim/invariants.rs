//! What must hold at every moment, whatever clients see: who may be the master, what logs may hold, what
//! applied state may differ in.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::command::Reply;
use crate::ring::effect::{HardState, Record};
use crate::ring::entry::{Content, Entry};
use crate::ring::range::{Range, Recovered};
use crate::ring::trace::Event;
use crate::ring::{Index, LogId, NodeId, RangeId, Term};

/// Entries that are remembered of each range.
const ENTRIES_MOST: usize = 20_000;
/// A run that has gone wrong so often is not worth more words.
const VIOLATIONS_MOST: usize = 20;

/// See the module.
pub(super) struct Invariants {
    promises: bool,
    now_ms: u64,
    violations: Vec<String>,
    ranges: BTreeMap<RangeId, Facts>,
    /// Elections that replicas have decided which may have forgotten entries.
    pub(super) by_flagged: u64,
    pub(super) elections: u64,
    pub(super) snapshots: u64,
    /// Copies that operators have made whole ranges.
    pub(super) recovered: u64,
    /// Copies that the scrubber has found to differ.
    pub(super) mismatches: u64,
    /// Copies whose state was changed behind their backs, and whether that has been found or undone.
    rotten: BTreeMap<(NodeId, RangeId), bool>,
}

/// What is known of a range.
#[derive(Default)]
struct Facts {
    masters: BTreeMap<Term, NodeId>,
    /// Entries that some log has held: the term of the one before, and a hash.
    entries: BTreeMap<LogKey, (Term, u64)>,
    /// Entries that were applied: the hash of everything up to there, and of the reply.
    applied: BTreeMap<LogKey, (u64, u64)>,
    committed: LogId,
    copies: BTreeMap<NodeId, Copy>,
}

/// Ordered by index first.
type LogKey = (Index, Term);

/// What is known of a copy.
#[derive(Default)]
struct Copy {
    /// The last entry that was appended, if it is known.
    last: Option<LogId>,
    /// Its time.
    last_time_ms: u64,
    commit: Index,
    state: HardState,
    /// Hard states that are not settled, by their append.
    pending: Vec<(u64, HardState)>,
    durable: HardState,
}

fn key(id: LogId) -> LogKey {
    (id.index, id.term)
}

fn hash_of(entry: &Entry) -> u64 {
    let seed = entry.time_ms ^ entry.seed.rotate_left(17);
    match &entry.content {
        Content::Empty => xxh3_64_with_seed(b"", seed),
        Content::Command(payload) => xxh3_64_with_seed(payload, seed),
        Content::Configuration(configuration) => {
            xxh3_64_with_seed(format!("{configuration:?}").as_bytes(), seed)
        }
    }
}

fn hash_of_reply(reply: &Reply) -> u64 {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    // Not zero, which stands for none.
    xxh3_64_with_seed(&bytes, 7) | 1
}

impl Invariants {
    pub(super) fn new(promises: bool) -> Self {
        Self {
            promises,
            now_ms: 0,
            violations: Vec::new(),
            ranges: BTreeMap::new(),
            by_flagged: 0,
            elections: 0,
            snapshots: 0,
            recovered: 0,
            mismatches: 0,
            rotten: BTreeMap::new(),
        }
    }

    pub(super) fn violate(&mut self, what: String) {
        if self.violations.len() < VIOLATIONS_MOST {
            self.violations
                .push(format!("at {} ms: {what}", self.now_ms));
        }
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Takes note that a copy's state has been changed.
    pub(super) fn has_rotted(&mut self, node: NodeId, range: RangeId) {
        self.rotten.insert((node, range), false);
    }

    /// Whether there is such a copy that nobody has noticed.
    pub(super) fn is_rotten(&self) -> bool {
        self.rotten.values().any(|&found| !found)
    }

    /// A disk is gone, and with it what was wrong with it.
    pub(super) fn is_gone(&mut self, node: NodeId) {
        for ((rotten, _), found) in &mut self.rotten {
            *found |= *rotten == node;
        }
    }

    /// A copy's state has been made anew from another copy, or is no more.
    fn is_renewed(&mut self, node: NodeId, range: RangeId) {
        if let Some(found) = self.rotten.get_mut(&(node, range)) {
            *found = true;
        }
    }

    /// Takes note of an event.
    pub(super) fn saw(
        &mut self,
        now_ms: u64,
        node: NodeId,
        range: RangeId,
        event: &Event,
        replica: Option<&Range>,
    ) {
        self.now_ms = now_ms;
        match *event {
            Event::Recovered { .. } => self.recovered += 1,
            Event::Mismatch { node, at } => {
                self.mismatches += 1;
                // A copy that has rotted may have been sent to others before it was found.
                let mut known = self
                    .rotten
                    .iter_mut()
                    .filter(|((_, rotten), _)| *rotten == range)
                    .peekable();
                if known.peek().is_none() {
                    self.violate(format!(
                        "range {range}: the state of {node} differs at {at}"
                    ));
                } else {
                    known.for_each(|(_, found)| *found = true);
                }
            }
            Event::SnapshotInstalled { .. } | Event::Destroyed => self.is_renewed(node, range),
            _ => {}
        }
        let promises = self.promises;
        let facts = self.ranges.entry(range).or_default();
        match *event {
            Event::Elected {
                term,
                last,
                by_flagged,
            } => {
                self.elections += 1;
                self.by_flagged += u64::from(by_flagged);
                let first = *facts.masters.entry(term).or_insert(node);
                let committed = facts.committed;
                if first != node {
                    self.violate(format!(
                        "range {range} has two masters in term {term}: {first} and {node}"
                    ));
                }
                let knows = committed.index <= last.index
                    && replica.is_none_or(|replica| {
                        let known = replica.term_at(committed.index);
                        known.is_none_or(|term| term == committed.term)
                    });
                if promises && !knows && committed.term < term {
                    self.violate(format!(
                        "range {range}: {node} was elected in term {term} with {last} and without what is committed, {committed}"
                    ));
                }
            }
            Event::Committed { upto } => {
                let copy = facts.copies.entry(node).or_default();
                let before = std::mem::replace(&mut copy.commit, upto.index);
                if upto > facts.committed {
                    facts.committed = upto;
                }
                if promises && before > upto.index {
                    self.violate(format!("range {range}: the commit index of {node} went back from {before} to {upto}"));
                }
            }
            Event::SnapshotInstalled { at } => {
                self.snapshots += 1;
                let copy = facts.copies.entry(node).or_default();
                copy.commit = at.index;
                copy.last = Some(at);
                copy.last_time_ms = 0;
            }
            _ => {}
        }
    }

    /// Takes note of records that were handed to a log.
    pub(super) fn appended(
        &mut self,
        node: NodeId,
        range: RangeId,
        append: u64,
        records: &[Record],
    ) {
        let facts = self.ranges.entry(range).or_default();
        let copy = facts.copies.entry(node).or_default();
        let mut wrong = Vec::new();
        for record in records {
            match record {
                Record::Entry(entry) => {
                    let before = copy.last.filter(|last| last.index + 1 == entry.index);
                    copy.last = Some(entry.id());
                    let before_ms = std::mem::replace(&mut copy.last_time_ms, entry.time_ms);
                    let Some(before) = before else {
                        continue;
                    };
                    if entry.time_ms < before_ms {
                        wrong.push(format!(
                            "range {range}: time goes back in the log of {node} at {}",
                            entry.id()
                        ));
                    }
                    let seen = (before.term, hash_of(entry));
                    let known = *facts.entries.entry(key(entry.id())).or_insert(seen);
                    if known != seen {
                        wrong.push(format!(
                            "range {range}: {node} has another entry {} than others",
                            entry.id()
                        ));
                    }
                }
                Record::Truncate(from) => copy.last = copy.last.filter(|last| last.index < *from),
                Record::HardState(state) => {
                    let old = std::mem::replace(&mut copy.state, *state);
                    copy.pending.push((append, *state));
                    if goes_back(old, *state) {
                        wrong.push(format!(
                            "range {range}: the hard state of {node} went from {old:?} to {state:?}"
                        ));
                    }
                }
            }
        }
        while facts.entries.len() > ENTRIES_MOST {
            facts.entries.pop_first();
        }
        wrong.into_iter().for_each(|what| self.violate(what));
    }

    /// Takes note that appends have settled.
    pub(super) fn settled(&mut self, node: NodeId, range: RangeId, append: u64) {
        let facts = self.ranges.entry(range).or_default();
        let copy = facts.copies.entry(node).or_default();
        while copy.pending.first().is_some_and(|&(at, _)| at <= append) {
            copy.durable = copy.pending.remove(0).1;
        }
    }

    /// Takes note of a copy as its store has found it; gives the hash of what it has applied.
    pub(super) fn restored(&mut self, node: NodeId, recovered: &Recovered) -> u64 {
        let range = recovered.range;
        self.is_renewed(node, range);
        let facts = self.ranges.entry(range).or_default();
        let copy = facts.copies.entry(node).or_default();
        let (durable, found) = (copy.durable, recovered.state);
        *copy = Copy {
            last: recovered
                .entries
                .last()
                .map(|entry| entry.id())
                .or(Some(recovered.before)),
            state: found,
            durable: found,
            ..Copy::default()
        };
        if !found.amnesiac && goes_back(durable, found) {
            self.violate(format!(
                "range {range}: {node} had {durable:?} and came back with {found:?}"
            ));
        }
        self.chain_at(range, recovered.applied)
    }

    /// A copy is gone, or begins anew.
    pub(super) fn forget(&mut self, node: NodeId, range: RangeId) {
        self.is_renewed(node, range);
        let facts = self.ranges.entry(range).or_default();
        facts.copies.remove(&node);
        facts.copies.entry(node).or_default().last = Some(LogId::default());
    }

    /// The hash of everything applied up to an entry; zero if it is not known.
    pub(super) fn chain_at(&self, range: RangeId, at: LogId) -> u64 {
        let facts = self.ranges.get(&range);
        facts
            .and_then(|facts| facts.applied.get(&key(at)))
            .map_or(0, |&(chain, _)| chain)
    }

    /// Takes note of entries that a copy has applied behind `chain`; gives the new hash.
    pub(super) fn applied(
        &mut self,
        node: NodeId,
        range: RangeId,
        mut chain: u64,
        entries: &[Arc<Entry>],
        replies: &[(Index, Reply)],
    ) -> u64 {
        let promises = self.promises;
        let facts = self.ranges.entry(range).or_default();
        let mut replies = replies.iter().peekable();
        let mut wrong = Vec::new();
        for entry in entries {
            let id = entry.id();
            let known_before = chain != 0 || id.index == 1;
            chain = xxh3_64_with_seed(
                &hash_of(entry).to_le_bytes(),
                chain ^ id.term.rotate_left(32) ^ id.index,
            ) | 1;
            let reply = replies.next_if(|(index, _)| *index == id.index);
            let seen = (chain, reply.map_or(0, |(_, reply)| hash_of_reply(reply)));
            let known = *facts.applied.entry(key(id)).or_insert(seen);
            if !known_before {
                chain = known.0;
            }
            if known != (chain, seen.1) {
                wrong.push(format!(
                    "range {range}: {node} has applied {id} to another state than others"
                ));
            }
            let others = facts
                .applied
                .range((id.index, 0)..=(id.index, Term::MAX))
                .count();
            if promises && others > 1 {
                wrong.push(format!(
                    "range {range}: {node} has applied {id}, others another entry there"
                ));
            }
        }
        while facts.applied.len() > ENTRIES_MOST {
            facts.applied.pop_first();
        }
        wrong.into_iter().for_each(|what| self.violate(what));
        chain
    }

    /// Takes note of a write that a client was told of.
    pub(super) fn acknowledged(&mut self, range: RangeId, at: LogId) {
        let facts = self.ranges.entry(range).or_default();
        let is_applied = facts.applied.contains_key(&key(at));
        let is_old = facts
            .applied
            .first_key_value()
            .is_some_and(|(first, _)| *first > key(at));
        if !is_applied && !is_old {
            self.violate(format!(
                "range {range}: {at} was acknowledged and never applied"
            ));
        }
    }
}

fn goes_back(old: HardState, new: HardState) -> bool {
    let changes_vote = old.term == new.term && old.vote.is_some() && old.vote != new.vote;
    new.term < old.term || changes_vote
}
