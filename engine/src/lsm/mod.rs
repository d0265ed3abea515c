//! Layer 2: a log-structured merge tree of immutable sorted tables.

pub mod cache;
pub mod compaction;
pub mod cursor;
pub(crate) mod level_cursor;
pub mod levels;
pub mod manifest;
pub(crate) mod memtable;
pub mod merge;
pub mod range_deletes;
pub mod skip;
pub mod span;
pub mod sstable;
pub mod table_meta;
pub mod trace;
pub mod values;
#[cfg(test)]
pub(crate) mod vec_cursor;
pub mod visible;
