use super::super::super::history::{Op, Outcome, Reply, Value};
use super::super::super::testing::{append, get, history, incr, list, ok, set, unknown};
use super::*;

fn multi(from: u64, to: u64, parts: Vec<(Op, Reply)>) -> Line {
    let (ops, replies) = parts.into_iter().unzip();
    ok(from, to, Op::Multi(ops), Reply::Many(replies))
}

fn set_both(from: u64, to: u64, value: u64) -> Line {
    let parts = [0, 1].map(|key| (Op::Set(key, value + u64::from(key)), Reply::Done));
    multi(from, to, parts.to_vec())
}

fn scan(from: u64, to: u64, values: &[(Key, u64)]) -> Line {
    let values = values
        .iter()
        .map(|&(key, value)| (key, Value::Register(value)));
    ok(from, to, Op::Scan, Reply::Scan(values.collect()))
}

#[test]
fn a_history_of_one_client_fits_only_as_it_was() {
    assert!(is_linearizable(vec![
        set(0, 1, 0, 5),
        get(2, 3, 0, Some(5))
    ]));
    assert!(!is_linearizable(vec![
        set(0, 1, 0, 5),
        get(2, 3, 0, Some(6))
    ]));
    assert!(!is_linearizable(vec![set(0, 1, 0, 5), get(2, 3, 0, None)]));
}

#[test]
fn a_stale_read_is_a_violation_and_a_concurrent_one_is_not() {
    let lines = |read_from| {
        vec![
            set(0, 1, 0, 5),
            set(2, 6, 0, 6),
            get(read_from, 9, 0, Some(5)),
        ]
    };
    assert!(is_linearizable(lines(4)));
    assert!(!is_linearizable(lines(7)));
}

#[test]
fn reads_may_not_go_back_while_a_write_is_open() {
    let lines = |first, second| {
        vec![
            set(0, 1, 0, 5),
            set(2, 20, 0, 6),
            get(3, 4, 0, Some(first)),
            get(5, 6, 0, Some(second)),
        ]
    };
    assert!(is_linearizable(lines(5, 6)));
    assert!(!is_linearizable(lines(6, 5)));
}

#[test]
fn a_read_before_the_write_it_saw_is_a_violation() {
    assert!(!is_linearizable(vec![
        get(0, 1, 0, Some(5)),
        set(2, 3, 0, 5)
    ]));
    assert!(!is_linearizable(vec![
        get(0, 1, 0, Some(5)),
        unknown(2, Op::Set(0, 5))
    ]));
}

#[test]
fn a_lost_update_is_a_violation() {
    assert!(is_linearizable(vec![
        incr(0, 9, 100, 2),
        incr(0, 9, 100, 1)
    ]));
    assert!(!is_linearizable(vec![
        incr(0, 9, 100, 1),
        incr(0, 9, 100, 1)
    ]));
    assert!(!is_linearizable(vec![
        append(0, 1, 200, 4, 1),
        append(2, 3, 200, 5, 2),
        list(4, 5, 200, &[5]),
    ]));
    let swap = |from, to, expected, value| {
        let op = Op::Cas {
            key: 0,
            expected,
            value,
        };
        ok(from, to, op, Reply::Swapped(true))
    };
    assert!(is_linearizable(vec![
        swap(0, 9, None, 1),
        swap(0, 9, Some(1), 2)
    ]));
    assert!(!is_linearizable(vec![
        swap(0, 9, None, 1),
        swap(0, 9, None, 2)
    ]));
}

#[test]
fn a_swap_fails_only_for_a_reason() {
    let failed = |from, to, expected| {
        let op = Op::Cas {
            key: 0,
            expected,
            value: 9,
        };
        ok(from, to, op, Reply::Swapped(false))
    };
    assert!(is_linearizable(vec![
        set(0, 1, 0, 5),
        failed(2, 3, Some(4))
    ]));
    assert!(!is_linearizable(vec![
        set(0, 1, 0, 5),
        failed(2, 3, Some(5))
    ]));
    // A write that nobody read is the reason.
    let hidden = unknown(0, Op::Set(0, 7));
    assert!(is_linearizable(vec![
        set(0, 1, 0, 5),
        hidden,
        failed(2, 3, Some(5))
    ]));
}

