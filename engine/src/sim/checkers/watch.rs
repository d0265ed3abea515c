//! Whether transactions behind a `WATCH` were aborted for a reason.
//!
//! A watched key has to have been modified between the `WATCH` and the abort. This looks for some
//! operation that may have done that, and does not judge whether it did; that aborted transactions have
//! no effect, and others ran on what was seen, is for [`linearizable`](super::linearizable).

use std::collections::BTreeMap;

use super::history::{History, Key, NEVER, Op, OpId, Reply};

/// Transactions that were aborted although nobody can have modified what they watched.
pub fn unfounded_aborts(history: &History) -> Vec<OpId> {
    let mut writes: BTreeMap<Key, Vec<(u64, u64)>> = BTreeMap::new();
    let ops = history.operations();
    for leaf in history.leaves() {
        if let Some(key) = modified_key(leaf.op, leaf.reply) {
            let op = &ops[leaf.id];
            let window = (op.invoked, op.effective_by());
            writes.entry(key).or_default().push(window);
        }
    }
    let unfounded = ops.iter().enumerate().filter(|(_, op)| {
        let Op::Exec {
            watched,
            watched_by,
            ..
        } = &op.op
        else {
            return false;
        };
        let since = ops.get(*watched_by).map_or(0, |watch| watch.invoked);
        let until = op.returned;
        let overlaps = |&(from, to): &(u64, u64)| from < until && (to > since || to == NEVER);
        let modified = |key: &Key| writes.get(key).is_some_and(|w| w.iter().any(overlaps));
        op.reply() == Some(&Reply::Aborted) && !watched.iter().any(|(key, _)| modified(key))
    });
    unfounded.map(|(id, _)| id).collect()
}

/// The key that an operation may have modified. One that expires counts as modified by that.
fn modified_key(op: &Op, reply: Option<&Reply>) -> Option<Key> {
    match (op, reply) {
        (Op::Cas { .. }, Some(Reply::Swapped(false))) => None,
        (Op::Delete(_), Some(Reply::Existed(false))) => None,
        (Op::Set(key, _) | Op::Delete(key) | Op::Incr(key) | Op::Append(key, _), _) => Some(*key),
        (Op::SetWithTtl { key, .. } | Op::Cas { key, .. }, _) => Some(*key),
        (Op::Get(_) | Op::Ttl(_) | Op::Scan | Op::Watch(_), _) => None,
        (Op::Multi(_) | Op::Exec { .. }, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Outcome;
    use super::super::testing::{history, ok, set, unknown};
    use super::*;

    fn aborts(other: (u64, Option<u64>, Op, Outcome)) -> usize {
        let watch = ok(10, 11, Op::Watch(vec![0]), Reply::Done);
        let exec = Op::Exec {
            watched: vec![(0, None)],
            watched_by: 0,
            ops: vec![Op::Set(0, 9)],
        };
        let (mut lines, late) = (vec![watch], ok(20, 21, exec, Reply::Aborted));
        if other.0 < 10 {
            // Operations are numbered by their calls, and the other's is the first.
            let Op::Exec { watched, ops, .. } = late.2 else {
                unreachable!();
            };
            let exec = Op::Exec {
                watched,
                watched_by: 1,
                ops,
            };
            lines.extend([other, ok(20, 21, exec, Reply::Aborted)]);
        } else {
            lines.extend([other, late]);
        }
        unfounded_aborts(&history(lines)).len()
    }

    #[test]
    fn a_write_after_the_watch_founds_an_abort() {
        assert_eq!(aborts(set(12, 13, 0, 1)), 0);
        assert_eq!(aborts(set(5, 12, 0, 1)), 0);
        assert_eq!(aborts(unknown(5, Op::Set(0, 1))), 0);
        let inside = Op::Multi(vec![Op::Incr(0)]);
        assert_eq!(
            aborts(ok(12, 13, inside, Reply::Many(vec![Reply::Count(1)]))),
            0
        );
    }

    #[test]
    fn a_write_before_the_watch_or_after_the_abort_or_elsewhere_does_not() {
        assert_eq!(aborts(set(5, 6, 0, 1)), 1);
        assert_eq!(aborts(set(22, 23, 0, 1)), 1);
        assert_eq!(aborts(set(12, 13, 1, 1)), 1);
        assert_eq!(aborts((12, Some(13), Op::Set(0, 1), Outcome::Failed)), 1);
        assert_eq!(aborts(ok(12, 13, Op::Delete(0), Reply::Existed(false))), 1);
    }
}
