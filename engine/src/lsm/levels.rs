//! The shape of the tree: which tables exist, at which level, over which keys.
//!
//! A [`Levels`] is one immutable version; readers hold it while an [`Edit`] makes the next. Nothing here
//! opens a table or does I/O: everything is decided from [`TableMeta`], which the manifest keeps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use super::span::Span;
pub use super::table_meta::{Deadlines, TableMeta, ValuesFile, ValuesRef};
use crate::storage::Object;
use crate::{Error, Result};

/// How many levels there are, level 0 included.
pub const LEVELS: usize = 7;

/// The deepest level.
pub const LAST: usize = LEVELS - 1;

/// What one file of large values is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuesUse {
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes that tables refer to.
    pub referenced: u64,
    /// Tables that refer to it.
    pub referrers: u64,
}

impl ValuesUse {
    /// Bytes that nothing refers to.
    pub fn garbage(&self) -> u64 {
        self.bytes.saturating_sub(self.referenced)
    }
}

/// A step from one version to the next. A table that is removed and added again has moved.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Ids of tables that go.
    pub remove: Vec<u64>,
    /// Tables that come, and their level.
    pub add: Vec<(usize, Arc<TableMeta>)>,
    /// Files of large values that come.
    pub values: Vec<ValuesFile>,
}

impl Edit {
    /// The files that come.
    pub fn added(&self) -> Vec<Object> {
        let tables = self.add.iter().map(|(_, table)| table.id);
        let values = self.values.iter().map(|file| file.id);
        tables.chain(values).map(Object::Table).collect()
    }
}

/// What an [`Edit`] made.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The next version.
    pub levels: Levels,
    /// Files of large values that no table refers to any more: to be removed once nobody reads an
    /// earlier version.
    pub dead_values: Vec<u64>,
}

/// One version of the tree. Cloning shares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    levels: [Arc<Vec<Arc<TableMeta>>>; LEVELS],
    bytes: [u64; LEVELS],
    values: Arc<BTreeMap<u64, ValuesUse>>,
}

const CHECKING: &str = "checking the levels";

impl Levels {
    /// The tables of a level: level 0 newest first, the others by key.
    ///
    /// # Panics
    /// If there is no such level.
    pub fn tables(&self, level: usize) -> &[Arc<TableMeta>] {
        &self.levels[level]
    }

