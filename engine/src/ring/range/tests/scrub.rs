//! Copies are compared, and the one that differs is replaced (rule 13).

use super::*;

fn watched(row: (u8, u8, u8)) -> Cluster {
    let mut cluster = cluster(row, 3, None);
    cluster.watch();
    cluster
}

/// Copies are compared while clients write.
fn scrub(cluster: &mut Cluster) {
    let master = cluster.master().unwrap();
    cluster.push(master);
    cluster.scrub(master);
    cluster.push(master);
    cluster.run(3_000);
}

#[test]
fn equal_copies_are_left_alone() {
    let mut cluster = watched((3, 2, 2));
    scrub(&mut cluster);
    assert_eq!(cluster.mismatches(), Vec::<u64>::new());
    let snapshots = cluster.copy(|m| matches!(m.body, Body::Chunk(_)));
    assert_eq!((snapshots.len(), cluster.master()), (0, Some(1)));
    assert!(cluster.agrees());
    assert_sound(&cluster);
}

#[test]
fn a_rotten_copy_is_found_and_replaced() {
    for row in [(3, 2, 2), (3, 3, 1), (3, 1, 3), (3, 1, 1)] {
        let mut cluster = watched(row);
        cluster.rot(2);
        assert!(!cluster.agrees());
        scrub(&mut cluster);
        assert_eq!(cluster.mismatches(), [2]);
        assert!(cluster.agrees(), "{row:?} {}", cluster.describe());
        cluster.check_acknowledged();
    }
}

#[test]
fn a_master_that_has_rotted_gives_way() {
    for row in [(3, 2, 2), (3, 3, 1), (3, 1, 3)] {
        let mut cluster = watched(row);
        cluster.rot(1);
        scrub(&mut cluster);
        assert_eq!(cluster.mismatches(), [1]);
        assert!(
            cluster.run_until(5_000, Cluster::agrees),
            "{row:?} {}",
            cluster.describe()
        );
        cluster.check_acknowledged();
    }
}

#[test]
fn a_follower_that_lags_is_skipped() {
    let mut cluster = watched((3, 2, 2));
    cluster.rot(3);
    cluster.hold_settles(3);
    scrub(&mut cluster);
    assert_eq!(cluster.mismatches(), Vec::<u64>::new());
    assert!(!cluster.range(3).state().void);
    cluster.release(3);
    cluster.run(500);
    scrub(&mut cluster);
    assert_eq!(cluster.mismatches(), [3]);
    assert!(cluster.agrees(), "{}", cluster.describe());
}

#[test]
fn who_is_told_too_late_says_nothing() {
    let mut cluster = watched((3, 2, 2));
    cluster.rot(2);
    cluster.scrub(1);
    let told = cluster.copy(|m| matches!(m.body, Body::Scrub { .. }));
    cluster.drop_messages(|m| matches!(m.body, Body::Scrub { .. }));
    cluster.run(200);
    cluster.replay(told);
    cluster.run(3_000);
    assert_eq!(cluster.mismatches(), Vec::<u64>::new());
}

#[test]
fn a_copy_that_is_being_replaced_does_not_count_until_it_has_caught_up() {
    let mut cluster = watched((3, 2, 2));
    cluster.rot(2);
    cluster.scrub(1);
    for _ in 0..300 {
        cluster.pass(10);
        for _ in 0..5 {
            cluster.deliver(|m| !matches!(m.body, Body::Chunk(_)));
            cluster.settle_disks();
        }
    }
    let state = cluster.range(2).state();
    assert!(state.void && state.amnesiac);
    assert!(cluster.run_until(5_000, Cluster::agrees));
    let state = cluster.range(2).state();
    assert!(!state.void && !state.amnesiac);
    cluster.check_acknowledged();
}

#[test]
fn a_word_to_replace_that_comes_again_does_no_harm() {
    let mut cluster = watched((3, 2, 2));
    cluster.rot(2);
    cluster.scrub(1);
    let mut kept = Vec::new();
    for _ in 0..400 {
        cluster.pass(10);
        for _ in 0..10 {
            kept.extend(cluster.copy(|m| matches!(m.body, Body::Replace { .. })));
            cluster.deliver(|_| true);
            cluster.settle_disks();
        }
    }
    assert!(!kept.is_empty() && cluster.agrees());
    cluster.replay(kept);
    assert!(!cluster.range(2).state().void);
}
