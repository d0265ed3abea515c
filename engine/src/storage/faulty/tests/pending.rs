//! Operations that take their time.

use std::time::Duration;

use super::*;
use crate::sim::TestRuntime;
use crate::{Runtime, Work};

fn held_syncs() -> Plan {
    Plan::new().always(When::kind(OpKind::SettleSynced), Fault::Hold)
}

#[test]
fn settles_that_wait_together_share_one_sync() {
    let runtime = TestRuntime::new(1);
    let (storage, mut writer) = segment(b"", b"", b"");
    storage.set_plan(held_syncs());
    for _ in 0..5 {
        let upto = writer.append(b"ab").unwrap();
        let settled = writer.settle(upto, Synced);
        runtime.spawn(Work::Upkeep, async move { settled.await.unwrap() });
    }
    runtime.run_until_idle();
    assert_eq!((storage.held().len(), runtime.tasks()), (5, 5));
    assert_eq!(storage.durable_objects(), []);
    storage.release_all();
    runtime.run_until_idle();
    assert_eq!(runtime.tasks(), 0);
    assert_eq!(storage.count(OpKind::SettleSynced), 5);
    assert_eq!(storage.syncs(), 1);
    assert_eq!(storage.durable_objects(), [(Segment(1), 10)]);
}

#[test]
fn a_settle_that_is_dropped_still_takes_effect() {
    let runtime = TestRuntime::new(1);
    let (storage, writer) = segment(b"", b"", b"bytes");
    storage.set_plan(held_syncs());
    let settled = writer.settle(5, Synced);
    runtime.spawn(Work::Upkeep, async move { settled.await.unwrap() });
    runtime.run_until_idle();
    runtime.kill_all();
    assert_eq!(storage.durable_objects(), [(Segment(1), 5)]);
    assert!(storage.held().is_empty());
}

#[test]
fn a_settle_that_was_never_polled_does_nothing() {
    let (storage, writer) = segment(b"", b"", b"bytes");
    let operations = storage.operations();
    drop(writer.settle(5, Synced));
    assert_eq!(storage.operations(), operations);
    assert_eq!(storage.durable_objects(), []);
}

#[test]
fn a_settle_outlives_its_writer() {
    let (storage, writer) = segment(b"", b"", b"bytes");
    let settled = writer.settle(5, Synced);
    drop(writer);
    block_on(settled).unwrap();
    assert_eq!(storage.durable_objects(), [(Segment(1), 5)]);
}

#[test]
fn a_crash_wakes_those_who_wait() {
    let runtime = TestRuntime::new(1);
    let (storage, writer) = segment(b"", b"", b"bytes");
    storage.set_plan(held_syncs());
    let settled = writer.settle(5, Synced);
    runtime.spawn(Work::Upkeep, async move {
        assert_eq!(kind_of(settled.await), ErrorKind::Lost);
    });
    runtime.run_until_idle();
    storage.crash();
    runtime.run_until_idle();
    assert_eq!(runtime.tasks(), 0);
    assert_eq!(storage.restart(CrashMode::PowerLoss).objects(), []);
}

#[test]
fn a_failed_sync_fails_all_who_wait_for_more() {
    let runtime = TestRuntime::new(1);
    let (storage, mut writer) = segment(b"", b"", b"");
    let first = When::kind(OpKind::SettleSynced);
    storage.set_plan(held_syncs().once(first, Fault::Fail));
    for _ in 0..3 {
        let upto = writer.append(b"ab").unwrap();
        let settled = writer.settle(upto, Synced);
        runtime.spawn(Work::Upkeep, async move {
            assert_eq!(kind_of(settled.await), ErrorKind::Failed);
        });
        runtime.run_until_idle();
    }
    for index in storage.held() {
        storage.release(index);
        runtime.run_until_idle();
    }
    assert_eq!(runtime.tasks(), 0);
    assert_eq!(storage.durable_objects(), []);
}

/// Four tasks write four segments on a slow storage.
fn trace(seed: u64) -> (Vec<Op>, u64, Option<Vec<u8>>) {
    let runtime = TestRuntime::new(seed);
    let storage = FaultyStorage::with_plan(Plan::slow(seed, 3));
    for id in 0..4 {
        let (storage, runtime_of_task) = (storage.clone(), runtime.clone());
        runtime.spawn(Work::Upkeep, async move {
            let mut writer = storage.create(Segment(id)).await.unwrap();
            for step in 0..5 {
                let upto = writer.append(&[step; 300]).unwrap();
                let to = if step % 2 == 0 { Written } else { Synced };
                writer.settle(upto, to).await.unwrap();
                runtime_of_task.sleep(Duration::from_millis(1)).await;
            }
        });
    }
    runtime.advance(Duration::from_secs(1));
    assert_eq!(runtime.tasks(), 0);
    let survivor = storage.restart(CrashMode::PowerLossTorn { seed });
    (storage.log(), runtime.fingerprint(), log_of(&survivor))
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).0, trace(2).0);
}

#[test]
fn every_operation_can_be_slow() {
    let plan = Plan::new().always(
        When::any(),
        Fault::Delay {
            polls: 2..=2,
            seed: 0,
        },
    );
    let storage = FaultyStorage::with_plan(plan);
    let mut polls = 0;
    let mut load = std::pin::pin!(storage.load());
    block_on(std::future::poll_fn(|context| {
        polls += 1;
        load.as_mut().poll(context)
    }))
    .unwrap();
    assert_eq!(polls, 3);
}
