//! Walks that break one rule each: the checks must notice, within so many seeds.

use super::*;
use crate::ring::ids::Index;
use crate::ring::message::Message;
use crate::ring::range::Options;

/// The walks in which a broken rule has to be noticed.
fn walk(mutation: Mutation, seed: u64) -> Walk {
    let row = match mutation {
        Mutation::ElectByMajority => (3, 1, 3),
        Mutation::KeepDiverged => (3, 1, 1),
        _ => (3, 2, 2),
    };
    let policy = match mutation {
        Mutation::ForgetAmnesia => Policy::EverySecond,
        _ => Policy::Always,
    };
    let mut faults = Faults::default();
    match mutation {
        Mutation::ForgetAmnesia => faults.power = 60,
        Mutation::ChangeAtOnce | Mutation::IgnoreIncarnation => faults.change = 250,
        Mutation::RunAhead => faults.crash = 60,
        Mutation::CommitOlderTerms => {
            faults = Faults {
                hold: 60,
                crash: 40,
                part: 60,
                change: 0,
                ..faults
            };
        }
        _ => {}
    }
    if row == (3, 1, 1) {
        faults.change = 0;
    }
    Walk {
        policy,
        faults,
        ..Walk::new(row, seed)
    }
}

/// The first seed by which it is noticed; the same walk is clean without it.
fn noticed(mutation: Mutation, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        let walk = walk(mutation, seed);
        let broken = Walk {
            mutation: Some(mutation),
            ..walk
        };
        let broken = broken.run();
        if broken.is_safe() {
            return None;
        }
        let sound = walk.run();
        assert!(sound.is_safe(), "{walk:?}: {:#?}", sound.violations());
        Some((seed, broken.violations()[0].clone()))
    })
}

#[test]
fn every_broken_rule_is_noticed_by_walks() {
    // These need a schedule that walks do not come by; the first two have a test of their own.
    let directed = [
        Mutation::NeverStepDown,
        Mutation::ReadUnconfirmed,
        Mutation::CommitOlderTerms,
    ];
    let mutations = Mutation::ALL
        .iter()
        .filter(|mutation| !directed.contains(mutation));
    let mut missed = Vec::new();
    for &mutation in mutations {
        match noticed(mutation, 150) {
            Some((seed, what)) => println!("{mutation:?}: seed {seed}: {what}"),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

/// Lets a node win an election whose first entry reaches nobody: everybody hears votes, and no entries.
fn win_unheard(cluster: &mut Cluster, node: u64) {
    let has_entries = |message: &Message| matches!(&message.body, Body::Append(append) if !append.entries.is_empty());
    for _ in 0..500 {
        cluster.tick(node, 10);
        cluster.settle_disks();
        cluster.drop_messages(has_entries);
        cluster.deliver(|_| true);
        cluster.settle_disks();
        if cluster.range(node).is_master() {
            cluster.drop_messages(|_| true);
            return;
        }
    }
    panic!("{}", cluster.describe());
}

/// Figure 8 of the Raft paper: an entry of an older term is on a majority, and a master of a term between
/// may yet replace it.
#[test]
fn committing_older_terms_by_counting_is_noticed() {
    assert_noticed(
        Mutation::CommitOlderTerms,
        "leader completeness",
        |mutation| {
            let options = Options {
                mutation,
                trace: true,
                // One entry a message, so that the older one arrives without the new term's.
                message_bytes: 1,
                ..Options::default()
            };
            let mut cluster = Cluster::with((3, 2, 2), 3, options, Policy::Always, 1);
            cluster.elect(1);
            cluster.run(100);
            cluster.isolate(1);
            cluster.push(1);
            cluster.settle_disks();
            cluster.crash(1);
            win_unheard(&mut cluster, 3);
            cluster.crash(3);
            cluster.heal();
            cluster.restart(1);
            win_unheard(&mut cluster, 1);
            // The older entry reaches node 2, and node 2's answer node 1; the new term's own entry does not.
            let older = cluster.range(1).last().index - 1;
            for _ in 0..40 {
                cluster.tick(1, 20);
                // Node 2 has to refuse the newest entry once before it is sent the older one.
                if cluster.range(2).last().index == older {
                    cluster.drop_messages(|message| carries_after(message, older));
                }
                cluster.deliver(|_| true);
                cluster.settle_disks();
            }
            assert_eq!(
                cluster.range(2).last().index,
                older,
                "{}",
                cluster.describe()
            );
            cluster.crash(1);
            cluster.restart(3);
            cluster.elect(3);
            cluster.run(500);
            cluster
        },
    );
}

/// Whether a message holds an entry behind this index.
fn carries_after(message: &Message, index: Index) -> bool {
    matches!(&message.body, Body::Append(append) if append.entries.iter().any(|entry| entry.index > index))
}
