//! Writing the log anew when the store is opened and the old log can no longer be synced.
//!
//! The new segment gets its name only when it is whole and synced, and the manifest has said before that the
//! log begins with it if it is there. So a crash at any moment leaves the old log or the new one.

use super::super::core::Core;
use super::super::machine::Machine;
use super::record::Settings;
use crate::log::{Beginning, Log};
use crate::storage::Durability;
use crate::{Object, Result, Runtime, Storage};

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Copies every entry that is not in tables to a new log that begins at `start`. Everything else that
    /// the log says is in the manifest already.
    pub(super) async fn rewrite_log(&self, start: u64, time_ms: u64) -> Result<Log<S::Writer>> {
        let (segment, aside) = (self.new_id(), Object::Table(self.new_id()));
        self.note_leap(segment, false).await?;
        let writer = self.storage.create(aside.clone()).await?;
        let beginning = Beginning {
            segment,
            start,
            base_time_ms: time_ms,
            store: self.store_id,
            synced_upto: start,
        };
        let mut log = Log::begin(writer, beginning)?;
        log.release()?;
        {
            let mut book = self.ranges.book.lock();
            for (&range, state) in &mut book.ranges {
                for held in state.held.values_mut() {
                    held.position = log.append(&held.entry.record(range))?;
                }
            }
        }
        log.settle(log.end(), Durability::Synced).await?;
        let name = Object::Segment(segment);
        self.storage.replace(aside, name.clone()).await?;
        let bytes = log.bytes();
        let writer = self.storage.resume(name, bytes).await?;
        log.cut_back(writer, bytes);
        log.settle(log.end(), Durability::Synced).await?;
        log.note_synced(log.end());
        self.note_leap(segment, true).await?;
        let left = std::mem::take(&mut self.commit.lock().segments);
        let left = left
            .into_iter()
            .map(|(segment, _)| Object::Segment(segment));
        self.remove(left.collect()).await?;
        Ok(log)
    }

    /// Says where the log will begin if that segment is there, or that it is.
    async fn note_leap(&self, segment: u64, done: bool) -> Result<()> {
        let mut manifest = self.manifest.lock().await;
        let mut next = manifest.clone();
        let mut settings = Settings::decode(&next.settings)?;
        self.note_watermark(&mut next);
        if done {
            settings.leap = 0;
            next.log_start = segment;
        } else {
            settings.leap = segment;
        }
        next.settings = settings.encode();
        self.storage.commit(next.encode()).await?;
        *manifest = next;
        Ok(())
    }
}
