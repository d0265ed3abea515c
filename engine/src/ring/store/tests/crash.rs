//! A crash at every operation of the storage, and what is there afterwards.
//!
//! The workload notes what it was promised; whatever is found has to hold all of it, and nothing that is
//! neither promised nor on its way. `TRILITH_LONG=1` tries every mode at every point.

use std::collections::BTreeMap;

use super::*;
use crate::storage::faulty::{Fault, Moment, OpKind, When};

const A: RangeId = 10;
const B: RangeId = 11;
const C: RangeId = 12;

/// What a range may look like after a crash: a state of the workload between the last that was promised
/// and the newest that was begun.
#[derive(Clone, Debug, Default, PartialEq)]
struct Shape {
    /// `None` while it is not there; true once it is destroyed.
    destroyed: Option<bool>,
    term: u64,
    /// (term, index) of everything from the first entry on, in state or log.
    log: Vec<(u64, u64)>,
    /// The log begins with a snapshot of the other range.
    installed: bool,
}

/// The shapes of both ranges as the workload goes, and how far it was promised.
#[derive(Default)]
struct Notes {
    shapes: BTreeMap<RangeId, Vec<Shape>>,
    /// The first shape of each range that may be found, by durability.
    written: BTreeMap<RangeId, usize>,
    synced: BTreeMap<RangeId, usize>,
}

impl Notes {
    fn new() -> Self {
        let shapes = [A, B].map(|range| (range, vec![Shape::default()]));
        Self {
            shapes: shapes.into(),
            ..Self::default()
        }
    }

    fn begin(&mut self, range: RangeId, change: impl FnOnce(&mut Shape)) {
        let shapes = self.shapes.get_mut(&range).unwrap();
        let mut next = shapes.last().unwrap().clone();
        change(&mut next);
        shapes.push(next);
    }

    /// Everything so far has settled: a log is settled as a whole.
    fn settled(&mut self, to: Durability) {
        for (&range, shapes) in &self.shapes {
            self.written.insert(range, shapes.len() - 1);
            if to == Durability::Synced {
                self.synced.insert(range, shapes.len() - 1);
            }
        }
    }
}

struct Workload<'a> {
    store: &'a RangeStore<FaultyStorage, TestRuntime>,
    notes: &'a mut Notes,
}

impl Workload<'_> {
    async fn log(&mut self, range: RangeId, records: &[Record], to: Durability) -> Result<()> {
        for record in records {
            if let Record::Entry(entry) = record {
                // What is replaced is cut off first.
                let index = entry.index;
                self.notes
                    .begin(range, |shape| shape.log.retain(|(_, other)| *other < index));
            }
            self.notes.begin(range, |shape| match record {
                Record::Entry(entry) => {
                    shape.log.retain(|&(_, index)| index < entry.index);
                    shape.log.push((entry.term, entry.index));
                }
                Record::HardState(state) => shape.term = state.term,
                Record::Truncate(from) => shape.log.retain(|(_, index)| index < from),
            });
        }
        let ticket = self.store.append(range, LogId::default(), records)?;
        self.store.settle(ticket, to).await?;
        self.notes.settled(to);
        Ok(())
    }

    async fn found(&mut self, range: RangeId) -> Result<()> {
        self.notes
            .begin(range, |shape| shape.destroyed = Some(false));
        self.store.found(range, founder(), &alone()).await?;
        self.notes.settled(Durability::Synced);
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let (written, synced) = (Durability::Written, Durability::Synced);
        self.found(A).await?;
        self.found(B).await?;
        let hard = |term| [Record::HardState(state(term, Some(7)))];
        self.log(A, &hard(1), synced).await?;
        self.log(B, &hard(2), synced).await?;
        let entries: Vec<_> = (1..=6).map(|n| put(A, 1, n, &[n as u8; 400])).collect();
        for entry in &entries {
            self.log(A, &as_records(std::slice::from_ref(entry)), written)
                .await?;
            let of_b = put(B, 2, entry.index, &[entry.index as u8; 3000]);
            self.log(B, &as_records(&[of_b]), written).await?;
        }
        self.store.apply(A, &entries[..4]).await?;
        self.store.db().flush().await?;
        self.notes.settled(synced);
        self.log(A, &[Record::Truncate(6)], written).await?;
        self.log(A, &as_records(&[put(A, 3, 5, b"replaced")]), synced)
            .await?;
        self.store.apply(A, &[put(A, 3, 5, b"replaced")]).await?;
        self.install().await?;
        self.log(B, &as_records(&[put(B, 9, 6, b"behind")]), written)
            .await?;
        self.notes.begin(A, |shape| {
            *shape = Shape {
                destroyed: Some(true),
                ..Shape::default()
            };
        });
        self.store.destroy(A).await?;
        self.notes.settled(synced);
        self.log(B, &as_records(&[put(B, 9, 7, b"last")]), synced)
            .await?;
        Ok(())
    }

    /// Puts `A`'s keys in the place of `B`'s.
    async fn install(&mut self) -> Result<()> {
        let snapshot = self.store.snapshot_open(A).await?;
        for number in 0.. {
            let (part, last) = self.store.snapshot_read(&snapshot, number, 900).await?;
            self.store.chunk_store(B, 5, number, part).await?;
            if last {
                break;
            }
        }
        self.notes.begin(B, |shape| {
            shape.installed = true;
            shape.term = 9;
            shape.log = (1..=5).map(|index| (8, index)).collect();
        });
        let head = SnapshotHead {
            id: 5,
            at: LogId { term: 8, index: 5 },
            time_ms: NOW_MS,
            configuration: alone(),
            configured_at: 0,
        };
        self.store
            .snapshot_install(B, &head, state(9, None))
            .await?;
        self.notes.settled(Durability::Synced);
        Ok(())
    }
}

