//! Mending the log of a store of ranges, while the store goes on, after a write or a sync of it has failed.
//!
//! Nothing is taken back: what the ranges had asked to log, and what they ask for meanwhile, is in memory, in its
//! order. It settles once a new segment holds it, with everything else that is still to be applied. Whoever waits
//! sees a disk that takes its time, and whoever asks sees that no writes are taken.
//!
//! *No space*: it is tried each second that there is room. *Anything else*: the file is never synced again, and the
//! manifest remembers that what was counted on may be gone, until it is in files that are synced: what is applied in
//! tables, everything else in the new segment. The old segments stay until then. If that cannot be done either, the
//! store takes no writes until it is opened anew.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::{Release, SeqCst};

use super::super::applier::Applying;
use super::super::commit::Commit;
use super::super::core::Core;
use super::super::machine::Machine;
use super::super::repair::{ATTEMPTS, PROBE_EVERY, ROOM_LEAST_BYTES};
use super::append::truncate;
use super::book::{Book, NOT_LOGGED, RangeState};
use super::record::Settings;
use crate::log::Log;
use crate::{Error, ErrorKind, Result, Runtime, Storage, Work};

/// What ranges have asked to log that the log does not hold.
#[derive(Default)]
pub(crate) struct Behind {
    /// Why something was not appended, until the log is being mended.
    pub(super) error: Option<Error>,
    /// The ranges that have asked for it.
    pub(super) ranges: BTreeSet<u32>,
    /// Everything that was asked for before the log was mended last lies before this position.
    pub(super) mended_upto: u64,
}

impl<S: Storage, M: Machine> Commit<S, M> {
    /// Nothing is appended from here on, and nothing settles. False if somebody else mends, or nobody can.
    pub(super) fn begin_mending<R: Runtime>(
        &mut self,
        core: &Core<S, R, M>,
        error: &Error,
    ) -> bool {
        if self.repairing || self.broken.is_some() {
            return false;
        }
        self.repairing = !core.health.is_closed();
        if self.repairing {
            self.epoch += 1;
            core.health.refuse_writes(error.clone());
        } else {
            // Nobody mends the log of a store that is being closed; who waits for it has to hear.
            self.broken = Some(error.clone());
        }
        core.changed.notify();
        self.repairing
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The log of this epoch has failed: it is mended, unless it has been.
    pub(in crate::db) fn mend_log(&self, error: &Error, epoch: u64) {
        let begun = {
            let mut commit = self.commit.lock();
            commit.epoch == epoch && commit.begin_mending(self, error)
        };
        if begun {
            self.spawn_mending(error.clone());
        }
    }

    pub(super) fn spawn_mending(&self, error: Error) {
        tracing::warn!(%error, "the log failed; no writes are taken while it is mended");
        self.spawn(Work::Upkeep, |this| async move {
            let Err(error) = this.mend(error).await else {
                return tracing::info!("the log is mended: writes are taken again");
            };
            tracing::error!(%error, "the log could not be mended: read-only until reopened");
            this.note_failed_log().await;
            this.commit.lock().broken = Some(error);
            this.changed.notify();
        });
    }

    async fn mend(&self, mut error: Error) -> Result<()> {
        let mut attempts = 0;
        loop {
            match error.kind() {
                ErrorKind::Full => self.await_room().await,
                _ => self.note_failed_log().await,
            }
            if self.stopping.load(SeqCst) {
                return Err(error);
            }
            error = match self.try_to_mend().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            attempts += u32::from(error.kind() != ErrorKind::Full);
            let may_pass = matches!(error.kind(), ErrorKind::Full | ErrorKind::Failed);
            if !may_pass || attempts >= ATTEMPTS {
                return Err(error);
            }
            tracing::debug!(%error, "the log could not be mended; trying again");
            if error.kind() != ErrorKind::Full {
                self.nap(PROBE_EVERY).await;
            }
        }
    }

    async fn await_room(&self) {
        while !self.stopping.load(SeqCst) {
            self.nap(PROBE_EVERY).await;
            match self.storage.room().await {
                Ok(Some(room)) if room < ROOM_LEAST_BYTES => {}
                Ok(_) => return,
                // An attempt will show what is wrong.
                Err(error) => return tracing::warn!(%error, "cannot tell how much room there is"),
            }
        }
    }

    async fn try_to_mend(&self) -> Result<()> {
        // A change of segments that was under way ends by itself.
        self.changed
            .wait(|| (!self.commit.lock().rotating).then_some(()))
            .await;
        let applying = self.flush_all_ranges().await?;
        let (start, time_ms) = {
            let commit = self.commit.lock();
            (commit.log.end(), commit.last_time_ms)
        };
        let (log, left) = self.rewrite_log(start, time_ms).await?;
        self.go_on_with(log)?;
        drop(applying);
        if let Err(error) = self.remove(left).await {
            // They are removed when the store is opened next.
            tracing::warn!(%error, "could not remove the segments of the log that failed");
        }
        Ok(())
    }

    /// Has everything that is applied in tables, and nothing more applied.
    async fn flush_all_ranges(&self) -> Result<Applying<'_, S, R, M>> {
        loop {
            self.changed
                .wait(|| {
                    if self.frozen.lock().is_empty() {
                        return Some(Ok(()));
                    }
                    let error = self.counters.flush_error();
                    error.or_else(|| self.health.failure()).map(Err)
                })
                .await?;
            let mut applying = self.begin_apply().await?;
            if !self.frozen.lock().is_empty() {
                continue;
            }
            if self.ranges.book.lock().is_in_tables() {
                return Ok(applying);
            }
            applying.freeze_even_empty();
        }
    }

