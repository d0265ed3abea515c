//! Writing an RDB file to a storage, with bounded memory.

use super::{EncodeOptions, Encoder, Sizes};
use crate::Result;
use crate::archive::draft_of;
use crate::storage::{Durability, Object, Storage, Writer as _};

/// What goes to the storage at once.
const PIECE_BYTES: usize = 1 << 20;

/// After so much the file is synced, so that there is not all of it left to sync at the end, in the way of everything
/// else that the disk has to do.
const SYNC_BYTES: u64 = 16 << 20;

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
    writer: S::Writer,
    name: Box<str>,
    encoder: Encoder,
    buffer: Vec<u8>,
    appended: u64,
    synced: u64,
    keys: u64,
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
        let mut encoder = Encoder::new(options)?;
        let mut buffer = Vec::new();
        encoder.header(&mut buffer, aux, sizes);
        let writer = storage.create(draft_of(name)).await?;
        Ok(Self {
            storage,
            writer,
            name: name.into(),
            encoder,
            buffer,
            appended: 0,
            synced: 0,
            keys: 0,
        })
    }

    /// Adds a key; see [`Encoder::entry`]. Waits for the storage when a piece is full.
    pub async fn entry(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> Result<()> {
        self.encoder
            .entry(&mut self.buffer, key, value, deadline_ms);
        self.keys += 1;
        if self.buffer.len() < PIECE_BYTES {
            return Ok(());
        }
        self.drain().await
    }

    /// Bytes made so far, those that are not yet with the storage included.
    pub fn bytes(&self) -> u64 {
        self.appended + self.buffer.len() as u64
    }

    /// Completes and syncs the file and gives it its name.
    pub async fn finish(mut self) -> Result<Written> {
        self.encoder.end(&mut self.buffer);
        self.drain().await?;
        self.writer
            .settle(self.appended, Durability::Synced)
            .await?;
        let written = Written {
            bytes: self.appended,
            keys: self.keys,
        };
        drop(self.writer);
        let to = Object::Archive(self.name.clone());
        self.storage.replace(draft_of(&self.name), to).await?;
        Ok(written)
    }

    /// Gives up: removes the draft.
    pub async fn abandon(self) -> Result<()> {
        drop(self.writer);
        self.storage.remove(vec![draft_of(&self.name)]).await
    }

    /// Hands the buffer to the storage, piece by piece, so that the storage holds no more than one either.
    async fn drain(&mut self) -> Result<()> {
        for piece in self.buffer.chunks(PIECE_BYTES) {
            self.appended = self.writer.append(piece)?;
            let durability = if self.appended - self.synced >= SYNC_BYTES {
                self.synced = self.appended;
                Durability::Synced
            } else {
                Durability::Written
            };
            self.writer.settle(self.appended, durability).await?;
        }
        self.buffer.clear();
        self.buffer.shrink_to(2 * PIECE_BYTES);
        Ok(())
    }
}
