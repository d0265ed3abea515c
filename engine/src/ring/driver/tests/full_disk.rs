//! Disks that are full for a while: nothing is written, everything is read, and all is well when there is room again.

use super::*;
use crate::storage::faulty::{CrashMode, Fault, OpKind, Plan, When};

impl Cluster {
    fn fill(&self, place: usize) {
        self.machines[place].storage.set_full(true);
    }

    fn make_room(&self, place: usize) {
        self.machines[place].storage.set_full(false);
    }

    /// Writes until the disk has been found to be full.
    fn await_full(&self, place: usize, by: usize) {
        self.await_that("it is seen that the disk is full", |cluster| {
            for n in 0..8 {
                let _any = cluster.ask(by, &format!("SET filler{n} {n}"));
            }
            cluster.node(place).trouble().is_some()
        });
    }

    /// Of so many keys each is in a range of its own, nearly.
    fn error_of(&self, place: usize, line: &str) -> String {
        match self.ask(place, line) {
            Reply::Error(text) => text.to_string(),
            reply => panic!("{line}: {reply:?}"),
        }
    }

    fn mastered_by(&self, place: usize) -> usize {
        let ranges = self.node(place).ranges();
        ranges.iter().filter(|range| range.role == "master").count()
    }
}

const KEYS: usize = 60;

fn write_all(cluster: &Cluster, by: usize, value: &str) {
    for n in 0..KEYS {
        let reply = cluster.ask(by, &format!("SET key{n} {value}{n}"));
        assert_eq!(reply, Reply::OK, "key{n} at {by}");
    }
}

fn read_all(cluster: &Cluster, by: usize, value: &str) {
    for n in 0..KEYS {
        let reply = cluster.ask(by, &format!("GET key{n}"));
        assert_eq!(reply, bulk(&format!("{value}{n}")), "key{n} at {by}");
    }
}

#[test]
fn a_cluster_of_one_refuses_writes_and_reads_on_until_there_is_room() {
    let mut cluster = Cluster::founded(BALANCED, 2);
    write_all(&cluster, 0, "a");
    cluster.fill(0);
    let first = cluster.error_of(0, "SET doubtful 1");
    // It was on its way when the disk was found to be full.
    assert!(first.starts_with("UNKNOWN"), "{first}");
    cluster.await_full(0, 0);
    let before = cluster.runtime.monotonic();
    for n in 0..KEYS {
        let refused = cluster.error_of(0, &format!("SET key{n} b"));
        assert!(
            refused.starts_with("READONLY no space is left"),
            "{refused}"
        );
        assert!(refused.contains("nothing was written"), "{refused}");
    }
    assert!(
        cluster.runtime.monotonic() - before < Duration::from_secs(1),
        "refused at once"
    );
    read_all(&cluster, 0, "a");
    cluster.pass(60_000);
    read_all(&cluster, 0, "a");
    assert!(cluster.node(0).failure().is_none());
    cluster.make_room(0);
    cluster.await_that("writes are taken again", |cluster| {
        cluster.ask(0, "SET probe 1") == Reply::OK
    });
    assert!(cluster.node(0).trouble().is_none());
    write_all(&cluster, 0, "c");
    // Its outcome is known now: it was in the log.
    assert_eq!(cluster.ask(0, "GET doubtful"), bulk("1"));
    cluster.pass(2_500);
    cluster.kill(0);
    let machine = &mut cluster.machines[0];
    machine.storage = machine.storage.restart(CrashMode::PowerLoss);
    let quorum = Quorum::new(3, 2, 2).unwrap();
    cluster.boot(0, Start::Found { quorum });
    cluster.await_that("it reads what it had", |cluster| {
        cluster.ask(0, "GET key0") == bulk("c0")
    });
    read_all(&cluster, 0, "c");
}

#[test]
fn a_cluster_of_one_overcomes_a_failed_sync() {
    let cluster = Cluster::founded(BALANCED, 2);
    write_all(&cluster, 0, "a");
    let failing = Plan::new().once(When::kind(OpKind::SettleSynced), Fault::Fail);
    cluster.machines[0].storage.set_plan(failing);
    cluster.pass(5_000);
    write_all(&cluster, 0, "b");
    read_all(&cluster, 0, "b");
    assert!(cluster.node(0).trouble().is_none() && cluster.node(0).failure().is_none());
}