#[test]
fn an_unknown_write_may_be_seen_late_or_never_but_not_come_and_go() {
    let lost = || {
        vec![
            set(0, 1, 0, 5),
            unknown(2, Op::Set(0, 6)),
            get(3, 4, 0, Some(5)),
        ]
    };
    assert!(is_linearizable(lost()));
    let late = [lost(), vec![get(50, 51, 0, Some(6))]].concat();
    assert!(is_linearizable(late.clone()));
    let gone = [late, vec![get(52, 53, 0, Some(5))]].concat();
    assert!(!is_linearizable(gone));
}

#[test]
fn a_refused_write_may_never_be_seen() {
    let refused = (0, Some(1), Op::Set(0, 5), Outcome::Failed);
    assert!(is_linearizable(vec![refused.clone(), get(2, 3, 0, None)]));
    assert!(!is_linearizable(vec![refused, get(2, 3, 0, Some(5))]));
}

#[test]
fn unknown_increments_fill_gaps_that_are_no_larger_than_they_are_many() {
    let lines = |count| {
        vec![
            unknown(0, Op::Incr(100)),
            unknown(0, Op::Incr(100)),
            unknown(9, Op::Incr(100)),
            incr(4, 5, 100, count),
        ]
    };
    assert!(is_linearizable(lines(1)));
    assert!(is_linearizable(lines(3)));
    assert!(!is_linearizable(lines(4)));
}

#[test]
fn unknown_appends_show_in_lengths() {
    let lines = |len, seen: &[u64]| {
        vec![
            append(0, 1, 200, 1, 1),
            unknown(2, Op::Append(200, 2)),
            unknown(2, Op::Append(200, 3)),
            append(4, 5, 200, 4, len),
            list(6, 7, 200, seen),
        ]
    };
    assert!(is_linearizable(lines(2, &[1, 4])));
    assert!(is_linearizable(lines(2, &[1, 4, 3])));
    assert!(is_linearizable(lines(4, &[1, 3, 2, 4])));
    assert!(!is_linearizable(lines(3, &[1, 4, 2])));
    assert!(!is_linearizable(lines(5, &[1, 3, 2, 4])));
}

#[test]
fn a_torn_transaction_is_a_violation() {
    let read = |from, to, one, other| {
        let reply = |value: u64| Reply::Value(Some(Value::Register(value)));
        multi(
            from,
            to,
            vec![(Op::Get(0), reply(one)), (Op::Get(1), reply(other))],
        )
    };
    let lines = |one, other| {
        vec![
            set_both(0, 1, 10),
            set_both(2, 9, 20),
            read(3, 4, one, other),
        ]
    };
    assert!(is_linearizable(lines(10, 11)));
    assert!(is_linearizable(lines(20, 21)));
    assert!(!is_linearizable(lines(20, 11)));
    assert!(!is_linearizable(lines(10, 21)));
}

#[test]
fn a_transaction_of_unknown_outcome_is_whole_or_absent() {
    let both = Op::Multi(vec![Op::Set(0, 20), Op::Set(1, 21)]);
    let lines = |one, other| {
        vec![
            set_both(0, 1, 10),
            unknown(2, both.clone()),
            get(3, 4, 0, Some(one)),
            get(5, 6, 1, Some(other)),
        ]
    };
    assert!(is_linearizable(lines(20, 21)));
    assert!(is_linearizable(lines(10, 21)));
    assert!(!is_linearizable(lines(20, 11)));
}

#[test]
fn a_scan_sees_whole_transactions() {
    let lines = |one, other| {
        vec![
            set_both(0, 1, 10),
            set_both(2, 9, 20),
            scan(3, 8, &[(0, one), (1, other)]),
        ]
    };
    assert!(is_linearizable(lines(10, 11)));
    assert!(is_linearizable(lines(20, 21)));
    assert!(!is_linearizable(lines(20, 11)));
    let missing = vec![set_both(0, 1, 10), scan(2, 3, &[(0, 10)])];
    assert!(!is_linearizable(missing));
}

#[test]
fn keys_are_judged_together_only_where_they_are_tied() {
    // Each key alone is in order, so is any pair that nothing ties; a scan ties them.
    let untied = vec![
        set(0, 9, 0, 1),
        set(0, 9, 1, 2),
        get(1, 2, 0, Some(1)),
        get(1, 2, 1, None),
    ];
    let tied = |values: &[(Key, u64)]| [untied.clone(), vec![scan(10, 11, values)]].concat();
    assert!(is_linearizable(tied(&[(0, 1), (1, 2)])));
    assert!(!is_linearizable(tied(&[(0, 1)])));
}

