//! Layer 2: a log-structured merge tree of immutable sorted tables.

pub mod compaction;
pub mod cursor;
pub mod levels;
pub mod manifest;
pub mod merge;
pub mod range_deletes;
pub mod skip;
pub mod span;
pub mod table_meta;
#[cfg(test)]
pub(crate) mod vec_cursor;
pub mod visible;
