//! Runs that have failed once, each with what it was.

use super::*;

fn with(schedule: &str, setup: Setup) -> Setup {
    let faults = schedule
        .split(',')
        .map(|fault| fault.parse().unwrap())
        .collect();
    Setup {
        schedule: Some(faults),
        ..setup
    }
}

/// A forwarded INCR that the network had doubled was proposed twice by the master.
#[test]
fn a_forwarded_write_that_arrives_twice_counts_once() {
    for seed in 1..5 {
        let setup = Setup {
            think_ms: 10,
            ..setup(seed, (3, 2, 2), &[])
        };
        keeps_its_promise(with(
            "duplicate@700+4000:87b1a6a2,duplicate@900+4000:87b1a6a3",
            setup,
        ));
    }
}

/// What a master had applied alone and no longer held in memory was lost without being named.
#[test]
fn what_a_lone_master_loses_is_named() {
    let setup = Setup {
        millis: 2_560,
        ..setup(12, (3, 1, 1), &[])
    };
    let setup = with("crash@1487+586:592e9b60,partition@1768+308:dbeba33", setup);
    let report = run(setup);
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.lost > 0 && report.unnamed == 0, "{report:#?}");
}

/// A copy that was founded, replaced and destroyed was founded again by its driver after a restart.
#[test]
fn a_destroyed_copy_is_not_founded_again() {
    keeps_its_promise(Setup {
        millis: 8_000,
        ..setup(10, (3, 2, 2), &FaultKind::ALL)
    });
}

/// A node compacted one table without end: mostly expired, of a range whose master could not remove it.
#[test]
fn a_table_of_expired_keys_is_not_compacted_for_ever() {
    keeps_its_promise(Setup {
        millis: 60_000,
        ..setup(1_795_418_670_016, (3, 2, 2), &FaultKind::ALL)
    });
}

/// A copy that had been left out, of a range whose writes need not survive, asked only followers whether it was
/// still wanted. They cannot tell.
#[test]
fn a_stranger_is_passed_on_to_the_master() {
    let setup = Setup {
        sync: Sync::EverySecond,
        millis: 60_000,
        ..setup(600_029, (3, 1, 1), &FaultKind::ALL)
    };
    let report = run(setup);
    assert!(report.is_clean(), "{report:#?}");
}

/// A learner's node started again before the learner was told anything, and the range went on without it. It knew
/// nobody to ask.
#[test]
fn a_copy_that_knows_nobody_is_asked_for() {
    let setup = Setup {
        sync: Sync::EverySecond,
        millis: 3_750,
        ..setup(1_795_467_446_031, (3, 2, 2), &[])
    };
    let faults = "power@600+702:e716b85c,pause@1226+721:8695f4d,disk-swap@2066+535:1eb11ea,members@2363+134:3ea32583,\
                  delay@2606+1671:9254aaf2,bit-rot@3072+128:f452193b";
    keeps_its_promise(with(faults, setup));
}
