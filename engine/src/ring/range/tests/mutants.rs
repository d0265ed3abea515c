//! Walks that break one rule each: the checks must notice, within so many seeds.

use super::*;

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

#[test]
#[ignore = "walks have not found it yet: a directed schedule is due"]
fn committing_older_terms_by_counting_is_noticed() {
    assert!(noticed(Mutation::CommitOlderTerms, 1_500).is_some());
}
