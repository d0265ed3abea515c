//! The four rows of the table.

use std::collections::BTreeSet;

use stateright::HasDiscoveries;

use crate::check::{ALL, explore, holds};
use crate::log::{Log, Payload::Empty, Term};
use crate::model::{
    Bounds, FLAG_CLEARED, LINEARIZABLE, LOGS_MATCH, NOTHING_LOST, ONE_LEADER, READ_UNDER_SECOND,
    Ring,
};
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

/// What happens besides elections: these many writes, reads, crashes of a process and of a machine.
const fn bounds(
    max_term: Term,
    [writes, reads, process_crashes, machine_crashes]: [u8; 4],
) -> Bounds {
    Bounds {
        max_term,
        writes,
        reads,
        process_crashes,
        machine_crashes,
        changes: false,
        parts: false,
    }
}

/// From replicas that have just met: elections alone.
fn elections(name: &str, w: u8, r: u8) {
    let ring = Ring {
        start: State::new(row(w, r)),
        bounds: bounds(3, [0, 0, 1, 0]),
        mutation: None,
    };
    holds(name, ring, ALL, &[]);
}

/// From the first leader on.
fn holds_in(name: &str, w: u8, r: u8, bounds: Bounds, depth: usize) {
    let ring = Ring {
        start: led(row(w, r)),
        bounds,
        mutation: None,
    };
    let reads = if bounds.reads > 0 {
        &[READ_UNDER_SECOND][..]
    } else {
        &[]
    };
    let flags = if bounds.machine_crashes > 0 {
        &[FLAG_CLEARED][..]
    } else {
        &[]
    };
    holds(name, ring, depth, &[reads, flags].concat());
}

/// What a row promises that keeps what is acknowledged on more than one disk.
fn a_row_of_several_disks(name: &str, w: u8, r: u8) {
    elections(name, w, r);
    holds_in(name, w, r, bounds(2, [1, 2, 0, 0]), 14);
    holds_in(name, w, r, bounds(2, [2, 0, 0, 0]), ALL);
    holds_in(name, w, r, bounds(2, [1, 1, 1, 0]), ALL);
    holds_in(name, w, r, bounds(2, [1, 0, 0, 1]), ALL);
    holds_in(name, w, r, bounds(3, [1, 1, 0, 0]), 13);
    holds_in(name, w, r, bounds(2, [1, 0, 0, 2]), 10);
}

#[test]
fn row_3_2_2_keeps_its_promise() {
    a_row_of_several_disks("3 2 2", 2, 2);
}

#[test]
fn row_3_3_1_keeps_its_promise() {
    a_row_of_several_disks("3 3 1", 3, 1);
}

/// As long as no machine forgets what it has written: no `machine_crashes`.
#[test]
fn row_3_1_3_keeps_its_promise() {
    elections("3 1 3", 1, 3);
    holds_in("3 1 3", 1, 3, bounds(2, [1, 2, 0, 0]), ALL);
    holds_in("3 1 3", 1, 3, bounds(2, [2, 1, 0, 0]), 12);
    holds_in("3 1 3", 1, 3, bounds(2, [1, 1, 1, 0]), ALL);
    holds_in("3 1 3", 1, 3, bounds(3, [1, 1, 0, 0]), 14);
}

/// What its name warns of: the master alone had the write, and its machine forgot it.
#[test]
fn row_3_1_3_loses_writes_with_the_disk_of_the_master() {
    let ring = Ring {
        start: led(row(1, 3)),
        bounds: bounds(2, [1, 0, 0, 1]),
        mutation: None,
    };
    let lost = HasDiscoveries::AllOf(BTreeSet::from([NOTHING_LOST]));
    let report = explore("3 1 3, its disk lost", ring, ALL, lost);
    assert!(report.failed.contains(NOTHING_LOST));
}

/// The row that promises neither: the checker has to find both.
#[test]
fn row_3_1_1_loses_acknowledged_writes_and_reads_stale_values() {
    let ring = Ring {
        start: led(row(1, 1)),
        bounds: bounds(2, [1, 1, 0, 0]),
        mutation: None,
    };
    // On and on, as one leader a term is what this row has too.
    let until = HasDiscoveries::AllOf(BTreeSet::from([ONE_LEADER]));
    let failed = explore("3 1 1", ring, ALL, until).failed;
    assert!(failed.contains(NOTHING_LOST), "{failed:?}");
    assert!(failed.contains(LINEARIZABLE), "{failed:?}");
    assert!(!failed.contains(ONE_LEADER), "{failed:?}");
    assert!(!failed.contains(LOGS_MATCH), "{failed:?}");
}

/// One after the other, or both at once: then W = 3 still keeps what it has acknowledged.
#[test]
#[ignore = "takes many minutes, even in release"]
fn two_machines_forget() {
    holds_in("3 3 1", 3, 1, bounds(2, [1, 0, 0, 2]), ALL);
    holds_in("3 2 2", 2, 2, bounds(2, [1, 0, 0, 2]), ALL);
}

#[test]
#[ignore = "takes many minutes, even in release"]
fn rows_keep_their_promises_in_larger_bounds() {
    for (name, w, r) in [("3 2 2", 2, 2), ("3 3 1", 3, 1)] {
        holds_in(name, w, r, bounds(3, [1, 1, 0, 0]), ALL);
        holds_in(name, w, r, bounds(2, [2, 1, 0, 0]), ALL);
        holds_in(name, w, r, bounds(2, [1, 2, 1, 0]), 18);
        holds_in(name, w, r, bounds(2, [1, 1, 0, 1]), ALL);
        holds_in(name, w, r, bounds(3, [1, 0, 0, 1]), 16);
        let in_parts = Bounds {
            parts: true,
            ..bounds(3, [1, 0, 1, 0])
        };
        holds_in(name, w, r, in_parts, 16);
    }
    holds_in("3 1 3", 1, 3, bounds(3, [1, 1, 1, 0]), ALL);
    holds_in("3 1 3", 1, 3, bounds(2, [2, 2, 0, 0]), ALL);
}
