//! One replica's storage: a log whose records are appended, then written, then synced, and a state that
//! is in memory until it is flushed.
//!
//! What it promises is what the real store does: a killed process loses what was not written, a machine that
//! loses power what was not synced. A log that is opened again is synced first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::machine::State;
use crate::command::Reply;
use crate::ring::effect::{HardState, Input, Record};
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{Index, LogId, NodeId, RangeId, Term};
use crate::ring::membership::{Configuration, Member};
use crate::ring::message::SnapshotHead;
use crate::ring::range::Recovered;

/// When an append settles, as `appendfsync` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::range) enum Policy {
    /// Once it is synced.
    Always,
    /// Once it is written, unless it asks for more.
    EverySecond,
}

/// Entries that were written to the lost-writes file, and the last that both logs have.
pub(in crate::ring::range) type Lost = (Vec<Arc<Entry>>, LogId);

/// What a log says.
#[derive(Clone, Debug)]
struct Image {
    state: HardState,
    before: LogId,
    entries: VecDeque<Arc<Entry>>,
}

#[derive(Clone, Debug)]
enum Item {
    Append {
        append: u64,
        records: Vec<Record>,
        synced: bool,
    },
    Install {
        head: SnapshotHead,
        state: HardState,
        parts: Vec<Bytes>,
    },
}

#[derive(Clone, Debug)]
enum Work {
    Apply(Vec<Arc<Entry>>),
    Digest(Index),
    /// The state is about to be replaced: what follows is applied on the new one.
    Installing,
}

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::ring::range) struct Disk {
    me: Member,
    policy: Policy,
    /// Break rule 13: install a snapshot over what is there.
    merge: bool,
    synced: Image,
    flushed: State,
    lost: Vec<Lost>,
    /// What is not synced; the first `written` have been written.
    queue: VecDeque<Item>,
    written: usize,
    told: u64,
    state: State,
    work: VecDeque<Work>,
    snapshots: BTreeMap<u64, State>,
    parts: (u64, BTreeMap<u64, Bytes>),
    answers: VecDeque<Input>,
    /// What must not happen to a log, if it has.
    faults: Vec<String>,
}

impl Image {
    fn take(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::HardState(state) => self.state = *state,
            Record::Truncate(from) => self.truncate(*from),
            Record::Entry(entry) => {
                let place = entry.index.checked_sub(self.before.index + 1);
                let place = place.map_or(usize::MAX, |place| place as usize);
                if place > self.entries.len() {
                    return Err(format!("entry {} leaves a gap in the log", entry.id()));
                }
                if place == self.entries.len() {
                    self.entries.push_back(Arc::clone(entry));
                } else {
                    self.entries[place] = Arc::clone(entry);
                }
            }
        }
        Ok(())
    }

    fn truncate(&mut self, from: Index) {
        let kept = from.saturating_sub(self.before.index + 1) as usize;
        self.entries.truncate(kept);
    }
}

