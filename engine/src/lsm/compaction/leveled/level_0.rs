//! What becomes of level 0.

use std::sync::Arc;

use super::{Strategy, total};
use crate::lsm::compaction::{Choice, Reason};
use crate::lsm::levels::{Span, TableMeta};

/// Level 0 is light if what it is to be merged with is so many times as large.
const LIGHT_TIMES: u64 = 4;

impl Strategy<'_> {
    /// Tables of level 0 that overlap nothing just move, once there are some.
    pub(super) fn move_level_0(&self) -> Option<Choice> {
        let tables = self.levels.tables(0);
        if tables.len() < self.options.l0_tables || self.any_busy(tables) {
            return None;
        }
        let base = self.targets.base;
        let moves: Vec<_> = overlapping_groups(tables)
            .iter()
            .filter(|group| group.len() == 1 && self.moves_freely(&group[0], base))
            .map(|group| (0, Arc::clone(&group[0])))
            .collect();
        (!moves.is_empty()).then_some(Choice::Move {
            tables: moves,
            to: base,
        })
    }

    /// Level 0 in one go: the more of it at once, the less often the base is rewritten. Tables that do not overlap each
    /// other need not be merged together.
    pub(super) fn pick_level_0(&self) -> Option<Choice> {
        let tables = self.levels.tables(0);
        if self.any_busy(tables) {
            return None;
        }
        if self.is_light(tables) {
            return self.gather_level_0(tables);
        }
        let mut groups = overlapping_groups(tables);
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
        groups
            .into_iter()
            .find_map(|group| self.merge(0, group, self.targets.base, Reason::Level0))
    }

    /// Whether level 0 is so little, beside what it would be merged with, that its tables are better merged with each
    /// other first. Flushes that do not wait for a full memtable make such tables, as when ranges come and go.
    fn is_light(&self, tables: &[Arc<TableMeta>]) -> bool {
        let Some(span) = Span::join_all(tables.iter().map(|table| table.span())) else {
            return false;
        };
        let below = total(self.levels.run(self.targets.base, span));
        let bytes = total(tables);
        bytes <= self.options.table_bytes
            && bytes.saturating_mul(LIGHT_TIMES) <= below
            && self.levels.level_0_runs() < self.options.l0_tables.saturating_mul(2)
    }

    /// Level 0 made one table again, but for what is too new: something older may yet come between.
    fn gather_level_0(&self, tables: &[Arc<TableMeta>]) -> Option<Choice> {
        let newer = tables.partition_point(|table| table.largest_seq > self.state.complete_upto);
        let complete = tables.get(newer..).filter(|tables| tables.len() > 1)?;
        self.merge(0, complete.to_vec(), 0, Reason::Level0)
    }
}

/// Divides tables into groups that share no key with each other; each in order of smallest key.
fn overlapping_groups(tables: &[Arc<TableMeta>]) -> Vec<Vec<Arc<TableMeta>>> {
    let mut sorted = tables.to_vec();
    sorted.sort_by(|a, b| a.smallest.cmp(&b.smallest));
    let mut groups: Vec<Vec<Arc<TableMeta>>> = Vec::new();
    for table in sorted {
        let group = groups.last_mut().filter(|group| {
            let span = Span::join_all(group.iter().map(|table| table.span()));
            span.is_some_and(|span| span.overlaps(table.span()))
        });
        match group {
            Some(group) => group.push(table),
            None => groups.push(vec![table]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::choose;
    use super::super::tests::{choice, level_0, options, outline, run};
    use crate::lsm::compaction::State;
    use crate::lsm::levels::Levels;
    use crate::lsm::levels::tests::tree;
    use crate::lsm::range_deletes::RangeDeletes;

    /// Four small tables of level 0 over a base that is much larger.
    fn light() -> Levels {
        let mut tables = level_0(4);
        for (_, table) in &mut tables {
            table.bytes = 10;
        }
        tables.extend(run(6, 50, 2));
        tree(tables)
    }

    #[test]
    fn little_over_much_is_made_one_table_before_it_is_merged_with_it() {
        let levels = light();
        assert_eq!(
            outline(&choice(&levels)),
            ("merge", vec![4, 3, 2, 1], 0),
            "{levels:?}"
        );
    }

    #[test]
    fn tables_of_level_0_that_something_older_may_come_between_are_not_made_one() {
        let levels = light();
        let deletes = RangeDeletes::default();
        let upto = |complete_upto| {
            let state = State {
                oldest_snapshot: u64::MAX,
                now_ms: 1000,
                deletes: &deletes,
                complete_upto,
            };
            outline(&choose(&levels, &options(), &BTreeSet::new(), &state))
        };
        assert_eq!(upto(139), ("merge", vec![4, 3, 2, 1], 0));
        assert_eq!(upto(138), ("merge", vec![3, 2, 1], 0));
        assert_eq!(upto(118), ("nothing", vec![], 0));
    }
}