    /// Every table with its level.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Arc<TableMeta>)> {
        self.levels
            .iter()
            .enumerate()
            .flat_map(|(level, tables)| tables.iter().map(move |table| (level, table)))
    }

    /// Files of large values, by id.
    pub fn values(&self) -> &BTreeMap<u64, ValuesUse> {
        &self.values
    }

    /// Bytes in a level's tables.
    pub fn bytes(&self, level: usize) -> u64 {
        self.bytes[level]
    }

    /// Bytes in all tables and files of large values.
    pub fn total_bytes(&self) -> u64 {
        let values = self.values.values().map(|file| file.bytes);
        self.bytes
            .iter()
            .copied()
            .chain(values)
            .fold(0, u64::saturating_add)
    }

    /// What level 0 costs its readers, in sorted runs: how many of its tables hold one key at most. Where ranges come as
    /// a whole there are many beside each other, which cost a comparison each.
    pub fn level_0_runs(&self) -> usize {
        const BESIDE: usize = 8;
        let mut tables: Vec<Span<'_>> = self.levels[0].iter().map(|table| table.span()).collect();
        tables.sort_unstable_by_key(|span| span.start);
        let (mut most, mut open) = (0, Vec::<Span<'_>>::new());
        for &span in &tables {
            open.retain(|other| !other.ends_before(span.start));
            open.push(span);
            most = open.len().max(most);
        }
        most.max(tables.len() / BESIDE)
    }

    /// The tables that may hold `key`, in the order to ask them: the first that has a version of the key
    /// has the newest.
    pub fn holding<'a>(
        &'a self,
        key: &'a [u8],
    ) -> impl Iterator<Item = (usize, &'a Arc<TableMeta>)> {
        let upper = self.levels[0]
            .iter()
            .filter(move |table| table.span().contains(key))
            .map(|table| (0, table));
        let lower = (1..LEVELS).filter_map(move |level| Some((level, self.holder(level, key)?)));
        upper.chain(lower)
    }

    /// The one table of a level below 0 that may hold `key`.
    fn holder(&self, level: usize, key: &[u8]) -> Option<&Arc<TableMeta>> {
        let tables = &self.levels[level];
        let at = tables.partition_point(|table| table.span().ends_before(key));
        tables.get(at).filter(|table| *table.smallest <= *key)
    }

    /// The tables of a level below 0 that share a key with `span`; a binary search.
    pub fn run(&self, level: usize, span: Span<'_>) -> &[Arc<TableMeta>] {
        debug_assert!(level > 0, "level 0 is not sorted by key");
        let tables = &self.levels[level];
        let from = tables.partition_point(|table| table.span().ends_before(span.start));
        let to = tables.partition_point(|table| !span.ends_before(&table.smallest));
        tables.get(from..to).unwrap_or(&[])
    }

    /// The tables of any level that share a key with `span`, in the level's order.
    pub fn overlapping(&self, level: usize, span: Span<'_>) -> Vec<Arc<TableMeta>> {
        if level > 0 {
            return self.run(level, span).to_vec();
        }
        let tables = self.levels[0].iter();
        tables
            .filter(|table| table.span().overlaps(span))
            .cloned()
            .collect()
    }

    /// The version that comes of an edit; an error if it would break an invariant.
    pub fn apply(&self, edit: &Edit) -> Result<Applied> {
        let mut next = self.clone();
        next.remove(&edit.remove)?;
        let values = Arc::make_mut(&mut next.values);
        for file in &edit.values {
            let fresh = ValuesUse {
                bytes: file.bytes,
                referenced: 0,
                referrers: 0,
            };
            if values.insert(file.id, fresh).is_some() {
                return Err(
                    Error::corrupt("editing the levels", "values file is there already")
                        .on(Object::Table(file.id)),
                );
            }
        }
        for (level, table) in &edit.add {
            next.add(*level, table)?;
        }
        let values = Arc::make_mut(&mut next.values);
        let dead = values.iter().filter(|(_, file)| file.referrers == 0);
        let dead_values: Vec<u64> = dead.map(|(&id, _)| id).collect();
        values.retain(|_, file| file.referrers > 0);
        next.sort();
        next.check_invariants()?;
        Ok(Applied {
            levels: next,
            dead_values,
        })
    }

    fn remove(&mut self, ids: &[u64]) -> Result<()> {
        let mut ids: BTreeSet<u64> = ids.iter().copied().collect();
        let values = Arc::make_mut(&mut self.values);
        for (level, tables) in self.levels.iter_mut().enumerate() {
            if !tables.iter().any(|table| ids.contains(&table.id)) {
                continue;
            }
            Arc::make_mut(tables).retain(|table| {
                let goes = ids.remove(&table.id);
                if goes {
                    self.bytes[level] = self.bytes[level].saturating_sub(table.bytes);
                    for used in &table.values {
                        if let Some(file) = values.get_mut(&used.id) {
                            file.referenced = file.referenced.saturating_sub(used.bytes);
                            file.referrers = file.referrers.saturating_sub(1);
                        }
                    }
                }
                !goes
            });
        }
        match ids.first() {
            None => Ok(()),
            Some(&id) => Err(Error::corrupt(
                "editing the levels",
                "table to remove is in no level",
            )
            .on(Object::Table(id))),
        }
    }

    fn add(&mut self, level: usize, table: &Arc<TableMeta>) -> Result<()> {
        let refused =
            |detail| Err(Error::corrupt("editing the levels", detail).on(Object::Table(table.id)));
        let Some(tables) = self.levels.get_mut(level) else {
            return refused("no such level");
        };
        let values = Arc::make_mut(&mut self.values);
        for used in &table.values {
            let Some(file) = values.get_mut(&used.id) else {
                return refused("it refers to a values file that is not there");
            };
            file.referenced = file.referenced.saturating_add(used.bytes);
            file.referrers += 1;
        }
        self.bytes[level] = self.bytes[level].saturating_add(table.bytes);
        Arc::make_mut(tables).push(Arc::clone(table));
        Ok(())
    }

    fn sort(&mut self) {
        let (first, rest) = self.levels.split_at_mut(1);
        // Sorting is stable and levels are nearly sorted, but a level that did not change stays shared.
        for tables in first {
            if !tables.is_sorted_by(|a, b| age(a) >= age(b)) {
                Arc::make_mut(tables).sort_by_key(|table| Reverse(age(table)));
            }
        }
        for tables in rest {
            if !tables.is_sorted_by(|a, b| a.smallest <= b.smallest) {
                Arc::make_mut(tables).sort_by(|a, b| a.smallest.cmp(&b.smallest));
            }
        }
    }

    /// Whether every promise of this type holds; the error names the table that breaks one.
    pub fn check_invariants(&self) -> Result<()> {
        let mut ids = BTreeSet::new();
        let mut referenced: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (_, table) in self.all() {
            table.check()?;
            if !ids.insert(table.id) {
                let detail = "it is in the tree twice";
                return Err(Error::corrupt(CHECKING, detail).on(Object::Table(table.id)));
            }
            for used in &table.values {
                let sum = referenced.entry(used.id).or_default();
                *sum = (sum.0.saturating_add(used.bytes), sum.1 + 1);
            }
        }
        self.check_order()?;
        for (&id, file) in self.values.iter() {
            if ids.contains(&id) {
                let detail = "a values file has a table's id";
                return Err(Error::corrupt(CHECKING, detail).on(Object::Table(id)));
            }
            if referenced.remove(&id) != Some((file.referenced, file.referrers)) {
                let detail = "references to a values file are miscounted";
                return Err(Error::corrupt(CHECKING, detail).on(Object::Table(id)));
            }
        }
        match referenced.first_key_value() {
            None => Ok(()),
            Some((&id, _)) => Err(Error::corrupt(
                CHECKING,
                "a values file is referred to but not there",
            )
            .on(Object::Table(id))),
        }
    }

    fn check_order(&self) -> Result<()> {
        let clash = |level: usize, a: &TableMeta, b: &TableMeta, how: &str| {
            let detail = format!("tables {} and {} of level {level} {how}", a.id, b.id);
            Err(Error::corrupt(CHECKING, detail).on(Object::Table(b.id)))
        };
        for (i, newer) in self.levels[0].iter().enumerate() {
            for older in &self.levels[0][i + 1..] {
                if age(newer) < age(older) {
                    return clash(0, newer, older, "are out of order");
                }
                let mixed = older.largest_seq >= newer.smallest_seq;
                if mixed && newer.span().overlaps(older.span()) {
                    return clash(0, newer, older, "overlap in keys and sequence numbers");
                }
            }
        }
        for level in 1..LEVELS {
            for pair in self.levels[level].windows(2) {
                if !pair[0].span().ends_before(&pair[1].smallest) {
                    return clash(level, &pair[0], &pair[1], "overlap");
                }
            }
        }
        Ok(())
    }
}

