//! Compaction: which tables to merge, and which records survive it. Policy only; a worker carries a
//! [`Choice`] out. Nothing here opens a table, tells time or does I/O.

pub mod below;
pub mod cut;
pub mod filter;
pub mod leveled;
mod manual;
#[cfg(test)]
mod simulation;
mod targets;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::levels::{Levels, Span, TableMeta};
use super::range_deletes::RangeDeletes;

pub use manual::manual;
pub use targets::{Debt, Targets, debt, targets};

/// What a strategy goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionOptions {
    /// So many tables of level 0 over one key start a compaction.
    pub l0_tables: usize,
    /// Where an output is cut.
    pub table_bytes: u64,
    /// The level that level 0 is merged into is at most about this large; a larger one gets another
    /// level above it.
    pub base_bytes: u64,
    /// How many times larger each further level is.
    pub level_ratio: u64,
    /// A merge is not widened beyond this many bytes of input.
    pub merge_bytes_max: u64,
    /// An output overlaps at most this much of the level below its own.
    pub grandparent_bytes_max: u64,
    /// A table with at least this share of dead records (tombstones, expired) is compacted for that alone.
    pub dead_percent: u64,
    /// A values file with more than this share of garbage is emptied.
    pub garbage_percent: u64,
    /// Whether compaction removes what has expired: then the worker gives [`filter::Rules::expire_at_ms`] the
    /// clock of the [`State`] that the merge was chosen by, or a later one.
    pub expire: bool,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self::for_memtables_of(64 << 20)
    }
}

impl CompactionOptions {
    /// Everything in proportion to what a flush writes at most. The factors come from the survey of
    /// `simulation.rs`: with tables of half a memtable each merge brings less along at its edges, and a
    /// base of sixteen memtables spares a level that would be rewritten with every merge of level 0.
    pub fn for_memtables_of(bytes: u64) -> Self {
        let table_bytes = (bytes / 2).max(1);
        Self {
            l0_tables: 4,
            table_bytes,
            base_bytes: bytes.saturating_mul(16),
            level_ratio: 10,
            merge_bytes_max: table_bytes.saturating_mul(25),
            grandparent_bytes_max: table_bytes.saturating_mul(10),
            dead_percent: 50,
            garbage_percent: 50,
            expire: true,
        }
    }
}

/// What a strategy has to know besides the levels.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The oldest sequence number that a reader holds; `u64::MAX` without readers.
    pub oldest_snapshot: u64,
    /// The clock by which records expire. No reader's clock may show less.
    pub now_ms: u64,
    /// The range deletes in tables, and only those: what a table is dropped for must not be undone by
    /// the loss of an unsynced log.
    pub deletes: &'a RangeDeletes,
    /// Everything up to this sequence number is in the levels, or is yet to come from a memtable: no table that is being
    /// written elsewhere belongs among these. `u64::MAX` where there are no such.
    pub complete_upto: u64,
}

/// Why tables are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Level 0 has too many tables.
    Level0,
    /// A level has outgrown its target.
    Size,
    /// Many records are tombstones or have expired.
    Dead,
    /// A file of large values is mostly garbage.
    Values,
    /// Somebody asked.
    Manual,
}

/// Tables to merge into others.
#[derive(Clone, Debug)]
pub struct Merge {
    /// The tables and their levels, in the order of [`Levels::all`].
    pub inputs: Vec<(usize, Arc<TableMeta>)>,
    /// The level of the outputs.
    pub to: usize,
    /// The tables of the level below that the outputs may overlap, by key: see [`cut::Cutter`].
    pub grandparents: Vec<Arc<TableMeta>>,
    /// Values in these files are to be copied to a new one.
    pub rewrite_values: BTreeSet<u64>,
    /// Why.
    pub reason: Reason,
}

impl Merge {
    /// The keys that inputs and outputs lie in.
    pub fn span(&self) -> Span<'_> {
        let spans = self.inputs.iter().map(|(_, table)| table.span());
        Span::join_all(spans).unwrap_or(Span::between(b"", Some(b"")))
    }

    /// Bytes to be read.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|(_, table)| table.bytes).sum()
    }
}

/// What to do next.
#[derive(Clone, Debug)]
pub enum Choice {
    /// All is well, or what is not waits for tables that are busy.
    Nothing,
    /// Put tables into another level as they are.
    Move {
        /// The tables and their levels.
        tables: Vec<(usize, Arc<TableMeta>)>,
        /// Where to.
        to: usize,
    },
    /// Merge tables.
    Merge(Merge),
    /// Remove tables: range deletes hide all that is in them from every reader.
    Drop {
        /// The tables and their levels.
        tables: Vec<(usize, Arc<TableMeta>)>,
    },
}

impl Choice {
    /// The tables it concerns: busy until it is done.
    pub fn tables(&self) -> &[(usize, Arc<TableMeta>)] {
        match self {
            Self::Nothing => &[],
            Self::Move { tables, .. } | Self::Drop { tables } => tables,
            Self::Merge(merge) => &merge.inputs,
        }
    }
}

/// Files of large values that are mostly garbage.
fn garbage_files(levels: &Levels, options: &CompactionOptions) -> BTreeSet<u64> {
    let files = levels.values().iter();
    let rotten = files.filter(|(_, file)| {
        u128::from(file.garbage()) * 100
            > u128::from(file.bytes) * u128::from(options.garbage_percent)
    });
    rotten.map(|(&id, _)| id).collect()
}
