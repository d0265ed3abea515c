//! What takes long: writing a snapshot, and rewriting the AOF. One at a time.

use std::time::Duration;

use super::super::core::Core;
use super::super::machine::Machine;
use crate::archive::JobStats;
use crate::{Error, Result, Runtime, Storage, Work};

/// How long what was not asked for waits after it has failed: twice as long each time, between these.
const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// Because of a gap the AOF is not rewritten more often.
const GAPS_APART: Duration = Duration::from_secs(60);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A snapshot is written.
    Save,
    /// The AOF is rewritten.
    Rewrite,
}

/// How something in the background has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// It is under way.
    Now,
    /// It begins when what is under way has ended.
    Later,
}

/// Why something in the background has not begun: what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// A snapshot is being written.
    Saving,
    /// The AOF is being rewritten.
    Rewriting,
}

/// What is under way, and what has been done.
#[derive(Default)]
pub(super) struct Jobs {
    running: Option<(Kind, Duration)>,
    save: JobStats,
    rewrite: JobStats,
}

impl Jobs {
    fn of(&mut self, kind: Kind) -> &mut JobStats {
        match kind {
            Kind::Save => &mut self.save,
            Kind::Rewrite => &mut self.rewrite,
        }
    }

    pub(super) fn stats(&self, kind: Kind, now: Duration) -> JobStats {
        let mut stats = match kind {
            Kind::Save => self.save.clone(),
            Kind::Rewrite => self.rewrite.clone(),
        };
        let running = self.running.filter(|&(running, _)| running == kind);
        stats.running_ms = running.map(|(_, since)| now.saturating_sub(since).as_millis() as u64);
        stats
    }

    pub(super) fn note_keys(&mut self, kind: Kind, keys: u64, total: u64) {
        let stats = self.of(kind);
        (stats.keys, stats.keys_total) = (keys, total);
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Begins something. If something else is under way, it begins later, if it is to be `scheduled` then.
    pub(super) fn begin_job(&self, kind: Kind, scheduled: bool) -> Result<Began, Busy> {
        let mut jobs = self.archive.jobs.lock();
        if let Some((running, _)) = jobs.running {
            if running != kind && scheduled {
                jobs.of(kind).is_scheduled = true;
                return Ok(Began::Later);
            }
            return Err(match running {
                Kind::Save => Busy::Saving,
                Kind::Rewrite => Busy::Rewriting,
            });
        }
        jobs.running = Some((kind, self.runtime.monotonic()));
        jobs.of(kind).is_scheduled = false;
        drop(jobs);
        self.spawn(Work::Archive, move |this| async move {
            let done = match kind {
                Kind::Save => this.save().await,
                Kind::Rewrite => this.rewrite().await,
            };
            this.end_job(kind, done);
        });
        Ok(Began::Now)
    }

    fn end_job(&self, kind: Kind, done: Result<()>) {
        let now = self.runtime.monotonic();
        let next = {
            let mut jobs = self.archive.jobs.lock();
            let since = jobs.running.take().map_or(now, |(_, since)| since);
            let stats = jobs.of(kind);
            stats.last_ms = Some(now.saturating_sub(since).as_millis() as u64);
            (stats.keys, stats.keys_total) = (0, 0);
            match &done {
                Ok(()) => {
                    stats.done += 1;
                    (stats.error, stats.failures) = (None, 0);
                }
                Err(error) => {
                    stats.error = Some(error.clone());
                    stats.failures += 1;
                }
            }
            let wait = match stats.failures {
                0 => Duration::ZERO,
                failures => RETRY_LEAST
                    .saturating_mul(1 << failures.min(10))
                    .min(RETRY_MOST),
            };
            self.put_off(kind, now, wait);
            let other = match kind {
                Kind::Save => Kind::Rewrite,
                Kind::Rewrite => Kind::Save,
            };
            jobs.of(other).is_scheduled.then_some(other)
        };
        if let Err(error) = done
            && !self.is_stopping()
        {
            match kind {
                Kind::Save => tracing::error!(%error, "no snapshot could be written"),
                Kind::Rewrite => tracing::error!(%error, "the AOF could not be rewritten"),
            }
        }
        if let Some(next) = next
            && !self.is_stopping()
        {
            let _begun = self.begin_job(next, false);
        }
        self.changed.notify();
    }

    /// When it may begin by itself again.
    fn put_off(&self, kind: Kind, now: Duration, wait: Duration) {
        let mut standing = self.archive.standing.lock();
        match kind {
            Kind::Save => {
                let every = self.archive.options.save_every.unwrap_or_default();
                standing.save_from = now + if wait.is_zero() { every } else { wait };
            }
            Kind::Rewrite => {
                standing.rewrite_from = now + wait;
                standing.gap_from = now + wait.max(GAPS_APART);
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Writes a snapshot and waits for it.
    pub(in crate::db) async fn save_now(&self) -> Result<Result<(), Error>, Busy> {
        let before = self.archive.jobs.lock().save.clone();
        let ended = |stats: &JobStats| (stats.done, stats.failures);
        self.begin_job(Kind::Save, false)?;
        let done = self
            .changed
            .wait(|| {
                let jobs = self.archive.jobs.lock();
                let is_running = matches!(jobs.running, Some((Kind::Save, _)));
                let has_ended = ended(&jobs.save) != ended(&before) || !is_running;
                has_ended.then(|| jobs.save.error.clone().map_or(Ok(()), Err))
            })
            .await;
        Ok(done)
    }
}
