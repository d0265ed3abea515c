//! Entries that are applied as soon as they have settled, and a crash at every operation meanwhile: several writers
//! overlap, so that memtables are frozen while entries are on their way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::Runtime;
use crate::ring::entry::Content;
use crate::ring::range::Head;
use crate::ring::store::LentEntries;
use crate::storage::faulty::{Fault, When};

const RANGES: [RangeId; 3] = [3, 4, 5];
/// Each batch fills about half a segment.
const BATCH: u64 = 4;
const BATCHES: u64 = 4;
const FLUSHES: usize = 8;

/// The last index of each range that was acknowledged.
type Acknowledged = RefCell<BTreeMap<RangeId, u64>>;

/// The entries of a range's `batch`th batch.
fn batch(range: RangeId, batch: u64) -> impl Iterator<Item = (RangeId, Head, Bytes)> {
    let indexes = batch * BATCH + 1..=(batch + 1) * BATCH;
    indexes.map(move |index| {
        let entry = put(range, 1, index, &[index as u8; 900]);
        let Content::Command(payload) = &entry.content else {
            unreachable!("a write is a command");
        };
        let head = Head {
            at: entry.id(),
            time_ms: entry.time_ms,
            seed: entry.seed,
        };
        (range, head, payload.clone())
    })
}

async fn write(
    store: &RangeStore<FaultyStorage, TestRuntime>,
    range: RangeId,
    acknowledged: &Acknowledged,
) -> Result<()> {
    for number in 0..BATCHES {
        let lent = LentEntries::default();
        let ticket = loop {
            match store.append_lent(batch(range, number), &lent) {
                // Nothing was logged: it is asked again.
                Err(error) if error.kind() == ErrorKind::ReadOnly => {
                    store.db().runtime().sleep(Duration::from_millis(90)).await;
                }
                appended => break appended?,
            }
        };
        store.finish_lent(ticket).await?;
        assert_eq!(lent.take_replies(), vec![Some(Reply::OK); BATCH as usize]);
        acknowledged
            .borrow_mut()
            .insert(range, (number + 1) * BATCH);
    }
    Ok(())
}

async fn flush(store: &RangeStore<FaultyStorage, TestRuntime>) -> Result<()> {
    for _ in 0..FLUSHES {
        store.db().flush().await?;
        futures_lite::future::yield_now().await;
    }
    Ok(())
}

fn run(storage: &FaultyStorage, sync: Sync, acknowledged: &Acknowledged) -> Result<()> {
    let runtime = TestRuntime::new(4);
    let done = runtime.block_on(async {
        let (store, _) = RangeStore::open(storage.clone(), runtime.clone(), options(sync)).await?;
        store.found_all(&RANGES, founder(), &alone()).await?;
        let [a, b, c] = RANGES.map(|range| write(&store, range, acknowledged));
        let writes = futures_lite::future::zip(futures_lite::future::zip(a, b), c);
        let (((a, b), c), flushed) = futures_lite::future::zip(writes, flush(&store)).await;
        a.and(b).and(c).and(flushed)
    });
    runtime.kill_all();
    done
}

fn check(storage: &FaultyStorage, sync: Sync, acknowledged: &Acknowledged, survives: bool) {
    let process = Process::start_with(storage, options(sync)).unwrap();
    for found in &process.found {
        let range = found.range;
        let behind: Vec<u64> = found.entries.iter().map(|entry| entry.index).collect();
        let applied = found.applied.index;
        let last = applied + behind.len() as u64;
        assert_eq!(behind, (applied + 1..=last).collect::<Vec<_>>(), "a gap");
        let promised = acknowledged.borrow().get(&range).copied().unwrap_or(0);
        assert!(
            last >= promised || !survives,
            "{last} of {promised} are there"
        );
        process
            .do_(process.store.apply(range, &found.entries))
            .unwrap();
        for n in 1..=BATCH * BATCHES {
            let value = (n <= last).then(|| vec![n as u8; 900]);
            assert_eq!(
                process.get(range, n).as_deref(),
                value.as_deref(),
                "key {n}"
            );
        }
    }
    let promised: u64 = acknowledged.borrow().values().sum();
    assert!(!process.found.is_empty() || promised == 0);
    let verified = process.do_(process.store.db().verify()).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
    process.runtime.kill_all();
}

/// An operation fails, once; the log is mended, and the machine goes down at the end.
fn every_failure(sync: Sync, seed: u64, fault: &Fault) {
    let plan = || Plan::slow(seed, 4);
    let calm = FaultyStorage::with_plan(plan());
    run(&calm, sync, &Acknowledged::default()).unwrap();
    let mut whole = 0;
    for index in 1..calm.operations() {
        let plan = plan().once(When::index(index), fault.clone());
        let storage = FaultyStorage::with_plan(plan);
        let acknowledged = Acknowledged::default();
        let done = run(&storage, sync, &acknowledged);
        whole += u64::from(done.is_ok());
        eprintln!("operation {index}, {fault:?}, {sync:?}, seed {seed}: {done:?}");
        for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
            let survives = mode == CrashMode::ProcessKilled || sync == Sync::Always;
            check(&storage.restart(mode), sync, &acknowledged, survives);
        }
    }
    assert!(whole > calm.operations() / 2, "{whole} were mended");
}

fn every_crash(sync: Sync, seed: u64) {
    let plan = || Plan::slow(seed, 4);
    let calm = FaultyStorage::with_plan(plan());
    run(&calm, sync, &Acknowledged::default()).unwrap();
    for point in Plan::every_crash(calm.operations()) {
        let crash = Fault::Crash(point.moment);
        let storage = FaultyStorage::with_plan(plan().once(When::index(point.index), crash));
        let acknowledged = Acknowledged::default();
        let _crashed = run(&storage, sync, &acknowledged);
        for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
            let survives = mode == CrashMode::ProcessKilled || sync == Sync::Always;
            eprintln!("{point:?}, {mode:?}, {sync:?}, seed {seed}");
            check(&storage.restart(mode), sync, &acknowledged, survives);
        }
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    for (seed, sync) in [(0, Sync::Always), (1, Sync::EverySecond)] {
        every_crash(sync, seed);
    }
}

#[test]
fn a_flush_leaves_the_log_what_has_settled_and_is_yet_to_be_applied() {
    let process = Process::with(&RANGES);
    let lent = LentEntries::default();
    let append = |range, number| process.store.append_lent(batch(range, number), &lent);
    let ticket = append(3, 0).unwrap();
    process.do_(process.store.finish_lent(ticket)).unwrap();
    // More than a segment, which nobody applies.
    for number in 0..3 {
        let _four = append(4, number).unwrap();
        let five = append(5, number).unwrap();
        process
            .do_(process.store.settle(five, Durability::Synced))
            .unwrap();
    }
    process.flush();
    let process = process.kill();
    assert_eq!(process.range(3).applied.index, BATCH, "the flush wrote it");
    for range in [4, 5] {
        let found: Vec<u64> = process.ids(range).iter().map(|&(_, index)| index).collect();
        assert_eq!(found, (1..=3 * BATCH).collect::<Vec<_>>());
    }
}

#[test]
fn a_failure_of_any_operation_loses_nothing_that_was_acknowledged() {
    for (seed, fault) in [(2, Fault::Full), (3, Fault::Fail)] {
        every_failure(Sync::EverySecond, seed, &fault);
        every_failure(Sync::Always, seed, &fault);
    }
}
