//! Trilith's engine: a hash table in memory over an LSM tree over a ring of nodes.
//!
//! The crate knows no operating system. It asks a [`Storage`] for bytes and a [`Runtime`] for time,
//! randomness and tasks, so the same code runs under tokio over files, in a web page over IndexedDB
//! and in a deterministic simulator.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types))]
#![cfg_attr(
    target_arch = "wasm32",
    allow(
        clippy::arc_with_non_send_sync,
        reason = "there is one thread, and what is shared need not be Send there (MaybeSend)"
    )
)]

pub mod archive;
mod codec;
pub mod command;
pub mod db;
mod error;
pub mod log;
pub mod lsm;
pub mod memory;
pub mod random;
pub mod record;
pub mod restore;
pub mod ring;
pub mod runtime;
mod signal;
pub mod sim;
pub mod slot;
pub mod storage;
mod striped;

pub use db::{Batch, Db, Explanation, Options, Range, Scan, Snapshot, Stats, Sync};
pub use error::{Error, ErrorKind, Result};
pub use runtime::{Runtime, Work};
pub use storage::{
    Contents, Durability, FaultyStorage, MaybeSend, MaybeSync, MemoryStorage, Object, Reader,
    Storage, Writer,
};
