//! Runs the checker, and says how far it went.

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::model::Ring;

/// What a run came to.
pub struct Report {
    /// The properties that failed, and those that were reached.
    pub failed: BTreeSet<&'static str>,
    pub reached: BTreeSet<&'static str>,
    pub text: String,
}

/// Tries every course of events of at most `depth` steps.
pub fn explore(name: &str, ring: Ring, depth: usize, until: HasDiscoveries) -> Report {
    let start = Instant::now();
    let mutation = ring.mutation;
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
    let mut text = String::new();
    for (property, path) in checker.discoveries() {
        if property.starts_with("reached") {
            reached.insert(property);
            continue;
        }
        failed.insert(property);
        text += &format!("\n{name}: not so: {property}\n");
        for (number, action) in path.into_actions().iter().enumerate() {
            text += &format!("  {}. {action:?}\n", number + 1);
        }
    }
    let went = checker.max_depth() - 1;
    println!(
        "{name}: {} states, {}, {:.1} s{}",
        checker.unique_state_count(),
        match went <= depth {
            true => format!("all there are, {went} steps deep"),
            false => format!("all within {depth} steps"),
        },
        start.elapsed().as_secs_f64(),
        mutation.map_or(String::new(), |m| format!(", {m:?}: {failed:?}")),
    );
    Report {
        failed,
        reached,
        text,
    }
}
