//! Layer 2: a log-structured merge tree of immutable sorted tables.

pub mod cache;
pub mod cursor;
pub mod sstable;
pub mod trace;
pub mod values;
