//! Histories for the tests: written by hand in a line an operation, or drawn by chance.

use super::history::{History, NEVER, Op, OpId, Operation, Outcome, Reply, Value};
use super::model::Model;
use crate::random::Random;

pub(super) const SLOT: u16 = 7;

/// A history from `(from, to, op, outcome)`; an operation that never returns has no `to`. Calls come
/// before returns of the same time.
pub(super) fn history(ops: Vec<(u64, Option<u64>, Op, Outcome)>) -> History {
    let mut events = Vec::new();
    for (place, (from, to, ..)) in ops.iter().enumerate() {
        events.push((*from, 0, place));
        events.extend(to.map(|to| (to, 1, place)));
    }
    events.sort_unstable();
    let mut history = History::new();
    let mut ids = vec![None; ops.len()];
    for (at, kind, place) in events {
        let (_, _, op, outcome) = &ops[place];
        if kind == 0 {
            ids[place] = Some(history.invoke(place as u32, SLOT, op.clone(), at));
        } else {
            history.finish(ids[place].unwrap(), outcome.clone(), at);
        }
    }
    history
}

pub(super) fn ok(from: u64, to: u64, op: Op, reply: Reply) -> (u64, Option<u64>, Op, Outcome) {
    (from, Some(to), op, Outcome::Ok(reply))
}

pub(super) fn unknown(from: u64, op: Op) -> (u64, Option<u64>, Op, Outcome) {
    (from, None, op, Outcome::Unknown)
}

pub(super) fn set(from: u64, to: u64, key: u32, value: u64) -> (u64, Option<u64>, Op, Outcome) {
    ok(from, to, Op::Set(key, value), Reply::Done)
}

pub(super) fn get(
    from: u64,
    to: u64,
    key: u32,
    value: Option<u64>,
) -> (u64, Option<u64>, Op, Outcome) {
    ok(
        from,
        to,
        Op::Get(key),
        Reply::Value(value.map(Value::Register)),
    )
}

pub(super) fn append(
    from: u64,
    to: u64,
    key: u32,
    element: u64,
    len: u64,
) -> (u64, Option<u64>, Op, Outcome) {
    ok(from, to, Op::Append(key, element), Reply::Length(len))
}

pub(super) fn list(from: u64, to: u64, key: u32, list: &[u64]) -> (u64, Option<u64>, Op, Outcome) {
    let value = (!list.is_empty()).then(|| Value::List(list.to_vec()));
    ok(from, to, Op::Get(key), Reply::Value(value))
}

pub(super) fn incr(from: u64, to: u64, key: u32, count: i64) -> (u64, Option<u64>, Op, Outcome) {
    ok(from, to, Op::Incr(key), Reply::Count(count))
}

/// Whether one slot's history is linearizable, by trying every order.
pub(super) fn brute_force(history: &History) -> bool {
    let ops: Vec<&Operation> = history
        .operations()
        .iter()
        .filter(|op| op.may_count())
        .collect();
    some_order(&ops, &mut vec![false; ops.len()], &Model::default())
}

fn some_order(ops: &[&Operation], placed: &mut [bool], model: &Model) -> bool {
    let left = |placed: &[bool]| {
        let left = ops.iter().zip(placed).filter(|(_, placed)| !**placed);
        left.map(|(op, _)| op.effective_by()).min().unwrap_or(NEVER)
    };
    let first_return = left(placed);
    if first_return == NEVER {
        return true;
    }
    for place in 0..ops.len() {
        if placed[place] || ops[place].invoked > first_return {
            continue;
        }
        let mut next = model.clone();
        let reply = next.apply(&ops[place].op);
        let fits = match ops[place].reply() {
            None => true,
            // Why it was aborted is not for this check.
            Some(Reply::Aborted) => {
                next = model.clone();
                true
            }
            Some(seen) => *seen == reply,
        };
        placed[place] = true;
        if fits && some_order(ops, placed, &next) {
            return true;
        }
        placed[place] = false;
    }
    false
}

/// What a drawn workload is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) ops: usize,
    pub(super) clients: usize,
    /// Registers are the keys 0.., counters 100.., lists 200.., so many of each.
    pub(super) keys: u32,
    /// One in so many outcomes is unknown.
    pub(super) unknown_in: u64,
    /// Transactions, scans and conditional writes, too.
    pub(super) rich: bool,
    /// Deletions and values written twice, too.
    pub(super) recurring: bool,
}

