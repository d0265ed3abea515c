//! Leveled compaction: level 0 overlaps itself, each further level is one sorted run and ten times as
//! large as the one above.
//!
//! Sizes are set from the bottom up, so that nine tenths of the data lie in the last level whatever its
//! size, and level 0 is merged into the first level that has a target at all (the base). What it costs is
//! how often a record is written again, so the table that overlaps the least below goes first.

mod level_0;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Choice, CompactionOptions, Merge, Reason, State, Targets, garbage_files, targets};
use crate::lsm::levels::{LAST, LEVELS, Levels, Span, TableMeta};

/// What to do next, given the tables that other work holds.
pub fn choose(
    levels: &Levels,
    options: &CompactionOptions,
    busy: &BTreeSet<u64>,
    state: &State<'_>,
) -> Choice {
    let strategy = Strategy {
        levels,
        options,
        busy,
        state,
        targets: targets(levels, options),
    };
    let found = strategy.drop_deleted().or_else(|| strategy.by_size());
    found
        .or_else(|| strategy.dead_records())
        .or_else(|| strategy.rotten_values())
        .unwrap_or(Choice::Nothing)
}

/// What brings least along, then what is oldest.
type Rank = (u128, u64, u64);

struct Strategy<'a> {
    levels: &'a Levels,
    options: &'a CompactionOptions,
    busy: &'a BTreeSet<u64>,
    state: &'a State<'a>,
    targets: Targets,
}

/// Scores are thousandths: a level with more is due.
const DUE: u128 = 1000;

