//! A workload that meets everything a store does on disk within a few hundred operations of its storage,
//! and what a store may hold after it was cut short.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use trilith::lsm::compaction::CompactionOptions;
use trilith::random::Random;
use trilith::sim::TestRuntime;
use trilith::{Batch, Db, FaultyStorage, Options, Range, Result, Runtime, Stats, Sync};

/// A store over storage that fails.
pub type Store = Db<FaultyStorage, TestRuntime>;
/// What a store holds.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// So small that everything happens soon.
pub fn options(sync: Sync) -> Options {
    let compaction = CompactionOptions {
        l0_tables: 2,
        base_bytes: 4 << 10,
        ..CompactionOptions::for_memtables_of(4 << 10)
    };
    Options {
        sync,
        memory_bytes: 1 << 20,
        memtable_bytes: Some(4 << 10),
        large_value_bytes: 500,
        segment_bytes: 2500,
        compaction: Some(compaction),
        ..Options::default()
    }
}

/// Opens a store of the workload.
pub async fn open(storage: &FaultyStorage, runtime: &TestRuntime, sync: Sync) -> Result<Store> {
    Db::open(storage.clone(), runtime.clone(), options(sync)).await
}

/// One change of one key or range.
#[derive(Clone, Debug)]
pub enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// What the workload does.
#[derive(Clone, Debug)]
pub enum Act {
    /// One write, of one change or several.
    Write(Vec<Change>),
    Flush,
    Compact,
    Checkpoint,
    /// Reads every key.
    Read,
    /// Ends the store in good order and opens it again.
    CloseAndOpen,
    /// Drops the store and opens it again.
    DropAndOpen,
}

impl Change {
    fn add_to(&self, batch: &mut Batch) {
        match self {
            Self::Put(key, value) => batch.put(key, value),
            Self::Delete(key) => batch.delete(key),
            Self::DeleteRange(start, end) => batch.delete_range(start, Some(end)),
        };
    }

    /// Does to a state what the change does to the store.
    pub fn apply(&self, state: &mut State) {
        match self {
            Self::Put(key, value) => _ = state.insert(key.clone(), value.clone()),
            Self::Delete(key) => _ = state.remove(key),
            Self::DeleteRange(start, end) => state.retain(|key, _| key < start || key >= end),
        }
    }
}

/// Writes changes by the shortest way there is.
pub async fn write(db: &Store, changes: &[Change]) -> Result<()> {
    match changes {
        [Change::Put(key, value)] => db.put(key, value).await,
        [Change::Delete(key)] => db.delete(key).await,
        [Change::DeleteRange(start, end)] => db.delete_range(start, Some(end)).await,
        changes => {
            let mut batch = Batch::new();
            changes.iter().for_each(|change| change.add_to(&mut batch));
            db.write(batch).await
        }
    }
}

/// A key of the workload.
pub fn key(at: usize) -> Vec<u8> {
    format!("key/{at:02}").into_bytes()
}

fn change(random: &mut Random, n: usize) -> Change {
    let at = random.index(60);
    let value = |random: &mut Random, len: usize| -> Vec<u8> {
        let mut value = format!("{n}:").into_bytes();
        value.extend((0..len).map(|_| random.below(200) as u8));
        value
    };
    match random.below(24) {
        0..=1 => Change::Put(key(at), value(random, 600)),
        2..=4 => Change::Delete(key(at)),
        5 => Change::DeleteRange(key(at), key(at + 9)),
        _ => {
            let len = random.index(120);
            Change::Put(key(at), value(random, len))
        }
    }
}

/// The acts of the workload: `rounds` times 24 writes and what comes in between.
pub fn acts(seed: u64, rounds: usize) -> Vec<Act> {
    let mut random = Random::new(seed);
    let mut acts = Vec::new();
    for round in 0..rounds {
        for n in 0..24 {
            let changes = if n % 8 == 5 { 4 } else { 1 };
            let n = round * 24 + n;
            acts.push(Act::Write(
                (0..changes).map(|_| change(&mut random, n)).collect(),
            ));
        }
        acts.extend(match round % 5 {
            0 => vec![Act::Flush],
            1 => vec![Act::DropAndOpen],
            2 => vec![Act::Checkpoint, Act::Read],
            3 => vec![Act::Compact],
            _ => vec![Act::CloseAndOpen],
        });
    }
    acts
}

