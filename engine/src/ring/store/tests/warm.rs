//! A store of ranges that is opened again reads back what was in use.

use std::time::Duration;

use super::*;
use crate::Runtime;

const EVERY: Duration = Duration::from_secs(60);
const RANGES: [RangeId; 3] = [1, 2, 200];
const KEYS: u64 = 300;

fn warm() -> Options {
    Options {
        warm_restart_every: Some(EVERY),
        ..options(Sync::EverySecond)
    }
}

/// All keys are in tables.
fn filled() -> Process {
    let process = Process::start_with(&FaultyStorage::new(), warm()).unwrap();
    process
        .do_(process.store.found_all(&RANGES, founder(), &alone()))
        .unwrap();
    for range in RANGES {
        let puts: Vec<_> = (1..=KEYS).map(|n| put(range, 1, n, b"value")).collect();
        process.commit(range, &puts);
    }
    process.flush();
    process
}

/// How many of these keys memory answers.
fn in_memory(process: &Process, range: RangeId, keys: std::ops::RangeInclusive<u64>) -> u64 {
    let (count, cold) = (keys.clone().count() as u64, cold_reads(process));
    for n in keys {
        assert_eq!(process.get(range, n).as_deref(), Some(&b"value"[..]));
    }
    count - (cold_reads(process) - cold)
}

fn cold_reads(process: &Process) -> u64 {
    process.store.db().stats().cold_reads
}

fn await_warm(process: &Process) {
    while process.store.db().stats().warm.is_loading {
        process.do_(process.runtime.sleep(Duration::from_millis(1)));
    }
}

#[test]
fn keys_in_use_of_every_range_are_in_memory_after_a_close_and_after_a_kill() {
    for is_killed in [true, false] {
        let process = filled();
        for range in RANGES {
            in_memory(&process, range, 1..=100);
        }
        if is_killed {
            process.do_(process.runtime.sleep(EVERY + EVERY / 2));
        } else {
            process.do_(process.store.close()).unwrap();
        }
        let process = process
            .restart_with(CrashMode::ProcessKilled, warm())
            .unwrap();
        await_warm(&process);
        assert_eq!(process.store.db().stats().warm.keys_loaded, 300);
        for range in RANGES {
            assert_eq!(in_memory(&process, range, 1..=100), 100);
            assert_eq!(in_memory(&process, range, 200..=250), 0);
        }
    }
}

#[test]
fn entries_that_are_applied_after_the_opening_are_newer_than_what_was_read_back() {
    let process = filled();
    in_memory(&process, 1, 1..=100);
    let newer: Vec<_> = (1..=50)
        .map(|n| command(1, KEYS + n, &set(1, n, b"newer")))
        .collect();
    process.log(1, &as_records(&newer));
    process.do_(process.store.close()).unwrap();
    let process = process
        .restart_with(CrashMode::ProcessKilled, warm())
        .unwrap();
    await_warm(&process);
    assert_eq!(process.get(1, 7).as_deref(), Some(&b"value"[..]));
    process.apply(1, &newer);
    assert_eq!(process.get(1, 7).as_deref(), Some(&b"newer"[..]));
    assert_eq!(process.get(1, 70).as_deref(), Some(&b"value"[..]));
}

#[test]
fn the_keys_of_a_copy_that_was_destroyed_do_not_come_back() {
    let process = filled();
    for range in RANGES {
        in_memory(&process, range, 1..=100);
    }
    process.do_(process.runtime.sleep(EVERY + EVERY / 2));
    process.do_(process.store.destroy(2)).unwrap();
    let process = process
        .restart_with(CrashMode::ProcessKilled, warm())
        .unwrap();
    await_warm(&process);
    assert_eq!(process.store.db().stats().warm.keys_loaded, 200);
    assert_eq!(process.get(2, 7), None);
}
