//! What settles before what, and what a crash leaves (rules 1, 9, 10, 12, 13).

use super::*;

#[test]
fn a_vote_leaves_only_once_it_is_synced() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    cluster.crash(1);
    cluster.hold_settles(3);
    cluster.run(3_000);
    let grants = |cluster: &mut Cluster| {
        let votes = cluster.copy(|m| {
            matches!(
                m.body,
                Body::Ballot {
                    pre: false,
                    granted: true,
                    ..
                }
            )
        });
        votes.len()
    };
    assert_eq!((cluster.master(), grants(&mut cluster)), (None, 0));
    cluster.release(3);
    assert!(cluster.run_until(3_000, |cluster| cluster.master().is_some()));
    assert_sound(&cluster);
}

#[test]
fn a_killed_process_forgets_nothing_that_was_acknowledged() {
    let mut cluster = cluster_with((3, 2, 2), 3, None, Policy::EverySecond);
    let write = cluster.push(1);
    cluster.settle();
    assert!(cluster.is_done(write));
    for node in 1..=3 {
        cluster.crash(node);
    }
    for node in 1..=3 {
        cluster.restart(node);
        assert!(!cluster.range(node).state().amnesiac);
    }
    assert!(cluster.run_until(3_000, Cluster::agrees));
    cluster.check_acknowledged();
    assert_sound(&cluster);
}

fn one_forgets(mutation: Option<Mutation>) -> Cluster {
    let mut cluster = cluster_with((3, 2, 2), 3, mutation, Policy::EverySecond);
    cluster.isolate(3);
    // Node 2 writes and does not sync.
    let write = cluster.push(1);
    for _ in 0..20 {
        cluster.deliver(|_| true);
        cluster.settle_log(1);
        cluster.write_only(2);
    }
    assert!(cluster.is_done(write), "{:?}", cluster.outcome(write));
    cluster.lose_power(2);
    cluster.heal();
    cluster.isolate(1);
    cluster.restart(2);
    cluster
}

#[test]
fn a_flagged_replica_does_not_vote() {
    assert_noticed(Mutation::ForgetAmnesia, "leader completeness", |mutation| {
        let mut cluster = one_forgets(mutation);
        assert!(cluster.range(2).state().amnesiac);
        cluster.run(4_000);
        cluster
    });
}

#[test]
fn a_flagged_replica_counts_again_once_it_has_caught_up() {
    let mut cluster = one_forgets(None);
    cluster.run(2_000);
    assert!(cluster.range(2).state().amnesiac);
    cluster.heal();
    assert!(cluster.run_until(4_000, Cluster::agrees));
    assert!(!cluster.range(2).state().amnesiac);
    cluster.check_acknowledged();
    assert_sound(&cluster);
}

#[test]
fn when_all_have_lost_power_all_together_elect() {
    let mut cluster = cluster_with((3, 2, 2), 3, None, Policy::EverySecond);
    for node in 1..=3 {
        cluster.lose_power(node);
    }
    cluster.restart(1);
    cluster.restart(2);
    cluster.run(4_000);
    assert_eq!(cluster.master(), None);
    cluster.restart(3);
    assert!(
        cluster.run_until(4_000, Cluster::agrees),
        "{}",
        cluster.describe()
    );
    assert_sound(&cluster);
}

#[test]
fn a_diverged_replica_names_its_lost_writes() {
    assert_noticed(Mutation::KeepDiverged, "equal state", |mutation| {
        let mut cluster = cluster((3, 1, 1), 3, mutation);
        cluster.isolate(1);
        let write = cluster.push(1);
        cluster.settle();
        assert!(cluster.is_done(write));
        cluster.run(3_000);
        let new = cluster.master().unwrap();
        cluster.push(new);
        cluster.run(100);
        cluster.heal();
        cluster.run(3_000);
        if mutation.is_none() {
            assert_eq!(cluster.disk(1).lost().len(), 1);
            assert!(cluster.agrees(), "{}", cluster.describe());
        }
        cluster.check_acknowledged();
        cluster
    });
}

#[test]
fn a_restart_does_not_run_ahead_of_what_is_committed() {
    assert_noticed(Mutation::RunAhead, "state machine safety", |mutation| {
        let mut cluster = cluster((3, 2, 2), 3, mutation);
        cluster.isolate(1);
        cluster.push(1);
        cluster.settle();
        cluster.crash(1);
        cluster.run(3_000);
        let new = cluster.master().unwrap();
        cluster.push(new);
        cluster.run(100);
        cluster.restart(1);
        cluster.run(1_000);
        cluster
    });
}

#[test]
fn alone_everything_in_the_log_is_committed() {
    let mut cluster = cluster((1, 1, 1), 1, None);
    cluster.crash(1);
    cluster.restart(1);
    assert!(cluster.run_until(200, |cluster| cluster.disk(1).state().length(0) == 1));
    let write = cluster.push(1);
    cluster.settle();
    assert!(cluster.is_done(write));
    assert_sound(&cluster);
}

/// A replica that is far behind has its state replaced.
fn is_left_behind(mutation: Option<Mutation>) -> Cluster {
    let mut cluster = cluster((3, 2, 2), 3, mutation);
    cluster.propose(1, Command::Push(9));
    cluster.run(100);
    cluster.flush(3, 0);
    cluster.crash(3);
    cluster.propose(1, Command::Clear(9));
    for _ in 0..10 {
        cluster.push(1);
        cluster.run(20);
    }
    // Whoever restarts holds no more than its log has.
    for node in [1, 2] {
        cluster.flush(node, 0);
        cluster.crash(node);
    }
    for node in 1..=3 {
        cluster.restart(node);
    }
    cluster.run(4_000);
    cluster
}

#[test]
fn a_snapshot_replaces_the_state_and_merges_nothing() {
    assert_noticed(Mutation::MergeSnapshot, "equal state", |mutation| {
        let cluster = is_left_behind(mutation);
        assert!(
            mutation.is_some() || cluster.agrees(),
            "{}",
            cluster.describe()
        );
        cluster
    });
}