impl Strategy<'_> {
    fn is_busy(&self, table: &TableMeta) -> bool {
        self.busy.contains(&table.id)
    }

    fn any_busy<'t>(&self, tables: impl IntoIterator<Item = &'t Arc<TableMeta>>) -> bool {
        tables.into_iter().any(|table| self.is_busy(table))
    }

    /// Tables of which no reader sees anything: a range delete that every reader knows of is newer than
    /// all that is in them.
    fn drop_deleted(&self) -> Option<Choice> {
        let deletes = self.state.deletes;
        if deletes.is_empty() {
            return None;
        }
        let hidden = |table: &TableMeta| {
            deletes.covers_whole(table.span(), self.state.oldest_snapshot, table.largest_seq)
        };
        let all = self
            .levels
            .all()
            .filter(|(_, table)| !self.is_busy(table) && hidden(table));
        let tables: Vec<_> = all
            .map(|(level, table)| (level, Arc::clone(table)))
            .collect();
        (!tables.is_empty()).then_some(Choice::Drop { tables })
    }

    /// The level that is furthest beyond its target, if there is work to be had there.
    fn by_size(&self) -> Option<Choice> {
        if let Some(choice) = self.move_level_0() {
            return Some(choice);
        }
        let mut due: Vec<(u128, usize)> = (0..LAST)
            .map(|level| (self.score(level), level))
            .filter(|&(score, _)| score >= DUE)
            .collect();
        due.sort_by_key(|&(score, level)| (std::cmp::Reverse(score), level));
        let mut base_is_wanted = false;
        for (_, level) in due {
            let choice = match level {
                0 => self.pick_level_0(),
                // Another merge out of the base would only keep level 0 waiting longer.
                _ if base_is_wanted && level == self.targets.base => None,
                _ => self.pick_table(level),
            };
            if choice.is_some() {
                return choice;
            }
            base_is_wanted |= level == 0;
        }
        None
    }

    fn score(&self, level: usize) -> u128 {
        if level == 0 {
            let runs = self.levels.level_0_runs() as u128;
            return runs * DUE / self.options.l0_tables.max(1) as u128;
        }
        let tables = self.levels.tables(level).iter();
        let idle: u64 = tables
            .filter(|table| !self.is_busy(table))
            .map(|table| table.bytes)
            .sum();
        match self.targets.bytes[level] {
            0 => 0,
            // Exactly on target is not due.
            target => (u128::from(idle) * DUE).saturating_sub(1) / u128::from(target),
        }
    }

    /// Whether a table can be put into level `to` as it is.
    fn moves_freely(&self, table: &TableMeta, to: usize) -> bool {
        self.levels.run(to, table.span()).is_empty()
            && overlap_bytes(self.levels, to + 1, table.span())
                <= self.options.grandparent_bytes_max
    }

    /// The table of `level` that brings the least with it.
    fn pick_table(&self, level: usize) -> Option<Choice> {
        let mut best: Option<(Rank, &Arc<TableMeta>)> = None;
        for table in self.levels.tables(level) {
            let below = self.levels.run(level + 1, table.span());
            if self.is_busy(table) || self.any_busy(below) {
                continue;
            }
            let overlap: u64 = below.iter().map(|table| table.bytes).sum();
            // What is dead frees room further down: worth up to four times its size.
            let dead = self.dead_share(table);
            let weight = u128::from(table.bytes.max(1)) * (100 + 3 * u128::from(dead));
            let cost = (u128::from(overlap) << 32) / weight;
            let rank = (cost, table.largest_seq, table.id);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, table));
            }
        }
        let (_, table) = best?;
        if self.moves_freely(table, level + 1) {
            let tables = vec![(level, Arc::clone(table))];
            return Some(Choice::Move {
                tables,
                to: level + 1,
            });
        }
        let upper = self.widen(level, table);
        self.merge(level, upper, level + 1, Reason::Size)
    }

    /// More tables of the level that can come along at no cost: they lie over the same tables below.
    fn widen(&self, level: usize, table: &Arc<TableMeta>) -> Vec<Arc<TableMeta>> {
        let alone = vec![Arc::clone(table)];
        let lower = self.levels.run(level + 1, table.span());
        let Some(below) = Span::join_all(lower.iter().map(|table| table.span())) else {
            return alone;
        };
        let upper = self.levels.run(level, below.join(table.span()));
        let Some(span) = Span::join_all(upper.iter().map(|table| table.span())) else {
            return alone;
        };
        let wider = self.levels.run(level + 1, span);
        let bytes = total(upper) + total(lower);
        if wider.len() != lower.len()
            || bytes > self.options.merge_bytes_max
            || self.any_busy(upper)
        {
            return alone;
        }
        upper.to_vec()
    }

    /// A merge of tables of one level with all that they overlap in level `to`.
    fn merge(
        &self,
        level: usize,
        upper: Vec<Arc<TableMeta>>,
        to: usize,
        reason: Reason,
    ) -> Option<Choice> {
        let inputs: Vec<_> = upper.into_iter().map(|table| (level, table)).collect();
        let span = Span::join_all(inputs.iter().map(|(_, table)| table.span()))?;
        let lower = if to > level {
            self.levels.run(to, span).to_vec()
        } else {
            Vec::new()
        };
        let lower = lower.into_iter().map(|table| (to, table));
        let inputs: Vec<_> = inputs.iter().cloned().chain(lower).collect();
        if self.any_busy(inputs.iter().map(|(_, table)| table)) {
            return None;
        }
        let mut merge = build(self.levels, self.options, inputs, to, reason);
        if level == to {
            // Rewritten in its place, a table stays one.
            merge.grandparents.clear();
        }
        Some(Choice::Merge(merge))
    }

    /// Tables that are mostly tombstones or expired records go down, or are rewritten where they are if
    /// nothing lies below. While a snapshot still needs what they hide, neither would free anything.
    fn dead_records(&self) -> Option<Choice> {
        for (level, table) in self.levels.all() {
            let dead = self.dead_share(table) >= self.options.dead_percent;
            let held = table.largest_seq > self.state.oldest_snapshot;
            if level == 0 || !dead || held || self.is_busy(table) {
                continue;
            }
            let mut deeper = level + 1..LEVELS;
            let choice = if deeper.any(|lower| !self.levels.run(lower, table.span()).is_empty()) {
                self.push_down(level, table)
            } else {
                self.merge(level, vec![Arc::clone(table)], level, Reason::Dead)
            };
            if choice.is_some() {
                return choice;
            }
        }
        None
    }

    fn push_down(&self, level: usize, table: &Arc<TableMeta>) -> Option<Choice> {
        if self.moves_freely(table, level + 1) {
            let tables = vec![(level, Arc::clone(table))];
            return Some(Choice::Move {
                tables,
                to: level + 1,
            });
        }
        self.merge(level, vec![Arc::clone(table)], level + 1, Reason::Dead)
    }

    /// How many of a hundred records are dead.
    fn dead_share(&self, table: &TableMeta) -> u64 {
        let expired = match self.options.expire {
            true => table.deadlines.expired(self.state.now_ms),
            false => 0,
        };
        // A range delete is a tombstone that takes no part in the count of records.
        let dead =
            u128::from(table.deletes) + u128::from(expired) + u128::from(table.range_deletes);
        let all = u128::from(table.entries) + u128::from(table.range_deletes);
        u64::try_from(dead * 100 / all.max(1))
            .unwrap_or(100)
            .min(100)
    }

    /// One table that refers to a values file which is mostly garbage, to be rewritten where it is.
    fn rotten_values(&self) -> Option<Choice> {
        let files = garbage_files(self.levels, self.options);
        if files.is_empty() {
            return None;
        }
        let refers = |table: &TableMeta| table.values.iter().any(|used| files.contains(&used.id));
        let mut referrers = self
            .levels
            .all()
            .filter(|(_, table)| !self.is_busy(table) && refers(table));
        let (level, table) = referrers.next()?;
        self.merge(level, vec![Arc::clone(table)], level, Reason::Values)
    }
}

