//! Noting the keys in use.

use std::sync::atomic::Ordering::Relaxed;

use super::super::core::Core;
use super::super::machine::Machine;
use super::super::repair::ROOM_LEAST_BYTES;
use super::format::{self, KeysWriter};
use super::gather::{Gathered, Limits, Slice};
use crate::archive::draft_of;
use crate::storage::Durability;
use crate::{Result, Runtime, Storage, Writer};

/// Keys that are written before others have their turn.
const KEYS_AT_ONCE: usize = 1024;
/// Bytes that go to the file at a time.
const WRITE_BYTES: usize = 256 << 10;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Notes the keys in use, if they are others than those noted last. Where there is no room, or no time left, the
    /// note before stays.
    pub(super) async fn note_hot_keys(&self) -> Result<()> {
        let Some(gathered) = self.gather_hot_keys().await else {
            return Ok(());
        };
        if *self.warm.noted.lock() == Some(gathered.fingerprint) {
            return Ok(());
        }
        let room = self.storage.room().await?;
        if room.is_some_and(|room| room < gathered.file_bytes() + ROOM_LEAST_BYTES) {
            tracing::debug!(?room, "there is no room to note the keys in use");
            return Ok(());
        }
        let draft = draft_of(format::NAME);
        match self.write_hot_keys(&gathered).await {
            Ok(true) => self.storage.replace(draft, format::object()).await?,
            outcome => {
                let removed = self.storage.remove(vec![draft]).await;
                return outcome.and(removed);
            }
        }
        *self.warm.noted.lock() = Some(gathered.fingerprint);
        self.warm.keys_noted.store(gathered.len() as u64, Relaxed);
        Ok(())
    }

    /// `None` if there is no time for it.
    async fn gather_hot_keys(&self) -> Option<Gathered> {
        let limits = Limits::of(&self.memory, self.options.memory_bytes);
        let now_ms = self.runtime.wall_ms();
        let mut gathered = Gathered::default();
        let mut slice = Slice::default();
        let mut from = Some(0);
        while let Some(bucket) = from.filter(|_| !gathered.is_full(limits)) {
            if !self.may_go_on_noting() {
                return None;
            }
            from = self.memory.hot_keys(bucket, |hot| {
                if hot.deadline_ms == 0 || hot.deadline_ms > now_ms {
                    slice.take(hot);
                }
            });
            gathered.take(&mut slice, limits);
            self.runtime.breathe().await;
        }
        gathered.end_run();
        Some(gathered)
    }

    /// Writes the draft. False if there is no time for it.
    async fn write_hot_keys(&self, gathered: &Gathered) -> Result<bool> {
        let mut writer = self.storage.create(draft_of(format::NAME)).await?;
        let mut out = Vec::new();
        let mut file = KeysWriter::begin(&mut out);
        for (written, key) in gathered.keys().enumerate() {
            file.add(key, &mut out);
            if (written + 1).is_multiple_of(KEYS_AT_ONCE) {
                if !self.may_go_on_noting() {
                    return Ok(false);
                }
                self.runtime.breathe().await;
            }
            if out.len() >= WRITE_BYTES {
                let end = writer.append(&out)?;
                writer.settle(end, Durability::Written).await?;
                out.clear();
            }
        }
        file.finish(&mut out);
        let end = writer.append(&out)?;
        // It is not synced: what a power loss makes of it fails its checksums.
        writer.settle(end, Durability::Written).await?;
        Ok(true)
    }
}
