//! Clusters that grow and shrink while clients use them.

use super::super::growth::Step;
use super::super::steward::master_of;
use super::*;
use crate::ring::META;
use crate::ring::meta::{Moving, Proposal};
use crate::storage::faulty::CrashMode;

fn growing(seed: u64, faults: &[FaultKind]) -> Setup {
    Setup {
        scenario: Scenario::Grow,
        nodes: 4,
        arcs: 64,
        millis: 4_000,
        ..setup(seed, (3, 2, 2), faults)
    }
}

fn phase<'a>(report: &'a Report, name: &str) -> &'a Phase {
    let mut phases = report.phases.iter();
    phases.find(|phase| phase.name.starts_with(name)).unwrap()
}

/// Runs until a step is under way.
fn run_to_step(simulation: &mut Simulation, step: Step) {
    while simulation.growth.as_ref().and_then(|growth| growth.step()) != Some(step) {
        let next_ms = simulation.progress().now_ms + 10;
        assert!(next_ms < 60_000, "{step:?} never begins");
        simulation.run_to(next_ms);
    }
}

fn run_to_end(mut simulation: Simulation) -> Report {
    while simulation.is_growing() {
        let next_ms = simulation.progress().now_ms + 100;
        simulation.run_to(next_ms);
    }
    simulation.conclude()
}

fn propose(simulation: &mut Simulation, proposal: Proposal) {
    if let Some(growth) = &mut simulation.growth {
        growth.wish = Some(proposal);
    }
}

#[test]
fn a_fifth_node_takes_a_fifth_and_nobody_notices() {
    let report = run(growing(1, &[]));
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.linearizable, Some(true));
    let join = phase(&report, "join: 4 to 5");
    assert!((join.share - 0.2).abs() <= 0.01, "{join:#?}");
    assert_eq!((join.begun, join.failed), (join.moved, 0), "{join:#?}");
    assert!(join.naive_share > join.share, "{join:#?}");
}

#[test]
fn a_node_that_is_drained_leaves_unnoticed() {
    let report = run(growing(2, &[]));
    let drain = phase(&report, "drain: 5 to 4");
    assert!((drain.share - 0.2).abs() <= 0.01, "{drain:#?}");
    assert_eq!((drain.begun, drain.failed), (drain.moved, 0), "{drain:#?}");
}

#[test]
fn a_cluster_of_one_grows_to_five() {
    let report = run(Setup {
        nodes: 1,
        arcs: 16,
        ..growing(3, &[])
    });
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.linearizable, Some(true));
    assert_eq!(report.phases.len(), 6);
}

#[test]
fn growing_goes_on_through_crashes_and_loss() {
    for seed in 1..4 {
        let setup = Setup {
            arcs: 16,
            millis: 10_000,
            ..growing(seed, &[FaultKind::Crash, FaultKind::Loss])
        };
        let report = run(setup);
        assert!(report.is_clean(), "{report:#?}");
        assert_eq!(report.linearizable, Some(true));
        assert_eq!(report.phases.len(), 3);
    }
}

#[test]
fn a_move_survives_the_end_of_metas_master() {
    let mut simulation = Simulation::new(Setup {
        arcs: 16,
        ..growing(5, &[])
    });
    run_to_step(&mut simulation, Step::Join);
    let now_ms = simulation.progress().now_ms;
    simulation.run_to(now_ms + 300);
    let (place, _) = master_of(&simulation.hosts, META).unwrap();
    simulation.kill(place, CrashMode::PowerLoss, 1_500);
    let report = run_to_end(simulation);
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.linearizable, Some(true));
}

#[test]
fn nothing_moves_while_moving_is_paused() {
    let mut simulation = Simulation::new(Setup {
        arcs: 16,
        ..growing(6, &[])
    });
    run_to_step(&mut simulation, Step::Join);
    propose(
        &mut simulation,
        Proposal::Moving(Moving {
            paused: true,
            ..Moving::default()
        }),
    );
    let pauses =
        |simulation: &Simulation| simulation.newest_map().is_some_and(|map| map.moving.paused);
    while !pauses(&simulation) {
        let next_ms = simulation.progress().now_ms + 50;
        simulation.run_to(next_ms);
    }
    // Whoever has not heard of it by now does so soon.
    let paused_ms = simulation.progress().now_ms;
    simulation.run_to(paused_ms + 2_000);
    let before = (simulation.world.begun, simulation.world.moved_bytes);
    simulation.run_to(paused_ms + 5_000);
    assert_eq!(
        (simulation.world.begun, simulation.world.moved_bytes),
        before
    );
    assert!(simulation.is_in_place().is_err());
    propose(&mut simulation, Proposal::Moving(Moving::default()));
    let report = run_to_end(simulation);
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.phases.len(), 3);
}

#[test]
fn snapshots_leave_no_faster_than_the_map_allows() {
    let slow = Moving {
        bytes_per_second: 50,
        ..Moving::default()
    };
    let mut simulation = Simulation::new(Setup {
        arcs: 16,
        ..growing(7, &[])
    });
    simulation.run_to(1_500);
    propose(&mut simulation, Proposal::Moving(slow));
    run_to_step(&mut simulation, Step::Join);
    let since_ms = simulation.progress().now_ms;
    simulation.run_to(since_ms + 6_000);
    // Left alone it takes two seconds or three.
    assert!(simulation.is_in_place().is_err());
    let sent = simulation.world.moved_bytes;
    simulation.run_to(since_ms + 12_000);
    let later = simulation.world.moved_bytes - sent;
    assert!(
        later <= 5 * 6 * 50 + PARTS_MOST,
        "{later} bytes in six seconds"
    );
    propose(&mut simulation, Proposal::Moving(Moving::default()));
    let report = run_to_end(simulation);
    assert!(report.is_clean(), "{report:#?}");
}

/// What parts that are read while the bucket runs dry may come to.
const PARTS_MOST: u64 = 5 * 1024;
