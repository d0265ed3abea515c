//! The path that a read took, for whoever asks.

use std::fmt;

use super::read::Known;
use crate::lsm::trace::{BlockRead, BlockSource, Trace};

/// Hears what a read asks of the layers. With `()` every event compiles to nothing.
pub(crate) trait DbTrace: Trace {
    /// The hash table has answered.
    #[inline(always)]
    fn memory_asked(&mut self, known: &Known) {
        let _ = known;
    }

    /// A memtable has answered.
    #[inline(always)]
    fn memtable_asked(&mut self, memtable: u64, found: bool) {
        let _ = (memtable, found);
    }

    /// A table whose keys span the key sought is about to be asked.
    #[inline(always)]
    fn table_asked(&mut self, table: u64, level: usize) {
        let _ = (table, level);
    }
}

impl DbTrace for () {}

/// One step of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The hash table was probed.
    HashTable {
        /// What it knew: "hit", "deleted", "apart", "older" or "miss".
        answer: &'static str,
    },
    /// A memtable was searched.
    Memtable {
        /// Its number.
        memtable: u64,
        /// Whether it had a version.
        found: bool,
    },
    /// A table was considered.
    Table {
        /// Its number.
        table: u64,
        /// The level it is on.
        level: usize,
    },
    /// A table's bloom filter was asked.
    Filter {
        /// The table.
        table: u64,
        /// Its answer: `false` spared the table.
        may_hold: bool,
    },
    /// A block was read.
    Block(BlockRead),
}

/// The path that a read took through the layers, in order, and what it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked of which layer.
    pub steps: Vec<Step>,
    /// Whether the key was there.
    pub found: bool,
    /// Length of the value, in bytes.
    pub value_bytes: usize,
    /// How long it took, in nanoseconds of the host's monotonic clock.
    pub took_ns: u64,
}

impl Trace for Explanation {
    fn filter_asked(&mut self, table: u64, may_hold: bool) {
        self.steps.push(Step::Filter { table, may_hold });
    }

    fn block_read(&mut self, read: BlockRead) {
        self.steps.push(Step::Block(read));
    }
}

impl DbTrace for Explanation {
    fn memory_asked(&mut self, known: &Known) {
        let answer = match known {
            Known::Here { .. } => "hit",
            Known::Apart { .. } => "apart",
            Known::Absent => "deleted",
            Known::Older => "older",
            Known::Cold => "miss",
        };
        self.steps.push(Step::HashTable { answer });
    }

    fn memtable_asked(&mut self, memtable: u64, found: bool) {
        self.steps.push(Step::Memtable { memtable, found });
    }

    fn table_asked(&mut self, table: u64, level: usize) {
        self.steps.push(Step::Table { table, level });
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        let (found, bytes) = (
            if self.found { "found" } else { "not found" },
            self.value_bytes,
        );
        write!(f, "{found}, {bytes} bytes, in {} ns", self.took_ns)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HashTable { answer } => write!(f, "hash table: {answer}"),
            Self::Memtable { memtable, found } => {
                write!(
                    f,
                    "memtable {memtable}: {}",
                    if *found { "has it" } else { "has it not" }
                )
            }
            Self::Table { table, level } => write!(f, "level {level}, table {table}"),
            Self::Filter { table, may_hold } => {
                let answer = if *may_hold {
                    "may hold it"
                } else {
                    "holds it not"
                };
                write!(f, "  filter of table {table}: {answer}")
            }
            Self::Block(read) => {
                let source = match read.source {
                    BlockSource::Pinned => "open table",
                    BlockSource::Cache => "block cache",
                    BlockSource::Storage => "storage",
                };
                write!(
                    f,
                    "  {:?} block of table {} at {}, {} bytes, from the {source}",
                    read.kind, read.table, read.offset, read.bytes
                )
            }
        }
    }
}
