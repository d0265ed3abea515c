//! Voting, committing, reading and leaving office (rules 2 to 7).

use super::*;

#[test]
fn a_write_is_acknowledged_once_enough_have_stored_it() {
    for (row, needed) in [
        ((3, 1, 1), 1),
        ((3, 1, 3), 1),
        ((3, 2, 2), 2),
        ((3, 3, 1), 3),
    ] {
        let mut cluster = cluster(row, 3, None);
        for node in 1..=3 {
            cluster.hold_settles(node);
        }
        let write = cluster.push(1);
        for node in 1..=3 {
            cluster.settle();
            assert!(!cluster.is_done(write), "{row:?}");
            cluster.release(node);
            if node == needed {
                break;
            }
        }
        cluster.settle();
        assert!(cluster.is_done(write), "{row:?}");
        assert_sound(&cluster);
    }
}

#[test]
fn a_request_may_ask_for_more_replicas_than_w() {
    let mut cluster = cluster((3, 1, 1), 3, None);
    cluster.hold_settles(2);
    cluster.hold_settles(3);
    let (all, one) = (cluster.propose_to(1, Command::Push(0), 3), cluster.push(1));
    cluster.settle();
    assert!(cluster.is_done(one) && !cluster.is_done(all));
    cluster.release(2);
    cluster.release(3);
    cluster.settle();
    assert!(cluster.is_done(all));
    assert_sound(&cluster);
}

#[test]
fn with_fewer_than_w_in_reach_a_write_is_refused_and_not_appended() {
    let mut cluster = cluster((3, 3, 1), 3, None);
    cluster.crash(3);
    cluster.run(1_500);
    let last = cluster.range(1).last();
    let write = cluster.push(1);
    assert_eq!(
        cluster.outcome(write),
        Some(&Outcome::Refused(Refusal::TooFewReplicas))
    );
    assert_eq!(cluster.range(1).last(), last);
    assert_sound(&cluster);
}

#[test]
fn in_row_3_1_3_nobody_is_elected_unless_all_are_there() {
    let mut cluster = cluster((3, 1, 3), 3, None);
    cluster.crash(1);
    cluster.run(5_000);
    assert_eq!(cluster.master(), None);
    cluster.restart(1);
    assert!(cluster.run_until(5_000, |cluster| cluster.master().is_some()));
    assert_sound(&cluster);
}

#[test]
fn election_by_majority_in_row_3_1_3_is_noticed() {
    assert_noticed(
        Mutation::ElectByMajority,
        "leader completeness",
        |mutation| {
            let mut cluster = cluster((3, 1, 3), 3, mutation);
            cluster.isolate(1);
            let write = cluster.push(1);
            cluster.settle();
            assert!(cluster.is_done(write));
            cluster.run(3_000);
            cluster
        },
    );
}

#[test]
fn a_strong_read_sees_what_was_acknowledged_at_any_replica() {
    let mut cluster = cluster((3, 3, 1), 3, None);
    for node in 1..=3 {
        let read = cluster.read(node, ReadLevel::Configured);
        cluster.run(200);
        assert!(cluster.is_done(read), "{node}: {:?}", cluster.outcome(read));
        assert_eq!(cluster.disk(node).state().length(0), 1);
    }
    assert_sound(&cluster);
}

#[test]
fn a_read_at_a_deposed_master_is_not_answered() {
    assert_noticed(Mutation::ReadUnconfirmed, "stale read", |mutation| {
        let mut cluster = cluster((3, 2, 2), 3, mutation);
        cluster.isolate(1);
        // Time stands still at the old master: it does not step down.
        for _ in 0..100 {
            cluster.tick(2, 20);
            cluster.tick(3, 20);
            cluster.settle();
        }
        let new = if cluster.range(2).is_master() { 2 } else { 3 };
        assert!(cluster.range(new).is_master() && cluster.range(1).is_master());
        let write = cluster.push(new);
        cluster.settle();
        assert!(cluster.is_done(write));
        let read = cluster.read(1, STRONG);
        cluster.settle();
        assert!(mutation.is_some() || !cluster.is_done(read));
        cluster
    });
}

#[test]
fn a_weak_read_says_how_old_it_may_be() {
    let mut cluster = cluster((3, 1, 1), 3, None);
    cluster.isolate(3);
    cluster.run(300);
    let read = cluster.read(3, ReadLevel::Configured);
    let Some(Outcome::Read {
        behind_ms: Some(behind_ms),
        ..
    }) = cluster.outcome(read)
    else {
        panic!("{:?}", cluster.outcome(read));
    };
    assert!(*behind_ms >= 300);
}

#[test]
fn losing_office_makes_pending_writes_unknown() {
    assert_noticed(Mutation::CallItNotWritten, "not written", |mutation| {
        let mut cluster = cluster((3, 2, 2), 3, mutation);
        cluster.isolate(1);
        let write = cluster.push(1);
        cluster.run(2_000);
        let said = cluster.outcome(write).cloned();
        assert!(
            mutation.is_some() || said == Some(Outcome::Unknown),
            "{said:?}"
        );
        cluster
    });
}

#[test]
fn a_master_without_followers_steps_down() {
    for mutation in [None, Some(Mutation::NeverStepDown)] {
        let mut cluster = cluster((3, 2, 2), 3, mutation);
        cluster.isolate(1);
        cluster.run(1_000);
        assert_eq!(cluster.range(1).is_master(), mutation.is_some());
        assert_sound(&cluster);
    }
}

#[test]
fn a_master_whose_disk_stands_still_steps_down() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.hold_settles(1);
    cluster.push(1);
    cluster.run(1_000);
    assert!(!cluster.range(1).is_master());
    assert!(cluster.run_until(3_000, |cluster| {
        cluster.master().is_some_and(|master| master != 1)
    }));
    assert_sound(&cluster);
}

#[test]
fn a_handover_takes_less_than_an_election() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.handover(1, Some(3));
    cluster.settle();
    assert!(cluster.range(3).is_master());
    assert_eq!(cluster.master(), Some(3));
    assert_sound(&cluster);
}

#[test]
fn time_never_goes_back_over_masters() {
    assert_noticed(Mutation::TrustWallClock, "time", |mutation| {
        let mut cluster = cluster((3, 2, 2), 3, mutation);
        cluster.skew(2, -400);
        cluster.handover(1, Some(2));
        cluster.run(200);
        cluster.push(2);
        cluster.run(200);
        cluster
    });
}
