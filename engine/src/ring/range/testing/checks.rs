//! What must be true after every step, whatever the schedule.
//!
//! Each check has a name, with which its violations begin. What depends on an acknowledged write surviving its
//! master is checked only in rows where it does, and not after an election that was flagged (rule 9).

use std::collections::{BTreeMap, BTreeSet};

use super::machine::{State, WriteId, fingerprint, write_of};
use crate::command::Reply;
use crate::ring::effect::HardState;
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{Index, LogId, NodeId, Term};
use crate::ring::membership::{Configuration, Member};
use crate::ring::quorum::Quorum;

/// The same order in every run.
type HashMap<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// One replica's log, as it was handed out to be stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirror {
    before: LogId,
    entries: Vec<(LogId, u64)>,
    /// Commits up to here have been looked at.
    commit: Index,
    master_in: Option<Term>,
    state: HardState,
}

impl Mirror {
    pub(super) fn recovered(
        before: LogId,
        entries: impl Iterator<Item = (LogId, u64)>,
        commit: Index,
        state: HardState,
    ) -> Self {
        Self {
            before,
            entries: entries.collect(),
            commit,
            master_in: None,
            state,
        }
    }

    fn place(&self, index: Index) -> Option<usize> {
        Some(index.checked_sub(self.before.index + 1)? as usize)
    }

    pub(super) fn id_at(&self, index: Index) -> Option<LogId> {
        if index == self.before.index {
            return Some(self.before);
        }
        Some(self.entries.get(self.place(index)?)?.0)
    }

    fn time_at(&self, index: Index) -> Option<u64> {
        Some(self.entries.get(self.place(index)?)?.1)
    }

    pub(super) fn truncate(&mut self, from: Index) {
        let kept = from.saturating_sub(self.before.index + 1) as usize;
        self.entries.truncate(kept);
    }

    pub(super) fn replace(&mut self, at: LogId, state: HardState) {
        self.before = at;
        self.entries.clear();
        self.state = state;
        // The replica is told once it is done; until then it goes by what it had.
        self.commit = Index::MAX;
    }

    pub(super) fn replaced(&mut self) {
        self.commit = self.before.index;
    }
}

/// A committed entry, and the least term in which a replica took it for committed.
#[derive(Clone, Copy, Debug)]
struct Committed {
    id: LogId,
    in_term: Term,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::ring::range) struct Checks {
    pub(super) step: u64,
    /// Whether what was acknowledged has to survive.
    pub(super) survive: bool,
    /// Whether reads are strong unless they ask for less.
    pub(super) strong: bool,
    violations: Vec<String>,
    masters: BTreeMap<Term, Member>,
    votes: BTreeMap<(Member, Term), NodeId>,
    /// Every entry ever appended: its fingerprint and the one before it.
    entries: HashMap<LogId, (u64, LogId)>,
    /// The state behind every entry ever applied, and what it answered.
    states: HashMap<LogId, (u64, Option<Reply>)>,
    committed: Vec<Committed>,
    /// The newest committed configuration without a member, by what it left out.
    configurations: BTreeMap<LogId, Configuration>,
    unwritten: BTreeSet<WriteId>,
    lost: BTreeSet<WriteId>,
    /// Entries that a copy held when it was destroyed.
    destroyed: BTreeSet<LogId>,
    writes: HashMap<WriteId, LogId>,
    acknowledged: BTreeMap<LogId, WriteId>,
    /// What a strong read that begins now has to see.
    floor: Index,
    /// Entries of older terms may have been forgotten.
    excused: Term,
}

impl Checks {
    pub(super) fn of(row: Quorum) -> Self {
        Self {
            survive: row.writes_survive(),
            strong: row.reads_are_strong(),
            ..Self::default()
        }
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn violate(&mut self, name: &str, what: impl std::fmt::Display) {
        if self.violations.len() < 32 {
            self.violations
                .push(format!("{name}: {what} (step {})", self.step));
        }
    }

    fn expect(&mut self, holds: bool, name: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(name, what());
        }
    }

    /// What a strong read that begins now has to see.
    pub(super) fn floor(&self) -> Index {
        if self.survive { self.floor } else { 0 }
    }

