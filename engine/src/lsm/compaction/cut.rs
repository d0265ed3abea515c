//! Where a merge ends one output table and begins the next.
//!
//! An output is cut when it is large enough, when it would overlap too much of the level below (its own
//! compaction would be dear), and a little early where a table of that level ends: tables whose edges
//! meet are merged later without carrying a neighbour along.

use std::sync::Arc;

use super::{CompactionOptions, Merge};
use crate::lsm::levels::TableMeta;

/// Says when to cut. Cuts lie between keys: all versions of one key go into one table.
#[derive(Clone, Debug)]
pub struct Cutter {
    grandparents: Vec<Arc<TableMeta>>,
    /// The first grandparent that does not end before the current key.
    at: usize,
    /// Bytes of grandparents that ended within the current output.
    overlapped: u64,
    table_bytes: u64,
    overlap_max: u64,
}

impl Cutter {
    /// For the outputs of one merge, in order of key.
    pub fn new(merge: &Merge, options: &CompactionOptions) -> Self {
        Self {
            grandparents: merge.grandparents.clone(),
            at: 0,
            overlapped: 0,
            table_bytes: options.table_bytes,
            overlap_max: options.grandparent_bytes_max,
        }
    }

    /// Whether to end the current output, of `written` bytes so far, before `key`, which no output holds
    /// yet. Keys ascend.
    #[inline]
    pub fn cuts_before(&mut self, key: &[u8], written: u64) -> bool {
        let mut crossed = false;
        while let Some(table) = self.grandparents.get(self.at) {
            if !table.span().ends_before(key) {
                break;
            }
            self.overlapped += table.bytes;
            self.at += 1;
            crossed = true;
        }
        let cuts = written > 0
            && (written >= self.table_bytes
                || self.overlapped > self.overlap_max
                || crossed && written >= self.table_bytes / 2);
        if cuts || written == 0 {
            self.overlapped = 0;
        }
        cuts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lsm::compaction::Reason;
    use crate::lsm::levels::tests::table;

    fn cutter(grandparents: Vec<TableMeta>) -> Cutter {
        let merge = Merge {
            inputs: Vec::new(),
            to: 1,
            grandparents: grandparents.into_iter().map(Arc::new).collect(),
            rewrite_values: BTreeSet::new(),
            reason: Reason::Size,
        };
        let mut options = CompactionOptions::for_memtables_of(2000);
        options.grandparent_bytes_max = 250;
        Cutter::new(&merge, &options)
    }

    #[test]
    fn a_full_table_is_cut_and_an_empty_one_never() {
        let mut cutter = cutter(Vec::new());
        assert!(!cutter.cuts_before(b"a", 0));
        assert!(!cutter.cuts_before(b"b", 999));
        assert!(cutter.cuts_before(b"c", 1000));
    }

    #[test]
    fn a_half_full_table_is_cut_at_an_edge() {
        let mut cutter = cutter(vec![table(1, "b", "d", 1..=2), table(2, "f", "h", 1..=2)]);
        assert!(!cutter.cuts_before(b"d", 600));
        assert!(cutter.cuts_before(b"e", 600));
        assert!(!cutter.cuts_before(b"i", 100));
    }

    #[test]
    fn a_table_that_overlaps_too_much_is_cut() {
        let below = (0..5)
            .map(|i| table(i, &format!("b{i}"), &format!("b{i}x"), 1..=2))
            .collect();
        let mut cutter = cutter(below);
        assert!(!cutter.cuts_before(b"a", 0));
        assert!(!cutter.cuts_before(b"b2", 10));
        assert!(cutter.cuts_before(b"b3", 20));
        assert!(!cutter.cuts_before(b"b4", 30));
    }
}
