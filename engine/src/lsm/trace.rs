//! What a read did on its way, for whoever asked to have it explained.
//!
//! A read takes a tracer by type: with `()` every event compiles to nothing, so explaining costs nothing
//! unless it is asked for. A tracer must not influence the read.

use crate::storage::MaybeSend;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Records.
    Data,
    /// Separators between data blocks.
    Index,
    /// A piece of the bloom filter.
    Filter,
}

/// Where a block was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockSource {
    /// Kept at hand by the open table.
    Pinned,
    /// In the block cache.
    Cache,
    /// In storage.
    Storage,
}

/// One block that a read looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRead {
    /// The table.
    pub table: u64,
    /// What the block holds.
    pub kind: BlockKind,
    /// Where it lies in the table.
    pub offset: u64,
    /// Bytes it takes there.
    pub bytes: u32,
    /// Where it was found.
    pub source: BlockSource,
}

/// Hears what a read does. Every method does nothing unless implemented.
pub trait Trace: MaybeSend {
    /// A table's filter was asked about the key: it `may_hold` it or surely does not.
    #[inline(always)]
    fn filter_asked(&mut self, table: u64, may_hold: bool) {
        let _ = (table, may_hold);
    }

    /// A block was looked into.
    #[inline(always)]
    fn block_read(&mut self, read: BlockRead) {
        let _ = read;
    }
}

impl Trace for () {}