impl Disk {
    pub(super) fn new(
        me: Member,
        configuration: Configuration,
        policy: Policy,
        merge: bool,
    ) -> Self {
        let state = State::new(configuration);
        Self {
            me,
            policy,
            merge,
            synced: Image {
                state: HardState::default(),
                before: LogId::default(),
                entries: VecDeque::new(),
            },
            flushed: state.clone(),
            lost: Vec::new(),
            queue: VecDeque::new(),
            written: 0,
            told: 0,
            state,
            work: VecDeque::new(),
            snapshots: BTreeMap::new(),
            parts: (0, BTreeMap::new()),
            answers: VecDeque::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn me(&self) -> Member {
        self.me
    }

    pub(in crate::ring::range) fn state(&self) -> &State {
        &self.state
    }

    pub(in crate::ring::range) fn lost(&self) -> &[Lost] {
        &self.lost
    }

    pub(super) fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    /// Whether the synced log says that this replica voted so.
    pub(super) fn has_voted(&self, term: Term, candidate: NodeId) -> bool {
        let state = self.synced.state;
        state.term > term || (state.term == term && state.vote == Some(candidate))
    }

    /// Whether something is stored at an index, as far as `appendfsync` asks for it.
    pub(super) fn stores(&self, index: Index) -> bool {
        let synced = self.synced.before.index + self.synced.entries.len() as u64;
        let holds =
            |record: &Record| matches!(record, Record::Entry(entry) if entry.index == index);
        index <= synced
            || self.policy == Policy::EverySecond
                && self.queue.iter().take(self.written).any(|item| match item {
                    Item::Append { records, .. } => records.iter().any(holds),
                    Item::Install { head, .. } => head.at.index >= index,
                })
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.work.is_empty() && self.answers.is_empty()
    }

    pub(super) fn append(&mut self, append: u64, records: Vec<Record>, synced: bool) {
        self.queue.push_back(Item::Append {
            append,
            records,
            synced,
        });
    }

    pub(super) fn apply(&mut self, entries: Vec<Arc<Entry>>) {
        self.work.push_back(Work::Apply(entries));
    }

    pub(super) fn digest(&mut self, at: Index) {
        self.work.push_back(Work::Digest(at));
    }

    /// What is applied is not what it was any more.
    pub(super) fn rot(&mut self) {
        self.state.rot();
    }

    pub(super) fn write_lost(&mut self, entries: Vec<Arc<Entry>>, behind: LogId) {
        self.lost.push((entries, behind));
    }

    pub(super) fn snapshot_open(&mut self, id: u64) {
        let state = self.state.clone();
        let (at, time_ms) = (state.at, state.time_ms);
        self.snapshots.insert(id, state);
        self.answers
            .push_back(Input::SnapshotOpened { id, at, time_ms });
    }

    pub(super) fn snapshot_read(&mut self, id: u64, number: u64) {
        if let Some(state) = self.snapshots.get(&id) {
            let (bytes, last) = state.part(number);
            let answer = Input::SnapshotRead {
                id,
                number,
                bytes,
                last,
            };
            self.answers.push_back(answer);
        }
    }

    pub(super) fn snapshot_close(&mut self, id: u64) {
        self.snapshots.remove(&id);
    }

    pub(super) fn chunk_store(&mut self, id: u64, number: u64, bytes: Bytes) {
        if number == 0 {
            self.parts = (id, BTreeMap::new());
        }
        if self.parts.0 == id {
            self.parts.1.insert(number, bytes);
        } else {
            self.faults
                .push(format!("part {number} of snapshot {id} follows no part 0"));
        }
        self.answers.push_back(Input::ChunkStored { id, number });
    }

    pub(super) fn install(&mut self, head: SnapshotHead, state: HardState) {
        if self.parts.0 != head.id {
            self.faults.push(format!(
                "snapshot {} is installed from parts of another",
                head.id
            ));
        }
        let parts = std::mem::take(&mut self.parts.1).into_values().collect();
        self.queue.push_back(Item::Install { head, state, parts });
        self.work.push_back(Work::Installing);
    }

    /// The next answer to a small question.
    pub(super) fn answer(&mut self) -> Option<Input> {
        self.answers.pop_front()
    }

    /// Applies the next batch.
    pub(super) fn work(
        &mut self,
        mut applied: impl FnMut(&Entry, &State, Option<&Reply>),
    ) -> Option<Input> {
        let entries = match self.work.front()? {
            Work::Apply(entries) => entries.clone(),
            Work::Digest(at) => {
                let (at, digest) = (*at, self.state.digest());
                self.work.pop_front();
                return Some(Input::Digested { at, digest });
            }
            Work::Installing => return None,
        };
        self.work.pop_front();
        let mut replies = Vec::new();
        for entry in &entries {
            if entry.index != self.state.at.index + 1 {
                let fault = format!("{} is applied behind {}", entry.id(), self.state.at);
                self.faults.push(fault);
            }
            let reply = self.state.apply(entry);
            applied(entry, &self.state, reply.as_ref());
            replies.extend(reply.map(|reply| (entry.index, reply)));
        }
        Some(Input::Applied {
            upto: self.state.at,
            replies,
        })
    }

    /// Writes the next item of the log; tells what has settled by that.
    pub(super) fn write(&mut self) -> Option<Input> {
        if self.written < self.queue.len() {
            self.written += 1;
        }
        self.settled()
    }

    fn settled(&mut self) -> Option<Input> {
        let mut upto = 0;
        for item in self.queue.iter().take(self.written) {
            match item {
                Item::Append {
                    append,
                    synced: false,
                    ..
                } if self.policy == Policy::EverySecond => {
                    upto = *append;
                }
                _ => break,
            }
        }
        self.tell(upto)
    }

    fn tell(&mut self, upto: u64) -> Option<Input> {
        (upto > self.told).then(|| {
            self.told = upto;
            Input::Settled { append: upto }
        })
    }

    /// Syncs what has been written, and installs what comes next if it is a snapshot.
    pub(super) fn sync(&mut self) -> Vec<Input> {
        let mut answers = Vec::new();
        let mut upto = self.told;
        while self.written > 0 {
            self.written -= 1;
            match self.queue.pop_front() {
                Some(Item::Append {
                    append, records, ..
                }) => {
                    upto = append;
                    self.keep(&records);
                }
                Some(Item::Install { head, state, parts }) => {
                    answers.extend(self.tell(upto));
                    answers.push(Input::SnapshotInstalled { id: head.id });
                    self.replace(head, state, &parts);
                }
                None => break,
            }
        }
        answers.extend(self.tell(upto));
        answers
    }

    fn keep(&mut self, records: &[Record]) {
        for record in records {
            if let Err(fault) = self.synced.take(record) {
                self.faults.push(fault);
            }
        }
    }

    fn replace(&mut self, head: SnapshotHead, state: HardState, parts: &[Bytes]) {
        // What was to be applied before is replaced with the rest.
        while let Some(work) = self.work.pop_front() {
            if matches!(work, Work::Installing) {
                break;
            }
        }
        self.state.install(parts.iter(), self.merge);
        self.state.at = head.at;
        self.state.time_ms = head.time_ms;
        self.state.configuration = (head.configured_at, head.configuration);
        self.flushed = self.state.clone();
        self.synced = Image {
            state,
            before: head.at,
            entries: VecDeque::new(),
        };
    }

    /// Writes the applied state into the store's own files; drops the log up to there, but for so many
    /// entries.
    pub(super) fn flush(&mut self, keep: u64) -> Vec<Input> {
        if self
            .queue
            .iter()
            .any(|item| matches!(item, Item::Install { .. }))
        {
            return Vec::new();
        }
        self.written = self.queue.len();
        let mut answers = self.sync();
        self.flushed = self.state.clone();
        let upto = self.flushed.at.index;
        while let Some(first) = self.synced.entries.front()
            && first.index.saturating_add(keep) <= upto
        {
            self.synced.before = first.id();
            self.synced.entries.pop_front();
        }
        answers.push(Input::Flushed { upto });
        answers
    }

    /// The process ends; what was written stays, and `more` of what was about to be.
    pub(super) fn kill(&mut self, more: usize) {
        let kept = (self.written + more).min(self.queue.len());
        self.cut(kept);
    }

    /// The machine ends; what was synced stays, and `more` of what was about to be.
    pub(super) fn lose_power(&mut self, more: usize) {
        self.cut(more.min(self.written));
        if self.policy == Policy::EverySecond {
            self.synced.state.amnesiac = true;
        }
    }

    fn cut(&mut self, kept: usize) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.truncate(kept);
        for item in queue {
            match item {
                Item::Append { records, .. } => self.keep(&records),
                Item::Install { .. } => break,
            }
        }
        self.written = 0;
        self.told = 0;
        self.state = self.flushed.clone();
        self.work.clear();
        self.snapshots.clear();
        self.parts = (0, BTreeMap::new());
        self.answers.clear();
    }

    /// What a restart finds.
    pub(super) fn recover(&self, range: RangeId) -> Recovered {
        let newer = self
            .synced
            .entries
            .iter()
            .filter_map(|entry| match &entry.content {
                Content::Configuration(configuration)
                    if entry.index > self.state.configuration.0 =>
                {
                    Some((entry.index, configuration.clone()))
                }
                _ => None,
            });
        let known = std::iter::once(self.state.configuration.clone());
        Recovered {
            range,
            me: self.me,
            state: self.synced.state,
            configurations: known.chain(newer).collect(),
            applied: self.state.at,
            applied_time_ms: self.state.time_ms,
            before: self.synced.before,
            entries: self.synced.entries.iter().cloned().collect(),
        }
    }
}
