//! Members and quorums change (rule 8).

use super::*;

/// Nodes 4 and 5 follow and have caught up.
fn with_learners(mutation: Option<Mutation>) -> Cluster {
    let mut cluster = cluster((3, 2, 2), 5, mutation);
    cluster.change(1, learners(&[4, 5], &[]));
    cluster.run(1_000);
    assert_eq!(cluster.range(4).applied(), cluster.range(1).applied());
    cluster
}

#[test]
fn a_joint_change_needs_both_sides() {
    assert_noticed(Mutation::ChangeAtOnce, "", |mutation| {
        let mut cluster = with_learners(mutation);
        for (one, other) in [(1, 2), (1, 3), (4, 2), (4, 3), (5, 2), (5, 3)] {
            cluster.part(one, other);
        }
        let change = cluster.change(1, voters(&[1, 4, 5], (3, 2, 2)));
        cluster.push(1);
        cluster.run(300);
        assert!(mutation.is_some() || !cluster.is_done(change));
        cluster.run(3_000);
        cluster.push(2);
        cluster.push(3);
        cluster.run(300);
        cluster
    });
}

#[test]
fn voters_are_replaced_and_the_old_copies_destroyed() {
    let mut cluster = with_learners(None);
    let change = cluster.change(1, voters(&[4, 5, 1], (3, 2, 2)));
    cluster.run(4_000);
    assert!(cluster.is_done(change), "{:?}", cluster.outcome(change));
    assert!(cluster.agrees(), "{}", cluster.describe());
    assert_eq!(cluster.range(4).configuration().members().len(), 3);
    assert_sound(&cluster);
}

#[test]
fn a_master_that_leaves_hands_over_first() {
    let mut cluster = with_learners(None);
    cluster.change(1, voters(&[2, 4, 5], (3, 2, 2)));
    assert!(
        cluster.run_until(4_000, |cluster| cluster.master().is_some_and(|m| m != 1)
            && cluster.agrees())
    );
    assert_sound(&cluster);
}

#[test]
fn a_master_that_will_not_vote_knows_who_can_take_office_before() {
    let cluster = with_learners(None);
    let nodes = |ids: [u64; 3]| ids.map(NodeId);
    let successor = |of: u64, ids| cluster.range(of).successor_among(&nodes(ids));
    // 4 has no vote yet.
    assert_eq!(successor(1, [4, 2, 5]), Some(NodeId(2)));
    assert_eq!(successor(1, [4, 5, 3]), Some(NodeId(3)));
    assert_eq!(successor(1, [4, 5, 1]), None, "it stays");
    assert_eq!(successor(2, [3, 4, 5]), None, "it is not the master");
}

#[test]
fn a_learner_that_lags_does_not_become_a_voter() {
    let mut cluster = cluster((3, 2, 2), 4, None);
    cluster.isolate(4);
    cluster.change(1, learners(&[4], &[]));
    cluster.run(200);
    let change = cluster.change(1, voters(&[1, 2, 4], (3, 2, 2)));
    assert_eq!(
        cluster.outcome(change),
        Some(&Outcome::Refused(Refusal::Changing))
    );
    assert_sound(&cluster);
}

#[test]
fn one_becomes_three_at_once() {
    let mut cluster = cluster((1, 1, 1), 3, None);
    cluster.change(1, learners(&[2, 3], &[]));
    cluster.run(500);
    let change = cluster.change(1, voters(&[1, 2, 3], (3, 2, 2)));
    cluster.run(500);
    assert!(cluster.is_done(change), "{:?}", cluster.outcome(change));
    cluster.crash(1);
    assert!(cluster.run_until(3_000, |cluster| cluster.master().is_some()));
    assert_sound(&cluster);
}

#[test]
fn w_and_r_change_like_members_do() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    let change = cluster.change(1, voters(&[1, 2, 3], (3, 1, 3)));
    cluster.run(500);
    assert!(cluster.is_done(change));
    cluster.isolate(1);
    let write = cluster.push(1);
    cluster.settle();
    assert!(cluster.is_done(write));
    cluster.run(4_000);
    assert!(cluster.master().is_none_or(|master| master == 1));
    assert_sound(&cluster);
}

#[test]
fn what_was_meant_for_a_former_incarnation_is_ignored() {
    let mut cluster = with_learners(None);
    cluster.change(1, learners(&[], &[4]));
    let mut kept = Vec::new();
    for _ in 0..200 {
        cluster.pass(10);
        for _ in 0..20 {
            kept.extend(cluster.copy(|m| m.to.node.0 == 4));
            cluster.deliver(|_| true);
            cluster.settle_disks();
        }
    }
    assert!(kept.iter().any(|m| matches!(m.body, Body::Removed { .. })));
    cluster.change(1, learners(&[4], &[]));
    cluster.run(500);
    assert_eq!(cluster.range(4).applied(), cluster.range(1).applied());
    cluster.replay(kept);
    cluster.run(500);
    assert!(cluster.agrees());
    assert_sound(&cluster);
}

