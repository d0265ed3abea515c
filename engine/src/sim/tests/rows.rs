//! The four rows of the design, each under what its promise covers.

use super::*;

const NETWORK: [FaultKind; 7] = [
    FaultKind::Loss,
    FaultKind::Delay,
    FaultKind::Duplicate,
    FaultKind::Reorder,
    FaultKind::Clog,
    FaultKind::OneWay,
    FaultKind::Partition,
];
const MACHINES: [FaultKind; 5] = [
    FaultKind::Pause,
    FaultKind::Crash,
    FaultKind::Power,
    FaultKind::ClockJump,
    FaultKind::ClockSkew,
];
const DISKS: [FaultKind; 6] = [
    FaultKind::BitRot,
    FaultKind::Eio,
    FaultKind::Enospc,
    FaultKind::SlowDisk,
    FaultKind::DiskSwap,
    FaultKind::Crash,
];

fn every_kind_of_trouble(row: (u8, u8, u8), sync: Sync, from: u64) {
    let kinds: [&[FaultKind]; 5] = [
        &NETWORK,
        &MACHINES,
        &DISKS,
        &[FaultKind::Members, FaultKind::Crash],
        &FaultKind::ALL,
    ];
    for (seed, kinds) in (from..).zip(kinds) {
        keeps_its_promise(Setup {
            sync,
            ..setup(seed, row, kinds)
        });
    }
}

#[test]
fn without_faults_nothing_goes_wrong() {
    let report = keeps_its_promise(setup(1, (3, 2, 2), &[]));
    assert!(report.acknowledged > 500, "{report:#?}");
    assert_eq!(report.acknowledged, report.operations);
}

#[test]
fn the_balanced_row_keeps_its_promise() {
    every_kind_of_trouble((3, 2, 2), Sync::Always, 100);
    every_kind_of_trouble((3, 2, 2), Sync::EverySecond, 200);
}

#[test]
fn the_safest_row_keeps_its_promise() {
    every_kind_of_trouble((3, 3, 1), Sync::Always, 300);
    every_kind_of_trouble((3, 3, 1), Sync::EverySecond, 400);
}

#[test]
fn the_row_of_fast_writes_keeps_its_promise() {
    every_kind_of_trouble((3, 1, 3), Sync::Always, 500);
    every_kind_of_trouble((3, 1, 3), Sync::EverySecond, 600);
}

#[test]
fn the_asynchronous_row_loses_writes_and_reads_stale_and_says_so() {
    let faults = [FaultKind::Partition, FaultKind::OneWay];
    let reports: Vec<Report> = (1..8)
        .map(|seed| run(setup(seed, (3, 1, 1), &faults)))
        .collect();
    for report in &reports {
        // That what is lost is named in a file is asked of every run.
        assert!(report.is_clean(), "{report:#?}");
    }
    assert!(reports.iter().any(|report| report.lost > 0));
    assert!(reports.iter().any(|report| report.stale > 0));
    assert!(
        reports
            .iter()
            .any(|report| report.linearizable == Some(false))
    );
}

#[test]
fn one_seed_gives_one_run() {
    let of = |seed| run(setup(seed, (3, 2, 2), &FaultKind::ALL));
    let (first, again) = (of(77), of(77));
    assert_eq!(first.trace_hash, again.trace_hash);
    assert_eq!(first.operations, again.operations);
    assert_eq!(first.faults, again.faults);
    assert_ne!(first.trace_hash, of(78).trace_hash);
}

#[test]
fn stores_that_come_back_warm_keep_the_promise_and_one_seed_still_gives_one_run() {
    let warm = |seed, kinds: &[FaultKind], sync| Setup {
        warm: true,
        sync,
        ..setup(seed, (3, 2, 2), kinds)
    };
    for (seed, kinds) in (700..).zip([&MACHINES[..], &DISKS, &FaultKind::ALL]) {
        keeps_its_promise(warm(seed, kinds, Sync::Always));
        keeps_its_promise(warm(seed + 50, kinds, Sync::EverySecond));
    }
    let of = |seed| run(warm(seed, &FaultKind::ALL, Sync::Always)).trace_hash;
    assert_eq!(of(77), of(77));
}

#[test]
fn a_cluster_that_is_stepped_is_the_one_that_is_run() {
    let setup = setup(5, (3, 2, 2), &[FaultKind::Crash]);
    let mut stepped = Simulation::new(setup.clone());
    stepped.run_to(1_000);
    assert_eq!(stepped.progress().now_ms, 1_000);
    assert!(stepped.progress().operations > 0);
}

#[test]
fn a_failing_run_is_made_small() {
    let broken = Setup {
        mutation: mutation_named("elect-by-majority"),
        millis: 8_000,
        ..setup(1, (3, 1, 3), &FaultKind::ALL)
    };
    let failing = (1..20)
        .map(|seed| Setup {
            seed,
            ..broken.clone()
        })
        .find(|setup| !run(setup.clone()).is_clean())
        .expect("masters elected by too few are noticed");
    let (small, report) = shrink(&failing, |_| {}).expect("it fails again");
    assert!(!report.is_clean());
    assert!(small.schedule.unwrap().len() <= failing.faults_to_come().len());
}