/// The states after each number of writes.
pub fn states(acts: &[Act]) -> Vec<State> {
    let mut states = vec![State::new()];
    for act in acts {
        if let Act::Write(changes) = act {
            let mut state = states.last().cloned().unwrap_or_default();
            changes.iter().for_each(|change| change.apply(&mut state));
            states.push(state);
        }
    }
    states
}

/// How far a run of the workload came.
#[derive(Default)]
pub struct Progress {
    /// Writes that were begun.
    pub submitted: Cell<usize>,
    /// When each write was acknowledged.
    pub acked: RefCell<Vec<Duration>>,
    /// Copies, with the number of writes each was made after.
    pub copies: RefCell<Vec<(FaultyStorage, usize)>>,
    /// The store's numbers before each of its ends.
    pub stats: RefCell<Vec<Stats>>,
}

/// Does the acts, one after the other, `pace` apart; ends at the first error. Gives the store, still open.
pub async fn work(
    storage: &FaultyStorage,
    runtime: &TestRuntime,
    sync: Sync,
    acts: &[Act],
    pace: Duration,
    progress: &Progress,
) -> Result<Store> {
    let mut db = open(storage, runtime, sync).await?;
    for (at, act) in acts.iter().enumerate() {
        let _case = Case(format!("act {at}: {act:?}"));
        match act {
            Act::Write(changes) => {
                progress.submitted.set(progress.submitted.get() + 1);
                write(&db, changes).await?;
                progress.acked.borrow_mut().push(runtime.monotonic());
            }
            Act::Flush => db.flush().await?,
            Act::Compact => db.compact().await?,
            Act::Checkpoint => {
                let copy = FaultyStorage::new();
                progress
                    .copies
                    .borrow_mut()
                    .push((copy.clone(), progress.submitted.get()));
                db.checkpoint(copy).await?;
            }
            Act::Read => _ = contents(&db).await?,
            Act::CloseAndOpen | Act::DropAndOpen => {
                progress.stats.borrow_mut().push(db.stats());
                if matches!(act, Act::CloseAndOpen) {
                    db.close().await?;
                }
                drop(db);
                runtime.kill_all();
                storage.unlock();
                db = open(storage, runtime, sync).await?;
            }
        }
        if !pace.is_zero() {
            runtime.sleep(pace).await;
        }
    }
    progress.stats.borrow_mut().push(db.stats());
    Ok(db)
}

/// Everything that a store holds: walked forwards, compared with a walk backwards and with every get.
pub async fn contents(db: &Store) -> Result<State> {
    let forward = walk(db, Range::all()).await?;
    let mut backward = walk(db, Range::all().reversed()).await?;
    backward.reverse();
    assert_eq!(forward, backward, "the two directions differ");
    let state: State = forward.into_iter().collect();
    for at in 0..70 {
        let key = key(at);
        assert_eq!(
            db.get(&key).await?.as_deref(),
            state.get(&key).map(Vec::as_slice),
            "get of {at}"
        );
    }
    Ok(state)
}

async fn walk(db: &Store, range: Range) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut scan = db.scan(range)?;
    let mut found = Vec::new();
    while let Some((key, value)) = scan.next().await? {
        found.push((key.to_vec(), value.to_vec()));
    }
    Ok(found)
}

/// Names the case at hand when the test fails within it.
pub struct Case(pub String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in this case: {}", self.0);
        }
    }
}

/// Whether the whole matrix is to be run.
pub fn is_long() -> bool {
    std::env::var_os("TRILITH_LONG").is_some_and(|long| long == "1")
}
