//! The archive: a log of applied commands (AOF) and snapshots of the keyspace (RDB), in the formats of Redis 7.
//!
//! Here are the formats and what keeps their files, over [`Storage`](crate::Storage) alone. What their content does to a
//! keyspace is interpreted above, in [`crate::restore`].

pub mod aof;
