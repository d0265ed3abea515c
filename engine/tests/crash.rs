//! A crash at every operation of the storage, and what is there afterwards.
//!
//! The default run strikes every operation at every moment, and draws for each which modes of crash
//! follow; `TRILITH_LONG=1` runs them all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use support::workload::{
    Act, Case, Change, Progress, State, Store, acts, contents, is_long, key, open, states, work,
};
use trilith::random::Random;
use trilith::sim::TestRuntime;
use trilith::storage::faulty::{CrashMode, CrashPoint, Fault, Moment, OpKind, Plan, When};
use trilith::{FaultyStorage, Result, Sync};

/// A workload and what it may leave.
struct Workload {
    sync: Sync,
    acts: Vec<Act>,
    states: Vec<State>,
    pace: Duration,
    /// Operations take time, drawn from this seed, so that background work overlaps with writes.
    slow: Option<u64>,
}

impl Workload {
    fn new(sync: Sync, slow: Option<u64>) -> Self {
        let acts = acts(slow.unwrap_or(11), 6);
        let states = states(&acts);
        let pace = Duration::from_millis(if sync == Sync::Always { 0 } else { 40 });
        Self {
            sync,
            acts,
            states,
            pace,
            slow,
        }
    }

    fn plan(&self) -> Plan {
        self.slow.map_or_else(Plan::new, |seed| Plan::slow(seed, 5))
    }

    /// Runs until the plan of `storage` stops it. Gives how far it came, and the time at its end.
    fn run(&self, storage: &FaultyStorage) -> (Progress, Duration, Result<()>) {
        let runtime = TestRuntime::new(5);
        runtime.set_time_limit(Duration::from_secs(600));
        let progress = Progress::default();
        let done = runtime.block_on(async {
            work(
                storage, &runtime, self.sync, &self.acts, self.pace, &progress,
            )
            .await?
            .close()
            .await
        });
        runtime.kill_all();
        (progress, trilith::Runtime::monotonic(&runtime), done)
    }

    /// How many writes must have survived.
    fn least(&self, progress: &Progress, mode: CrashMode, now: Duration) -> usize {
        let acked = progress.acked.borrow();
        match self.sync {
            Sync::EverySecond if mode.loses_power() => {
                let last_second = now.saturating_sub(Duration::from_secs(1));
                acked.partition_point(|&at| at < last_second)
            }
            _ => acked.len(),
        }
    }

    /// A store that survived holds a prefix of what was written, with everything that was promised.
    fn check(&self, survivor: &FaultyStorage, least: usize, most: usize) -> usize {
        let runtime = TestRuntime::new(9);
        let found = runtime.block_on(async {
            let db = open(survivor, &runtime, self.sync).await.unwrap();
            let found = contents(&db).await.unwrap();
            is_sound(&db).await;
            found
        });
        // What was served has to last, even if nothing more is written.
        runtime.kill_all();
        let again = survivor.restart(CrashMode::PowerLoss);
        let runtime = TestRuntime::new(9);
        runtime.block_on(async {
            let db = open(&again, &runtime, self.sync).await.unwrap();
            assert_eq!(
                contents(&db).await.unwrap(),
                found,
                "what was served has gone"
            );
            takes_writes(&db).await;
            db.close().await.unwrap();
        });
        runtime.kill_all();
        let prefix = (least..=most).find(|&writes| self.states[writes] == found);
        prefix.unwrap_or_else(|| {
            let earlier = self.states.iter().rposition(|state| *state == found);
            panic!("not what {least} to {most} writes leave; the state after: {earlier:?}")
        })
    }

    fn check_copies(&self, progress: &Progress) {
        for (copy, writes) in progress.copies.borrow().iter() {
            // A copy without its manifest was cut short: it does not pass for a store.
            if copy.meta().is_some() {
                self.check(&copy.restart(CrashMode::PowerLoss), *writes, *writes);
            }
        }
    }
}

async fn is_sound(db: &Store) {
    let verified = db.verify().await.unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
}

