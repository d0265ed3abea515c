//! Mending the log after a write or a sync of it has failed.
//!
//! *No space*: the segment is cut back to what had settled, the entries behind are dropped (their
//! submitters hear that nothing was written), writes are refused until there is room again.
//!
//! *Anything else*: the file is never synced again. Those who wait hear that the outcome is unknown; the
//! store takes no writes while everything applied is flushed to tables, a new segment is begun, and the
//! entries that had not settled, still in memory, are written to it and synced. If that succeeds, writes
//! are taken again; if not, the store stays read-only until it is opened anew.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::commit::{Pending, Ticket, record_of};
use super::core::Core;
use super::machine::Machine;
use crate::log::{Beginning, HEADER_BYTES, Log};
use crate::storage::Durability;
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage, Work};

/// How often to look whether there is room again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Room that must be there before writes are taken again.
const ROOM_LEAST_BYTES: u64 = 256 << 10;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Starts a repair, unless one has taken over this epoch already. From here on nothing of the epoch
    /// settles any more, and nothing is appended.
    pub(crate) fn repair(&self, error: &Error, epoch: u64) {
        let (orphans, cut_back) = {
            let mut commit = self.commit.lock();
            if commit.epoch != epoch || commit.repairing {
                return;
            }
            if self.health.is_closed() {
                drop(commit);
                self.give_up(error);
                return;
            }
            self.health.refuse_writes(error.clone());
            let cut_back = error.kind() == ErrorKind::Full && !commit.rotating;
            commit.repairing = true;
            // A flush that waits for the log learns from this that it need not.
            self.flush_without_log.store(!cut_back, SeqCst);
            (commit.end_epoch(), cut_back)
        };
        tracing::warn!(%error, "the log failed; writes are refused while it is repaired");
        let error = error.clone();
        self.spawn(Work::Upkeep, |this| async move {
            let repaired = if cut_back {
                this.cut_back(&error, orphans).await
            } else {
                this.begin_anew(&error, orphans).await
            };
            match repaired {
                Ok(()) => {
                    // Before a write is taken, whose failure would have to be repaired again.
                    this.commit.lock().repairing = false;
                    this.health.recover();
                }
                Err(error) => {
                    tracing::error!(%error, "the log could not be repaired: read-only until reopened");
                    this.decide(error.into_kind(ErrorKind::Unknown));
                }
            }
            this.changed.notify();
        });
    }

    /// The log has failed while the store is being closed: nothing is mended any more, and what has not
    /// settled may or may not survive.
    fn give_up(&self, error: &Error) {
        let orphans = self.commit.lock().end_epoch();
        self.forget_pending(&orphans);
        self.decide(error.clone().into_kind(ErrorKind::Unknown));
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

    async fn begin_anew(&self, error: &Error, orphans: Vec<Pending<M>>) -> Result<()> {
        self.decide(error.clone().into_kind(ErrorKind::Unknown));
        let segment = self.new_id();
        let flushed = self.flush_all_for(segment).await;
        self.flush_without_log.store(false, SeqCst);
        flushed?;

        let writer = self.storage.create(Object::Segment(segment)).await?;
        let mut log = {
            let commit = self.commit.lock();
            let base_time_ms = orphans
                .first()
                .map_or(commit.last_time_ms, |first| first.entry.time_ms);
            let start = commit.log.end();
            let store = self.store_id;
            Log::begin(
                writer,
                Beginning {
                    segment,
                    start,
                    base_time_ms,
                    store,
                    synced_upto: start,
                },
            )
        };
        log.write_header()?;
        log.settle(log.end(), Durability::Synced).await?;
        log.release()?;
        let ticket = self.continue_in(log, orphans)?;
        self.settle(ticket, Durability::Synced).await?;
        self.apply_upto(ticket).await
    }

    /// Makes `log` the log and appends what had not settled.
    fn continue_in(&self, log: Log<S::Writer>, orphans: Vec<Pending<M>>) -> Result<Ticket> {
        let mut commit = self.commit.lock();
        commit.segments.clear();
        commit.segments.push_back((log.segment(), log.start()));
        commit.previous = None;
        commit.settled = log.end();
        commit.log = log;
        for mut orphan in orphans {
            orphan.position = commit.log.append(&record_of(&orphan.entry))?;
            commit.pending.push_back(orphan);
        }
        Ok(Ticket {
            position: commit.log.end(),
            epoch: commit.epoch,
        })
    }

    /// Flushes everything that is applied and commits a log that starts at `segment`, which is to come.
    async fn flush_all_for(&self, segment: u64) -> Result<()> {
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
        self.storage.commit(next.encode().into()).await?;
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
