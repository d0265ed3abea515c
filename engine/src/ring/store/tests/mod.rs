//! Tests of whole stores of ranges, on storage that fails and in virtual time.

mod amnesia;
mod archive;
mod backup;
mod crash;
mod flush;
mod lent;
mod members;
mod mend;
mod records;
mod replace;
mod state;
mod warm;

use std::sync::Arc;

use bytes::Bytes;

use super::RangeStore;
use crate::command::{Command, Expiry, Reply, command_payload};
use crate::db::{Options, Sync};
use crate::random::Random;
use crate::ring::Quorum;
use crate::ring::effect::{HardState, Record};
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{LogId, META, NodeId, RangeId};
use crate::ring::membership::{Configuration, Member};
use crate::ring::message::SnapshotHead;
use crate::ring::range::Recovered;
use crate::sim::TestRuntime;
use crate::slot::{arc_of, slot_of};
use crate::storage::Durability;
use crate::storage::faulty::{CrashMode, Plan};
use crate::{ErrorKind, FaultyStorage, Object, Result};

const NODE: NodeId = NodeId(7);
const NOW_MS: u64 = 1_700_000_000_000;

/// One process that holds a store.
struct Process {
    storage: FaultyStorage,
    runtime: TestRuntime,
    store: RangeStore<FaultyStorage, TestRuntime>,
    found: Vec<Recovered>,
}

fn options(sync: Sync) -> Options {
    Options {
        sync,
        memory_bytes: 4 << 20,
        segment_bytes: 8 << 10,
        ..Options::default()
    }
}

impl Process {
    fn start(storage: &FaultyStorage) -> Self {
        Self::start_with(storage, options(Sync::EverySecond)).unwrap()
    }

    fn start_with(storage: &FaultyStorage, options: Options) -> Result<Self> {
        let runtime = TestRuntime::new(3);
        let (store, found) =
            runtime.block_on(RangeStore::open(storage.clone(), runtime.clone(), options))?;
        Ok(Self {
            storage: storage.clone(),
            runtime,
            store,
            found,
        })
    }

    /// A new store that holds these ranges.
    fn with(ranges: &[RangeId]) -> Self {
        let this = Self::start(&FaultyStorage::new());
        this.do_(this.store.found_all(ranges, founder(), &alone()))
            .unwrap();
        this
    }

    fn do_<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Ends the process, and what a crash leaves is opened anew.
    fn restart(self, mode: CrashMode) -> Self {
        self.restart_with(mode, options(Sync::EverySecond)).unwrap()
    }

    fn restart_with(self, mode: CrashMode, options: Options) -> Result<Self> {
        self.runtime.kill_all();
        let survivor = self.storage.restart(mode);
        Self::start_with(&survivor, options)
    }

    fn kill(self) -> Self {
        self.restart(CrashMode::ProcessKilled)
    }

    fn log(&self, range: RangeId, records: &[Record]) {
        self.log_until(range, records, Durability::Written).unwrap();
    }

    fn log_until(&self, range: RangeId, records: &[Record], to: Durability) -> Result<()> {
        let ticket = self.store.append(range, LogId::default(), records)?;
        self.do_(self.store.settle(ticket, to))
    }

    fn apply(&self, range: RangeId, entries: &[Arc<Entry>]) -> Vec<Reply> {
        let replies = self.do_(self.store.apply(range, entries)).unwrap();
        replies.into_iter().map(|(_, reply)| reply).collect()
    }

    /// Logs and applies.
    fn commit(&self, range: RangeId, entries: &[Arc<Entry>]) {
        self.log(range, &as_records(entries));
        self.apply(range, entries);
    }

    fn get(&self, range: RangeId, n: u64) -> Option<Vec<u8>> {
        let command = Command::Get(key(range, n));
        match self.do_(self.store.read(&command, NOW_MS)).unwrap() {
            Reply::Bulk(value) => Some(value.to_vec()),
            Reply::Null => None,
            reply => panic!("{reply:?}"),
        }
    }

    fn flush(&self) {
        self.do_(self.store.db().flush()).unwrap();
    }

    fn range(&self, range: RangeId) -> &Recovered {
        self.found
            .iter()
            .find(|found| found.range == range)
            .unwrap()
    }

    /// (term, index) of the entries found.
    fn ids(&self, range: RangeId) -> Vec<(u64, u64)> {
        let entries = self.range(range).entries.iter();
        entries.map(|entry| (entry.term, entry.index)).collect()
    }
}

fn founder() -> Member {
    Member {
        node: NODE,
        incarnation: LogId::default(),
    }
}

fn alone() -> Configuration {
    Configuration::founding(&[NODE], Quorum::ALONE)
}

/// The `n`th key of a range.
fn key(range: RangeId, n: u64) -> Bytes {
    let in_range = |key: &String| u32::from(arc_of(slot_of(key.as_bytes()))) == range;
    let tag = (0..)
        .map(|tag| format!("{{{tag}}}"))
        .find(in_range)
        .unwrap();
    format!("{tag}{n}").into()
}

/// The modes to crash in: the exact ones and one torn one that is drawn, or all if there is time.
fn modes_to_check(dice: &mut Random) -> Vec<CrashMode> {
    let mut modes: Vec<CrashMode> = CrashMode::all(0..4).collect();
    if std::env::var("TRILITH_LONG").is_err() {
        let drawn = dice.index(modes.len());
        modes = modes
            .into_iter()
            .enumerate()
            .filter(|&(number, _)| number < 2 || number == drawn)
            .map(|(_, mode)| mode)
            .collect();
    }
    modes
}

fn set(range: RangeId, n: u64, value: &[u8]) -> Command {
    set_for(range, n, value, Expiry::Clear)
}

fn set_for(range: RangeId, n: u64, value: &[u8], expiry: Expiry) -> Command {
    Command::set(key(range, n), Bytes::copy_from_slice(value), expiry)
}

fn entry(term: u64, index: u64, content: Content) -> Arc<Entry> {
    Arc::new(Entry {
        term,
        index,
        time_ms: NOW_MS + index,
        seed: index,
        content,
    })
}

fn empty(term: u64, index: u64) -> Arc<Entry> {
    entry(term, index, Content::Empty)
}

/// Sets the key of the entry's own number.
fn put(range: RangeId, term: u64, index: u64, value: &[u8]) -> Arc<Entry> {
    command(term, index, &set(range, index, value))
}

fn command(term: u64, index: u64, command: &Command) -> Arc<Entry> {
    entry(term, index, Content::Command(command_payload(command)))
}

fn as_records(entries: &[Arc<Entry>]) -> Vec<Record> {
    entries.iter().cloned().map(Record::Entry).collect()
}

fn state(term: u64, vote: Option<u64>) -> HardState {
    HardState {
        term,
        vote: vote.map(NodeId),
        ..HardState::default()
    }
}