/// Operations of clients that each do one thing after another, each done at one moment between its
/// call and its return; what is unknown may be done much later or never. And what is left in the end.
pub(super) fn draw(shape: Shape, seed: u64) -> (History, Model) {
    let mut random = Random::new(seed);
    let mut history = History::new();
    let mut model = Model::default();
    // For each client what is open: the operation, whether it was done, whether it will be unknown.
    let mut open: Vec<Option<(OpId, Option<Reply>)>> = vec![None; shape.clients];
    let mut doubtful: Vec<OpId> = Vec::new();
    let mut now = 0;
    let mut called = 0;
    while called < shape.ops || open.iter().any(Option::is_some) {
        now += random.below(3);
        let client = random.index(shape.clients);
        match open[client].take() {
            None if called < shape.ops => {
                called += 1;
                let op = draw_op(shape, &mut random, called as u64, &model);
                open[client] = Some((history.invoke(client as u32, SLOT, op, now), None));
            }
            None => {}
            Some((id, None)) if random.below(shape.unknown_in) == 0 => {
                history.finish(id, Outcome::Unknown, now);
                doubtful.push(id);
            }
            Some((id, None)) => {
                let reply = model.apply(&history.operations()[id].op);
                open[client] = Some((id, Some(reply)));
            }
            Some((id, Some(reply))) => history.finish(id, Outcome::Ok(reply), now),
        }
        if !doubtful.is_empty() && random.below(4) == 0 {
            let id = doubtful.swap_remove(random.index(doubtful.len()));
            if random.coin() {
                model.apply(&history.operations()[id].op);
            }
        }
    }
    (history, model)
}

fn draw_op(shape: Shape, random: &mut Random, unique: u64, model: &Model) -> Op {
    let kinds = if shape.rich { 10 } else { 7 };
    match random.below(kinds) {
        7 => Op::Scan,
        8 => Op::Multi(
            (0..3)
                .map(|part| draw_simple(shape, random, unique * 4 + part, model))
                .collect(),
        ),
        9 => {
            let key = random.below(u64::from(shape.keys)) as u32;
            let ops = (0..2).map(|part| draw_simple(shape, random, unique * 4 + part, model));
            Op::Exec {
                watched: vec![(key, model.values.get(&key).cloned())],
                watched_by: 0,
                ops: ops.collect(),
            }
        }
        _ => draw_simple(shape, random, unique * 4, model),
    }
}

fn draw_simple(shape: Shape, random: &mut Random, unique: u64, model: &Model) -> Op {
    let register = random.below(u64::from(shape.keys)) as u32;
    let kinds = if shape.recurring {
        10
    } else if shape.rich {
        8
    } else {
        7
    };
    match random.below(kinds) {
        0 => Op::Get(register),
        1 => Op::Set(register, unique),
        2 => Op::Incr(100 + register),
        3 => Op::Get(100 + register),
        4 | 5 => Op::Append(200 + register, unique),
        6 => Op::Get(200 + register),
        7 => Op::Cas {
            key: register,
            expected: match model.values.get(&register) {
                Some(Value::Register(value)) => Some(*value),
                _ => None,
            },
            value: unique,
        },
        8 => Op::Delete(register + 100 * random.below(3) as u32),
        _ => Op::Set(register, unique % 3),
    }
}

/// Changes one reply to another that might have been; tells whether there was one to change.
pub(super) fn tamper(history: &mut History, random: &mut Random) -> bool {
    let known = |op: &Operation| op.reply().is_some();
    let ids: Vec<OpId> = (0..history.operations().len())
        .filter(|&id| known(&history.operations()[id]))
        .collect();
    if ids.is_empty() {
        return false;
    }
    let id = ids[random.index(ids.len())];
    let Some(mut reply) = history.operations()[id].reply().cloned() else {
        return false;
    };
    change(&mut reply, random);
    history.set_reply(id, reply);
    true
}

fn change(reply: &mut Reply, random: &mut Random) {
    match reply {
        Reply::Value(None) => *reply = Reply::Value(Some(Value::Register(4 * random.below(8)))),
        Reply::Value(some) if random.below(3) == 0 => *some = None,
        Reply::Value(Some(value)) => change_value(value, random),
        Reply::Existed(flag) | Reply::Swapped(flag) => *flag = !*flag,
        Reply::Count(count) => *count += if random.coin() { 1 } else { -1 },
        Reply::Length(len) => {
            *len = if random.coin() {
                *len + 1
            } else {
                len.saturating_sub(1)
            }
        }
        Reply::Scan(values) => {
            let place = random.index(values.len());
            if let Some(value) = values.values_mut().nth(place) {
                change_value(value, random);
            }
        }
        Reply::Many(replies) => {
            let place = random.index(replies.len());
            if let Some(reply) = replies.get_mut(place) {
                change(reply, random);
            }
        }
        Reply::Done | Reply::Ttl(_) | Reply::Aborted => {}
    }
}

fn change_value(value: &mut Value, random: &mut Random) {
    match value {
        Value::Register(value) => *value = 4 * random.below(8),
        Value::Counter(count) => *count += if random.coin() { 1 } else { -1 },
        Value::List(list) if random.coin() => {
            list.pop();
            if list.is_empty() {
                list.push(4);
            }
        }
        Value::List(list) => {
            let (one, other) = (random.index(list.len()), random.index(list.len()));
            list.swap(one, other);
        }
    }
}
