//! Whether anything below a merge's outputs may hold a key: where nothing does, tombstones have done their
//! work.

use std::sync::Arc;

use super::Merge;
use crate::lsm::levels::{LEVELS, Levels, Span, TableMeta};

/// The tables below a merge, level by level, for keys in ascending order.
#[derive(Clone, Debug)]
pub struct Below {
    /// Of each level the tables in the merge's span, by key, and how many lie before the last key.
    levels: Vec<(Vec<Arc<TableMeta>>, usize)>,
}

impl Below {
    /// What lies below the outputs of `merge` in `levels`, the version that it was chosen from. Stays
    /// right while later versions come about: they can only bring tables above, or the same records
    /// further down.
    pub fn new(levels: &Levels, merge: &Merge) -> Self {
        let span = merge.span();
        let mut below = Vec::new();
        if merge.to == 0 {
            // Level 0 is sorted newest first, so what follows the inputs is older. One list a table: they
            // overlap each other.
            let is_input =
                |table: &Arc<TableMeta>| merge.inputs.iter().any(|(_, input)| input.id == table.id);
            let tables = levels.tables(0);
            let last = tables.iter().rposition(is_input).map_or(0, |at| at + 1);
            let older = tables[last..]
                .iter()
                .filter(|table| table.span().overlaps(span));
            below.extend(older.map(|table| (vec![Arc::clone(table)], 0)));
        }
        for level in merge.to + 1..LEVELS {
            let run = levels.run(level, span);
            if !run.is_empty() {
                below.push((run.to_vec(), 0));
            }
        }
        Self { levels: below }
    }

    /// Whether a table below may hold `key`. Keys must not descend from call to call.
    #[inline]
    pub fn may_hold(&mut self, key: &[u8]) -> bool {
        self.levels.iter_mut().any(|(tables, at)| {
            while tables
                .get(*at)
                .is_some_and(|table| table.span().ends_before(key))
            {
                *at += 1;
            }
            tables.get(*at).is_some_and(|table| *table.smallest <= *key)
        })
    }

    /// Whether a table below may hold a key of `span`; in any order.
    pub fn may_hold_any(&self, span: Span<'_>) -> bool {
        self.levels.iter().any(|(tables, _)| {
            let at = tables.partition_point(|table| table.span().ends_before(span.start));
            tables
                .get(at)
                .is_some_and(|table| !span.ends_before(&table.smallest))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lsm::compaction::Reason;
    use crate::lsm::levels::tests::{table, tree};

    fn merge(levels: &Levels, id: u64, to: usize) -> Merge {
        let (level, table) = levels.all().find(|(_, table)| table.id == id).unwrap();
        Merge {
            inputs: vec![(level, Arc::clone(table))],
            to,
            grandparents: Vec::new(),
            rewrite_values: BTreeSet::new(),
            reason: Reason::Manual,
        }
    }

    #[test]
    fn only_what_is_older_counts() {
        let levels = tree(vec![
            (0, table(1, "a", "c", 90..=99)),
            (0, table(2, "a", "z", 80..=89)),
            (0, table(3, "e", "f", 70..=79)),
            (1, table(4, "k", "m", 60..=69)),
            (3, table(5, "m", "q", 50..=59)),
        ]);
        let mut below = Below::new(&levels, &merge(&levels, 2, 0));
        let held = |below: &mut Below, key: &str| below.may_hold(key.as_bytes());
        assert!(
            !held(&mut below, "b"),
            "a newer table of level 0 is not below"
        );
        assert!(held(&mut below, "e"));
        assert!(held(&mut below, "k"));
        assert!(held(&mut below, "n"));
        assert!(!held(&mut below, "x"));
        let mut below = Below::new(&levels, &merge(&levels, 2, 1));
        assert!(!held(&mut below, "k"));
        assert!(held(&mut below, "m"));
        assert!(below.may_hold_any(Span::between(b"a", Some(b"n"))));
        assert!(!below.may_hold_any(Span::between(b"a", Some(b"m"))));
    }
}
