//! The append-only file as Redis 7 lays it out: a manifest, a base file, incremental files.
//!
//! ```text
//! appendonlydir/appendonly.aof.manifest      which files there are, and in which order they are read
//! appendonlydir/appendonly.aof.2.base.rdb    the keyspace when the files behind it were begun (or .aof: as commands)
//! appendonlydir/appendonly.aof.7.incr.aof    commands since, in the order in which they took effect
//! ```
//!
//! Commands are RESP arrays of bulk strings. Lines that begin with `#` are annotations, which Redis passes over:
//!
//! ```text
//! #TS:1700000000                  what follows was applied in this second (Unix time) or later: Redis's own
//! #ATALL:3;0=17,1=9,2=40          the file has every entry of these ranges up to these indices; there are three of them
//! #AT:1=12                        and by now of this one up to here
//! #GAP:1700000100                 here something changed that commands do not tell: until the next base all after it
//!                                 is incomplete
//! ```

pub mod chain;
pub mod checksum;
pub mod encode;
pub mod fuzz;
mod line;
pub mod manifest;
pub mod names;
mod number;
mod positions;
mod reader;
mod scan;
#[cfg(test)]
mod tests;

pub use chain::{Chain, Covered};
pub use line::Line;
pub use manifest::{File, Kind, Manifest};
pub use positions::Positions;
pub use reader::{Command, Ending, Item, Reader, Tear};
pub use scan::{Gap, Scan, Scanner};
