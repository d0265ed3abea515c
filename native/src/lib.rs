//! Trilith natively: a store in a directory of files, tasks on named threads, and (with the feature
//! `server`, on by default) the server that speaks to Redis clients.
//!
//! Without default features this is the embedded store, and pulls in no async runtime.

#[cfg(feature = "server")]
pub mod archive;
#[cfg(feature = "bench")]
pub mod bench;
pub mod blocking;
#[cfg(feature = "server")]
pub mod bus;
pub mod files;
#[cfg(feature = "operate")]
pub mod operate;
#[cfg(feature = "server")]
pub mod resp;
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
mod sys;
mod workers;

pub use blocking::block_on;
pub use files::FileStorage;
pub use runtime::NativeRuntime;
pub use store::{FileDb, Scan, Snapshot, Store, open, open_with};
