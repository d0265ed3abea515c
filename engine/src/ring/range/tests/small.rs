//! What is asked of a range besides reads, writes and new members.

use super::*;

#[test]
fn a_read_that_cannot_tell_the_time_moves_the_log_on_once_for_all() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.run(300);
    let (last, before_ms) = (
        cluster.range(1).last().index,
        cluster.range(1).applied_time_ms(),
    );
    let asked = [cluster.elapse(1), cluster.elapse(1), cluster.elapse(1)];
    cluster.run(100);
    for asked in asked {
        assert!(
            matches!(cluster.outcome(asked), Some(Outcome::Read { index, .. }) if *index == last + 1)
        );
    }
    assert_eq!(cluster.range(1).last().index, last + 1);
    assert!(cluster.range(1).applied_time_ms() >= before_ms + 300);
    let elsewhere = cluster.elapse(2);
    assert_eq!(
        cluster.outcome(elsewhere),
        Some(&Outcome::NotMaster(Some(NodeId(1))))
    );
    assert_sound(&cluster);
}

#[test]
fn a_master_whose_storage_fails_leaves_everything_unknown() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.isolate(1);
    let write = cluster.push(1);
    let read = cluster.read(1, STRONG);
    cluster.fail(1);
    assert_eq!(cluster.outcome(write), Some(&Outcome::Unknown));
    assert_eq!(cluster.outcome(read), Some(&Outcome::NotMaster(None)));
    assert!(cluster.range(1).has_ended() && !cluster.range(1).is_master());
    let late = cluster.push(1);
    assert_eq!(cluster.outcome(late), Some(&Outcome::NotMaster(None)));
    cluster.heal();
    assert!(cluster.run_until(3_000, |cluster| cluster.master().is_some_and(|m| m != 1)));
    assert!(!cluster.range(1).is_master());
    assert_sound(&cluster);
}

#[test]
fn a_forwarded_read_whose_question_is_lost_is_answered_in_the_end() {
    for lost in [true, false] {
        let mut cluster = cluster((3, 2, 2), 3, None);
        let read = cluster.read(2, STRONG);
        for _ in 0..250 {
            // The question, or the answer to it.
            cluster.drop_messages(|m| match m.body {
                Body::AskIndex { .. } => lost,
                Body::ReadIndex { .. } => !lost,
                _ => false,
            });
            cluster.pass(10);
            for _ in 0..5 {
                cluster.deliver(|m| !matches!(m.body, Body::ReadIndex { .. }));
                cluster.settle_disks();
            }
        }
        assert_eq!(cluster.outcome(read), Some(&Outcome::NotMaster(None)));
        cluster.run(100);
        let again = cluster.read(2, STRONG);
        cluster.run(200);
        assert!(cluster.is_done(again));
        assert_sound(&cluster);
    }
}

#[test]
fn an_answer_that_comes_twice_or_late_is_taken_once() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    let read = cluster.read(2, STRONG);
    let mut kept = Vec::new();
    for _ in 0..20 {
        cluster.pass(10);
        for _ in 0..5 {
            kept.extend(cluster.copy(|m| matches!(m.body, Body::ReadIndex { .. })));
            cluster.deliver(|_| true);
            cluster.settle_disks();
        }
    }
    assert!(cluster.is_done(read) && !kept.is_empty());
    cluster.replay(kept);
    assert_sound(&cluster);
}

#[test]
fn semantics_are_raised_and_never_lowered() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    let raised = cluster.change(1, Change::Semantics(4));
    cluster.run(300);
    assert!(cluster.is_done(raised));
    for node in 1..=3 {
        assert_eq!(cluster.range(node).configuration().semantics, 4);
    }
    let last = cluster.range(1).last();
    let lowered = cluster.change(1, Change::Semantics(3));
    cluster.run(300);
    assert!(cluster.is_done(lowered));
    assert_eq!(cluster.range(1).configuration().semantics, 4);
    assert_eq!(cluster.range(1).last(), last);
    let elsewhere = cluster.change(2, Change::Semantics(5));
    assert_eq!(
        cluster.outcome(elsewhere),
        Some(&Outcome::NotMaster(Some(NodeId(1))))
    );
    assert_sound(&cluster);
}