/// Completes a merge of `inputs`.
pub(super) fn build(
    levels: &Levels,
    options: &CompactionOptions,
    mut inputs: Vec<(usize, Arc<TableMeta>)>,
    to: usize,
    reason: Reason,
) -> Merge {
    // Groups of level 0 are by key; the worker wants them newest first.
    inputs.sort_by_key(|(level, table)| {
        (
            *level,
            if *level == 0 {
                std::cmp::Reverse((table.largest_seq, table.id))
            } else {
                std::cmp::Reverse((0, 0))
            },
        )
    });
    let mut merge = Merge {
        inputs,
        to,
        grandparents: Vec::new(),
        rewrite_values: garbage_files(levels, options),
        reason,
    };
    if to < LAST && to > 0 {
        merge.grandparents = levels.run(to + 1, merge.span()).to_vec();
    }
    merge
}

fn total(tables: &[Arc<TableMeta>]) -> u64 {
    tables.iter().map(|table| table.bytes).sum()
}

fn overlap_bytes(levels: &Levels, level: usize, span: Span<'_>) -> u64 {
    if level > LAST {
        0
    } else {
        total(levels.run(level, span))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lsm::compaction::{Debt, debt};
    use crate::lsm::levels::tests::{table, tree};
    use crate::lsm::levels::{Applied, Deadlines, Edit, ValuesFile, ValuesRef};
    use crate::lsm::range_deletes::RangeDeletes;

    pub(crate) fn options() -> CompactionOptions {
        let mut options = CompactionOptions::for_memtables_of(200);
        options.base_bytes = 400;
        options
    }

    pub(super) fn choose_with(
        levels: &Levels,
        busy: &[u64],
        oldest_snapshot: u64,
        deletes: &RangeDeletes,
    ) -> Choice {
        let state = State {
            oldest_snapshot,
            now_ms: 1000,
            deletes,
            complete_upto: u64::MAX,
        };
        choose(levels, &options(), &busy.iter().copied().collect(), &state)
    }

    pub(super) fn choice(levels: &Levels) -> Choice {
        choose_with(levels, &[], u64::MAX, &RangeDeletes::default())
    }

    /// The ids of the tables concerned, and the level they go to.
    pub(super) fn outline(choice: &Choice) -> (&'static str, Vec<u64>, usize) {
        let ids = choice.tables().iter().map(|(_, table)| table.id).collect();
        match choice {
            Choice::Nothing => ("nothing", ids, 0),
            Choice::Move { to, .. } => ("move", ids, *to),
            Choice::Merge(merge) => ("merge", ids, merge.to),
            Choice::Drop { .. } => ("drop", ids, 0),
        }
    }

    pub(super) fn level_0(count: u64) -> Vec<(usize, TableMeta)> {
        (0..count)
            .map(|i| (0, table(i + 1, "a", "z", 100 + i * 10..=109 + i * 10)))
            .collect()
    }

    /// `count` tables of `level` over "k00", "k01" and so on.
    pub(crate) fn run(level: usize, first_id: u64, count: u64) -> Vec<(usize, TableMeta)> {
        let one = |i| {
            table(
                first_id + i,
                &format!("k{i:02}"),
                &format!("k{i:02}z"),
                1..=9,
            )
        };
        (0..count).map(|i| (level, one(i))).collect()
    }

    #[test]
    fn an_empty_tree_rests() {
        assert_eq!(outline(&choice(&Levels::default())).0, "nothing");
        assert_eq!(debt(&Levels::default(), &options()), Debt::default());
    }

    #[test]
    fn four_tables_of_level_0_are_merged_into_the_base_at_once() {
        assert_eq!(outline(&choice(&tree(level_0(3)))).0, "nothing");
        let mut tables = level_0(4);
        assert_eq!(
            outline(&choice(&tree(tables.clone()))),
            ("merge", vec![4, 3, 2, 1], 6)
        );
        tables.extend(run(6, 50, 2));
        let levels = tree(tables);
        assert_eq!(
            outline(&choice(&levels)),
            ("merge", vec![4, 3, 2, 1, 50, 51], 6)
        );
        assert_eq!(debt(&levels, &options()).bytes, 600);
        let blocked = choose_with(&levels, &[51], u64::MAX, &RangeDeletes::default());
        assert_eq!(outline(&blocked).0, "nothing");
    }

    #[test]
    fn what_was_written_in_order_just_moves() {
        let mut tables = run(0, 1, 5);
        for (i, (_, table)) in tables.iter_mut().enumerate() {
            (table.smallest_seq, table.largest_seq) = (i as u64 * 10, i as u64 * 10 + 9);
        }
        assert_eq!(
            outline(&choice(&tree(tables))),
            ("move", vec![1, 2, 3, 4, 5], 6)
        );
    }

    #[test]
    fn tables_of_level_0_that_share_no_key_are_not_merged_together() {
        let tables = vec![
            (0, table(1, "a", "c", 10..=19)),
            (0, table(2, "b", "d", 20..=29)),
            (0, table(3, "x", "y", 30..=39)),
            (0, table(4, "a", "d", 40..=49)),
            (0, table(7, "b", "c", 50..=59)),
            (6, table(5, "d", "f", 1..=9)),
            (6, table(6, "x", "z", 1..=9)),
        ];
        assert_eq!(
            outline(&choice(&tree(tables))),
            ("merge", vec![7, 4, 2, 1, 5], 6)
        );
    }

    #[test]
    fn the_table_with_the_least_below_goes_first() {
        let mut tables = run(6, 1, 30);
        tables.push((5, table(40, "k00", "k09", 20..=29)));
        tables.push((5, table(41, "k10", "k12", 20..=29)));
        tables.push((5, table(42, "k13", "k29", 20..=29)));
        tables.push((5, table(43, "k30", "k31", 20..=29)));
        let levels = tree(tables);
        assert_eq!(outline(&choice(&levels)), ("move", vec![43], 6));
        let next = choose_with(&levels, &[43], u64::MAX, &RangeDeletes::default());
        assert_eq!(
            outline(&next).0,
            "nothing",
            "what is under way counts as done"
        );
        let mut tables: Vec<_> = levels
            .all()
            .map(|(level, table)| (level, (**table).clone()))
            .collect();
        tables.last_mut().unwrap().1.id = 99;
        tables
            .iter_mut()
            .find(|(_, t)| t.id == 43)
            .unwrap()
            .1
            .largest = std::ops::Bound::Unbounded;
        tables.push((6, table(98, "k31", "k33", 1..=9)));
        tables.push((6, table(97, "k34", "k35", 1..=9)));
        let levels = tree(tables);
        assert_eq!(outline(&choice(&levels)), ("merge", vec![43, 98, 97], 6));
    }

    #[test]
    fn neighbours_come_along_when_that_is_free() {
        let mut tables = run(6, 1, 30);
        tables.push((6, table(60, "m", "p", 1..=9)));
        for (id, start, end) in [
            (40, "k00", "k14"),
            (41, "k15", "k29"),
            (42, "m", "n"),
            (43, "n1", "n2"),
        ] {
            tables.push((5, table(id, start, end, 20..=29)));
        }
        assert_eq!(
            outline(&choice(&tree(tables))),
            ("merge", vec![42, 43, 60], 6)
        );
    }

    #[test]
    fn tombstones_are_rewritten_where_they_die_and_pushed_where_they_do_not() {
        let mut dense = table(1, "a", "c", 10..=19);
        dense.deletes = 6;
        let last = tree(vec![(6, dense.clone())]);
        assert_eq!(outline(&choice(&last)), ("merge", vec![1], 6));
        let held = choose_with(&last, &[], 15, &RangeDeletes::default());
        assert_eq!(outline(&held).0, "nothing", "a snapshot still needs them");
        let over = tree(vec![(4, dense.clone()), (6, table(2, "b", "d", 1..=9))]);
        assert_eq!(outline(&choice(&over)), ("move", vec![1], 5));
        let over = tree(vec![(5, dense), (6, table(2, "b", "d", 1..=9))]);
        assert_eq!(outline(&choice(&over)), ("merge", vec![1, 2], 6));
    }

    #[test]
    fn expired_tables_are_rewritten() {
        let mut expired = table(1, "a", "c", 10..=19);
        expired.deadlines = Deadlines {
            count: 8,
            min_ms: 1,
            max_ms: 900,
        };
        assert_eq!(
            outline(&choice(&tree(vec![(6, expired.clone())]))),
            ("merge", vec![1], 6)
        );
        expired.deadlines.max_ms = 100_000;
        assert_eq!(outline(&choice(&tree(vec![(6, expired)]))).0, "nothing");
    }

    #[test]
    fn deleted_tables_are_dropped_unread_unless_a_snapshot_sees_them() {
        let levels = tree(vec![
            (5, table(1, "b", "c", 10..=19)),
            (5, table(2, "d", "f", 10..=19)),
            (6, table(3, "b", "e", 1..=9)),
        ]);
        let mut deletes = RangeDeletes::default();
        deletes.add(b"a", Some(b"e"), 30);
        let found = choose_with(&levels, &[], u64::MAX, &deletes);
        assert_eq!(outline(&found), ("drop", vec![1], 0));
        deletes.add(b"e", None, 31);
        let found = choose_with(&levels, &[2], u64::MAX, &deletes);
        assert_eq!(outline(&found), ("drop", vec![1, 3], 0));
        assert_ne!(outline(&choose_with(&levels, &[], 29, &deletes)).0, "drop");
    }

    #[test]
    fn referrers_of_rotten_values_are_rewritten_in_place() {
        let mut first = table(1, "a", "c", 10..=19);
        first.values = vec![ValuesRef { id: 9, bytes: 20 }];
        let edit = Edit {
            add: vec![
                (6, Arc::new(first)),
                (6, Arc::new(table(2, "d", "e", 1..=2))),
            ],
            values: vec![ValuesFile { id: 9, bytes: 50 }],
            ..Edit::default()
        };
        let Applied { levels, .. } = Levels::default().apply(&edit).unwrap();
        let found = choice(&levels);
        assert_eq!(outline(&found), ("merge", vec![1], 6));
        let Choice::Merge(merge) = found else {
            unreachable!()
        };
        assert_eq!(
            (merge.reason, merge.rewrite_values),
            (Reason::Values, BTreeSet::from([9]))
        );
    }
}
