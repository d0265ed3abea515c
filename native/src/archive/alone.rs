//! A node that is alone: one that is being restored, or that is only read from.

use std::path::Path;

use trilith::Result;
use trilith::archive::ArchiveOptions;
use trilith::restore::Solitude;
use trilith::ring::driver::{Driver, DriverOptions};
use trilith::{Options, Sync};

use crate::{FileStorage, NativeRuntime};

/// A node without others.
pub type Node = Driver<FileStorage, NativeRuntime, Solitude>;

/// How a store is opened that is loaded into: it is synced once, at the end, and keeps no archive meanwhile.
pub fn to_be_loaded(options: Options) -> Options {
    Options {
        sync: Sync::No,
        archive: ArchiveOptions::default(),
        ..options
    }
}

/// Opens the node in a directory, or founds one there.
///
/// # Errors
/// As [`Driver::open`].
pub async fn open(path: &Path, options: DriverOptions) -> Result<Node> {
    let storage = FileStorage::new(path);
    let node = Driver::open(storage, NativeRuntime::new(), Solitude, options).await?;
    node.catch_up().await;
    Ok(node)
}