/// The store does everything that a store does.
async fn takes_writes(db: &Store) {
    let mut expected = contents(db).await.unwrap();
    let changes = [
        Change::Put(b"after".to_vec(), b"the crash".to_vec()),
        Change::Put(key(3), vec![7; 900]),
        Change::DeleteRange(key(10), key(20)),
        Change::Delete(key(30)),
    ];
    for change in &changes {
        support::workload::write(db, std::slice::from_ref(change))
            .await
            .unwrap();
        change.apply(&mut expected);
    }
    assert_eq!(contents(db).await.unwrap(), expected);
    db.flush().await.unwrap();
    assert_eq!(contents(db).await.unwrap(), expected);
    is_sound(db).await;
}

/// The modes in which the process or the machine ends at one point.
fn modes(draw: u64) -> Vec<CrashMode> {
    let all = |seeds| CrashMode::all(seeds).collect::<Vec<_>>();
    if is_long() {
        return all(draw * 4..draw * 4 + 4);
    }
    let torn = all(draw..draw + 1);
    // One that ends the process, one that takes the power: exact or torn.
    let pick = Random::new(draw).next();
    vec![
        torn[if pick & 1 == 0 { 0 } else { 2 }],
        torn[if pick & 2 == 0 { 1 } else { 3 }],
    ]
}

fn crash_everywhere(workload: &Workload, moment: Moment) {
    crash_within(workload, moment, 0..u64::MAX);
}

/// Strikes at each of these operations, as far as there are so many.
fn crash_within(workload: &Workload, moment: Moment, indexes: std::ops::Range<u64>) {
    let calm = FaultyStorage::with_plan(workload.plan());
    let (_, _, done) = workload.run(&calm);
    done.unwrap();
    let ops = calm.log();
    for index in indexes.start..indexes.end.min(calm.operations()) {
        let point = CrashPoint { index, moment };
        let plan = workload
            .plan()
            .once(When::index(index), Fault::Crash(moment));
        let storage = FaultyStorage::with_plan(plan);
        let mut case = Case(format!("{point:?}, {:?}", ops[index as usize]));
        let (progress, now, done) = workload.run(&storage);
        if !storage.is_crashed() {
            // The operation was abandoned before its end.
            continue;
        }
        done.unwrap_err();
        for mode in modes(index * 3 + moment as u64) {
            case.0 = format!("{point:?}, {:?}, {mode:?}", ops[index as usize]);
            let least = workload.least(&progress, mode, now);
            workload.check(&storage.restart(mode), least, progress.submitted.get());
        }
        workload.check_copies(&progress);
    }
}

#[test]
fn the_workload_meets_everything() {
    for (sync, slow) in [
        (Sync::Always, None),
        (Sync::EverySecond, None),
        (Sync::Always, Some(1)),
        (Sync::EverySecond, Some(2)),
    ] {
        let workload = Workload::new(sync, slow);
        let storage = FaultyStorage::with_plan(workload.plan());
        let (progress, _, done) = workload.run(&storage);
        done.unwrap();
        let stats = progress.stats.borrow();
        let flushes: u64 = stats.iter().map(|stats| stats.flushes).sum();
        let compactions: u64 = stats.iter().map(|stats| stats.compactions).sum();
        let creates = storage
            .log()
            .into_iter()
            .filter(|op| op.kind == OpKind::Create);
        let segments = creates
            .filter(|op| matches!(op.objects[0], trilith::Object::Segment(_)))
            .count();
        let count = |test: fn(&Change) -> bool| {
            let writes = workload.acts.iter().filter_map(|act| match act {
                Act::Write(changes) => Some(changes),
                _ => None,
            });
            writes.flatten().filter(|change| test(change)).count()
        };
        let ranges = count(|change| matches!(change, Change::DeleteRange(..)));
        let large = count(|change| matches!(change, Change::Put(_, value) if value.len() >= 500));
        let summary = format!(
            "{:?}: {} operations, {flushes} flushes, {compactions} compactions, {segments} segments, {} commits, \
             {ranges} range deletes, {large} large values",
            workload.sync,
            storage.operations(),
            storage.count(OpKind::Commit),
        );
        println!("{summary}");
        assert!(
            flushes >= 3 && compactions >= 2 && segments >= 4,
            "{summary}"
        );
        assert!(
            storage.count(OpKind::Commit) >= 10 && ranges >= 3 && large >= 5,
            "{summary}"
        );
        assert_eq!(storage.count(OpKind::Checkpoint), 1, "{summary}");
        assert!(
            stats
                .iter()
                .all(|stats| stats.background_errors.is_empty() && stats.trouble.is_none())
        );
        assert!(
            stats.iter().any(|stats| stats.values_bytes > 0),
            "{summary}"
        );
        workload.check(
            &storage.restart(CrashMode::PowerLoss),
            workload.states.len() - 1,
            workload.states.len() - 1,
        );
        workload.check_copies(&progress);
    }
}

