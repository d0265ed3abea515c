//! Writing the log anew when the old log can no longer be written or synced.
//!
//! The new segment gets its name only when it is whole and synced, and the manifest has said before that the
//! log begins with it if it is there. So a crash at any moment leaves the old log or the new one.

use super::super::core::Core;
use super::super::machine::Machine;
use super::record::Settings;
use crate::log::{Beginning, Log};
use crate::storage::Durability;
use crate::{ErrorKind, Object, Result, Runtime, Storage};

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Copies every entry that is not in tables, and all promises, to a new log that begins at `start`. The segments
    /// of the old one are to be removed.
    pub(super) async fn rewrite_log(
        &self,
        start: u64,
        time_ms: u64,
    ) -> Result<(Log<S::Writer>, Vec<Object>)> {
        let (segment, aside) = (self.new_id(), Object::Table(self.new_id()));
        let rewritten = self.write_anew(segment, &aside, start, time_ms).await;
        if let Err(error) = &rewritten {
            // What was written for nothing must not take up the room that is wanted. A segment that has its name is
            // sound, and may have been made the log: unless for want of room.
            let mut left = vec![aside];
            left.extend((error.kind() == ErrorKind::Full).then_some(Object::Segment(segment)));
            if let Err(error) = self.storage.remove(left).await {
                tracing::warn!(%error, "could not remove a log that is not used");
            }
        }
        rewritten
    }

    async fn write_anew(
        &self,
        segment: u64,
        aside: &Object,
        start: u64,
        time_ms: u64,
    ) -> Result<(Log<S::Writer>, Vec<Object>)> {
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
            // From here on what is asked for is behind what is copied.
            {
                let mut commit = self.commit.lock();
                commit.behind.ranges.clear();
                commit.hold_pending(&mut book);
            }
            for (&range, state) in &mut book.ranges {
                if !state.destroyed {
                    let payload = state.hard.payload();
                    log.append(&state.hard.record(range, time_ms, &payload))?;
                }
                for held in state.held.values_mut() {
                    held.position = log.append(&held.entry.record(range))?;
                }
            }
        }
        log.settle(log.end(), Durability::Synced).await?;
        let name = Object::Segment(segment);
        self.storage.replace(aside.clone(), name.clone()).await?;
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
        Ok((log, left.collect()))
    }

    /// Says where the log will begin if that segment is there, or that it is.
    async fn note_leap(&self, segment: u64, done: bool) -> Result<()> {
        let mut manifest = self.manifest.lock().await;
        let mut next = manifest.clone();
        let mut settings = Settings::decode(&next.settings)?;
        self.note_watermark(&mut next);
        if done {
            settings.leap = 0;
            // All that was counted on is in files that are synced.
            settings.failed = false;
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
