//! Writing an RDB file to a storage, with bounded memory.

use super::{EncodeOptions, Sizes};
use crate::Result;
use crate::storage::Storage;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// How many keys it holds.
    pub keys: u64,
}

/// Writes one file: to a draft, which gets the file's name once it is complete and synced. Until then the file that had
/// the name before stays. Holds about a megabyte, or the longest entry if that is more.
pub struct Writer<S: Storage> {
    storage: S,
}

impl<S: Storage> Writer<S> {
    /// Begins the file `name` of the archive. A draft that was left behind is replaced.
    ///
    /// # Errors
    /// `Invalid` for a version that is not written; those of the storage.
    pub async fn create(
        storage: S,
        name: &str,
        options: EncodeOptions,
        aux: &[(&str, &[u8])],
        sizes: Sizes,
    ) -> Result<Self> {
        let _ = (name, options, aux, sizes);
        Ok(Self { storage })
    }

    /// Adds a key; see [`Encoder::entry`](super::Encoder::entry). Waits for the storage when a piece is full.
    pub async fn entry(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> Result<()> {
        todo!("{} {} {deadline_ms}", key.len(), value.len())
    }

    /// Bytes made so far, those that are not yet with the storage included.
    pub fn bytes(&self) -> u64 {
        todo!()
    }

    /// Completes and syncs the file and gives it its name.
    pub async fn finish(self) -> Result<Written> {
        todo!()
    }

    /// Gives up: removes the draft.
    pub async fn abandon(self) -> Result<()> {
        drop(self.storage);
        todo!()
    }
}
