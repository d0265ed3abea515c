//! Changes of the configuration (rule 8): of W and R, and from one voter to three.

use crate::check::{ALL, holds};
use crate::log::{Log, Payload::Empty, Payload::Joint};
use crate::model::{Bounds, CHANGED, Ring};
use crate::quorum::{Config, Set};
use crate::rows::led;
use crate::state::{Message, Role, State};

/// One voter that leads itself, and two learners that have nothing yet.
pub fn grown_from_one(to: Config) -> State {
    let alone = Config {
        members: Set::only(0),
        w: 1,
        r: 1,
    };
    let mut state = State::new([alone, to]);
    let log = Log::of(&[(1, Empty)]);
    let leader = state.replica_mut(0);
    *leader = leader.in_term(1, Some(0)).with_log(log);
    leader.role = Role::Leader;
    leader.matched[0] = 1;
    leader.commit = 1;
    state.seen.committed = log;
    state.seen.leaders[1] = Set::only(0);
    state
}

const BALANCED: Config = Config::row(2, 2);
const SAFEST: Config = Config::row(3, 1);
const FAST: Config = Config::row(1, 3);

const BOUNDS: Bounds = Bounds {
    max_term: 2,
    writes: 1,
    reads: 1,
    process_crashes: 0,
    machine_crashes: 0,
    changes: true,
    parts: false,
};

/// The first leader has appended that both configurations count from here on, and all have stored it.
fn half_way(configs: [Config; 2]) -> State {
    let mut state = led(configs);
    let log = Log::of(&[(1, Empty), (1, Joint)]);
    for replica in &mut state.replicas {
        *replica = replica.with_log(log);
    }
    state.send(Message::Append {
        term: 1,
        from: 0,
        log,
        commit: 1,
    });
    state
}

fn change(name: &str, start: State, bounds: Bounds, depth: usize) {
    let ring = Ring {
        start,
        bounds,
        mutation: None,
    };
    holds(name, ring, depth, &[CHANGED]);
}

/// Every change from one row that promises something to another.
fn changes_of_w(start: fn([Config; 2]) -> State, bounds: Bounds, depth: usize) {
    change("3 2 2 to 3 3 1", start([BALANCED, SAFEST]), bounds, depth);
    change("3 3 1 to 3 2 2", start([SAFEST, BALANCED]), bounds, depth);
    change("3 2 2 to 3 1 3", start([BALANCED, FAST]), bounds, depth);
    change("3 1 3 to 3 2 2", start([FAST, BALANCED]), bounds, depth);
    change("3 3 1 to 3 1 3", start([SAFEST, FAST]), bounds, depth);
    change("3 1 3 to 3 3 1", start([FAST, SAFEST]), bounds, depth);
}

fn growth(bounds: Bounds, depth: usize) {
    change("1 1 1 to 3 2 2", grown_from_one(BALANCED), bounds, depth);
    change("1 1 1 to 3 3 1", grown_from_one(SAFEST), bounds, depth);
    change("1 1 1 to 3 1 3", grown_from_one(FAST), bounds, depth);
}

#[test]
fn w_and_r_change_and_no_write_is_lost() {
    let bounds = Bounds { reads: 0, ..BOUNDS };
    changes_of_w(led, bounds, 15);
}

#[test]
fn w_and_r_change_under_strong_reads() {
    changes_of_w(half_way, BOUNDS, 10);
}

#[test]
fn one_voter_becomes_three() {
    growth(Bounds { reads: 0, ..BOUNDS }, ALL);
    growth(BOUNDS, 13);
}

#[test]
#[ignore = "takes many minutes, even in release"]
fn changes_hold_in_larger_bounds() {
    changes_of_w(led, Bounds { reads: 0, ..BOUNDS }, ALL);
    changes_of_w(half_way, BOUNDS, 15);
    growth(BOUNDS, ALL);
    let crashing = Bounds {
        process_crashes: 1,
        ..BOUNDS
    };
    changes_of_w(half_way, crashing, 12);
    growth(crashing, 15);
    let forgetting = Bounds {
        machine_crashes: 1,
        reads: 0,
        ..BOUNDS
    };
    change("3 2 2 to 3 3 1", led([BALANCED, SAFEST]), forgetting, 13);
    change("3 3 1 to 3 2 2", led([SAFEST, BALANCED]), forgetting, 13);
}