/// What level 0 is sorted by, newest first.
fn age(table: &TableMeta) -> (u64, u64) {
    (table.largest_seq, table.id)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ops::Bound;

    use super::*;
    use crate::ErrorKind;

    /// A table over `start..=end` with the sequence numbers `seqs`.
    pub(crate) fn table(
        id: u64,
        start: &str,
        end: &str,
        seqs: std::ops::RangeInclusive<u64>,
    ) -> TableMeta {
        TableMeta {
            id,
            bytes: 100,
            smallest: start.as_bytes().into(),
            largest: Bound::Included(end.as_bytes().into()),
            smallest_seq: *seqs.start(),
            largest_seq: *seqs.end(),
            entries: 10,
            deletes: 0,
            range_deletes: 0,
            deadlines: Deadlines::default(),
            values: Vec::new(),
        }
    }

    /// A tree of these tables.
    pub(crate) fn tree(tables: Vec<(usize, TableMeta)>) -> Levels {
        try_tree(tables).unwrap()
    }

    fn try_tree(tables: Vec<(usize, TableMeta)>) -> Result<Levels> {
        let add = tables
            .into_iter()
            .map(|(level, table)| (level, Arc::new(table)))
            .collect();
        let edit = Edit {
            add,
            ..Edit::default()
        };
        Ok(Levels::default().apply(&edit)?.levels)
    }

    fn ids<'a>(tables: impl IntoIterator<Item = &'a Arc<TableMeta>>) -> Vec<u64> {
        tables.into_iter().map(|table| table.id).collect()
    }

    fn sample() -> Levels {
        tree(vec![
            (0, table(1, "a", "m", 50..=59)),
            (0, table(2, "k", "z", 60..=69)),
            (1, table(3, "a", "c", 40..=49)),
            (1, table(4, "d", "f", 30..=49)),
            (6, table(5, "b", "e", 1..=9)),
        ])
    }

    #[test]
    fn a_key_is_asked_of_the_newest_first() {
        let levels = sample();
        let asked = |key: &str| ids(levels.holding(key.as_bytes()).map(|(_, table)| table));
        assert_eq!(asked("l"), [2, 1]);
        assert_eq!(asked("c"), [1, 3, 5]);
        assert_eq!(asked("cc"), [1, 5]);
        assert_eq!(asked("zz"), [] as [u64; 0]);
    }

    #[test]
    fn overlapping_tables_are_found_at_every_edge() {
        let levels = sample();
        let run = |start: &str, end| {
            ids(levels.run(
                1,
                Span {
                    start: start.as_bytes(),
                    end,
                },
            ))
        };
        assert_eq!(run("c", Bound::Included(b"d")), [3, 4]);
        assert_eq!(run("c", Bound::Excluded(b"d")), [3]);
        assert_eq!(run("ca", Bound::Excluded(b"d")), [] as [u64; 0]);
        assert_eq!(run("", Bound::Unbounded), [3, 4]);
        assert_eq!(run("x", Bound::Excluded(b"b")), [] as [u64; 0]);
        assert_eq!(
            ids(&levels.overlapping(0, Span::between(b"l", None))),
            [2, 1]
        );
    }

    #[test]
    fn a_moved_table_keeps_its_id() {
        let levels = sample();
        let moved = Arc::clone(&levels.tables(1)[0]);
        let edit = Edit {
            remove: vec![3],
            add: vec![(5, moved)],
            ..Edit::default()
        };
        let next = levels.apply(&edit).unwrap().levels;
        assert_eq!(ids(next.tables(5)), [3]);
        assert_eq!((next.bytes(1), next.bytes(5)), (100, 100));
        assert_eq!(next.total_bytes(), levels.total_bytes());
    }

    #[test]
    fn tables_that_overlap_below_level_0_are_refused() {
        let overlap = try_tree(vec![
            (1, table(1, "a", "c", 1..=2)),
            (1, table(2, "c", "d", 3..=4)),
        ]);
        assert_eq!(overlap.unwrap_err().kind(), ErrorKind::Corrupt);
        let mut ends_there = table(1, "a", "c", 1..=2);
        ends_there.largest = Bound::Excluded(b"c".as_slice().into());
        try_tree(vec![(1, ends_there), (1, table(2, "c", "d", 3..=4))]).unwrap();
        let mut endless = table(1, "a", "c", 1..=2);
        endless.largest = Bound::Unbounded;
        assert!(try_tree(vec![(1, endless), (1, table(2, "x", "z", 3..=4))]).is_err());
    }

    #[test]
    fn tables_of_level_0_beside_each_other_make_one_run() {
        let wide = (0, table(1, "a", "z", 1..=5));
        let beside = |from: u64| {
            let number = move |n| format!("k{n:02}");
            (from..from + 9).map(move |n| {
                let key = number(n);
                (0, table(n, &key, &key, 10..=10))
            })
        };
        let runs = |tables: Vec<_>| tree(tables).level_0_runs();
        assert_eq!(runs(vec![]), 0);
        assert_eq!(runs(vec![wide.clone()]), 1);
        assert_eq!(runs(beside(10).collect()), 1);
        assert_eq!(runs(beside(10).chain([wide.clone()]).collect()), 2);
        assert_eq!(
            runs((0..3).flat_map(|n| beside(10 + 9 * n)).collect()),
            3,
            "so many are a run for every eight"
        );
        let two = [
            (0, table(1, "a", "c", 1..=5)),
            (0, table(2, "c", "d", 6..=9)),
        ];
        assert_eq!(runs(two.to_vec()), 2);
    }

    #[test]
    fn level_0_must_tell_newer_from_older() {
        assert!(
            try_tree(vec![
                (0, table(1, "a", "c", 1..=5)),
                (0, table(2, "b", "d", 5..=9))
            ])
            .is_err()
        );
        try_tree(vec![
            (0, table(1, "a", "c", 1..=5)),
            (0, table(2, "d", "e", 5..=9)),
        ])
        .unwrap();
    }

    #[test]
    fn edits_that_make_no_sense_are_refused() {
        let levels = sample();
        let mut edit = Edit {
            remove: vec![99],
            ..Edit::default()
        };
        assert!(levels.apply(&edit).is_err());
        edit.remove.clear();
        edit.add = vec![(2, Arc::new(table(5, "q", "r", 1..=2)))];
        assert!(levels.apply(&edit).is_err(), "an id twice");
        edit.add = vec![(7, Arc::new(table(9, "q", "r", 1..=2)))];
        assert!(levels.apply(&edit).is_err(), "no such level");
        edit.add = vec![(2, Arc::new(table(9, "r", "q", 1..=2)))];
        assert!(levels.apply(&edit).is_err(), "keys out of order");
    }

    #[test]
    fn a_values_file_lives_as_long_as_a_table_refers_to_it() {
        let mut first = table(1, "a", "b", 1..=2);
        first.values = vec![ValuesRef { id: 100, bytes: 60 }];
        let edit = Edit {
            add: vec![(0, Arc::new(first.clone()))],
            values: vec![
                ValuesFile { id: 100, bytes: 90 },
                ValuesFile { id: 101, bytes: 5 },
            ],
            ..Edit::default()
        };
        let applied = Levels::default().apply(&edit).unwrap();
        assert_eq!(applied.dead_values, [101]);
        assert_eq!(applied.levels.values()[&100].garbage(), 30);
        assert_eq!(applied.levels.total_bytes(), 190);

        let mut second = table(2, "a", "b", 1..=2);
        second.values = vec![ValuesRef { id: 100, bytes: 20 }];
        let edit = Edit {
            remove: vec![1],
            add: vec![(1, Arc::new(second))],
            ..Edit::default()
        };
        let applied = applied.levels.apply(&edit).unwrap();
        assert_eq!(applied.levels.values()[&100].garbage(), 70);
        let edit = Edit {
            remove: vec![2],
            ..Edit::default()
        };
        assert_eq!(applied.levels.apply(&edit).unwrap().dead_values, [100]);

        first.values[0].id = 7;
        assert!(
            try_tree(vec![(0, first)]).is_err(),
            "refers to a file that is not there"
        );
    }
}
