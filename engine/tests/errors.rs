//! I/O errors and full disks at every operation: a clear error, no lie, and life goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use support::workload::{Act, Case, Change, State, Store, acts, contents, is_long, open, write};
use trilith::sim::TestRuntime;
use trilith::storage::faulty::{CrashMode, Fault, OpKind, Plan, When};
use trilith::{Error, ErrorKind, FaultyStorage, Runtime, Sync};

/// What a store may hold: for each key every value that it may have, `None` for none.
#[derive(Clone, Default)]
struct Possible(BTreeMap<Vec<u8>, BTreeSet<Option<Vec<u8>>>>);

impl Possible {
    fn of(&mut self, key: &[u8]) -> &mut BTreeSet<Option<Vec<u8>>> {
        self.0
            .entry(key.to_vec())
            .or_insert_with(|| BTreeSet::from([None]))
    }

    /// A change that was made for sure, or that may have been.
    fn note(&mut self, change: &Change, surely: bool) {
        let set = |values: &mut BTreeSet<Option<Vec<u8>>>, value: Option<Vec<u8>>| {
            if surely {
                values.clear();
            }
            values.insert(value);
        };
        match change {
            Change::Put(key, value) => set(self.of(key), Some(value.clone())),
            Change::Delete(key) => set(self.of(key), None),
            Change::DeleteRange(start, end) => {
                for values in self
                    .0
                    .range_mut(start.clone()..end.clone())
                    .map(|(_, values)| values)
                {
                    set(values, None);
                }
            }
        }
    }

    fn check(&self, found: &State, when: &str) {
        for (key, values) in &self.0 {
            let value = found.get(key).cloned();
            let name = String::from_utf8_lossy(key);
            let short = |value: &Option<Vec<u8>>| {
                value
                    .as_ref()
                    .map(|value| String::from_utf8_lossy(&value[..value.len().min(9)]).into_owned())
            };
            let allowed: Vec<_> = values.iter().map(short).collect();
            assert!(
                values.contains(&value),
                "{when}: {name} is {:?}, may be {allowed:?}",
                short(&value)
            );
        }
        let unknown = found.keys().find(|key| !self.0.contains_key(*key));
        assert_eq!(unknown, None, "{when}: never written");
    }
}

/// A run of the workload that goes on after errors.
struct Run {
    storage: FaultyStorage,
    runtime: TestRuntime,
    sync: Sync,
    db: Option<Store>,
    possible: Possible,
    refused: u64,
    unknown: u64,
    failed: u64,
}

impl Run {
    fn new(storage: FaultyStorage, sync: Sync) -> Self {
        let runtime = TestRuntime::new(5);
        runtime.set_time_limit(Duration::from_secs(3600));
        Self {
            storage,
            runtime,
            sync,
            db: None,
            possible: Possible::default(),
            refused: 0,
            unknown: 0,
            failed: 0,
        }
    }

    async fn open(&mut self) {
        if let Some(db) = self.db.take() {
            drop(db);
            self.runtime.kill_all();
        }
        for _ in 0..3 {
            self.storage.unlock();
            match open(&self.storage, &self.runtime, self.sync).await {
                Ok(db) => {
                    self.db = Some(db);
                    return;
                }
                Err(error) => {
                    self.note(&error);
                    self.runtime.kill_all();
                }
            }
        }
    }

    /// Counts an error; only these are to be heard of while the storage fails.
    fn note(&mut self, error: &Error) {
        self.failed += 1;
        let kinds = [
            ErrorKind::Failed,
            ErrorKind::Full,
            ErrorKind::ReadOnly,
            ErrorKind::Unknown,
        ];
        assert!(kinds.contains(&error.kind()), "not a clear error: {error}");
    }