fn run(storage: &FaultyStorage, sync: Sync, busy: bool, notes: &mut Notes) -> Result<()> {
    let runtime = TestRuntime::new(4);
    let done = runtime.block_on(async {
        let (store, _) = RangeStore::open(storage.clone(), runtime.clone(), options(sync)).await?;
        let mut workload = Workload {
            store: &store,
            notes,
        };
        if !busy {
            return workload.run().await;
        }
        let (done, kept_busy) = futures_lite::future::zip(workload.run(), keep_busy(&store)).await;
        done.and(kept_busy)
    });
    runtime.kill_all();
    done
}

/// A third range, so that flushes, rotations and trims overlap with everything.
async fn keep_busy(store: &RangeStore<FaultyStorage, TestRuntime>) -> Result<()> {
    store.found(C, founder(), &alone()).await?;
    for index in 1..=40 {
        let entry = [put(C, 1, index, &[index as u8; 1500])];
        let ticket = store.append(C, LogId::default(), &as_records(&entry))?;
        store.settle(ticket, Durability::Written).await?;
        store.apply(C, &entry).await?;
        if index % 6 == 0 {
            store.db().flush().await?;
        }
    }
    Ok(())
}

/// What is there of a range. What is in the state has no terms any more; they are the workload's.
fn shape(process: &Process, range: RangeId) -> Shape {
    let destroyed = process.store.destroyed();
    if destroyed.iter().any(|(other, _)| *other == range) {
        return Shape {
            destroyed: Some(true),
            ..Shape::default()
        };
    }
    let Some(found) = process.found.iter().find(|found| found.range == range) else {
        return Shape::default();
    };
    let installed = found.applied.term == 8;
    let of_state = |index| {
        if installed || index < 5 {
            found.applied.term
        } else {
            3
        }
    };
    let applied = (1..=found.applied.index).map(|index| (of_state(index), index));
    let of_state = if found.applied.term == 3 {
        vec![(1, 1), (1, 2), (1, 3), (1, 4), (3, 5)]
    } else {
        applied.collect()
    };
    let behind = found.entries.iter().map(|entry| (entry.term, entry.index));
    Shape {
        destroyed: Some(false),
        term: found.state.term,
        log: of_state.into_iter().chain(behind).collect(),
        installed,
    }
}

/// The keys are those of the state, whatever the log holds.
fn check_keys(process: &Process, range: RangeId, shape: &Shape) {
    let found = process.found.iter().find(|found| found.range == range);
    let applied = found.map_or(0, |found| found.applied.index);
    for n in 1..=6 {
        let value = process.get(range, n);
        if shape.installed {
            assert_eq!(value, None, "a key of the state before");
        } else {
            assert_eq!(value.is_some(), n <= applied, "key {n} of range {range}");
        }
    }
}

fn check(storage: &FaultyStorage, sync: Sync, notes: &Notes, loses_power: bool, torn: bool) {
    let process = Process::start_with(storage, options(sync)).unwrap();
    let least = if loses_power && sync != Sync::Always {
        &notes.synced
    } else {
        &notes.written
    };
    for range in [A, B] {
        let there = shape(&process, range);
        let from = least.get(&range).copied().unwrap_or(0);
        let may = &notes.shapes[&range][from..];
        assert!(
            may.contains(&there),
            "range {range}: {there:?} is none of {may:#?}"
        );
        check_keys(&process, range, &there);
        if let Some(found) = process.found.iter().find(|found| found.range == range) {
            let must = loses_power && sync != Sync::Always;
            assert!(found.state.amnesiac || !must, "it forgets to say so");
            assert!(!found.state.amnesiac || must || torn, "it says so in vain");
        }
    }
    let counted = process.store.dbsize();
    let keys = |range| {
        process
            .do_(process.store.keys(range, None, 100, NOW_MS))
            .unwrap()
    };
    // B's snapshot holds A's keys, which are found there only by walking.
    let there = [A, B, C].map(|range| keys(range).len());
    assert_eq!(counted as usize, there.iter().sum::<usize>());
    let verified = process.do_(process.store.db().verify()).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
    // What was served has to last, and nothing is left over.
    let before = (shape(&process, A), shape(&process, B));
    let again = process
        .restart_with(CrashMode::PowerLoss, options(sync))
        .unwrap();
    assert_eq!((shape(&again, A), shape(&again, B)), before);
    again.runtime.kill_all();
}

