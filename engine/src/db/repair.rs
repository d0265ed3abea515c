//! Mending the log after a write or a sync of it has failed.
//!
//! *No space*: the segment is cut back to what had settled, the entries behind are dropped (their
//! submitters hear that nothing was written), writes are refused until there is room again.
//!
//! *Anything else*: the file is never synced again. Those who wait hear that the outcome is unknown; the
//! store takes no writes while everything applied is flushed to tables, a new segment is begun, and the
//! entries that had not settled, still in memory, are written to it and synced. If that succeeds, writes
//! are taken again; if not, the store stays read-only until it is opened anew.
//!
//! The log of a store of ranges is mended in `ranges/mend`.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::commit::{Pending, Ticket, record_of};
use super::core::Core;
use super::machine::Machine;
use crate::log::{HEADER_BYTES, Log};
use crate::storage::Durability;
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage, Work};

/// How often to look whether there is room again.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How often to try to begin a new segment on storage that fails.
pub(super) const ATTEMPTS: u32 = 5;

/// Room that must be there before writes are taken again.
pub(super) const ROOM_LEAST_BYTES: u64 = 256 << 10;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Starts a repair, unless one has taken over this epoch already. From here on nothing of the epoch
    /// settles any more, and nothing is appended.
    pub(crate) fn repair(&self, error: &Error, epoch: u64) {
        if M::HAS_RANGES && self.machine.is_replicated() {
            return self.mend_log(error, epoch);
        }
        let (orphans, cut_back) = {
            let mut commit = self.commit.lock();
            if commit.epoch != epoch || commit.repairing || commit.broken.is_some() {
                return;
            }
            if self.health.is_closed() {
                // Nobody mends the log of a store that is being closed; who waits for it has to hear.
                commit.broken = Some(error.clone());
                drop(commit);
                return self.changed.notify();
            }
            commit.repairing = true;
            self.health.refuse_writes(error.clone());
            let (rotating, start) = (commit.rotating, commit.log.start());
            let orphans = commit.end_epoch();
            // What did not settle may lie in the segment before, which has been synced meanwhile.
            let within = orphans.first().is_none_or(|first| first.position > start);
            let cut_back = error.kind() == ErrorKind::Full && !rotating && within;
            // A flush that waits for the log learns from this that it need not.
            self.flush_without_log.store(!cut_back, SeqCst);
            (orphans, cut_back)
        };
        tracing::warn!(%error, "the log failed; writes are refused while it is repaired");
        let error = error.clone();
        self.spawn(Work::Upkeep, |this| async move {
            let repaired = if cut_back {
                this.cut_back(&error, orphans).await
            } else {
                let begun = this.begin_anew(&error, orphans).await;
                this.flush_without_log.store(false, SeqCst);
                begun
            };
            match repaired {
                Ok(()) => {
                    this.commit.lock().repairing = false;
                    this.health.recover();
                }
                Err(error) => {
                    tracing::error!(%error, "the log could not be repaired: read-only until reopened");
                    this.commit.lock().broken = Some(error.clone());
                    this.decide(error.into_kind(ErrorKind::Unknown));
                }
            }
            this.changed.notify();
        });
    }

    /// Tells those whose entries had not settled what became of them, unless they know.
    fn decide(&self, verdict: Error) {
        if let Some(ended) = &mut self.commit.lock().ended {
            ended.verdict.get_or_insert(verdict);
        }
        self.changed.notify();
    }

    async fn cut_back(&self, error: &Error, orphans: Vec<Pending<M>>) -> Result<()> {
        let (segment, start, settled) = {
            let commit = self.commit.lock();
            (commit.log.segment(), commit.log.start(), commit.settled)
        };
        let cut_at = settled.max(start + HEADER_BYTES as u64) - start;
        let writer = loop {
            match self.storage.resume(Object::Segment(segment), cut_at).await {
                Ok(writer) => break writer,
                Err(error) if self.stopping.load(SeqCst) => return Err(error),
                Err(_) => self.nap(PROBE_EVERY).await,
            }
        };
        {
            let mut commit = self.commit.lock();
            commit.log.cut_back(writer, cut_at);
            commit.next_index -= orphans.len() as u64;
        }
        self.forget_pending(&orphans);
        self.decide(error.clone());
        while !self.stopping.load(SeqCst) {
            self.nap(PROBE_EVERY).await;
            match self.storage.room().await {
                Ok(Some(room)) if room < ROOM_LEAST_BYTES => {}
                Ok(_) => return Ok(()),
                Err(error) => tracing::warn!(%error, "cannot tell how much room there is"),
            }
        }
        Ok(())
    }

    async fn begin_anew(&self, error: &Error, mut orphans: Vec<Pending<M>>) -> Result<()> {
        let mut attempts = 0;
        loop {
            self.decide(error.clone().into_kind(ErrorKind::Unknown));
            let error = match self.try_to_begin_anew(&mut orphans).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            attempts += 1;
            let may_pass = error.kind() == ErrorKind::Full || attempts < ATTEMPTS;
            if !may_pass || self.stopping.load(SeqCst) {
                return Err(error);
            }
            tracing::warn!(%error, "the log could not be begun anew; trying again");
            self.nap(PROBE_EVERY).await;
        }
    }

    /// Leaves the entries that are not in the log in `orphans` if it fails.
    async fn try_to_begin_anew(&self, orphans: &mut Vec<Pending<M>>) -> Result<()> {
        let segment = self.new_id();
        self.flush_all_for(segment).await?;
        let (start, base_time_ms) = {
            let commit = self.commit.lock();
            let first = orphans.first();
            (
                commit.log.end(),
                first.map_or(commit.last_time_ms, |first| first.entry.time_ms),
            )
        };
        let log = self.begin_log(segment, start, base_time_ms).await?;
        let continued = self.continue_in(log, std::mem::take(orphans));
        let settled = match continued {
            Ok(ticket) => self.settle_anew(ticket).await.map(|()| ticket),
            Err(error) => Err(error),
        };
        match settled {
            Ok(ticket) => self.apply_upto(ticket).await,
            Err(error) => {
                *orphans = self.commit.lock().end_epoch();
                Err(error)
            }
        }
    }

    async fn settle_anew(&self, ticket: Ticket) -> Result<()> {
        let settled = self
            .commit
            .lock()
            .log
            .settle(ticket.position, Durability::Synced);
        settled.await?;
        self.commit.lock().log.note_synced(ticket.position);
        Ok(())
    }

    /// Makes `log` the log and appends what had not settled. Everything else has been applied.
    fn continue_in(&self, log: Log<S::Writer>, orphans: Vec<Pending<M>>) -> Result<Ticket> {
        let mut commit = self.commit.lock();
        commit.segments.clear();
        commit.segments.push_back((log.segment(), log.start()));
        commit.previous = None;
        commit.settled = log.end();
        self.applied.store(log.end(), SeqCst);
        commit.log = log;
        let mut appended = Ok(());
        for mut orphan in orphans {
            if appended.is_ok() {
                appended = commit.log.append(&record_of(&orphan.entry)).map(drop);
            }
            // What could not be appended is behind the log's end, so it is an orphan again.
            orphan.position = commit.log.end() + u64::from(appended.is_err());
            commit.pending.push_back(orphan);
        }
        appended?;
        Ok(Ticket {
            position: commit.log.end(),
            epoch: commit.epoch,
        })
    }

    /// Flushes everything that is applied and commits a log that starts at `segment`, which is to come.
    pub(crate) async fn flush_all_for(&self, segment: u64) -> Result<()> {
        let ticket = {
            let commit = self.commit.lock();
            Ticket {
                position: commit.settled,
                epoch: commit.epoch,
            }
        };
        self.apply_upto(ticket).await?;
        self.flush_all().await?;
        let mut manifest = self.manifest.lock().await;
        let mut next = manifest.clone();
        next.log_start = segment;
        self.storage.commit(next.encode()).await?;
        *manifest = next;
        Ok(())
    }

    fn forget_pending(&self, dropped: &[Pending<M>]) {
        let bytes = dropped
            .iter()
            .map(|pending| pending.entry.payload.len())
            .sum();
        self.pending_bytes.fetch_sub(bytes, SeqCst);
    }
}
