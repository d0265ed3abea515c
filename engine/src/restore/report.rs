//! What came from where.

use std::collections::BTreeMap;

use crate::archive::aof::{Covered, Tear};
use crate::storage::Object;

/// How far reading has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have been read.
    pub bytes: u64,
    /// Bytes that there are to be read.
    pub of_bytes: u64,
    /// Commands and keys that have been read.
    pub items: u64,
}

/// A tail that is torn off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it begins: everything before is whole.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// Why it is no use.
    pub tear: Tear,
}

/// What a file was loaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// A snapshot, and whether it had a checksum that was right.
    Rdb {
        /// Whether it had a checksum.
        checked: bool,
    },
    /// Commands.
    Aof,
}

/// What came from one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub object: Object,
    /// What it was read as.
    pub loaded: Loaded,
    /// How long the file is.
    pub bytes: u64,
    /// Keys of a snapshot, commands of a log.
    pub items: u64,
    /// The first and the last second that it tells of, of what was loaded.
    pub times: Option<(u64, u64)>,
    /// What was passed over: a command or a type, and how often.
    pub skipped: BTreeMap<String, u64>,
    /// A tail that is torn off, and was not loaded.
    pub torn: Option<Torn>,
    /// Where reading stopped, as later times begin there.
    pub cut: Option<u64>,
}

/// What came from all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of each file, in the order in which they were read.
    pub files: Vec<FileReport>,
    /// Keys that are not there any more, as their time has come since.
    pub expired: u64,
    /// The last second that was told of, in what was loaded.
    pub last: Option<u64>,
    /// The seconds that the log covers; of one file nothing is known.
    pub covered: Vec<Covered>,
}

impl Report {
    /// What was passed over in all files.
    pub fn skipped(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (what, count) in self.files.iter().flat_map(|file| &file.skipped) {
            *all.entry(what.clone()).or_default() += count;
        }
        all
    }

    /// Keys and commands of all files.
    pub fn items(&self) -> u64 {
        self.files.iter().map(|file| file.items).sum()
    }

    /// The torn tail of the last file, if it has one.
    pub fn torn(&self) -> Option<(&Object, Torn)> {
        let mut files = self.files.iter();
        files.find_map(|file| Some((&file.object, file.torn?)))
    }
}
