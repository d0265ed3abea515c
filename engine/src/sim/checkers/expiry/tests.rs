use super::super::history::Outcome;
use super::super::testing::{get, history, ok, set, unknown};
use super::*;

type Line = (u64, Option<u64>, Op, Outcome);

const MS: u64 = 1000;

fn expiring(value: u64) -> Op {
    let ttl_ms = 10;
    Op::SetWithTtl {
        key: 0,
        value,
        ttl_ms,
    }
}

/// Written in the first millisecond, to live for ten.
fn written() -> Line {
    ok(0, MS, expiring(5), Reply::Done)
}

fn ttl(from: u64, to: u64, left: Ttl) -> Line {
    ok(from, to, Op::Ttl(0), Reply::Ttl(left))
}

fn faults(lines: Vec<Line>) -> Vec<Fault> {
    check(&history(lines), MS)
}

fn alive_again(lines: Vec<Line>) -> Vec<(OpId, OpId)> {
    let faults = check(&history(lines), u64::MAX);
    let ops = |fault| match fault {
        Fault::AliveAgain {
            key: 0,
            gone,
            alive,
        } => (gone, alive),
        other => panic!("{other:?}"),
    };
    faults.into_iter().map(ops).collect()
}

#[test]
fn a_key_that_expires_in_time_is_right() {
    let lines = vec![
        written(),
        get(5 * MS, 6 * MS, 0, Some(5)),
        ttl(6 * MS, 7 * MS, Ttl::LeftMs(4)),
        get(12 * MS, 13 * MS, 0, None),
        ttl(14 * MS, 15 * MS, Ttl::Missing),
    ];
    assert_eq!(faults(lines), []);
}

#[test]
fn a_key_seen_gone_is_not_seen_alive_again() {
    let lines = |again| vec![written(), get(20 * MS, 21 * MS, 0, None), again];
    assert_eq!(
        alive_again(lines(get(22 * MS, 23 * MS, 0, Some(5)))),
        [(1, 2)]
    );
    assert_eq!(
        alive_again(lines(ttl(22 * MS, 23 * MS, Ttl::LeftMs(1)))),
        [(1, 2)]
    );
    let concurrent = get(20 * MS, 23 * MS, 0, Some(5));
    assert_eq!(alive_again(lines(concurrent)), []);
}

#[test]
fn a_new_write_makes_it_alive_but_not_with_the_old_value() {
    let lines = |value| {
        vec![
            written(),
            get(20 * MS, 21 * MS, 0, None),
            ok(22 * MS, 23 * MS, expiring(6), Reply::Done),
            get(24 * MS, 25 * MS, 0, Some(value)),
        ]
    };
    assert_eq!(alive_again(lines(6)), []);
    assert_eq!(alive_again(lines(5)), [(1, 3)]);
}

#[test]
fn a_write_of_unknown_outcome_may_come_late_but_only_once() {
    let late = vec![
        unknown(0, expiring(5)),
        get(2, 3, 0, None),
        get(4, 5, 0, Some(5)),
    ];
    assert_eq!(alive_again(late.clone()), []);
    let twice = [late, vec![get(6, 7, 0, None), get(8, 9, 0, Some(5))]].concat();
    assert_eq!(alive_again(twice), [(3, 4)]);
}

#[test]
fn a_refused_write_does_not_make_it_alive() {
    let refused = (22, Some(23), expiring(6), Outcome::Failed);
    let lines = vec![
        ok(0, 1, expiring(5), Reply::Done),
        get(20, 21, 0, None),
        refused,
        ttl(24, 25, Ttl::LeftMs(1)),
    ];
    assert_eq!(alive_again(lines), [(1, 3)]);
}

#[test]
fn a_value_long_past_its_deadline_is_overdue() {
    let lines = |at| vec![written(), get(at, at + 1, 0, Some(5))];
    assert_eq!(faults(lines(12 * MS)), []);
    let overdue = Fault::Overdue {
        key: 0,
        write: 0,
        alive: 1,
    };
    assert_eq!(faults(lines(12 * MS + 1)), [overdue]);
    let doubtful = vec![unknown(0, expiring(5)), get(90 * MS, 91 * MS, 0, Some(5))];
    assert_eq!(faults(doubtful), []);
}

#[test]
fn a_value_gone_long_before_its_deadline_has_vanished() {
    let lines = |at| vec![written(), get(at - 1, at, 0, None)];
    assert_eq!(faults(lines(9 * MS)), []);
    let vanished = Fault::Vanished {
        key: 0,
        write: 0,
        gone: 1,
    };
    assert_eq!(faults(lines(9 * MS - 1)), [vanished]);
    let open = vec![
        ok(0, 9 * MS, expiring(5), Reply::Done),
        get(MS, 2 * MS, 0, None),
    ];
    assert_eq!(faults(open), []);
    let removed = |from| {
        vec![
            written(),
            ok(from, 4 * MS, Op::Delete(0), Reply::Existed(true)),
        ]
    };
    let read = get(5 * MS, 6 * MS, 0, None);
    assert_eq!(faults([removed(3 * MS), vec![read.clone()]].concat()), []);
    assert_eq!(faults([removed(0), vec![read]].concat()), []);
}

#[test]
fn a_value_set_to_stay_does_not_expire() {
    let lines = vec![
        written(),
        set(2 * MS, 3 * MS, 0, 6),
        get(50 * MS, 51 * MS, 0, None),
    ];
    let vanished = Fault::Vanished {
        key: 0,
        write: 1,
        gone: 2,
    };
    assert_eq!(faults(lines), [vanished]);
}

#[test]
fn keys_without_a_time_to_live_are_not_judged_here() {
    let lines = vec![set(0, 1, 0, 5), get(2, 3, 0, None), get(4, 5, 0, Some(5))];
    assert_eq!(faults(lines), []);
}
