//! Opening a store of ranges, and telling whether it may have forgotten something.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Release, SeqCst};

use super::super::core::Core;
use super::super::machine::Machine;
use super::super::options::{Options, Sync};
use super::super::recover::{new_store, note_objects, orphans, segments_of};
use super::book::Book;
use super::record::Settings;
use crate::log::{Log, SegmentEnd};
use crate::lsm::manifest::Manifest;
use crate::storage::Contents;
use crate::{ErrorKind, Object, Result, Runtime, Storage, Work};

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Opens the store and reads its log; applies nothing.
    pub(in crate::db) async fn open_ranges(
        storage: S,
        runtime: R,
        machine: M,
        options: Options,
        contents: Contents,
    ) -> Result<Arc<Self>> {
        let mut manifest = match &contents.meta {
            Some(meta) => Manifest::decode(meta)?,
            None => Manifest {
                settings: Settings {
                    // Nothing was counted on yet.
                    always: true,
                    ..Settings::default()
                }
                .encode(),
                clean: true,
                ..new_store(&contents, &runtime)?
            },
        };
        let settings = Settings::decode(&manifest.settings)?;
        let leap = Object::Segment(settings.leap);
        if settings.leap != 0 && contents.objects.iter().any(|(object, _)| *object == leap) {
            // It was written whole before it got its name.
            manifest.log_start = settings.leap;
        }
        note_objects(&contents, &mut manifest);
        let segments = segments_of(&storage, &contents, &manifest).await?;
        let orphans = orphans(&contents, &manifest, &segments);
        let mut book = Book::load(&manifest.ranges)?;

        let core = Self::new(storage, runtime, machine, options, manifest, &segments)?;
        core.open_tables().await?;
        let end = core.read_segments(&segments, &mut book).await?;
        let settings = core.remember(&mut book, settings, &contents).await?;
        core.storage.remove(orphans).await?;
        core.machine.recount(book.counts());
        *core.ranges.book.lock() = book;
        core.begin_appending(end, settings).await?;
        core.open_archive(&contents).await;
        core.spawn(Work::Flush, Self::flush_forever);
        core.spawn(Work::Compaction, Self::compact_forever);
        core.spawn(Work::Upkeep, Self::sync_forever);
        core.open_warm(&contents);
        Ok(core)
    }

    /// Finds out whether what was counted on may be gone, and makes that last in one commit with the boot
    /// that the store is used in from here on.
    async fn remember(
        &self,
        book: &mut Book,
        settings: Settings,
        contents: &Contents,
    ) -> Result<Settings> {
        let mut manifest = self.manifest.lock().await;
        let mut next = manifest.clone();
        let same_boot = contents.host_epoch.is_some() && contents.host_epoch == next.host_epoch;
        let lost_power = !next.clean && !same_boot && !settings.always;
        if lost_power || settings.failed || !self.cuts.lock().is_empty() {
            tracing::warn!(
                "entries may have been forgotten: no range counts until it has caught up"
            );
            book.forget();
        }
        let settings = Settings {
            // Until the log is synced it may still hold what was only written.
            always: settings.always && self.options.sync == Sync::Always,
            leap: 0,
            ..settings
        };
        next.settings = settings.encode();
        next.ranges = book.records();
        next.clean = false;
        next.host_epoch = contents.host_epoch;
        self.storage.commit(next.encode()).await?;
        *manifest = next;
        Ok(settings)
    }

    async fn begin_appending(
        &self,
        end: Option<(u64, SegmentEnd)>,
        settings: Settings,
    ) -> Result<()> {
        let (time_ms, void_upto) = {
            let book = self.ranges.book.lock();
            let ranges = book.ranges.values();
            let times = ranges.clone().flat_map(|state| {
                let held = state.held.values().map(|held| held.entry.time_ms);
                held.chain([state.applied.time_ms])
            });
            let void_upto = ranges.clone().map(|state| state.void_upto).max();
            (times.max().unwrap_or(0), void_upto.unwrap_or(0))
        };
        let log = match end {
            Some((segment, end)) if !settings.failed => {
                match self.resume_log(segment, &end).await {
                    // It can never be synced again.
                    Err(error) if error.kind() == ErrorKind::Failed => {
                        tracing::warn!(%error, "the log cannot be synced; it is written anew");
                        self.begin_rewritten(end.position, time_ms).await?
                    }
                    resumed => resumed?,
                }
            }
            Some((_, end)) => self.begin_rewritten(end.position, time_ms).await?,
            None => self.begin_log(self.new_id(), void_upto, time_ms).await?,
        };
        self.install_log(log, time_ms);
        let wanted = Settings {
            always: self.options.sync == Sync::Always,
            failed: false,
            leap: 0,
        };
        let mut manifest = self.manifest.lock().await;
        if Settings::decode(&manifest.settings)? != wanted {
            let mut next = manifest.clone();
            next.settings = wanted.encode();
            self.note_watermark(&mut next);
            self.storage.commit(next.encode()).await?;
            *manifest = next;
        }
        Ok(())
    }

    async fn begin_rewritten(&self, start: u64, time_ms: u64) -> Result<Log<S::Writer>> {
        let (log, left) = self.rewrite_log(start, time_ms).await?;
        self.remove(left).await?;
        Ok(log)
    }

    fn install_log(&self, log: Log<S::Writer>, time_ms: u64) {
        let mut commit = self.commit.lock();
        let last = commit.segments.back().map(|&(segment, _)| segment);
        if last != Some(log.segment()) {
            commit.segments.push_back((log.segment(), log.start()));
        }
        commit.settled = log.end();
        commit.opened_at = log.end();
        commit.last_time_ms = time_ms;
        self.applied.store(log.end(), Release);
        commit.log = log;
        self.replaying.store(false, SeqCst);
    }
}
