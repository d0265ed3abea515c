//! An operator makes one copy the whole range (rule 9).

use super::*;
use crate::ring::ids::LogId;

/// Nodes 1 and 2 are gone for good; node 3 has everything that was acknowledged.
fn alone() -> (Cluster, u64) {
    let mut cluster = cluster((3, 2, 2), 5, None);
    let write = cluster.push(1);
    cluster.run(100);
    assert!(cluster.is_done(write));
    let term = cluster.range(3).term();
    cluster.lose_power(1);
    cluster.lose_power(2);
    cluster.run(2_000);
    assert_eq!(cluster.master(), None);
    (cluster, term)
}

#[test]
fn a_copy_that_is_left_over_is_made_the_whole_range() {
    let (mut cluster, term) = alone();
    let asked = cluster.recover(3);
    cluster.run(100);
    assert!(cluster.is_done(asked), "{:?}", cluster.outcome(asked));
    assert_eq!(cluster.master(), Some(3));
    assert!(cluster.range(3).term() > term);
    assert_eq!(cluster.disk(3).state().length(0), 2);
    let write = cluster.push(3);
    cluster.run(100);
    assert!(cluster.is_done(write));
    cluster.check_acknowledged();
    assert_sound(&cluster);
}

#[test]
fn it_grows_again_and_those_who_come_back_begin_anew() {
    let (mut cluster, _) = alone();
    cluster.recover(3);
    cluster.run(100);
    cluster.change(3, learners(&[4, 1], &[]));
    cluster.run(500);
    cluster.restart(1);
    cluster.restart(2);
    cluster.run(2_000);
    assert!(cluster.range(1).me().incarnation > LogId::default());
    let change = cluster.change(3, voters(&[3, 4, 1], (3, 2, 2)));
    cluster.run(1_000);
    assert!(cluster.is_done(change), "{:?}", cluster.outcome(change));
    assert!(
        cluster.run_until(3_000, Cluster::agrees),
        "{}",
        cluster.describe()
    );
    cluster.check_acknowledged();
    assert_sound(&cluster);
}

#[test]
fn a_recovery_survives_the_process() {
    let (mut cluster, _) = alone();
    cluster.recover(3);
    cluster.settle_log(3);
    cluster.lose_power(3);
    cluster.restart(3);
    assert!(cluster.run_until(3_000, |cluster| cluster.master() == Some(3)));
    cluster.check_acknowledged();
    assert_sound(&cluster);
}

#[test]
fn nothing_counts_before_it_is_synced() {
    let (mut cluster, _) = alone();
    cluster.hold_settles(3);
    let asked = cluster.recover(3);
    cluster.run(100);
    assert_eq!((cluster.master(), cluster.is_done(asked)), (None, false));
    cluster.release(3);
    cluster.run(100);
    assert_eq!((cluster.master(), cluster.is_done(asked)), (Some(3), true));
    assert_sound(&cluster);
}

#[test]
fn while_there_is_a_master_it_is_refused() {
    let mut cluster = cluster((3, 2, 2), 3, None);
    for node in [1, 3] {
        let asked = cluster.recover(node);
        assert_eq!(
            cluster.outcome(asked),
            Some(&Outcome::Refused(Refusal::Led))
        );
    }
    assert_eq!(cluster.master(), Some(1));
    assert_sound(&cluster);
}

#[test]
fn a_flagged_copy_is_recovered_too() {
    let mut cluster = cluster_with((3, 1, 1), 3, None, Policy::EverySecond);
    cluster.lose_power(1);
    for node in [2, 3] {
        cluster.lose_power(node);
        cluster.restart(node);
    }
    cluster.run(3_000);
    assert_eq!(cluster.master(), None);
    assert!(cluster.range(2).state().amnesiac);
    cluster.recover(2);
    cluster.run(200);
    assert_eq!(cluster.master(), Some(2));
    assert!(!cluster.range(2).state().amnesiac);
    // Node 3 was left out, and hears so.
    cluster.run(2_000);
    assert!(!cluster.holds_copy(3));
}
