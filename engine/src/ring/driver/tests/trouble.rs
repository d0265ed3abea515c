//! What clients hear when something is wrong.

use super::*;
use crate::ErrorKind;
use crate::storage::faulty::{Fault, OpKind, Plan, When};

#[test]
fn too_few_replicas_refuse_a_write_before_it_is_logged() {
    let mut cluster = Cluster::of(3, (3, 3, 1));
    assert_eq!(cluster.ask(0, "SET k 1"), Reply::OK);
    let gone = (cluster.master_of(arc("k")) + 1) % 3;
    let at = (gone + 1) % 3;
    cluster.kill(gone);
    cluster.pass(3_000);
    assert_eq!(
        cluster.ask(at, "SET k 2"),
        Reply::error("NOREPLICAS not enough replicas to write")
    );
    assert_eq!(cluster.ask(at, "GET k"), bulk("1"));
    assert!(cluster.node(at).stats().refused > 0);
}

#[test]
fn what_was_never_sent_to_a_dead_master_goes_to_the_next() {
    let mut cluster = Cluster::of(3, BALANCED);
    assert_eq!(cluster.ask(0, "SET k 1"), Reply::OK);
    let master = cluster.master_of(arc("k"));
    cluster.kill(master);
    assert_eq!(cluster.ask((master + 1) % 3, "SET k 2"), Reply::OK);
    assert_eq!(cluster.ask((master + 2) % 3, "GET k"), bulk("2"));
}

#[test]
fn without_a_majority_a_request_waits_and_is_told_to_try_again() {
    let mut cluster = Cluster::of(3, BALANCED);
    cluster.ask(0, "SET k 1");
    cluster.kill(1);
    cluster.kill(2);
    cluster.pass(3_000);
    let before = cluster.runtime.monotonic();
    let Reply::Error(text) = cluster.ask(0, "SET k 2") else {
        panic!("it was taken");
    };
    assert!(
        text.starts_with("TRYAGAIN") || text.starts_with("NOREPLICAS"),
        "{text}"
    );
    let Reply::Error(text) = cluster.ask(0, "GET k") else {
        panic!("it was read");
    };
    assert!(text.starts_with("TRYAGAIN"), "{text}");
    let took = cluster.runtime.monotonic() - before;
    assert!(took < Duration::from_secs(12), "{took:?}");
    // An operator may have it all the same.
    let node = cluster.node(0).clone();
    cluster.runtime.block_on(node.recover(arc("k"))).unwrap();
    assert_eq!(cluster.ask(0, "SET k 3"), Reply::OK);
    assert_eq!(cluster.ask(0, "GET k"), bulk("3"));
    let led = cluster.runtime.block_on(node.recover(arc("k")));
    assert_eq!(led.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_node_whose_disk_fails_stops_and_says_why() {
    let cluster = Cluster::founded(BALANCED, 2);
    assert_eq!(cluster.ask(0, "SET k 1"), Reply::OK);
    assert!(cluster.node(0).failure().is_none());
    let failing = Plan::new().always(
        When::kind(OpKind::SettleWritten).or_kind(OpKind::SettleSynced),
        Fault::Fail,
    );
    cluster.machines[0].storage.set_plan(failing);
    let Reply::Error(text) = cluster.ask(0, "SET k 2") else {
        panic!("it was taken");
    };
    assert!(text.starts_with("UNKNOWN"), "{text}");
    cluster.await_that("it gives up mending its log", |cluster| {
        cluster.node(0).failure().is_some()
    });
    for line in ["GET k", "SET k 3"] {
        let Reply::Error(text) = cluster.ask(0, line) else {
            panic!("{line} was taken");
        };
        assert!(text.starts_with("CLUSTERDOWN"), "{text}");
        assert!(text.contains("nothing was written"), "{text}");
    }
}

#[test]
fn a_node_that_has_stopped_sends_clients_elsewhere() {
    let cluster = Cluster::of(3, BALANCED);
    let failing = Plan::new().always(
        When::kind(OpKind::SettleWritten).or_kind(OpKind::SettleSynced),
        Fault::Fail,
    );
    cluster.machines[1].storage.set_plan(failing);
    cluster.await_that("it stops", |cluster| {
        let _any = cluster.ask(0, "INCR k");
        let _any = cluster.ask(0, "INCR other");
        cluster.node(1).failure().is_some()
    });
    let stopped = cluster.node(1).id();
    cluster.await_that("nobody names it, nor does it itself", |cluster| {
        let routes = |place| cluster.node(place).view().routes.clone();
        (0..3).all(|place| !routes(place).contains(&stopped))
    });
    assert!(cluster.node(1).view().silent.contains(&stopped));
}

#[test]
fn more_replicas_than_there_are_cannot_be_asked_for() {
    let cluster = Cluster::founded(BALANCED, 1);
    let two = Consistency {
        w: 2,
        ..Consistency::default()
    };
    let reply = cluster.run_with(0, &["SET k 1"], two).pop().unwrap();
    assert!(matches!(reply, Reply::Error(text) if text.starts_with("ERR")));
}

#[test]
fn a_proposal_that_is_refused_says_why() {
    let cluster = Cluster::founded(BALANCED, 1);
    let node = cluster.node(0);
    let drained = cluster
        .runtime
        .block_on(node.propose(Proposal::Drain(node.id())));
    let error = drained.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("last node"), "{error}");
}