#[test]
fn a_watched_transaction_runs_only_on_what_was_seen() {
    let exec = |from, to, seen: Option<u64>, reply| {
        let watched = vec![(0, seen.map(Value::Register))];
        let ops = vec![Op::Set(1, 9)];
        ok(
            from,
            to,
            Op::Exec {
                watched,
                watched_by: 0,
                ops,
            },
            reply,
        )
    };
    let done = || Reply::Many(vec![Reply::Done]);
    assert!(is_linearizable(vec![
        set(0, 1, 0, 5),
        exec(2, 3, Some(5), done())
    ]));
    assert!(!is_linearizable(vec![
        set(0, 1, 0, 5),
        exec(2, 3, None, done())
    ]));
    let aborted = |seen| {
        vec![
            set(0, 1, 0, 5),
            exec(2, 3, None, Reply::Aborted),
            get(4, 5, 1, seen),
        ]
    };
    assert!(is_linearizable(aborted(None)));
    assert!(!is_linearizable(aborted(Some(9))));
}

#[test]
fn a_reply_of_another_kind_is_a_violation() {
    assert!(!is_linearizable(vec![ok(
        0,
        1,
        Op::Set(0, 5),
        Reply::Count(1)
    )]));
    assert!(!is_linearizable(vec![ok(
        0,
        1,
        Op::Multi(vec![Op::Incr(100)]),
        Reply::Many(vec![])
    )]));
}

#[test]
fn slots_are_judged_apart() {
    let mut history = History::new();
    for slot in [1, 2] {
        let write = history.invoke(0, slot, Op::Set(u32::from(slot), 5), 0);
        history.finish(write, Outcome::Ok(Reply::Done), 1);
        let read = history.invoke(0, slot, Op::Scan, 1);
        let seen = BTreeMap::from([(u32::from(slot), Value::Register(5))]);
        history.finish(read, Outcome::Ok(Reply::Scan(seen)), 1);
    }
    assert_eq!(check(&history, BUDGET), Verdict::Linearizable);
    history.set_reply(3, Reply::Scan(BTreeMap::new()));
    let Verdict::Violation(violation) = check(&history, BUDGET) else {
        panic!("not found");
    };
    assert_eq!(violation.slot, 2);
}

#[test]
fn events_of_one_microsecond_keep_their_order() {
    let mut history = History::new();
    for (op, reply) in [
        (Op::Set(0, 1), Reply::Done),
        (Op::Set(0, 2), Reply::Done),
        (Op::Get(0), Reply::Value(Some(Value::Register(1)))),
    ] {
        let id = history.invoke(0, 0, op, 5);
        history.finish(id, Outcome::Ok(reply), 5);
    }
    assert!(matches!(check(&history, BUDGET), Verdict::Violation(_)));
}

#[test]
fn a_violation_names_the_operations_and_their_times() {
    let lines = vec![
        set(0, 1, 3, 5),
        set(100, 110, 3, 6),
        get(200, 210, 3, Some(5)),
        set(0, 1, 4, 8),
    ];
    let violation = judge(&history(lines)).unwrap();
    assert_eq!(violation.keys, [3]);
    assert_eq!(
        (violation.placed, violation.last.as_slice()),
        (1, [0].as_slice())
    );
    let text = violation.to_string();
    for part in [
        "slot 7",
        "100..110 us: Set(3, 6)",
        "200..210 us: Get(3)",
        "holds 5, seen later by",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn too_small_a_budget_leaves_it_undecided() {
    let lines = vec![
        set(0, 9, 0, 5),
        set(0, 9, 0, 6),
        get(0, 9, 0, Some(6)),
        get(0, 9, 0, Some(5)),
    ];
    let history = history(lines);
    assert_eq!(check(&history, 0), Verdict::Undecided);
    assert_eq!(check(&history, BUDGET), Verdict::Linearizable);
}

#[test]
fn keys_that_expire_are_left_out() {
    let expiring = Op::SetWithTtl {
        key: 0,
        value: 5,
        ttl_ms: 1,
    };
    let lines = |key| {
        vec![
            ok(0, 1, expiring.clone(), Reply::Done),
            set(0, 1, 1, 6),
            scan(2, 3, &[(1, 6)]),
            get(4, 5, key, None),
        ]
    };
    assert_eq!(check(&history(lines(0)), BUDGET), Verdict::Linearizable);
    assert!(matches!(
        check(&history(lines(1)), BUDGET),
        Verdict::Violation(_)
    ));
}
