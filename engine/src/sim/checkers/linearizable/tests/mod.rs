mod by_chance;
mod by_hand;

use super::super::history::{Op, Outcome};
use super::super::testing::{brute_force, history};
use super::*;

type Line = (u64, Option<u64>, Op, Outcome);

const BUDGET: u64 = 100_000;

/// Checks a history both ways; the two must agree.
fn is_linearizable(lines: Vec<Line>) -> bool {
    judge(&history(lines)).is_none()
}

fn judge(history: &History) -> Option<Box<Violation>> {
    let expected = brute_force(history);
    let found = match check(history, BUDGET) {
        Verdict::Linearizable => None,
        Verdict::Violation(violation) => Some(violation),
        Verdict::Undecided => panic!("undecided"),
    };
    assert_eq!(found.is_none(), expected, "{found:?}\n{history:#?}");
    found
}
