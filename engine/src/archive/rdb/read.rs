//! Reading an RDB file, with bounded memory.

use super::{Sizes, ValueKind};
use crate::Result;
use crate::storage::{self, Object};

/// What a file holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A field about the file.
    Aux {
        /// Its name.
        name: &'a [u8],
        /// What it says.
        value: &'a [u8],
    },
    /// What follows belongs to this database.
    Select(u64),
    /// How much is to come in this database.
    Sizes(Sizes),
    /// A string.
    Entry {
        /// Where it begins in the file.
        offset: u64,
        /// The database that it is in.
        database: u64,
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// When it expires, in milliseconds since 1970; 0 is never. It may have passed.
        deadline_ms: u64,
    },
    /// A value of a type that Trilith does not hold. The next call of [`Reader::next`] passes over it.
    Unsupported {
        /// Where it begins in the file.
        offset: u64,
        /// The database that it is in.
        database: u64,
        /// Its key.
        key: &'a [u8],
        /// Its type.
        kind: ValueKind,
    },
    /// A library of functions, passed over.
    Functions {
        /// Where it begins in the file.
        offset: u64,
    },
    /// A module's own data, passed over.
    Module {
        /// Where it begins in the file.
        offset: u64,
        /// The nine characters of the module type's name.
        name: [u8; 9],
    },
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Where the file ends. An object may go on behind it: an old AOF begins with an RDB file.
    pub offset: u64,
    /// Whether it had a checksum, and that was right. Redis writes none when told so, nor before version 5.
    pub checked: bool,
}

/// Reads one file from its beginning to its end. Holds about a megabyte, or the longest entry if that is more.
///
/// What was given out before the end is not yet known to be sound: the checksum comes last.
pub struct Reader<R> {
    reader: R,
}

impl<R: storage::Reader> Reader<R> {
    /// Begins to read; `object` is what errors name.
    ///
    /// # Errors
    /// `Corrupt` if this is no RDB file, `Newer` if its version is not known; those of the storage.
    pub async fn open(reader: R, object: Object) -> Result<Self> {
        drop(object);
        Ok(Self { reader })
    }

    /// The file's version.
    pub fn version(&self) -> u16 {
        todo!()
    }

    /// Where the next item begins: how far the file has been read.
    pub fn offset(&self) -> u64 {
        self.reader.len()
    }

    /// The next item; `None` at the end of a file whose checksum is right. After an error there is nothing more.
    ///
    /// # Errors
    /// `Corrupt`, naming object and offset; `Invalid` for a string that is longer than a value may be; those of the
    /// storage.
    pub async fn next(&mut self) -> Result<Option<Item<'_>>> {
        todo!()
    }

    /// How the file ended, once [`next`](Self::next) has answered `None`.
    pub fn ending(&self) -> Option<Ending> {
        todo!()
    }
}
