//! Compaction on request: everything into the last level, each record written once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::leveled::build;
use super::{Choice, CompactionOptions, Reason, State};
use crate::lsm::levels::{LAST, LEVELS, Levels, Span, TableMeta};

/// The next step towards a tree in which all that was in tables by `upto_seq` lies in the last level
/// without a needless tombstone. `Nothing` while `busy` is empty means that it is done. To be sure that it
/// ends, keep `upto_seq` and `state.now_ms` the same from step to step.
///
/// A step takes all tables that overlap each other, of all levels, in one merge. It needs as much room
/// again as they take.
pub fn manual(
    levels: &Levels,
    options: &CompactionOptions,
    busy: &BTreeSet<u64>,
    state: &State<'_>,
    upto_seq: u64,
) -> Choice {
    let mut seeds: Vec<&Arc<TableMeta>> = levels
        .all()
        .filter(|(level, table)| *level < LAST && table.smallest_seq <= upto_seq)
        .map(|(_, table)| table)
        .collect();
    seeds.sort_by(|a, b| (&a.smallest, a.id).cmp(&(&b.smallest, b.id)));
    let idle = |inputs: &[(usize, Arc<TableMeta>)]| {
        !inputs.iter().any(|(_, table)| busy.contains(&table.id))
    };
    for seed in seeds {
        let inputs = connected(levels, seed.span(), upto_seq);
        if !idle(&inputs) {
            continue;
        }
        return match &inputs[..] {
            [(_, table)] if !is_dirty(table, options, state) => Choice::Move {
                tables: inputs,
                to: LAST,
            },
            _ => Choice::Merge(build(levels, options, inputs, LAST, Reason::Manual)),
        };
    }
    let dirty =
        |table: &&Arc<TableMeta>| !busy.contains(&table.id) && is_dirty(table, options, state);
    match levels.tables(LAST).iter().find(dirty) {
        Some(table) => {
            let inputs = vec![(LAST, Arc::clone(table))];
            Choice::Merge(build(levels, options, inputs, LAST, Reason::Manual))
        }
        None => Choice::Nothing,
    }
}

/// All tables that have to go together if one over `span` is to go to the last level.
fn connected(levels: &Levels, span: Span<'_>, upto_seq: u64) -> Vec<(usize, Arc<TableMeta>)> {
    let mut inputs: Vec<(usize, Arc<TableMeta>)> = Vec::new();
    loop {
        let spans = inputs.iter().map(|(_, table)| table.span());
        let joined = Span::join_all(spans).map_or(span, |inputs| inputs.join(span));
        let mut next = Vec::new();
        // Newer tables of level 0 may stay behind, older ones not: they have smaller numbers.
        let level_0 = levels.overlapping(0, joined).into_iter();
        next.extend(
            level_0
                .filter(|table| table.smallest_seq <= upto_seq)
                .map(|table| (0, table)),
        );
        for level in 1..LEVELS {
            next.extend(
                levels
                    .run(level, joined)
                    .iter()
                    .map(|table| (level, Arc::clone(table))),
            );
        }
        if next.len() == inputs.len() {
            return inputs;
        }
        inputs = next;
    }
}

/// Whether rewriting a table of the last level rids it of something.
fn is_dirty(table: &TableMeta, options: &CompactionOptions, state: &State<'_>) -> bool {
    let deadlines = table.deadlines;
    let expired = options.expire && deadlines.count > 0 && deadlines.min_ms <= state.now_ms;
    let deleted = table.deletes > 0 || table.range_deletes > 0;
    table.largest_seq <= state.oldest_snapshot && (deleted || expired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::levels::tests::{table, tree};
    use crate::lsm::range_deletes::RangeDeletes;

    fn step(levels: &Levels, busy: &[u64], upto_seq: u64) -> (usize, Vec<u64>) {
        let deletes = RangeDeletes::default();
        let state = State {
            oldest_snapshot: u64::MAX,
            now_ms: 0,
            deletes: &deletes,
            complete_upto: u64::MAX,
        };
        let busy = busy.iter().copied().collect();
        let choice = manual(
            levels,
            &CompactionOptions::default(),
            &busy,
            &state,
            upto_seq,
        );
        let kind = match choice {
            Choice::Nothing => 0,
            Choice::Move { .. } => 1,
            Choice::Merge(_) => 2,
            Choice::Drop { .. } => 3,
        };
        (
            kind,
            choice.tables().iter().map(|(_, table)| table.id).collect(),
        )
    }

    #[test]
    fn what_hangs_together_is_merged_at_once_and_the_rest_moves() {
        let mut dead = table(6, "x", "z", 1..=2);
        dead.deletes = 1;
        let levels = tree(vec![
            (0, table(1, "a", "c", 50..=59)),
            (0, table(2, "b", "c", 90..=99)),
            (3, table(3, "c", "f", 10..=19)),
            (5, table(4, "m", "n", 10..=19)),
            (6, table(5, "f", "g", 1..=9)),
            (6, dead),
        ]);
        assert_eq!(step(&levels, &[], 60), (2, vec![1, 3, 5]));
        assert_eq!(step(&levels, &[], 99), (2, vec![2, 1, 3, 5]));
        assert_eq!(step(&levels, &[5], 99), (1, vec![4]));
        assert_eq!(step(&levels, &[5, 4], 99), (2, vec![6]));
        assert_eq!(step(&levels, &[5, 4, 6], 99), (0, vec![]));
        assert_eq!(step(&Levels::default(), &[], 99), (0, vec![]));
    }
}