    /// Writes that were acknowledged.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = (LogId, WriteId)> {
        self.acknowledged.iter().map(|(&at, &write)| (at, write))
    }

    /// Every entry behind an index and up to this one.
    pub(super) fn history(&self, last: LogId, behind: Index) -> BTreeSet<LogId> {
        let mut held = BTreeSet::new();
        let mut at = last;
        while at.index > behind && held.insert(at) {
            at = self
                .entries
                .get(&at)
                .map_or(LogId::default(), |(_, before)| *before);
        }
        held
    }

    /// Whether a write is in a lost-writes file, or was in a copy that was destroyed on purpose.
    pub(super) fn is_named(&self, at: LogId, write: WriteId) -> bool {
        self.lost.contains(&write) || self.destroyed.contains(&at)
    }

    pub(super) fn lost(&mut self, entries: &[std::sync::Arc<Entry>]) {
        self.lost
            .extend(entries.iter().filter_map(|entry| write_of(entry)));
    }

    pub(super) fn appended(&mut self, node: NodeId, mirror: &mut Mirror, entry: &Entry) {
        let id = entry.id();
        mirror.truncate(id.index);
        let last = mirror.before.index + mirror.entries.len() as u64;
        self.expect(last + 1 == id.index, "log matching", || {
            format!("{node} appends {id} behind index {last}")
        });
        let Some(before) = mirror.id_at(id.index - 1) else {
            return;
        };
        self.expect(before.term <= id.term, "log matching", || {
            format!("{node} appends {id} behind {before}")
        });
        if let Some(time_ms) = mirror.time_at(before.index) {
            self.expect(time_ms <= entry.time_ms, "time", || {
                format!(
                    "{node}: {id} is {} ms before {before}",
                    time_ms - entry.time_ms
                )
            });
        }
        mirror.entries.push((id, entry.time_ms));
        let print = fingerprint(entry);
        let known = *self.entries.entry(id).or_insert((print, before));
        self.expect(known == (print, before), "log matching", || {
            format!(
                "{node} has another {id}, or has it behind {before} and not {}",
                known.1
            )
        });
        if let Content::Configuration(configuration) = &entry.content {
            self.configurations.insert(id, configuration.clone());
        }
        if let Some(write) = write_of(entry) {
            let at = *self.writes.entry(write).or_insert(id);
            self.expect(at == id, "exactly once", || {
                format!("write {write} is at {at} and at {id}")
            });
        }
    }

    pub(super) fn recorded(&mut self, node: NodeId, mirror: &mut Mirror, state: HardState) {
        let old = mirror.state;
        let kept = state.term > old.term
            || state.term == old.term && (old.vote.is_none() || old.vote == state.vote);
        self.expect(kept, "hard state", || {
            format!("{node} goes from {old:?} to {state:?}")
        });
        mirror.state = state;
    }

    pub(super) fn voted(&mut self, voter: Member, term: Term, candidate: NodeId, is_synced: bool) {
        let first = *self.votes.entry((voter, term)).or_insert(candidate);
        self.expect(first == candidate, "one vote", || {
            format!(
                "{} votes for {first} and for {candidate} in term {term}",
                voter.node
            )
        });
        self.expect(is_synced, "synced first", || {
            format!(
                "the vote of {} for {candidate} in term {term} left unsynced",
                voter.node
            )
        });
    }

    pub(super) fn reported(&mut self, by: Member, stored: Index, is_stored: bool) {
        self.expect(is_stored, "stored first", || {
            format!("{} reports {stored} before it has stored it", by.node)
        });
    }

    /// Looks at a replica after a step of it.
    pub(super) fn stepped(
        &mut self,
        me: Member,
        mirror: &mut Mirror,
        master_in: Option<Term>,
        commit: Index,
        term: Term,
    ) {
        if let Some(term) = master_in
            && mirror.master_in != master_in
        {
            let first = *self.masters.entry(term).or_insert(me);
            self.expect(first == me, "election safety", || {
                format!("{} and {} are masters of term {term}", first.node, me.node)
            });
            self.is_complete(me, mirror, term);
        }
        mirror.master_in = master_in;
        while mirror.commit < commit {
            mirror.commit += 1;
            match mirror.id_at(mirror.commit) {
                Some(id) => self.commits(me.node, id, term),
                None => self.violate(
                    "commit",
                    format!("{} commits {}, which it has not", me.node, mirror.commit),
                ),
            }
        }
    }

    fn is_complete(&mut self, me: Member, mirror: &Mirror, term: Term) {
        if !self.survive {
            return;
        }
        let known = self
            .committed
            .iter()
            .rev()
            .find(|committed| committed.in_term < term);
        if let Some(&Committed { id, in_term }) = known {
            let has = mirror.before.index >= id.index || mirror.id_at(id.index) == Some(id);
            self.expect(has, "leader completeness", || {
                format!(
                    "{} is master of term {term} without {id}, committed in {in_term}",
                    me.node
                )
            });
        }
    }

    fn commits(&mut self, node: NodeId, id: LogId, in_term: Term) {
        if !self.survive || id.term < self.excused {
            return;
        }
        let place = id.index as usize - 1;
        if place >= self.committed.len() {
            let held = self.history(id, self.committed.len() as Index);
            self.committed
                .extend(held.into_iter().map(|id| Committed { id, in_term }));
        } else if let Some(known) = self.committed.get_mut(place) {
            known.in_term = known.in_term.min(in_term);
            let known = known.id;
            self.expect(known == id, "state machine safety", || {
                format!("{node} commits {id}, where {known} is committed")
            });
        }
    }

    /// A master was elected by replicas that may have forgotten what comes behind its last entry.
    pub(super) fn elected_by_flagged(&mut self, term: Term, mirror: &Mirror) {
        self.excused = term;
        let same = self.committed.iter().take_while(|committed| {
            let index = committed.id.index;
            index <= mirror.before.index || mirror.id_at(index) == Some(committed.id)
        });
        let same = same.count();
        self.committed.truncate(same);
        self.floor = self.floor.min(same as u64);
        self.acknowledged.retain(|at, _| at.index <= same as u64);
    }

    pub(super) fn applied(
        &mut self,
        node: NodeId,
        entry: &Entry,
        state: &State,
        reply: Option<&Reply>,
        in_term: Term,
    ) {
        let (id, digest) = (entry.id(), state.digest());
        let known = self
            .states
            .entry(id)
            .or_insert_with(|| (digest, reply.cloned()));
        if known.0 != digest || known.1.as_ref() != reply {
            self.violate("equal state", format!("{node} has another state at {id}"));
        }
        self.commits(node, id, in_term);
        if let Some(write) = write_of(entry) {
            let said = !self.unwritten.contains(&write);
            self.expect(said, "not written", || {
                format!("write {write} was refused and is applied as {id}")
            });
        }
    }

    /// A replica's state was replaced.
    pub(super) fn installed(&mut self, node: NodeId, state: &State) {
        let digest = state.digest();
        if let Some((known, _)) = self.states.get(&state.at)
            && *known != digest
        {
            self.violate(
                "equal state",
                format!("{node} has another state at {} by a snapshot", state.at),
            );
        }
    }

    pub(super) fn acknowledge(&mut self, write: WriteId, reply: &Reply, at: LogId) {
        let place = self.writes.get(&write).copied();
        self.expect(place == Some(at), "acknowledged", || {
            format!("write {write} is at {place:?}, not at {at}")
        });
        let answer = self.states.get(&at).and_then(|(_, answer)| answer.as_ref());
        let is_right = answer == Some(reply);
        self.expect(is_right, "acknowledged", || {
            format!("write {write} at {at} was answered {reply:?}")
        });
        if self.survive && at.term >= self.excused {
            let committed = self
                .committed
                .get(at.index as usize - 1)
                .map(|known| known.id);
            self.expect(committed == Some(at), "acknowledged", || {
                format!("write {write} at {at} is acknowledged; committed is {committed:?}")
            });
            self.floor = self.floor.max(at.index);
        }
        self.acknowledged.insert(at, write);
    }

    pub(super) fn refuse(&mut self, write: WriteId) {
        self.unwritten.insert(write);
        let at = self.writes.get(&write).copied();
        self.expect(at.is_none(), "not written", || {
            format!("write {write} was refused and is at {at:?}")
        });
    }

    /// A read was answered: `floor` is what it had to see.
    pub(super) fn read(
        &mut self,
        node: NodeId,
        floor: Index,
        index: Index,
        state: &State,
        strong: bool,
    ) {
        let at = state.at;
        self.expect(at.index >= index, "read", || {
            format!("{node} reads at {index} and has applied {at}")
        });
        if !strong || !self.survive {
            return;
        }
        let floor = floor.min(self.floor);
        self.expect(at.index >= floor, "stale read", || {
            format!("{node} reads {at}; acknowledged is {floor}")
        });
        if at.index > 0 && at.term >= self.excused {
            let committed = self
                .committed
                .get(at.index as usize - 1)
                .map(|known| known.id);
            self.expect(committed == Some(at), "dirty read", || {
                format!("{node} reads {at}; committed is {committed:?}")
            });
        }
        self.floor = self.floor.max(at.index);
    }

    /// A copy is destroyed: some configuration must have left it out, or the one that added it lost its place.
    pub(super) fn destroyed(&mut self, me: Member, mirror: &Mirror) {
        self.destroyed
            .extend(mirror.entries.iter().map(|(id, _)| *id));
        let left_out = self.configurations.iter().any(|(id, configuration)| {
            *id > me.incarnation && !configuration.members().contains(&me)
        });
        let is_member = self
            .configurations
            .values()
            .next_back()
            .is_some_and(|newest| newest.members().contains(&me));
        let added = me.incarnation.index.checked_sub(1);
        let is_added = added.is_none_or(|at| {
            let known = self.committed.get(at as usize);
            known.is_some_and(|known| known.id == me.incarnation)
        });
        let is_later = |known: &Committed| known.id > me.incarnation;
        let lost_its_place = !is_added && self.committed.last().is_some_and(is_later);
        self.expect(
            lost_its_place || left_out && !is_member,
            "destroyed",
            || format!("{me:?} is destroyed and nobody left it out"),
        );
    }
}
