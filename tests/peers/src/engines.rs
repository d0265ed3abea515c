//! The stores by name.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use trilith_server::bench::{Target, TargetOptions};

use crate::bare::Bare;
use crate::fjall_target::Fjall;
use crate::redb_target::Redb;
use crate::rocksdb::RocksDb;

/// A store that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Trilith,
    Rocksdb,
    Fjall,
    Redb,
    /// write(2) to the end of a file: the floor under every write.
    Bare,
}

impl Engine {
    pub fn open(
        self,
        directory: &Path,
        options: &TargetOptions,
    ) -> Result<Box<dyn Target>, String> {
        Ok(match self {
            Self::Trilith => trilith_server::bench::open_trilith(directory, options)?,
            Self::Rocksdb => Box::new(RocksDb::open(directory, options)?),
            Self::Fjall => Box::new(Fjall::open(directory, options)?),
            Self::Redb => Box::new(Redb::open(directory, options)?),
            Self::Bare => Box::new(Bare::open(directory, options)?),
        })
    }

    pub fn can_read(self) -> bool {
        self != Self::Bare
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trilith => "trilith",
            Self::Rocksdb => "rocksdb",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::Bare => "bare",
        })
    }
}
