//! Trees of abstract tables: no I/O, only keys and sequence numbers, carried through the real policy,
//! filter and cutter to see what they cost, that they end and that no key gets lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::below::Below;
use super::cut::Cutter;
use super::filter::{Retain, Rules, Verdict};
use super::leveled::choose;
use super::{Choice, CompactionOptions, Merge, State, debt, manual};
use crate::lsm::levels::{Deadlines, Edit, LAST, LEVELS, Levels, TableMeta};
use crate::lsm::range_deletes::RangeDeletes;
use crate::record::{Kind, Record};

/// A record is one byte long here: a key and its newest write (`true`: a put).
type Entry = (u32, u64, bool);

/// Records in a full memtable.
const MEMTABLE: usize = 128;

struct Tree {
    levels: Levels,
    options: CompactionOptions,
    contents: BTreeMap<u64, Vec<Entry>>,
    memtable: BTreeMap<u32, (u64, bool)>,
    deletes: RangeDeletes,
    next_id: u64,
    seq: u64,
    dice: u64,
    written: u64,
    merged: u64,
    deepest_l0: usize,
}

impl Tree {
    fn new(options: CompactionOptions) -> Self {
        Self {
            levels: Levels::default(),
            options,
            contents: BTreeMap::new(),
            memtable: BTreeMap::new(),
            deletes: RangeDeletes::default(),
            next_id: 1,
            seq: 0,
            dice: 0x9e37_79b9_7f4a_7c15,
            written: 0,
            merged: 0,
            deepest_l0: 0,
        }
    }

    fn roll(&mut self, below: u32) -> u32 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (((self.dice >> 32) * u64::from(below)) >> 32) as u32
    }

    fn write(&mut self, key: u32, put: bool) {
        self.seq += 1;
        self.written += 1;
        self.memtable.insert(key, (self.seq, put));
        if self.memtable.len() == MEMTABLE {
            self.flush();
            self.settle();
        }
    }

    fn flush(&mut self) {
        let entries: Vec<_> = std::mem::take(&mut self.memtable)
            .into_iter()
            .map(|(key, (seq, put))| (key, seq, put))
            .collect();
        let mut edit = Edit::default();
        self.store(0, entries, &mut edit);
        self.levels = self.levels.apply(&edit).unwrap().levels;
        self.deepest_l0 = self.deepest_l0.max(self.levels.tables(0).len());
    }

    fn store(&mut self, level: usize, entries: Vec<Entry>, edit: &mut Edit) {
        let (first, last) = (entries[0], entries[entries.len() - 1]);
        let seqs = || entries.iter().map(|entry| entry.1);
        self.merged += entries.len() as u64;
        let table = TableMeta {
            id: self.next_id,
            bytes: entries.len() as u64,
            smallest: first.0.to_be_bytes().into(),
            largest: Bound::Included(last.0.to_be_bytes().into()),
            smallest_seq: seqs().min().unwrap(),
            largest_seq: seqs().max().unwrap(),
            entries: entries.len() as u64,
            deletes: entries.iter().filter(|entry| !entry.2).count() as u64,
            range_deletes: 0,
            deadlines: Deadlines::default(),
            values: Vec::new(),
        };
        self.contents.insert(self.next_id, entries);
        edit.add.push((level, Arc::new(table)));
        self.next_id += 1;
    }

    fn choice(&self) -> Choice {
        let state = State {
            oldest_snapshot: u64::MAX,
            now_ms: 0,
            deletes: &self.deletes,
            complete_upto: u64::MAX,
        };
        choose(&self.levels, &self.options, &BTreeSet::new(), &state)
    }

    /// Compacts until the policy is content.
    fn settle(&mut self) {
        for _ in 0..1000 {
            match self.choice() {
                Choice::Nothing => return,
                choice => self.carry_out(choice),
            }
        }
        panic!("compaction does not end: {:?}", self.shape());
    }

    fn carry_out(&mut self, choice: Choice) {
        let mut edit = Edit::default();
        let tables = choice.tables().to_vec();
        edit.remove.extend(tables.iter().map(|(_, table)| table.id));
        match choice {
            Choice::Nothing => return,
            Choice::Move { tables, to } => {
                edit.add
                    .extend(tables.into_iter().map(|(_, table)| (to, table)));
            }
            Choice::Merge(merge) => self.merge(&merge, &mut edit),
            Choice::Drop { .. } => {}
        }
        let applied = self.levels.apply(&edit).unwrap();
        self.levels = applied.levels;
        let kept: BTreeSet<u64> = self.levels.all().map(|(_, table)| table.id).collect();
        self.contents.retain(|id, _| kept.contains(id));
    }

    fn merge(&mut self, merge: &Merge, edit: &mut Edit) {
        let inputs = merge
            .inputs
            .iter()
            .map(|(_, table)| &self.contents[&table.id]);
        let mut entries: Vec<Entry> = inputs.flatten().copied().collect();
        entries.sort_by_key(|&(key, seq, _)| (key, std::cmp::Reverse(seq)));
        let mut below = Below::new(&self.levels, merge);
        let mut cutter = Cutter::new(merge, &self.options);
        let mut retain = Retain::new(Rules {
            zero: merge.to == LAST,
            ..Rules::default()
        });
        let mut out: Vec<Entry> = Vec::new();
        for (key, seq, put) in entries {
            let bytes = key.to_be_bytes();
            let record = Record {
                key: &bytes,
                seq,
                kind: if put { Kind::Put } else { Kind::Delete },
                deadline_ms: 0,
                value: b"",
            };
            let seq = match retain.judge(record, |key| below.may_hold(key)) {
                Verdict::Drop => continue,
                Verdict::KeepZeroed => 0,
                Verdict::Keep | Verdict::Tombstone => seq,
            };
            if cutter.cuts_before(&bytes, out.len() as u64) {
                self.store(merge.to, std::mem::take(&mut out), edit);
            }
            out.push((key, seq, put));
        }
        if !out.is_empty() {
            self.store(merge.to, out, edit);
        }
    }

    fn get(&self, key: u32) -> bool {
        if let Some((_, put)) = self.memtable.get(&key) {
            return *put;
        }
        let bytes = key.to_be_bytes();
        let mut versions = self.levels.holding(&bytes).filter_map(|(_, table)| {
            let entries = &self.contents[&table.id];
            entries
                .binary_search_by_key(&key, |entry| entry.0)
                .ok()
                .map(|at| entries[at].2)
        });
        versions.next().unwrap_or(false)
    }

    fn shape(&self) -> Vec<(usize, u64)> {
        (0..LEVELS)
            .map(|level| (self.levels.tables(level).len(), self.levels.bytes(level)))
            .collect()
    }

    /// Bytes written to tables for each byte that was written to the store.
    fn amplification(&self) -> f64 {
        self.merged as f64 / self.written as f64
    }
}

