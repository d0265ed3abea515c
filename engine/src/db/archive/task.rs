//! The task that writes the AOF, and sees what is due.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;
use std::time::Duration;

use super::super::core::Core;
use super::super::machine::Machine;
use super::job::Kind;
use crate::archive::{Appender, Batch, Fsync};
use crate::{Error, Result, Runtime, Storage};

/// From one look to the next, and how much a power loss can take from an AOF that is synced each second.
const TICK: Duration = Duration::from_secs(1);
/// What has gathered is written before the next look once it is so much.
pub(super) const WRITE_BYTES: usize = 1 << 20;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Writes what has gathered until the store is closed, then all that is left.
    pub(in crate::db) async fn archive_forever(self: Arc<Self>) {
        let mut batch = Batch::default();
        let mut next = self.runtime.monotonic() + TICK;
        loop {
            let is_due = self.await_archive_work(next).await;
            if is_due {
                next = self.runtime.monotonic() + TICK;
            }
            let is_last = self.stopping.load(SeqCst);
            let written = self.write_archive(&mut batch, is_due, is_last).await;
            if let Err(error) = written {
                self.break_archive(error).await;
            }
            if is_last {
                break;
            }
            if is_due {
                self.begin_due_jobs().await;
            }
        }
        self.archive.feed.stop();
        self.archive.clears.lock().clear();
        self.changed.notify();
    }

    /// Waits until there is something to do. True if it is time for a look.
    async fn await_archive_work(&self, next: Duration) -> bool {
        let left = next.saturating_sub(self.runtime.monotonic());
        let mut slept = pin!(self.runtime.sleep(left));
        let mut wanted = pin!(
            self.archive
                .wanted
                .wait(|| self.has_archive_work().then_some(()))
        );
        poll_fn(|context| {
            if wanted.as_mut().poll(context).is_ready() || slept.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        self.runtime.monotonic() >= next
    }

    fn has_archive_work(&self) -> bool {
        let archive = &self.archive;
        let waiting = archive.feed.waiting();
        let is_asked = archive.must_resolve.load(SeqCst)
            || archive.sync_wanted.load(SeqCst) > archive.synced.load(SeqCst);
        self.stopping.load(SeqCst)
            || waiting >= WRITE_BYTES
            || (waiting > 0 && archive.options.fsync == Fsync::Always)
            || (is_asked && archive.feed.is_on())
    }

    async fn write_archive(&self, batch: &mut Batch, is_due: bool, is_last: bool) -> Result<()> {
        let archive = &self.archive;
        if !archive.feed.is_on() {
            return Ok(());
        }
        let mut appender = archive.appender.lock().await;
        let Some(appender) = appender.as_mut().filter(|appender| appender.is_open()) else {
            return Ok(());
        };
        let is_asked = archive.sync_wanted.load(SeqCst) > archive.synced.load(SeqCst);
        self.write_out(appender, batch).await?;
        let must_resolve = archive.must_resolve.swap(false, SeqCst);
        if archive.feed.any_held() && (is_due || is_asked || is_last || must_resolve) {
            self.resolve_clears(appender, batch).await?;
            self.write_out(appender, batch).await?;
        }
        let fsync = archive.options.fsync;
        let is_due = is_due && fsync == Fsync::EverySecond;
        if is_due || is_asked || is_last || fsync == Fsync::Always {
            appender.sync().await?;
            self.note_synced(batch.entries);
        }
        Ok(())
    }

    /// Writes everything that has gathered.
    pub(super) async fn write_out(
        &self,
        appender: &mut Appender<S>,
        batch: &mut Batch,
    ) -> Result<()> {
        while self.archive.feed.take(batch) {
            appender.write(batch).await?;
            self.note_files(appender);
            self.archive.standing.lock().written_bytes += batch.bytes.len() as u64;
            // Who applies may wait for room.
            self.changed.notify();
        }
        Ok(())
    }

    /// Takes note of how the files stand.
    pub(super) fn note_files(&self, appender: &Appender<S>) {
        let mut standing = self.archive.standing.lock();
        (standing.base_bytes, standing.bytes) = appender.sizes();
        standing.history_bytes = appender.history().0;
        standing.gap_s = appender.gap_s();
    }

    /// The AOF cannot be written: the store goes on without it.
    pub(super) async fn break_archive(&self, error: Error) {
        if !self.stopping.load(SeqCst) {
            tracing::error!(%error, "the AOF cannot be written; the store goes on without it until a new one can be begun");
        }
        self.archive.feed.stop();
        self.archive.clears.lock().clear();
        {
            let mut standing = self.archive.standing.lock();
            standing.trouble = Some(error);
            standing.breaks += 1;
        }
        self.changed.notify();
        let gap_s = self.archive.feed.time_ms() / 1000;
        if let Some(appender) = &mut *self.archive.appender.lock().await {
            appender.close(gap_s).await;
            self.note_files(appender);
        }
    }

    /// Begins what is due, and lets go of history that is too old.
    async fn begin_due_jobs(&self) {
        let options = &self.archive.options;
        if options.aof && self.is_rewrite_due() {
            // If something else is under way, it is due again.
            let _begun = self.begin_job(Kind::Rewrite, false);
        }
        if self.is_save_due() {
            let _begun = self.begin_job(Kind::Save, false);
        }
        if let Some(Err(error)) = self.retain_history().await {
            tracing::warn!(%error, "could not remove what the AOF no longer needs");
        }
    }

    fn is_rewrite_due(&self) -> bool {
        let options = &self.archive.options;
        let standing = self.archive.standing.lock();
        if self.runtime.monotonic() < standing.rewrite_from {
            return false;
        }
        if !self.archive.feed.is_on() {
            return true;
        }
        if standing.gap_s.is_some() && self.runtime.monotonic() >= standing.gap_from {
            return true;
        }
        let grown = u128::from(standing.bytes.saturating_sub(standing.rewritten_bytes));
        let share =
            u128::from(standing.rewritten_bytes.max(1)) * u128::from(options.rewrite_percent);
        options.rewrite_percent > 0
            && standing.bytes >= options.rewrite_least_bytes
            && grown * 100 >= share
    }

    fn is_save_due(&self) -> bool {
        let due = self.archive.options.save_every;
        let now = self.runtime.monotonic();
        due.is_some()
            && now >= self.archive.standing.lock().save_from
            && self.changes_since_saved() > 0
    }

    async fn retain_history(&self) -> Option<Result<()>> {
        let options = &self.archive.options;
        if self.archive.standing.lock().history_bytes == 0 {
            return None;
        }
        let mut appender = self.archive.appender.lock().await;
        let appender = appender.as_mut()?;
        let oldest_s = (self.runtime.wall_ms() / 1000).saturating_sub(options.retain.as_secs());
        let retained = appender.retain(oldest_s, options.retain_bytes).await;
        self.note_files(appender);
        Some(retained)
    }
}