#[test]
fn the_others_lead_while_a_disk_is_full_and_it_comes_back_by_itself() {
    let cluster = Cluster::of(3, BALANCED);
    write_all(&cluster, 0, "a");
    cluster.await_that("each leads its share", |cluster| {
        (0..3).all(|place| cluster.mastered_by(place) > 80)
    });
    let led = cluster.mastered_by(1);
    cluster.fill(1);
    cluster.await_full(1, 0);
    cluster.await_that("the others lead everything", |cluster| {
        cluster.mastered_by(0) + cluster.mastered_by(2) == 257 && cluster.mastered_by(1) == 0
    });
    for by in 0..3 {
        write_all(&cluster, by, &format!("b{by}"));
        for at in 0..3 {
            read_all(&cluster, at, &format!("b{by}"));
        }
    }
    let behind = cluster.range(1, arc("key0")).unwrap();
    let master = cluster
        .range(cluster.master_of(arc("key0")), arc("key0"))
        .unwrap();
    assert!(behind.last < master.last, "it stores nothing: {behind:?}");
    // Nobody goes on sending it what it cannot take.
    let before = cluster.wire.sent_bytes(cluster.node(1).id());
    cluster.pass(10_000);
    let sent = cluster.wire.sent_bytes(cluster.node(1).id()) - before;
    assert!(sent < 64 * 257 * 200 * 2, "{sent} bytes in ten seconds");
    cluster.make_room(1);
    cluster.await_that("it has caught up, and leads what it led", |cluster| {
        cluster.mastered_by(1) == led && cluster.are_in_place(3)
    });
    write_all(&cluster, 1, "c");
    for at in 0..3 {
        read_all(&cluster, at, "c");
    }
    assert!(cluster.nodes().all(|node| node.failure().is_none()));
}

#[test]
fn where_all_disks_are_full_everything_is_still_read() {
    let cluster = Cluster::of(3, BALANCED);
    write_all(&cluster, 0, "a");
    for place in 0..3 {
        cluster.fill(place);
    }
    for place in 0..3 {
        cluster.await_full(place, place);
    }
    for at in 0..3 {
        for n in 0..8 {
            let refused = cluster.error_of(at, &format!("SET key{n} b"));
            assert!(refused.starts_with("READONLY"), "{refused}");
            assert!(refused.contains("nothing was written"), "{refused}");
        }
        read_all(&cluster, at, "a");
    }
    cluster.pass(30_000);
    for at in 0..3 {
        read_all(&cluster, at, "a");
        cluster.make_room(at);
    }
    cluster.await_that("writes are taken again", |cluster| {
        (0..KEYS).all(|n| cluster.ask(0, &format!("SET key{n} c{n}")) == Reply::OK)
    });
    for at in 0..3 {
        read_all(&cluster, at, "c");
    }
    cluster.await_that("all is as it was", |cluster| cluster.are_in_place(3));
}

#[test]
fn where_two_of_three_disks_are_full_everything_is_read_and_nothing_written() {
    let cluster = Cluster::of(3, BALANCED);
    write_all(&cluster, 0, "a");
    for place in [1, 2] {
        cluster.fill(place);
        cluster.await_full(place, place);
    }
    cluster.pass(3_000);
    for n in 0..8 {
        let refused = cluster.error_of(0, &format!("SET key{n} b"));
        let is_clear = refused.starts_with("READONLY") || refused.starts_with("NOREPLICAS");
        assert!(is_clear, "{refused}");
    }
    cluster.make_room(2);
    cluster.await_that("two of three have room", |cluster| {
        (0..KEYS).all(|n| cluster.ask(0, &format!("SET key{n} c{n}")) == Reply::OK)
    });
    cluster.make_room(1);
    cluster.await_that("all is as it was", |cluster| cluster.are_in_place(3));
    for at in 0..3 {
        read_all(&cluster, at, "c");
    }
}

#[test]
fn a_disk_that_is_full_for_long_is_caught_up_with_by_snapshots() {
    let cluster = Cluster::of(3, BALANCED);
    write_all(&cluster, 0, "a");
    cluster.fill(2);
    cluster.await_full(2, 0);
    let long = "x".repeat(4_000);
    for round in 0..20 {
        let line = format!("SET key0 {long}{round}");
        cluster.await_that("it is written", |cluster| {
            cluster.ask(0, &line) == Reply::OK
        });
    }
    let before = cluster.node(0).stats().snapshots + cluster.node(1).stats().snapshots;
    cluster.make_room(2);
    let upto = cluster
        .range(cluster.master_of(arc("key0")), arc("key0"))
        .unwrap();
    cluster.await_that("it has caught up", |cluster| {
        let copy = cluster.range(2, arc("key0"));
        copy.is_some_and(|copy| copy.applied >= upto.applied)
    });
    let after = cluster.node(0).stats().snapshots + cluster.node(1).stats().snapshots;
    assert!(after > before, "by entries alone: {before}, {after}");
    assert_eq!(cluster.ask(2, "GET key0"), bulk(&format!("{long}19")));
}