    /// Carries one act out. Whatever happens, the account of what may be there stays true.
    async fn act(&mut self, act: &Act) {
        let Some(db) = self.db.clone() else {
            self.open().await;
            return;
        };
        let done = match act {
            Act::Write(changes) => {
                self.write(&db, changes).await;
                return;
            }
            Act::Flush => db.flush().await,
            Act::Compact => db.compact().await,
            Act::Checkpoint => db.checkpoint(FaultyStorage::new()).await,
            Act::Read => match contents(&db).await {
                Ok(found) => {
                    self.possible.check(&found, "while it fails");
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Act::CloseAndOpen | Act::DropAndOpen => {
                let closed = match act {
                    Act::CloseAndOpen => db.close().await,
                    _ => Ok(()),
                };
                drop(db);
                self.open().await;
                closed
            }
        };
        if let Err(error) = done {
            self.note(&error);
        }
    }

    async fn write(&mut self, db: &Store, changes: &[Change]) {
        let surely = match write(db, changes).await {
            Ok(()) => true,
            Err(error) => match error.kind() {
                ErrorKind::Full | ErrorKind::ReadOnly => {
                    self.refused += 1;
                    // Not written: nothing to note, but that such keys exist.
                    for change in changes {
                        if let Change::Put(key, _) = change {
                            self.possible.of(key);
                        }
                    }
                    return;
                }
                ErrorKind::Unknown => {
                    self.unknown += 1;
                    false
                }
                _ => panic!("a write was answered by {error}"),
            },
        };
        changes
            .iter()
            .for_each(|change| self.possible.note(change, surely));
    }

    /// Everything is well again: writes are taken soon, by this very store if `here`, and nothing is
    /// amiss.
    async fn recovers(&mut self, here: bool) {
        self.storage.set_plan(Plan::new());
        self.storage.set_full(false);
        if self.db.is_none() {
            self.open().await;
        }
        let mut db = self
            .db
            .clone()
            .expect("the storage is well, so the store opens");
        let probe = [Change::Put(b"probe".to_vec(), b"1".to_vec())];
        let mut refusal = None;
        for _ in 0..50 {
            refusal = write(&db, &probe).await.err();
            if refusal.is_none() {
                break;
            }
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
        if let Some(error) = &refusal {
            assert!(!here, "still no writes after 5 s: {error}");
            drop(db);
            self.open().await;
            db = self.db.clone().unwrap();
            write(&db, &probe).await.unwrap();
        }
        self.possible.note(&probe[0], true);
        let found = contents(&db).await.unwrap();
        self.possible.check(&found, "once it is well");
        // Background work has overcome its troubles.
        self.runtime.sleep(Duration::from_secs(3)).await;
        db.flush().await.unwrap();
        db.compact().await.unwrap();
        let verified = db.verify().await.unwrap();
        assert!(verified.is_sound(), "{:?}", verified.problems);
        let stats = db.stats();
        assert!(
            stats.background_errors.is_empty() && stats.trouble.is_none(),
            "{stats:?}"
        );
        assert_eq!(contents(&db).await.unwrap(), found, "after a compaction");
        db.put(b"last", b"1").await.unwrap();
    }

    /// What is there now is there after a power loss.
    fn survives(mut self, mode: CrashMode) {
        let runtime = self.runtime.clone();
        let found = runtime.block_on(async { contents(self.db.as_ref().unwrap()).await.unwrap() });
        self.db = None;
        runtime.kill_all();
        self.storage = self.storage.restart(mode);
        runtime.block_on(async {
            self.open().await;
            let db = self.db.clone().expect("the survivor opens");
            assert_eq!(contents(&db).await.unwrap(), found, "after {mode:?}");
            let verified = db.verify().await.unwrap();
            assert!(verified.is_sound(), "{:?}", verified.problems);
            db.close().await.unwrap();
        });
        self.db = None;
        runtime.kill_all();
    }
}

fn modes(sync: Sync) -> CrashMode {
    if sync == Sync::Always {
        CrashMode::PowerLoss
    } else {
        CrashMode::ProcessKilled
    }
}

/// Operations of the workload when nothing fails.
fn calm(acts: &[Act], sync: Sync, slow: Option<u64>) -> Vec<trilith::storage::faulty::Op> {
    let mut run = Run::new(FaultyStorage::with_plan(base(slow)), sync);
    let runtime = run.runtime.clone();
    runtime.block_on(async {
        run.open().await;
        for act in acts {
            run.act(act).await;
        }
    });
    assert_eq!((run.failed, run.refused, run.unknown), (0, 0, 0));
    let ops = run.storage.log();
    run.survives(modes(sync));
    ops
}

fn base(slow: Option<u64>) -> Plan {
    slow.map_or_else(Plan::new, |seed| Plan::slow(seed, 4))
}

/// One operation fails, or from it on some do until the workload is over.
fn strike(
    sync: Sync,
    slow: Option<u64>,
    seed: u64,
    step: usize,
    here: bool,
    plan: impl Fn(Plan, u64) -> Plan,
) {
    let acts = acts(seed, 5);
    let (mut troubles, mut unknown) = (0, 0);
    for op in calm(&acts, sync, slow)
        .iter()
        .step_by(if is_long() { 1 } else { step })
    {
        let _case = Case(format!("{op:?}, {sync:?}, slow {slow:?}, seed {seed}"));
        let mut run = Run::new(FaultyStorage::with_plan(plan(base(slow), op.index)), sync);
        let runtime = run.runtime.clone();
        runtime.block_on(async {
            run.open().await;
            for (at, act) in acts.iter().enumerate() {
                let _case = Case(format!("act {at}: {act:?}"));
                run.act(act).await;
            }
            run.recovers(here).await;
        });
        troubles += run.refused + run.unknown + run.failed;
        unknown += run.unknown;
        run.survives(modes(sync));
    }
    println!("{sync:?}, slow {slow:?}: {troubles} troubles, {unknown} of them of unknown outcome");
    assert!(troubles > 0);
}

fn both(step: usize, here: bool, plan: impl Fn(Plan, u64) -> Plan) {
    strike(Sync::Always, None, 11, step, here, &plan);
    strike(Sync::EverySecond, None, 12, step, here, &plan);
    strike(Sync::Always, Some(3), 13, step, here, &plan);
    strike(Sync::EverySecond, Some(4), 14, step, here, &plan);
}

#[test]
fn an_operation_that_fails_once_is_overcome() {
    both(1, true, |plan, index| {
        plan.once(When::index(index), Fault::Fail)
    });
}

#[test]
fn an_operation_that_finds_no_room_once_is_overcome() {
    both(1, true, |plan, index| {
        plan.once(When::index(index), Fault::Full)
    });
}

const TAKE_ROOM: [OpKind; 5] = [
    OpKind::Commit,
    OpKind::Create,
    OpKind::SettleWritten,
    OpKind::SettleSynced,
    OpKind::Checkpoint,
];

#[test]
fn a_disk_that_is_full_for_a_while_is_overcome() {
    both(7, true, |plan, index| {
        let when =
            When::any().matching(move |op| op.index >= index && TAKE_ROOM.contains(&op.kind));
        plan.always(when, Fault::Full)
    });
}

/// While nothing can be synced, nothing is promised; a store that gave up its log opens anew.
#[test]
fn a_disk_that_fails_for_a_while_costs_a_reopening_at_most() {
    both(11, false, |plan, index| {
        let when =
            When::any().matching(move |op| op.index >= index && TAKE_ROOM.contains(&op.kind));
        plan.always(when, Fault::Fail)
    });
}

/// A disk of the size it is, filled by the writes themselves, and then given back.
#[test]
fn a_disk_that_fills_up_takes_writes_again_once_there_is_room() {
    for (seed, sync) in [(21, Sync::Always), (22, Sync::EverySecond)] {
        let acts = acts(seed, 5);
        let mut refused = 0;
        for capacity in (2_000..40_000).step_by(if is_long() { 250 } else { 1500 }) {
            let _case = Case(format!("{capacity} bytes, {sync:?}"));
            let storage = FaultyStorage::new();
            storage.set_capacity(Some(capacity));
            let mut run = Run::new(storage, sync);
            let runtime = run.runtime.clone();
            runtime.block_on(async {
                run.open().await;
                for act in &acts {
                    run.act(act).await;
                    run.runtime.sleep(Duration::from_millis(30)).await;
                }
                run.storage.set_capacity(None);
                run.recovers(true).await;
            });
            refused += run.refused;
            run.survives(modes(sync));
        }
        assert!(refused > 100, "{refused}");
    }
}
