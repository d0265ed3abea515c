//! Layer 2: a log-structured merge tree of immutable sorted tables.

pub mod cursor;
