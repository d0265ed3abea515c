//! When a store says that it may have forgotten something (rule 9).

use super::*;
use crate::storage::faulty::{Fault, OpKind, When};

/// A store with a term and an entry that were counted on.
fn used(sync: Sync) -> Process {
    let process = Process::start_with(&FaultyStorage::new(), options(sync)).unwrap();
    process
        .do_(process.store.found(5, founder(), &alone()))
        .unwrap();
    process.log(5, &[Record::HardState(state(4, Some(7)))]);
    process.log(5, &as_records(&[put(5, 4, 1, b"x")]));
    process
}

fn is_amnesiac(process: &Process) -> bool {
    process.range(5).state.amnesiac
}

#[test]
fn the_end_of_a_process_forgets_nothing() {
    for sync in [Sync::Always, Sync::EverySecond, Sync::No] {
        let process = used(sync)
            .restart_with(CrashMode::ProcessKilled, options(sync))
            .unwrap();
        assert!(!is_amnesiac(&process));
        assert_eq!(process.ids(5), [(4, 1)]);
    }
}

#[test]
fn a_power_loss_forgets_unless_everything_was_synced() {
    for (sync, forgets) in [
        (Sync::Always, false),
        (Sync::EverySecond, true),
        (Sync::No, true),
    ] {
        let process = used(sync)
            .restart_with(CrashMode::PowerLoss, options(Sync::Always))
            .unwrap();
        assert_eq!(is_amnesiac(&process), forgets, "{sync:?}");
        if !forgets {
            assert_eq!(process.ids(5), [(4, 1)]);
        }
    }
}

#[test]
fn the_flag_stays_until_it_is_cleared_and_then_stays_away() {
    let process = used(Sync::No).restart(CrashMode::PowerLoss);
    assert!(is_amnesiac(&process));
    let process = process.kill().restart(CrashMode::PowerLoss).kill();
    assert!(is_amnesiac(&process));
    let cleared = [Record::HardState(state(4, None))];
    process.log_until(5, &cleared, Durability::Synced).unwrap();
    let process = process.kill();
    assert!(!is_amnesiac(&process));
    assert_eq!(process.range(5).state, state(4, None));
    // What was flagged once more is flagged over the record that cleared it.
    assert!(is_amnesiac(&process.restart(CrashMode::PowerLoss)));
}

#[test]
fn a_clean_end_forgets_nothing_whatever_becomes_of_the_machine() {
    let process = used(Sync::No);
    process.do_(process.store.close()).unwrap();
    let process = process.restart(CrashMode::PowerLoss);
    assert!(!is_amnesiac(&process));
    assert_eq!(process.ids(5), [(4, 1)]);
    // But this run has not ended cleanly.
    assert!(is_amnesiac(&process.restart(CrashMode::PowerLoss)));
}

#[test]
fn a_tail_that_was_cut_was_forgotten() {
    let process = used(Sync::Always);
    let runtime = process.runtime.clone();
    runtime.kill_all();
    let storage = process.storage.restart(CrashMode::ProcessKilled);
    let segment = storage
        .objects()
        .into_iter()
        .find_map(|(object, _)| match object {
            Object::Segment(_) => Some(object),
            _ => None,
        });
    // Not a byte of what was synced; what a torn write would leave behind it.
    storage.tamper(&segment.unwrap(), |bytes| bytes.extend_from_slice(&[9; 20]));
    let process = Process::start_with(&storage, options(Sync::Always)).unwrap();
    assert!(is_amnesiac(&process));
    assert_eq!(process.ids(5), [(4, 1)]);
    let process = process.restart_with(CrashMode::ProcessKilled, options(Sync::Always));
    assert!(is_amnesiac(&process.unwrap()));
}

#[test]
fn what_was_only_written_under_a_weaker_promise_is_not_taken_for_synced() {
    let process = used(Sync::No).kill();
    // The next run syncs what it finds, and then promises more.
    let process = process
        .restart_with(CrashMode::ProcessKilled, options(Sync::Always))
        .unwrap();
    assert!(!is_amnesiac(&process));
    let process = process
        .restart_with(CrashMode::PowerLoss, options(Sync::Always))
        .unwrap();
    assert!(!is_amnesiac(&process));
    assert_eq!(process.ids(5), [(4, 1)]);
}

#[test]
fn a_log_that_cannot_be_mended_is_final_and_remembered() {
    for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
        let process = used(Sync::Always);
        let failing = When::kind(OpKind::SettleSynced);
        process
            .storage
            .set_plan(Plan::new().always(failing, Fault::Fail));
        let records = as_records(&[put(5, 4, 2, b"y")]);
        let failed = process.log_until(5, &records, Durability::Synced);
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unknown);
        assert!(process.store.append(5, LogId::default(), &records).is_err());
        // What was applied is still read.
        assert_eq!(process.get(5, 1), None);
        process.storage.set_plan(Plan::new());
        let process = process.restart_with(mode, options(Sync::Always)).unwrap();
        assert!(is_amnesiac(&process), "{mode:?}");
        assert!(process.ids(5).starts_with(&[(4, 1)]), "{mode:?}");
        // The log is a sound one again.
        let next = process.ids(5).len() as u64 + 1;
        process
            .log_until(5, &as_records(&[put(5, 5, next, b"z")]), Durability::Synced)
            .unwrap();
        let process = process
            .restart_with(CrashMode::PowerLoss, options(Sync::Always))
            .unwrap();
        assert_eq!(process.ids(5).len() as u64, next, "{mode:?}");
    }
}