    /// Makes `log`, which holds all that was to be kept a moment ago, the log, with what has come since.
    fn go_on_with(&self, mut log: Log<S::Writer>) -> Result<()> {
        let mut book = self.ranges.book.lock();
        let mut commit = self.commit.lock();
        for range in std::mem::take(&mut commit.behind.ranges) {
            if let Ok(state) = book.live_mut(range) {
                catch_up(&mut log, range, state, commit.last_time_ms)?;
            }
        }
        commit.segments = [(log.segment(), log.start())].into();
        commit.previous = None;
        commit.settled = log.synced_upto();
        commit.behind.mended_upto = log.end();
        commit.behind.error = None;
        commit.epoch += 1;
        commit.repairing = false;
        commit.pending_is_in(log.start());
        let applied = match commit.pending.is_empty() {
            true => log.end(),
            false => log.start(),
        };
        self.applied.store(applied, Release);
        commit.log = log;
        // Before somebody can find that the log has failed again.
        self.health.recover();
        drop(commit);
        drop(book);
        self.changed.notify();
        Ok(())
    }

    /// Makes it last that the log has failed. If that fails too, no more is known than after a crash.
    async fn note_failed_log(&self) {
        let mut manifest = self.manifest.lock().await;
        let Ok(settings) = Settings::decode(&manifest.settings) else {
            return;
        };
        if settings.failed {
            return;
        }
        let mut next = manifest.clone();
        next.settings = Settings {
            failed: true,
            ..settings
        }
        .encode();
        match self.storage.commit(next.encode()).await {
            Ok(()) => *manifest = next,
            Err(error) => tracing::error!(%error, "could not note that the log has failed"),
        }
    }
}

/// Appends what a range has asked for since its entries were copied.
fn catch_up<W: crate::storage::Writer>(
    log: &mut Log<W>,
    range: u32,
    state: &mut RangeState,
    time_ms: u64,
) -> Result<()> {
    let payload = state.hard.payload();
    log.append(&state.hard.record(range, time_ms, &payload))?;
    let is_new = state
        .held
        .iter()
        .find(|(_, held)| held.position == NOT_LOGGED);
    let behind_all = || state.held.keys().next_back().map(|last| last + 1);
    let from = is_new.map(|(&index, _)| index).or_else(behind_all);
    let from = from.unwrap_or(state.applied.index + 1);
    log.append(&truncate(range, from, time_ms))?;
    for (_, held) in state.held.range_mut(from..) {
        held.position = log.append(&held.entry.record(range))?;
    }
    Ok(())
}

impl Book {
    /// Whether tables hold all that is applied.
    fn is_in_tables(&self) -> bool {
        let mut live = self.ranges.values().filter(|state| !state.destroyed);
        live.all(|state| state.flushed == state.applied.index)
    }
}
