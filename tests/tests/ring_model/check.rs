//! Runs the checker, and says how far it went.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::model::Ring;

/// What a run came to.
pub struct Report {
    /// The properties that failed, and those that were reached.
    pub failed: BTreeSet<&'static str>,
    pub reached: BTreeSet<&'static str>,
    /// After how many steps each of them was found.
    pub steps: BTreeMap<&'static str, usize>,
    pub text: String,
}

/// Tries every course of events of at most `depth` steps.
pub fn explore(name: &str, ring: Ring, depth: usize, until: HasDiscoveries) -> Report {
    let start = Instant::now();
    // One thread, so that the search is breadth first and the depth exact. A state at the target depth
    // itself is not looked at, and the start counts as one.
    let checker = ring
        .checker()
        .threads(1)
        .finish_when(until)
        .target_max_depth(depth + 2)
        .spawn_bfs()
        .join();
    let (mut failed, mut reached) = (BTreeSet::new(), BTreeSet::new());
    let (mut steps, mut text) = (BTreeMap::new(), String::new());
    for (property, path) in checker.discoveries() {
        let actions = path.into_actions();
        steps.insert(property, actions.len());
        if property.starts_with("reached") {
            reached.insert(property);
            continue;
        }
        failed.insert(property);
        text += &format!("\n{name}: not so: {property}\n");
        for (number, action) in actions.iter().enumerate() {
            text += &format!("  {}. {action:?}\n", number + 1);
        }
    }
    let went = checker.max_depth() - 1;
    let extent = match failed.is_empty() {
        false => format!("found after {steps:?}"),
        true if went <= depth => format!("all there are, {went} steps deep"),
        true => format!("all within {depth} steps"),
    };
    println!(
        "{name}: {} states, {extent}, {:.1} s",
        checker.unique_state_count(),
        start.elapsed().as_secs_f64(),
    );
    Report {
        failed,
        reached,
        steps,
        text,
    }
}

/// Deeper than any model here goes.
pub const ALL: usize = 1000;

/// Every property holds, and what has to be reached is: a model in which nothing happens proves nothing.
pub fn holds(name: &str, ring: Ring, depth: usize, to_reach: &[&str]) {
    let report = explore(name, ring, depth, HasDiscoveries::AnyFailures);
    assert!(report.failed.is_empty(), "{}", report.text);
    for what in to_reach {
        assert!(report.reached.contains(what), "{name}: not {what}");
    }
}
