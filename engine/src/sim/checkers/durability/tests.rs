use super::super::history::Outcome;
use super::super::testing::{Shape, append, draw, get, history, incr, list, ok, set, unknown};
use super::*;

type Line = (u64, Option<u64>, Op, Outcome);

fn lost(lines: Vec<Line>, last: Option<Value>) -> Vec<OpId> {
    let key = match &lines[0].2 {
        Op::Set(key, _) | Op::Append(key, _) | Op::Incr(key) => *key,
        other => panic!("{other:?}"),
    };
    let lost = lost_writes(&history(lines), &BTreeMap::from([(key, last)]));
    assert!(lost.iter().all(|lost| lost.key == key));
    lost.into_iter().map(|lost| lost.op).collect()
}

fn stale(lines: Vec<Line>) -> Vec<(OpId, OpId)> {
    let stale = stale_reads(&history(lines));
    stale
        .into_iter()
        .map(|stale| (stale.op, stale.missed))
        .collect()
}

fn register(value: u64) -> Option<Value> {
    Some(Value::Register(value))
}

fn removed(from: u64, to: u64, key: u32) -> Line {
    ok(from, to, Op::Delete(key), Reply::Existed(true))
}

#[test]
fn a_register_that_went_back_has_lost_what_was_acknowledged_since() {
    let lines = || vec![set(0, 1, 0, 5), set(2, 3, 0, 6), set(4, 5, 0, 7)];
    assert_eq!(lost(lines(), register(7)), []);
    assert_eq!(lost(lines(), register(6)), [2]);
    assert_eq!(lost(lines(), register(5)), [1, 2]);
    assert_eq!(lost(lines(), None), [0, 1, 2]);
    assert_eq!(lost(lines(), register(99)), [0, 1, 2]);
}

#[test]
fn a_concurrent_or_unknown_write_may_be_the_last() {
    assert_eq!(
        lost(vec![set(0, 9, 0, 5), set(1, 2, 0, 6)], register(5)),
        []
    );
    assert_eq!(
        lost(vec![set(0, 9, 0, 5), set(1, 2, 0, 6)], register(6)),
        []
    );
    let doubtful = || vec![unknown(0, Op::Set(0, 5)), set(1, 2, 0, 6)];
    assert_eq!(lost(doubtful(), register(5)), []);
    assert_eq!(lost(doubtful(), register(6)), []);
    assert_eq!(lost(doubtful(), None), [1]);
}

#[test]
fn a_removed_key_has_lost_nothing_and_one_that_came_back_its_removal() {
    let lines = || vec![set(0, 1, 0, 5), removed(2, 3, 0)];
    assert_eq!(lost(lines(), None), []);
    assert_eq!(lost(lines(), register(5)), [1]);
}

#[test]
fn elements_that_are_missing_in_the_end_are_lost() {
    let lines = || {
        vec![
            append(0, 1, 200, 5, 1),
            append(2, 3, 200, 6, 2),
            unknown(2, Op::Append(200, 7)),
        ]
    };
    assert_eq!(lost(lines(), Some(Value::List(vec![5, 6]))), []);
    assert_eq!(lost(lines(), Some(Value::List(vec![6]))), [0]);
    assert_eq!(lost(lines(), None), [0, 1]);
    let last = BTreeMap::from([(200, Some(Value::List(vec![6])))]);
    let named = lost_writes(&history(lines()), &last);
    assert_eq!(named[0].wrote, Some(Value::List(vec![5])));
}

#[test]
fn elements_of_a_list_that_was_removed_since_are_not_lost() {
    let lines = || {
        vec![
            append(0, 1, 200, 5, 1),
            removed(2, 3, 200),
            append(4, 5, 200, 6, 1),
        ]
    };
    assert_eq!(lost(lines(), Some(Value::List(vec![6]))), []);
    assert_eq!(lost(lines(), None), [2]);
}

#[test]
fn increments_beyond_the_last_count_or_counted_twice_are_lost() {
    let lines = || vec![incr(0, 1, 100, 1), incr(2, 3, 100, 2), incr(4, 5, 100, 2)];
    assert_eq!(lost(lines(), Some(Value::Counter(2))), [1]);
    assert_eq!(lost(lines(), Some(Value::Counter(1))), [1, 2]);
    assert_eq!(lost(vec![incr(0, 1, 100, 1)], Some(Value::Counter(1))), []);
    assert_eq!(lost(vec![incr(0, 1, 100, 1)], None), [0]);
}