fn options() -> CompactionOptions {
    CompactionOptions::for_memtables_of(MEMTABLE as u64)
}

/// Fills a tree of `keys` at random, then overwrites it: the write amplification of each.
fn random(options: CompactionOptions, keys: u32) -> (f64, f64, Tree) {
    let mut tree = Tree::new(options);
    let write = |tree: &mut Tree, count: u32| {
        for _ in 0..count {
            let key = tree.roll(keys);
            tree.write(key, true);
        }
        let amplification = tree.amplification();
        (tree.written, tree.merged) = (0, 0);
        amplification
    };
    let fill = write(&mut tree, keys);
    write(&mut tree, keys * 2);
    let overwrite = write(&mut tree, keys * 2);
    (fill, overwrite, tree)
}

/// This policy with the sizes that RocksDB has by default: tables as large as a memtable, and another level
/// as soon as the base outgrows four of them. A comparison of sizes, not with RocksDB itself.
fn usual_options() -> CompactionOptions {
    CompactionOptions {
        table_bytes: MEMTABLE as u64,
        base_bytes: 4 * MEMTABLE as u64,
        ..options()
    }
}

#[test]
fn random_overwrites_cost_less_than_the_usual_sizes_do() {
    for (memtables, fill_max, overwrite_max) in [(10, 2.0, 3.0), (60, 4.8, 7.4), (200, 7.6, 10.5)] {
        let keys = memtables * MEMTABLE as u32;
        let (fill, overwrite, tree) = random(options(), keys);
        assert!(fill < fill_max, "filling {memtables}: {fill}");
        assert!(
            overwrite < overwrite_max,
            "overwriting {memtables}: {overwrite}"
        );
        assert!(tree.deepest_l0 <= 4);
        let total: u64 = (0..LEVELS).map(|level| tree.levels.bytes(level)).sum();
        assert!(
            total < u64::from(keys) * 5 / 4 + 1000,
            "space: {:?}",
            tree.shape()
        );
        let (_, usual, _) = random(usual_options(), keys);
        assert!(overwrite <= usual, "{overwrite} against {usual}");
    }
}

