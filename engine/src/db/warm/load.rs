//! Reading the keys that were in use back into memory.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::super::core::Core;
use super::super::machine::Machine;
use super::format::{self, KeysReader, Next};
use crate::{ErrorKind, Result, Runtime, Storage};

/// Keys that are read before others have their turn.
const KEYS_AT_ONCE: u64 = 128;
/// Between two such slices it pauses for as long as the last took, so that half of a thread's time and of what a disk
/// does one after the other is left; between these.
const PAUSE_LEAST: Duration = Duration::from_millis(1);
const PAUSE_MOST: Duration = Duration::from_millis(100);

/// How reading back has ended.
enum Ended {
    /// All keys were read.
    All(u64),
    /// What may be filled ahead of need is full.
    Full,
    /// The store is being closed.
    Stopped,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Reads back the keys that were noted. False if the store is being closed.
    pub(super) async fn load_hot_keys(&self) -> bool {
        let since = self.runtime.monotonic();
        let ended = self.try_to_load_hot_keys().await;
        self.warm.is_loading.store(false, Relaxed);
        let keys = self.warm.keys_loaded.load(Relaxed);
        let took = self.runtime.monotonic().saturating_sub(since);
        let took_ms = took.as_millis() as u64;
        match ended {
            Ok(Ended::Stopped) => return false,
            Ok(Ended::All(of)) => {
                self.warm.keys_noted.store(of, Relaxed);
                tracing::info!(
                    keys,
                    of,
                    took_ms,
                    "keys that were in use are back in memory"
                );
            }
            Ok(Ended::Full) => {
                tracing::info!(
                    keys,
                    took_ms,
                    "keys that were in use are back in memory, as many as there is room for"
                );
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Newer) => {
                tracing::warn!(%error, keys, "the note of keys in use is of no use from here on");
            }
            Err(error) => {
                tracing::warn!(%error, keys, "keys that were in use could not be read back");
            }
        }
        true
    }

    async fn try_to_load_hot_keys(&self) -> Result<Ended> {
        let reader = self.storage.open(format::object()).await?;
        let mut file = KeysReader::open(reader).await?;
        let mut seen = 0_u64;
        let mut since = self.runtime.monotonic();
        let mut value = Vec::new();
        loop {
            let mut section = match file.next().await? {
                Next::Keys(section) => section,
                Next::End(keys) => return Ok(Ended::All(keys)),
            };
            while let Some(key) = section.next() {
                if self.stopping.load(SeqCst) {
                    return Ok(Ended::Stopped);
                }
                if !self.memory.has_room_ahead() {
                    return Ok(Ended::Full);
                }
                if self.read_ahead(key, &mut value).await? {
                    self.warm.keys_loaded.fetch_add(1, Relaxed);
                }
                seen += 1;
                if seen.is_multiple_of(KEYS_AT_ONCE) {
                    self.give_way_after(since).await;
                    since = self.runtime.monotonic();
                }
            }
        }
    }

    /// Pauses after a slice of work that began at `since`; for longer while writers are held up by what the background
    /// owes.
    async fn give_way_after(&self, since: Duration) {
        let took = self.runtime.monotonic().saturating_sub(since);
        self.runtime.breathe().await;
        self.runtime
            .sleep(took.clamp(PAUSE_LEAST, PAUSE_MOST))
            .await;
        while !self.pressure.is_off() && !self.stopping.load(SeqCst) {
            self.runtime.sleep(PAUSE_MOST).await;
        }
    }
}