#[test]
fn keys_that_were_not_read_in_the_end_are_not_judged() {
    let lines = vec![set(0, 1, 0, 5), set(0, 1, 1, 6)];
    let named = lost_writes(&history(lines), &BTreeMap::from([(1, None)]));
    assert_eq!(named.len(), 1);
    assert_eq!((named[0].key, &named[0].wrote), (1, &register(6)));
}

#[test]
fn a_part_of_a_transaction_can_be_lost() {
    let both = Op::Multi(vec![Op::Set(0, 5), Op::Set(1, 6)]);
    let lines = vec![ok(0, 1, both, Reply::Many(vec![Reply::Done, Reply::Done]))];
    let last = BTreeMap::from([(0, register(5)), (1, None)]);
    let named = lost_writes(&history(lines), &last);
    assert_eq!((named.len(), named[0].op, named[0].key), (1, 0, 1));
}

#[test]
fn a_read_of_an_overwritten_value_is_stale_unless_the_write_was_open() {
    let lines = |from| vec![set(0, 1, 0, 5), set(2, 9, 0, 6), get(from, 20, 0, Some(5))];
    assert_eq!(stale(lines(10)), [(2, 1)]);
    assert_eq!(stale(lines(8)), []);
    assert_eq!(stale(vec![set(0, 1, 0, 5), get(2, 3, 0, None)]), [(1, 0)]);
    assert_eq!(
        stale(vec![set(0, 1, 0, 5), removed(2, 3, 0), get(4, 5, 0, None)]),
        []
    );
    assert_eq!(
        stale(vec![
            set(0, 1, 0, 5),
            removed(2, 3, 0),
            get(4, 5, 0, Some(5))
        ]),
        [(2, 1)]
    );
}

#[test]
fn a_read_behind_another_read_is_stale() {
    let lines = |first, second| {
        vec![
            set(0, 1, 0, 5),
            unknown(2, Op::Set(0, 6)),
            get(3, 4, 0, Some(first)),
            get(5, 6, 0, Some(second)),
        ]
    };
    assert_eq!(stale(lines(5, 6)), []);
    assert_eq!(stale(lines(6, 5)), [(3, 1)]);
}

#[test]
fn a_read_of_an_unknown_write_is_never_stale() {
    let lines = vec![
        unknown(0, Op::Set(0, 5)),
        set(1, 2, 0, 6),
        get(3, 4, 0, Some(5)),
    ];
    assert_eq!(stale(lines), []);
}

#[test]
fn counters_and_lists_that_are_behind_are_stale() {
    let count = |from, to, count| {
        ok(
            from,
            to,
            Op::Get(100),
            Reply::Value(Some(Value::Counter(count))),
        )
    };
    assert_eq!(
        stale(vec![incr(0, 1, 100, 2), count(2, 3, 2), count(4, 5, 1)]),
        [(2, 0)]
    );
    assert_eq!(stale(vec![incr(0, 5, 100, 2), count(2, 3, 1)]), []);
    assert_eq!(
        stale(vec![append(0, 1, 200, 5, 1), list(2, 3, 200, &[])]),
        [(1, 0)]
    );
    assert_eq!(
        stale(vec![append(0, 9, 200, 5, 1), list(2, 3, 200, &[])]),
        []
    );
    let seen = list(2, 3, 200, &[7]);
    assert_eq!(
        stale(vec![
            unknown(0, Op::Append(200, 7)),
            seen,
            list(4, 5, 200, &[])
        ]),
        [(2, 1)]
    );
}

#[test]
fn a_scan_can_be_stale() {
    let scan = |values: &[(Key, u64)]| {
        let values = values
            .iter()
            .map(|&(key, value)| (key, Value::Register(value)));
        ok(4, 5, Op::Scan, Reply::Scan(values.collect()))
    };
    assert_eq!(
        stale(vec![
            set(0, 1, 0, 5),
            set(2, 3, 1, 6),
            scan(&[(0, 5), (1, 6)])
        ]),
        []
    );
    assert_eq!(
        stale(vec![set(0, 1, 0, 5), set(2, 3, 1, 6), scan(&[(0, 5)])]),
        [(2, 1)]
    );
}

#[test]
fn nothing_is_stale_or_lost_in_what_was_done_one_at_a_time() {
    for seed in 0..300 {
        let shape = Shape {
            ops: 100,
            clients: 4,
            keys: 2,
            unknown_in: 8,
            rich: true,
            recurring: seed % 2 == 0,
        };
        let (history, last) = draw(shape, seed);
        assert_eq!(stale_reads(&history), [], "{seed}");
        let read = |key: Key| (key, last.values.get(&key).cloned());
        let last = [0, 1, 100, 101, 200, 201].map(read).into();
        assert_eq!(lost_writes(&history, &last), [], "{seed}");
    }
}
