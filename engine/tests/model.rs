//! A store and a map taken through the same steps, in memory and in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::Simulated;
use support::model::{Met, run, steps};
use trilith::Sync;
use trilith::storage::faulty::{CrashMode, Plan};

/// Runs `cases` cases in worlds made by `world` and gives what they met.
fn check(cases: u32, sync: Sync, world: impl Fn(u64) -> Simulated) -> Met {
    let met = RefCell::new(Met::default());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&(any::<u64>(), steps(150)), |(seed, steps)| {
        let world = world(seed);
        let host = world.host();
        let one = host.block_on(run(world, sync, &steps));
        host.kill_all();
        met.borrow_mut().add(&one);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    met.into_inner()
}

#[test]
fn a_store_in_memory_is_a_map() {
    let met = check(300, Sync::Always, Simulated::new);
    assert!(
        met.flushes > 1000 && met.compactions > 300 && met.moves > 0,
        "{met:?}"
    );
    assert!(
        met.evicted > 1000 && met.cold_reads > 1000 && met.large_values > 100,
        "{met:?}"
    );
    assert!(
        met.reopenings > 50 && met.checkpoints > 20 && met.snapshot_reads > 50,
        "{met:?}"
    );
    assert!(
        met.range_deletes > 100 && met.expired > 100 && met.dropped_writes > 5,
        "{met:?}"
    );
}

#[test]
fn a_store_whose_storage_is_slow_is_a_map() {
    check(200, Sync::EverySecond, |seed| {
        let mut world = Simulated::new(seed);
        world.plan = Plan::slow(seed, 3);
        world.cold = true;
        world
    });
}

#[test]
fn a_store_that_loses_power_is_a_map() {
    check(200, Sync::Always, |seed| {
        let mut world = Simulated::new(seed);
        world.plan = Plan::slow(seed, 1);
        world.mode = CrashMode::PowerLoss;
        world
    });
}