#[test]
fn a_former_incarnation_that_heard_nothing_makes_room_for_the_next() {
    let mut cluster = cluster((3, 2, 2), 4, None);
    cluster.change(1, learners(&[4], &[]));
    cluster.settle();
    cluster.cut(4, 1);
    cluster.change(1, learners(&[], &[4]));
    cluster.run(100);
    cluster.change(1, learners(&[4], &[]));
    cluster.heal();
    assert!(
        cluster.run_until(3_000, Cluster::agrees),
        "{}",
        cluster.describe()
    );
    assert_sound(&cluster);
}

/// A node was held for good by a copy that a deposed master had begun there: the next master added the node at a
/// smaller index, so its copy was taken for the older one. The simulator found it.
#[test]
fn a_copy_whose_configuration_lost_its_place_makes_room_for_the_next() {
    let mut cluster = cluster((3, 2, 2), 4, None);
    cluster.settle();
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    for _ in 0..5 {
        cluster.push(1);
    }
    cluster.change(1, learners(&[4], &[]));
    cluster.run(50);
    let overwritten = cluster.range(4).me().incarnation;
    cluster.cut(1, 4);
    assert!(cluster.run_until(5_000, |cluster| cluster.master().is_some_and(|at| at != 1)));
    let master = cluster.master().unwrap();
    cluster.change(master, learners(&[4], &[]));
    cluster.heal();
    assert!(
        cluster.run_until(3_000, Cluster::agrees),
        "{}",
        cluster.describe()
    );
    let me = cluster.range(4).me();
    assert!(me.incarnation > overwritten && me.incarnation.index < overwritten.index);
    assert_sound(&cluster);
}

/// Where W is 3, a write that a lost replica will never store kept a handover waiting, again and again, and the
/// handover kept the replica from being replaced.
#[test]
fn a_lost_replica_is_replaced_while_a_handover_waits() {
    let mut cluster = cluster((3, 3, 1), 4, None);
    cluster.isolate(3);
    let stuck = cluster.push(1);
    cluster.run(50);
    assert_eq!(cluster.outcome(stuck), None);
    cluster.handover(1, Some(2));
    cluster.change(1, learners(&[4], &[]));
    cluster.run(50);
    assert!(cluster.range(2).configuration().members().len() == 4);
    cluster.change(1, voters(&[1, 2, 4], (3, 3, 1)));
    assert!(cluster.run_until(500, |cluster| cluster.is_done(stuck)));
    assert_sound(&cluster);
}

#[test]
fn learners_are_sent_no_more_than_they_may_be() {
    let mut cluster = cluster((3, 2, 2), 4, None);
    for _ in 0..5 {
        cluster.push(1);
    }
    cluster.feed(1, 0);
    cluster.change(1, learners(&[4], &[]));
    cluster.run(500);
    assert_eq!(cluster.range(1).configuration().learners.len(), 1);
    // It is told of nothing, and nobody who votes is held up.
    let write = cluster.push(1);
    cluster.run(500);
    assert!(cluster.is_done(write));
    assert_eq!(cluster.range(4).last().index, 0);
    cluster.feed(1, usize::MAX);
    cluster.run(500);
    assert_eq!(cluster.range(4).last(), cluster.range(1).last());
    assert!(cluster.fed(1) > 0);
    assert_sound(&cluster);
}

#[test]
fn a_master_that_leaves_answers_what_it_is_slow_to_apply() {
    let mut cluster = with_learners(None);
    cluster.change(1, voters(&[2, 4, 5], (3, 2, 2)));
    let write = cluster.push(1);
    for _ in 0..100 {
        cluster.pass(10);
        for _ in 0..4 {
            cluster.deliver(|_| true);
            cluster.log_only(1);
            (2..=5).for_each(|node| cluster.settle_log(node));
        }
    }
    // The others go on without it.
    assert!(cluster.range(4).configuration().member(NodeId(1)).is_none());
    assert_eq!(cluster.outcome(write), None);
    cluster.run(300);
    assert!(cluster.is_done(write), "{:?}", cluster.outcome(write));
    assert!(cluster.run_until(3_000, |cluster| {
        cluster.master().is_some_and(|master| master != 1)
    }));
    assert_sound(&cluster);
}

#[test]
fn a_replica_whose_disk_is_slow_does_not_begin_one_term_after_another() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.push(1);
    cluster.run(300);
    let before = cluster.range(2).term();
    cluster.crash(1);
    cluster.hold_settles(2);
    cluster.hold_settles(3);
    cluster.run(6_000);
    let terms = [2, 3].map(|node| cluster.range(node).term() - before);
    assert!(terms.iter().all(|&terms| terms <= 1), "{terms:?}");
    cluster.release(2);
    cluster.release(3);
    assert!(cluster.run_until(3_000, |cluster| cluster.master().is_some()));
    assert_sound(&cluster);
}
