//! The way back from the archive, and in from Redis: files of commands and snapshots, read into a keyspace.
//!
//! [`Log`] is a folder of append-only files: it says what is there and what time it covers ([`Log::survey`]), and loads
//! the newest state or that of an earlier second ([`Log::load`]). [`load_rdb`] and [`load_aof`] read one file. What is
//! read goes to a [`Sink`]: a node, a client's connection, or a map in a test. Each answers with a [`Report`]: what came
//! from which file, what was passed over, and what was torn off. [`Recovery`] chooses, of all that a node's archive has,
//! what makes the newest state.
//!
//! Files may be Redis's own. Commands are then interpreted by our own table of commands (`interpret`): what Trilith does
//! not hold is an error that names it and where it stands, or is counted and passed over. Nothing here changes a
//! file, but for [`mend`].

mod export;
mod foreign;
mod interpret;
mod load;
mod log;
mod mend;
mod node;
mod recovery;
mod report;
mod sink;
mod survey;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use export::{Exported, export_rdb};
pub use load::{Options, load_aof, load_rdb};
pub use log::{Depth, Log};
pub use mend::{Mended, mend};
pub use node::Solitude;
pub use recovery::{PassedOver, Recovery};
pub use report::{FileReport, Loaded, Progress, Report, Torn};
pub use sink::Sink;
pub use survey::{Found, SnapshotCounts, SnapshotFound, Survey, Surveyed, inspect};
