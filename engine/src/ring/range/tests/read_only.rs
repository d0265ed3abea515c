//! Replicas whose stores take nothing for a while.

use super::*;

fn is_full_append(message: &crate::ring::message::Message, to: u64) -> bool {
    let has_entries = matches!(&message.body, Body::Append(append) if !append.entries.is_empty());
    has_entries && message.to.node == NodeId(to)
}

fn reads(cluster: &mut Cluster, node: u64) -> bool {
    let read = cluster.read(node, STRONG);
    cluster.run(200);
    matches!(cluster.outcome(read), Some(Outcome::Read { .. }))
}

#[test]
fn a_master_whose_disk_is_full_hands_over_and_takes_office_back() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.hold_settles(1);
    let pending = cluster.push(1);
    cluster.fill(1);
    assert_eq!(cluster.outcome(pending), Some(&Outcome::Unknown));
    let refused = cluster.push(1);
    assert!(matches!(
        cluster.outcome(refused),
        Some(Outcome::NotMaster(_))
    ));
    assert!(cluster.run_until(1_000, |cluster| {
        cluster.master().is_some_and(|master| master != 1)
    }));
    let master = cluster.master().unwrap();
    let write = cluster.push(master);
    cluster.run(100);
    assert!(cluster.is_done(write));
    // Everybody reads, and it is sent nothing that it cannot take.
    assert!(reads(&mut cluster, master) && reads(&mut cluster, 5 - master));
    let mut sent = 0;
    for _ in 0..200 {
        cluster.pass(10);
        sent += cluster.copy(|message| is_full_append(message, 1)).len();
        cluster.settle();
    }
    assert_eq!(sent, 0);
    let last = cluster.range(1).last();
    assert!(last < cluster.range(master).last());
    cluster.release(1);
    assert!(cluster.run_until(5_000, |cluster| cluster.master() == Some(1)));
    assert!(cluster.run_until(2_000, Cluster::agrees));
    cluster.check_acknowledged();
    assert_sound(&cluster);
}

#[test]
fn a_follower_whose_disk_is_full_reads_in_a_term_that_it_has_not_stored() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.fill(3);
    cluster.run(100);
    cluster.handover(1, Some(2));
    assert!(cluster.run_until(1_000, |cluster| cluster.master() == Some(2)));
    cluster.run(500);
    // What has been appended since is not there, and is read elsewhere.
    let read = cluster.read(3, STRONG);
    cluster.run(200);
    assert_eq!(
        cluster.outcome(read),
        Some(&Outcome::NotMaster(Some(NodeId(2))))
    );
    cluster.release(3);
    cluster.run(1_000);
    assert!(reads(&mut cluster, 3));
    assert_sound(&cluster);
}

#[test]
fn a_vote_that_cannot_be_stored_is_not_given() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.fill(3);
    cluster.crash(1);
    cluster.run(5_000);
    assert_eq!(cluster.master(), None);
    cluster.release(3);
    assert!(cluster.run_until(3_000, |cluster| cluster.master().is_some()));
    assert_sound(&cluster);
}

#[test]
fn where_nobody_could_take_over_a_master_stays_and_reads_go_on() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    for node in [2, 3] {
        cluster.fill(node);
    }
    cluster.run(200);
    let refused = cluster.push(1);
    assert_eq!(
        cluster.outcome(refused),
        Some(&Outcome::Refused(Refusal::TooFewReplicas))
    );
    cluster.fill(1);
    for _ in 0..10 {
        cluster.run(500);
        assert_eq!(cluster.master(), Some(1));
        assert!((1..=3).all(|node| reads(&mut cluster, node)));
        let refused = cluster.push(1);
        assert_eq!(
            cluster.outcome(refused),
            Some(&Outcome::Refused(Refusal::ReadOnly))
        );
    }
    // One that has room again is not enough to elect it; two are.
    cluster.release(2);
    cluster.run(2_000);
    assert_eq!(cluster.master(), Some(1));
    cluster.release(3);
    assert!(cluster.run_until(3_000, |cluster| {
        cluster.master().is_some_and(|master| master != 1)
    }));
    cluster.release(1);
    assert!(cluster.run_until(5_000, Cluster::agrees));
    cluster.check_acknowledged();
    assert_sound(&cluster);
}
