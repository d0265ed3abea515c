//! The four rows of the table.

use stateright::HasDiscoveries;

use crate::check::explore;
use crate::log::{Log, Payload::Empty};
use crate::model::{Bounds, Ring};
use crate::quorum::{Config, Set};
use crate::state::{Message, Role, State};

/// The first leader has just been elected, and all three have stored the entry that begins its term.
pub fn led(configs: [Config; 2]) -> State {
    let mut state = State::new(configs);
    let log = Log::of(&[(1, Empty)]);
    for replica in &mut state.replicas {
        *replica = replica.in_term(1, Some(0)).with_log(log);
    }
    let leader = state.replica_mut(0);
    leader.role = Role::Leader;
    leader.matched = [1; 3];
    leader.commit = 1;
    state.seen.committed = log;
    state.seen.leaders[1] = Set::only(0);
    state.send(Message::Append {
        term: 1,
        from: 0,
        log,
        commit: 1,
    });
    state
}

pub fn row(w: u8, r: u8) -> [Config; 2] {
    [Config::row(w, r); 2]
}

#[test]
fn probe() {
    let get = |n: &str, d: usize| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let bounds = Bounds {
        max_term: get("T", 2) as u8,
        writes: get("WR", 1) as u8,
        reads: get("RE", 1) as u8,
        process_crashes: get("PC", 0) as u8,
        machine_crashes: get("MC", 0) as u8,
        ..Bounds::default()
    };
    let (w, r) = (get("W", 2) as u8, get("R", 2) as u8);
    let start = match get("BLANK", 0) {
        0 => led(row(w, r)),
        _ => State::new(row(w, r)),
    };
    let ring = Ring { start, bounds, mutation: None };
    let report = explore("probe", ring, get("D", 20), HasDiscoveries::AnyFailures);
    println!("{:?} {}", report.reached, report.text);
}
