//! The verdict on a recorded run: the simulator's checkers, and the state that every node shows in the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use trilith::sim::checkers::{
    History, Key, Op, Outcome, Reply as Seen, Value, Verdict, durability, linearizable,
};
use trilith_tests::cluster::await_some;

use crate::caller::Caller;
use crate::keys::{self, KEYS};
use crate::load::ask;
use crate::recorder::Recorder;

/// Choices that the search for an order may make for each key.
const BUDGET: u64 = 5_000_000;

/// How long a read may take to be answered once all is well.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The number of the client that looks at everything in the end.
const LAST_CLIENT: u32 = u32::MAX;

/// Reads every key by way of every node, strongly, and judges all that was recorded: what is wrong. All other
/// clients have stopped.
pub fn judge(recorder: &Recorder, nodes: &[SocketAddr]) -> Vec<String> {
    let last = read_all(recorder, nodes);
    let history = recorder.history();
    println!("{}", summary(&history, recorder));
    let surprises = recorder.surprises();
    assert!(surprises.is_empty(), "{surprises:?}");
    faults(&history, &last)
}

/// Reads every key by way of every node. What they hold.
pub fn read_all(recorder: &Recorder, nodes: &[SocketAddr]) -> BTreeMap<Key, Option<Value>> {
    let mut last = BTreeMap::new();
    for &node in nodes {
        let mut caller = Caller::plain([node].into(), 0);
        for key in 0..KEYS {
            last.insert(key, read(&mut caller, recorder, key));
        }
    }
    last
}

fn read(caller: &mut Caller, recorder: &Recorder, key: Key) -> Option<Value> {
    let mut heard = None;
    let read = await_some(&keys::name(key), READ_WITHIN, || {
        let (id, ended) = ask(LAST_CLIENT, caller, recorder, Op::Get(key));
        heard = Some(ended);
        match recorder.outcome(id) {
            Outcome::Ok(Seen::Value(value)) => Some(value),
            _ => None,
        }
    });
    read.unwrap_or_else(|error| panic!("{error}, but {heard:?} from {:?}", caller.nodes()))
}

/// What is wrong with a history and the state it ended in.
fn faults(history: &History, last: &BTreeMap<Key, Option<Value>>) -> Vec<String> {
    let lost = durability::lost_writes(history, last);
    let stale = durability::stale_reads(history);
    let mut wrong = Vec::new();
    for lost in lost {
        let op = &history.operations()[lost.op];
        wrong.push(format!("an acknowledged write was lost: {lost:?}: {op:?}"));
    }
    for stale in stale {
        let op = &history.operations()[stale.op];
        wrong.push(format!("a read was behind: {stale:?}: {op:?}"));
    }
    match linearizable::check(history, BUDGET) {
        Verdict::Linearizable => {}
        Verdict::Violation(violation) => wrong.push(violation.to_string()),
        Verdict::Undecided => wrong.push("the search for an order took too long".into()),
    }
    wrong
}

fn summary(history: &History, recorder: &Recorder) -> String {
    let count = |is: fn(&Outcome) -> bool| {
        let outcomes = history.operations().iter().map(|op| &op.outcome);
        outcomes.filter(|outcome| is(outcome)).count()
    };
    format!(
        "{} operations: {} acknowledged, {} refused, {} unknown; errors {:?}",
        history.operations().len(),
        count(|outcome| matches!(outcome, Outcome::Ok(_))),
        count(|outcome| *outcome == Outcome::Failed),
        count(|outcome| *outcome == Outcome::Unknown),
        recorder.errors(),
    )
}

#[cfg(test)]
mod tests {
    use trilith_tests::Reply;

    use super::*;
    use crate::recorder::Ended;

    /// What the recorder makes of operations that came one after the other.
    fn recorded(lines: &[(Op, Ended)]) -> History {
        let recorder = Recorder::new();
        for (op, ended) in lines {
            let id = recorder.invoke(0, op.clone());
            recorder.finish(id, op, ended);
        }
        assert!(recorder.surprises().is_empty());
        recorder.history()
    }

    fn told(reply: Reply) -> Ended {
        Ended::Answered(reply)
    }

    fn refused(text: &str) -> Ended {
        told(Reply::Error(text.into()))
    }

    #[test]
    fn a_write_that_was_acknowledged_and_is_gone_is_noticed() {
        let lines = [
            (Op::Set(0, 1), told(Reply::ok())),
            (Op::Set(0, 2), told(Reply::ok())),
            (Op::Get(0), told(Reply::bulk("1"))),
        ];
        let last = BTreeMap::from([(0, Some(Value::Register(1)))]);
        let wrong = faults(&recorded(&lines), &last);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with("an acknowledged write was lost"));
        assert!(wrong[1].starts_with("a read was behind"));
    }

    #[test]
    fn an_element_and_a_count_that_are_gone_are_noticed() {
        let appended = [
            (Op::Append(2, 5), told(Reply::Integer(9))),
            (Op::Append(2, 6), told(Reply::Integer(18))),
        ];
        let last = BTreeMap::from([(2, Some(Value::List(vec![5])))]);
        assert_eq!(faults(&recorded(&appended), &last).len(), 1);
        let counted = [
            (Op::Incr(1), told(Reply::Integer(1))),
            (Op::Incr(1), told(Reply::Integer(1))),
        ];
        let last = BTreeMap::from([(1, Some(Value::Counter(1)))]);
        assert_eq!(faults(&recorded(&counted), &last).len(), 2);
    }

    #[test]
    fn a_write_that_was_refused_and_is_there_is_noticed() {
        let lines = [
            (Op::Set(0, 1), refused("NOREPLICAS not enough replicas")),
            (Op::Get(0), told(Reply::bulk("1"))),
        ];
        let last = BTreeMap::from([(0, Some(Value::Register(1)))]);
        assert!(!faults(&recorded(&lines), &last).is_empty());
    }

    #[test]
    fn a_write_of_unknown_outcome_may_be_there_or_not() {
        for (seen, last) in [
            (Reply::bulk("1"), Some(Value::Register(1))),
            (Reply::Nil, None),
        ] {
            for unknown in [Ended::Lost, refused("UNKNOWN it may or may not")] {
                let lines = [(Op::Set(0, 1), unknown), (Op::Get(0), told(seen.clone()))];
                let last = BTreeMap::from([(0, last.clone())]);
                assert_eq!(faults(&recorded(&lines), &last), Vec::<String>::new());
            }
        }
    }
}
