//! Seeded walks of the sound core.

use super::*;

const ROWS: [(u8, u8, u8); 5] = [(3, 2, 2), (3, 3, 1), (3, 1, 3), (3, 1, 1), (5, 3, 3)];

fn walk(row: (u8, u8, u8), seeds: std::ops::Range<u64>) {
    for seed in seeds {
        for policy in [Policy::Always, Policy::EverySecond] {
            let mut walk = Walk {
                policy,
                ..Walk::new(row, seed)
            };
            if row == (3, 1, 1) {
                // What one replica commits may be lost, new members among it.
                walk.faults.change = 0;
            }
            let cluster = walk.run();
            let found = cluster.violations();
            assert!(found.is_empty(), "{walk:?}: {found:#?}");
        }
    }
}

#[test]
fn walks_in_row_3_2_2_end_in_agreement() {
    walk((3, 2, 2), 0..60);
}

#[test]
fn walks_in_row_3_3_1_end_in_agreement() {
    walk((3, 3, 1), 0..60);
}

#[test]
fn walks_in_row_3_1_3_end_in_agreement() {
    walk((3, 1, 3), 0..60);
}

#[test]
fn walks_in_row_3_1_1_end_in_agreement() {
    walk((3, 1, 1), 0..60);
}

#[test]
fn walks_of_five_end_in_agreement() {
    walk((5, 3, 3), 0..40);
}

#[test]
fn walks_with_disks_that_are_full_end_in_agreement() {
    for row in ROWS {
        for seed in 0..40 {
            let mut walk = Walk::new(row, seed);
            walk.faults.full = 30;
            // Copies that a lost configuration had added are their nodes' to see to, where little is ever committed.
            walk.faults.change = 0;
            let found = walk.run();
            assert!(
                found.violations().is_empty(),
                "{walk:?}: {:#?}",
                found.violations()
            );
            // Where acknowledged writes may be lost, what holds of changes does not, either.
            walk.faults.change = if row == (3, 1, 1) { 0 } else { 40 };
            let found = walk.run();
            assert!(found.is_safe(), "{walk:?}: {:#?}", found.violations());
        }
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}

/// Searches many seeds and lists what it finds by kind: `WALK_FROM`, `WALK_TO`, `WALK_STEPS`, `WALK_ROW`.
#[test]
#[ignore = "a search, for as long as one likes"]
fn search() {
    let mut kinds = std::collections::BTreeMap::new();
    let row = setting("WALK_ROW", 99) as usize;
    for seed in setting("WALK_FROM", 0)..setting("WALK_TO", 100) {
        let rows = ROWS
            .iter()
            .enumerate()
            .filter(|&(place, _)| row == 99 || row == place);
        for (_, &row) in rows {
            for policy in [Policy::Always, Policy::EverySecond] {
                let steps = setting("WALK_STEPS", 4_000);
                let mut walk = Walk {
                    policy,
                    steps,
                    ..Walk::new(row, seed)
                };
                walk.traced = setting("WALK_TRACED", 0) > 0;
                walk.faults.change = setting("WALK_CHANGE", walk.faults.change);
                walk.faults.power = setting("WALK_POWER", walk.faults.power);
                let cluster = std::panic::catch_unwind(|| walk.run());
                let found = match &cluster {
                    Ok(cluster) => cluster.violations().first().cloned(),
                    Err(_) => Some("panic:".to_owned()),
                };
                if let Some(what) = found {
                    let name = what.split(':').next().unwrap_or_default();
                    if let Ok(cluster) = &cluster
                        && walk.traced
                    {
                        println!("{}{}", cluster.last_events(60), cluster.describe());
                    }
                    let kind = format!("{row:?} {policy:?} {name}");
                    kinds
                        .entry(kind)
                        .or_insert_with(Vec::new)
                        .push((seed, what));
                }
            }
        }
    }
    for (kind, found) in kinds {
        let (seed, what) = &found[0];
        println!("{} x {kind}, first by seed {seed}: {what}", found.len());
    }
}