#[test]
fn what_is_written_in_order_is_written_once() {
    let mut tree = Tree::new(options());
    for key in 0..300 * MEMTABLE as u32 {
        tree.write(key, true);
    }
    assert_eq!(tree.amplification(), 1.0);
    assert!(tree.levels.tables(0).len() < 4);
    assert_eq!(debt(&tree.levels, &tree.options).bytes, 0);
}

#[test]
fn no_key_is_lost_and_no_deleted_key_returns() {
    let mut tree = Tree::new(options());
    let keys = 40 * MEMTABLE as u32;
    let mut model = vec![false; keys as usize];
    for round in 0..300 * MEMTABLE as u32 {
        // Stretches of deletes among the puts, some of them dense.
        let stretch = round / 5000 % 4;
        let (key, put) = match stretch {
            0 => (tree.roll(keys), true),
            1 => (tree.roll(keys / 4), tree.roll(10) == 0),
            2 => (round % keys, tree.roll(2) == 0),
            _ => (keys - 1 - tree.roll(keys / 9), false),
        };
        tree.write(key, put);
        model[key as usize] = put;
        if round % 20_011 == 0 {
            let wrong = (0..keys).find(|&key| tree.get(key) != model[key as usize]);
            assert_eq!(wrong, None, "in round {round}");
        }
    }
    // Deleting all leaves next to nothing behind.
    for key in 0..keys {
        tree.write(key, false);
    }
    assert!((0..keys).all(|key| !tree.get(key)));
    let left: u64 = (1..LEVELS).map(|level| tree.levels.bytes(level)).sum();
    assert!(left < u64::from(keys) / 2, "{:?}", tree.shape());
}

#[test]
fn a_backlog_is_worked_off_and_counted_down() {
    let mut tree = Tree::new(options());
    for _ in 0..40 {
        for _ in 0..MEMTABLE {
            let key = tree.roll(1_000_000);
            tree.seq += 1;
            tree.memtable.insert(key, (tree.seq, true));
        }
        tree.flush();
    }
    let owed = debt(&tree.levels, &tree.options);
    assert!(
        owed.l0_runs == 40 && owed.bytes >= tree.levels.bytes(0),
        "{owed:?}"
    );
    let before = tree.merged;
    tree.settle();
    assert!(
        tree.merged - before <= 2 * owed.bytes,
        "{} of {owed:?}",
        tree.merged - before
    );
    assert_eq!(debt(&tree.levels, &tree.options).bytes, 0);
}

#[test]
fn compacting_everything_ends_with_everything_in_the_last_level() {
    let (_, _, mut tree) = random(options(), 80 * MEMTABLE as u32);
    for key in 0..1000 {
        tree.write(key * 3, false);
    }
    let upto_seq = tree.seq;
    let deletes = RangeDeletes::default();
    let state = State {
        oldest_snapshot: u64::MAX,
        now_ms: 0,
        deletes: &deletes,
        complete_upto: u64::MAX,
    };
    let mut steps = 0;
    loop {
        let choice = manual(
            &tree.levels,
            &tree.options,
            &BTreeSet::new(),
            &state,
            upto_seq,
        );
        if matches!(choice, Choice::Nothing) {
            break;
        }
        tree.carry_out(choice);
        // Writes go on meanwhile.
        for _ in 0..MEMTABLE {
            let key = tree.roll(1_000_000);
            tree.write(key, true);
        }
        steps += 1;
        assert!(steps < 50);
    }
    let old = tree
        .levels
        .all()
        .filter(|(level, table)| *level < LAST && table.smallest_seq <= upto_seq);
    assert_eq!(old.count(), 0);
    assert!(
        tree.levels
            .tables(LAST)
            .iter()
            .all(|table| table.deletes == 0)
    );
}

#[test]
#[ignore = "takes a minute: prints what the options are set by"]
fn survey() {
    for memtables in [10u32, 60, 200, 600] {
        for base in [4, 8, 16, 32] {
            for share in [1, 2, 4] {
                let mut options = CompactionOptions::for_memtables_of(MEMTABLE as u64);
                options.table_bytes = MEMTABLE as u64 / share;
                options.base_bytes = base * MEMTABLE as u64;
                let (fill, overwrite, tree) = random(options, memtables * MEMTABLE as u32);
                println!(
                    "{memtables:4} memtables, base {base:2}, tables 1/{share}: \
                     fill {fill:5.2}, overwrite {overwrite:5.2} {:?}",
                    tree.shape()
                );
            }
        }
    }
}
