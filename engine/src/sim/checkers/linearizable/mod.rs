//! Whether the operations on each slot look as if done one at a time, each between call and return.
//!
//! A slot is the unit, and within it the keys that some transaction or scan ties together. First each
//! key is judged alone, which is fast and explains best, then keys that are tied are judged together.
//! A key that is ever written with a time to live is left to [`expiry`](super::expiry).

mod cell;
mod links;
mod problem;
mod search;
mod steps;
#[cfg(test)]
mod tests;
mod union;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::history::{History, Key, OpId, Operation};
use problem::{Problem, Timed};
use search::{Block, Found, Search, Stuck};
use steps::{Action, Slot, by_slot};
use union::Union;

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every slot's operations have an order.
    Linearizable,
    /// Some operations have none; the first violation found.
    Violation(Box<Violation>),
    /// Some search took more steps than allowed, the others found nothing wrong.
    Undecided,
}

/// Operations that have no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The slot concerned.
    pub slot: u16,
    /// The keys that were judged together.
    pub keys: Vec<Key>,
    /// How many operations can be put in order at most before one is stuck.
    pub placed: usize,
    /// The last of these.
    pub last: Vec<OpId>,
    /// Operations that cannot be next; the first must be, by its return or by what others saw of it.
    pub stuck: Vec<OpId>,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks every slot. Each search may make `budget` choices; a million is a few seconds.
pub fn check(history: &History, budget: u64) -> Verdict {
    let mut verdict = Verdict::Linearizable;
    for (slot, ops) in by_slot(history) {
        match check_slot(history, slot, &ops, budget) {
            Verdict::Linearizable => {}
            Verdict::Undecided => verdict = Verdict::Undecided,
            violation @ Verdict::Violation(_) => return violation,
        }
    }
    verdict
}

fn check_slot(history: &History, number: u16, ops: &[(OpId, &Operation)], budget: u64) -> Verdict {
    let slot = Slot::learn(ops);
    let mut timed = Vec::with_capacity(ops.len());
    let mut union = Union::new(slot.keys.len());
    for &(id, op) in ops {
        let steps = slot.compile(&op.op, op.reply());
        for pair in steps.windows(2) {
            union.join(pair[0].key as usize, pair[1].key as usize);
        }
        timed.push(Timed {
            id,
            steps,
            invoked: op.invoked,
            deadline: op.effective_by(),
        });
    }
    let mut groups: BTreeMap<usize, (Vec<u32>, Vec<Timed>)> = BTreeMap::new();
    for key in 0..slot.keys.len() {
        let group = groups.entry(union.root(key)).or_default();
        group.0.push(key as u32);
    }
    for op in timed {
        if let Some(step) = op.steps.first()
            && let Some(group) = groups.get_mut(&union.root(step.key as usize))
        {
            group.1.push(op);
        }
    }
    let mut verdict = Verdict::Linearizable;
    for (keys, ops) in groups.into_values() {
        let mut parts = Vec::new();
        if keys.len() > 1 {
            parts = by_key(slot.keys.len(), &keys, &ops);
        }
        parts.push((keys, ops));
        for (keys, ops) in parts {
            let problem = Problem::new(&slot.keys, &keys, ops);
            match Search::new(&problem).run(budget) {
                Found::Order => {}
                Found::Exhausted => verdict = Verdict::Undecided,
                Found::Stuck(stuck) => {
                    let violation = explain(history, number, &problem, &stuck);
                    return Verdict::Violation(Box::new(violation));
                }
            }
        }
    }
    verdict
}

/// What concerns each key alone.
fn by_key(count: usize, keys: &[u32], ops: &[Timed]) -> Vec<(Vec<u32>, Vec<Timed>)> {
    let mut alone: Vec<Vec<Timed>> = (0..count).map(|_| Vec::new()).collect();
    for op in ops {
        for (place, step) in op.steps.iter().enumerate() {
            let of_key = |other: &&steps::Step| other.key == step.key;
            if !op.steps[..place].iter().any(|other| of_key(&other)) {
                let steps = op.steps[place..].iter().filter(of_key).copied().collect();
                alone[step.key as usize].push(Timed { steps, ..*op });
            }
        }
    }
    let of_key = |&key: &u32| (vec![key], std::mem::take(&mut alone[key as usize]));
    keys.iter().map(of_key).collect()
}

fn explain(history: &History, slot: u16, problem: &Problem, stuck: &Stuck) -> Violation {
    let id = |op: u32| problem.ops[op as usize].id;
    let mut violation = Violation {
        slot,
        keys: problem.keys.iter().map(|traits| traits.key).collect(),
        placed: stuck.placed,
        last: stuck.last.iter().map(|&op| id(op)).collect(),
        stuck: stuck.blocked.iter().map(|&(op, _)| id(op)).collect(),
        text: String::new(),
    };
    // Writing to a string cannot fail.
    let _ = write_text(&mut violation, history, problem, stuck);
    violation
}

fn write_text(
    violation: &mut Violation,
    history: &History,
    problem: &Problem,
    stuck: &Stuck,
) -> fmt::Result {
    let id = |op: u32| problem.ops[op as usize].id;
    let key = |key: u32| problem.keys[key as usize].key;
    let text = &mut violation.text;
    writeln!(
        text,
        "slot {}, keys {:?}: not linearizable; {} operations have an order, the last are",
        violation.slot, violation.keys, violation.placed
    )?;
    for &op in &violation.last {
        write_op(text, history, op)?;
    }
    writeln!(text, "and then none of these can be next:")?;
    for (op, block) in &stuck.blocked {
        write_op(text, history, id(*op))?;
        match block {
            Block::Needs(step, found) => {
                write!(text, "    key {} holds {found}; ", key(step.key))?;
                match step.action {
                    Action::Expect(cell) => writeln!(text, "{cell} was seen")?,
                    Action::Differ(_) => writeln!(text, "something else was seen")?,
                    Action::Present => writeln!(text, "something was seen")?,
                    Action::Length(len) => writeln!(text, "a list of {len} was extended")?,
                    Action::AtLeast(len) => writeln!(text, "it belongs behind a list of {len}")?,
                    _ => writeln!(text, "the reply never fits")?,
                }
            }
            Block::Hides(hidden, cell, by) => {
                writeln!(text, "    key {} holds {cell}, seen later by", key(*hidden))?;
                if let Some(by) = by {
                    write_op(text, history, id(*by))?;
                }
            }
        }
    }
    Ok(())
}

fn write_op(text: &mut String, history: &History, id: OpId) -> fmt::Result {
    let Some(op) = history.operations().get(id) else {
        return Ok(());
    };
    let (client, from) = (op.client, op.invoked_at);
    write!(text, "  #{id} client {client} {from}..")?;
    if let Some(to) = op.returned_at {
        write!(text, "{to}")?;
    }
    writeln!(text, " us: {:?} -> {:?}", op.op, op.outcome)
}
