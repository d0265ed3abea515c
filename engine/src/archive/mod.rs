//! The archive: what a store writes besides its own files so that Redis's tools, and people, can read it.
//!
//! It is the second way home when the store's own files are lost, and the road from and to Redis. Everything here
//! runs on [`Storage`](crate::Storage) alone: the formats, and the files they are kept in.

pub mod aof;
mod appender;
mod crc64;
mod feed;
mod lzf;
mod options;
pub mod rdb;
mod retain;
mod stats;

use crate::storage::Object;

pub(crate) use appender::Appender;
pub use feed::Effect;
pub(crate) use feed::{Batch, Feed};
pub use options::{ArchiveOptions, Fsync};
pub use stats::{AofStats, ArchiveStats, JobStats, RdbStats};

/// The end of the name of a file of the archive that is not complete. A file gets its own name by
/// [`Storage::replace`](crate::Storage::replace) when it is complete and synced.
pub const DRAFT_SUFFIX: &str = ".draft";

/// The name of the snapshot.
pub const DUMP: &str = "dump.rdb";

/// The field of a snapshot that says up to which entry of which range it has everything, as `range=index,range=index`.
pub(crate) const POSITIONS_FIELD: &str = "trilith-at";

/// The file of the archive that becomes `name` when it is complete.
///
/// ```
/// assert_eq!(trilith::archive::draft_of("dump.rdb").to_string(), "archive dump.rdb.draft");
/// ```
pub fn draft_of(name: &str) -> Object {
    Object::Archive(format!("{name}{DRAFT_SUFFIX}").into())
}