/// Strikes at every moment, or at the one that can tear, in so many schedules.
fn crash_in_schedules(sync: Sync, schedules: u64) {
    for seed in 1..=schedules * if is_long() { 10 } else { 1 } {
        let _case = Case(format!("schedule {seed}"));
        let moments = if is_long() {
            &Moment::ALL[..]
        } else {
            &[Moment::During]
        };
        for &moment in moments {
            crash_everywhere(&Workload::new(sync, Some(seed)), moment);
        }
    }
}

#[test]
fn under_always_a_crash_at_any_operation_loses_nothing() {
    for moment in Moment::ALL {
        crash_everywhere(&Workload::new(Sync::Always, None), moment);
    }
}

#[test]
fn under_always_a_crash_amid_background_work_loses_nothing() {
    crash_in_schedules(Sync::Always, 3);
}

/// Found by the whole matrix: a rotation of the log that failed once the store was being closed left the one
/// who closed it waiting for good.
#[test]
fn closing_ends_though_the_log_cannot_be_rotated() {
    crash_within(
        &Workload::new(Sync::Always, Some(5)),
        Moment::Before,
        515..530,
    );
}

#[test]
fn under_everysec_a_killed_process_loses_nothing_and_the_power_a_second() {
    for moment in Moment::ALL {
        crash_everywhere(&Workload::new(Sync::EverySecond, None), moment);
    }
}

#[test]
fn under_everysec_background_work_changes_nothing_of_that() {
    crash_in_schedules(Sync::EverySecond, 2);
}

/// The stores that crashes leave are opened, with a crash at each operation of that; then opened again.
#[test]
fn a_crash_of_recovery_loses_nothing_either() {
    let workload = Workload::new(Sync::Always, None);
    let calm = FaultyStorage::new();
    workload.run(&calm).2.unwrap();
    let step = if is_long() { 11 } else { 53 };
    let mut struck = 0;
    for (nth, index) in (0..calm.operations()).step_by(step).enumerate() {
        let point = CrashPoint {
            index,
            moment: Moment::ALL[nth % 3],
        };
        let storage = FaultyStorage::with_plan(point.plan());
        let (progress, now, _) = workload.run(&storage);
        let first = CrashMode::all([index]).nth(nth % 4).unwrap();
        let least = workload.least(&progress, first, now);
        let opened = storage.restart(first);
        let recovered = try_to_open(&opened, workload.sync);
        recovered.unwrap();
        for at in 0..opened.operations() {
            let moments = if is_long() {
                Moment::ALL.to_vec()
            } else {
                vec![Moment::ALL[(at % 3) as usize]]
            };
            for moment in moments {
                let second = CrashPoint { index: at, moment };
                let again = storage.restart(first);
                again.set_plan(second.plan());
                let mut case = Case(format!(
                    "{point:?}, {first:?}, then {second:?} ({:?})",
                    opened.log()[at as usize]
                ));
                let _ = try_to_open(&again, workload.sync);
                for mode in modes(at) {
                    case.0 = format!(
                        "{point:?}, {first:?}, then {second:?} ({:?}), {mode:?}",
                        opened.log()[at as usize]
                    );
                    workload.check(&again.restart(mode), least, progress.submitted.get());
                    struck += 1;
                }
            }
        }
    }
    assert!(struck > 400, "{struck}");
}

fn try_to_open(storage: &FaultyStorage, sync: Sync) -> Result<()> {
    let runtime = TestRuntime::new(3);
    let opened = runtime.block_on(open(storage, &runtime, sync)).map(drop);
    runtime.kill_all();
    opened
}