/// Checks what each of some modes leaves, all of them if there is time.
fn check_modes(storage: &FaultyStorage, sync: Sync, notes: &Notes, dice: &mut Random, torn: bool) {
    for mode in modes_to_check(dice) {
        eprintln!("{mode:?}, {sync:?}");
        let survivor = storage.restart(mode);
        check(
            &survivor,
            sync,
            notes,
            mode.loses_power(),
            torn || mode.is_torn(),
        );
    }
}

fn every_crash(sync: Sync, slow: Option<u64>) {
    let busy = slow.is_some();
    let plan = || slow.map_or_else(Plan::new, |seed| Plan::slow(seed, 4));
    let calm = FaultyStorage::with_plan(plan());
    run(&calm, sync, busy, &mut Notes::new()).unwrap();
    let mut dice = Random::new(slow.unwrap_or(99));
    let long = std::env::var("TRILITH_LONG").is_ok();
    for point in Plan::every_crash(calm.operations()) {
        if busy && !long && dice.index(4) > 0 {
            continue;
        }
        let crash = Fault::Crash(point.moment);
        let storage = FaultyStorage::with_plan(plan().once(When::index(point.index), crash));
        let mut notes = Notes::new();
        let done = run(&storage, sync, busy, &mut notes);
        assert!(done.is_err() || busy);
        eprintln!("{point:?}, {slow:?}");
        // Half a record is a tail that is cut.
        let halfway = point.moment == Moment::During;
        check_modes(&storage, sync, &notes, &mut dice, halfway);
    }
}

/// An operation fails, once; then the machine goes down, some time later.
fn every_failure(sync: Sync, slow: Option<u64>, fault: &Fault) {
    let busy = slow.is_some();
    let plan = || slow.map_or_else(Plan::new, |seed| Plan::slow(seed, 4));
    let calm = FaultyStorage::with_plan(plan());
    run(&calm, sync, busy, &mut Notes::new()).unwrap();
    let mut dice = Random::new(slow.unwrap_or(98));
    let long = std::env::var("TRILITH_LONG").is_ok();
    for index in 1..calm.operations() {
        if busy && !long && dice.index(3) > 0 {
            continue;
        }
        let plan = plan().once(When::index(index), fault.clone());
        let storage = FaultyStorage::with_plan(plan);
        let mut notes = Notes::new();
        let done = run(&storage, sync, busy, &mut notes);
        eprintln!("operation {index}, {slow:?}: {done:?}");
        check_modes(&storage, sync, &notes, &mut dice, true);
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_synced() {
    every_crash(Sync::Always, None);
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_written_or_says_so() {
    every_crash(Sync::EverySecond, None);
}

#[test]
fn a_crash_amid_other_work_loses_nothing_either() {
    for seed in 0..4 {
        every_crash(
            if seed % 2 == 0 {
                Sync::Always
            } else {
                Sync::No
            },
            Some(seed),
        );
    }
}

#[test]
fn a_failure_of_any_operation_breaks_no_promise() {
    for fault in [Fault::Fail, Fault::Full] {
        every_failure(Sync::Always, None, &fault);
        every_failure(Sync::EverySecond, None, &fault);
        every_failure(Sync::No, Some(7), &fault);
    }
}

/// The log fails, and while it is mended the machine goes down.
#[test]
fn a_crash_while_the_log_is_mended_breaks_no_promise() {
    let long = std::env::var("TRILITH_LONG").is_ok();
    let mut dice = Random::new(96);
    for (fault, kind) in [
        (Fault::Fail, OpKind::SettleSynced),
        (Fault::Fail, OpKind::SettleWritten),
        (Fault::Full, OpKind::SettleWritten),
        (Fault::Full, OpKind::SettleSynced),
    ] {
        for nth in (4..24).step_by(if long { 1 } else { 5 }) {
            let failing = || Plan::new().once(When::kind(kind).after(nth), fault.clone());
            let calm = FaultyStorage::with_plan(failing());
            if run(&calm, Sync::EverySecond, false, &mut Notes::new()).is_err() {
                // It was no log that failed.
                continue;
            }
            let log = calm.log();
            let Some(failed) = log.iter().position(|op| op.failed.is_some()) else {
                continue;
            };
            // A log that is mended takes about a dozen operations.
            for index in failed as u64 + 1..(failed as u64 + 20).min(calm.operations()) {
                for moment in Moment::ALL {
                    let crash = Fault::Crash(moment);
                    let plan = failing().once(When::index(index), crash);
                    let storage = FaultyStorage::with_plan(plan);
                    let mut notes = Notes::new();
                    assert!(run(&storage, Sync::EverySecond, false, &mut notes).is_err());
                    eprintln!("{kind:?} {nth}, {index}, {moment:?}");
                    check_modes(&storage, Sync::EverySecond, &notes, &mut dice, true);
                }
            }
        }
    }
}
