//! Short periodic duties and the change of log segments.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::commit::Ticket;
use super::core::Core;
use super::machine::Machine;
use super::options::Sync;
use crate::log::{Beginning, Log};
use crate::storage::Durability;
use crate::{ErrorKind, MaybeSend, Object, Result, Runtime, Storage, Work};

/// How much can be lost with the power under [`Sync::EverySecond`].
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How long to wait before trying again to begin a segment.
const ROTATE_AGAIN: Duration = Duration::from_secs(1);

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The task that syncs the log each second.
    pub(crate) async fn sync_forever(self: Arc<Self>) {
        if self.options.sync != Sync::EverySecond {
            return;
        }
        loop {
            self.nap(SYNC_EVERY).await;
            if self.stopping.load(SeqCst) {
                return;
            }
            if self.commit.lock().repairing {
                // Who mends the log syncs it.
                continue;
            }
            if let Err(error) = self.sync_all().await {
                tracing::warn!(%error, "the log could not be synced");
            }
        }
    }

    /// Syncs everything that has been appended so far.
    pub(crate) async fn sync_all(&self) -> Result<()> {
        loop {
            let ticket = {
                let commit = self.commit.lock();
                if commit.log.synced_upto() >= commit.log.end() {
                    return Ok(());
                }
                Ticket {
                    position: commit.log.end(),
                    epoch: commit.epoch,
                }
            };
            let synced = self.settle(ticket, Durability::Synced).await;
            if let Err(error) = &synced {
                self.repair(error, ticket.epoch);
            } else if self.commit.lock().epoch != ticket.epoch {
                match self.health.trouble() {
                    Some(error) => return Err(error.into_kind(ErrorKind::Unknown)),
                    None => continue,
                }
            }
            return synced;
        }
    }

    /// Starts a new segment in the background. The caller has set `rotating`, in this epoch.
    pub(crate) fn rotate(&self, epoch: u64) {
        self.spawn(Work::Upkeep, move |this| async move {
            if let Err(error) = this.rotate_now(epoch).await {
                tracing::warn!(%error, "the log could not change its segment");
                this.repair(&error, epoch);
            }
            this.commit.lock().rotating = false;
            this.changed.notify();
        });
    }

    async fn rotate_now(&self, epoch: u64) -> Result<()> {
        let segment = self.new_id();
        let writer = match self.storage.create(Object::Segment(segment)).await {
            Ok(writer) => writer,
            Err(error) => {
                // The present segment is sound and grows on until this succeeds.
                tracing::warn!(%error, "no new segment of the log could be created");
                self.nap(ROTATE_AGAIN).await;
                return Ok(());
            }
        };
        let Some((last, old_synced)) = self.change_segment(segment, writer, epoch)? else {
            // A repair has begun a segment of its own meanwhile.
            return self.storage.remove(vec![Object::Segment(segment)]).await;
        };
        old_synced.await?;
        let header = {
            let mut commit = self.commit.lock();
            if commit.log.segment() != segment {
                // A repair has begun another one.
                return Ok(());
            }
            commit.log.note_synced(last);
            // Whether or not their submitters have noticed yet: a repair of the new segment must not take
            // back what lies in the old one.
            commit.settled = commit.settled.max(last);
            commit.previous = None;
            commit.log.write_header()?;
            commit.log.settle(
                commit.log.start() + crate::log::HEADER_BYTES as u64,
                Durability::Synced,
            )
        };
        self.changed.notify();
        header.await?;
        {
            let mut commit = self.commit.lock();
            if commit.log.segment() == segment {
                commit.log.release()?;
            }
        }
        self.changed.notify();
        Ok(())
    }

    /// Makes `segment` the one that is appended to. The position at which it begins, and the sync of all
    /// before it; `None` if this is not the log's epoch any more.
    fn change_segment(
        &self,
        segment: u64,
        writer: S::Writer,
        epoch: u64,
    ) -> Result<
        Option<(
            u64,
            impl Future<Output = Result<()>> + MaybeSend + use<S, R, M>,
        )>,
    > {
        let mut commit = self.commit.lock();
        if commit.epoch != epoch {
            return Ok(None);
        }
        let start = commit.log.end();
        let beginning = Beginning {
            segment,
            start,
            base_time_ms: commit.last_time_ms,
            store: self.store_id,
            synced_upto: commit.log.synced_upto(),
        };
        let old = std::mem::replace(&mut commit.log, Log::prepare(writer, beginning));
        commit.segments.push_back((segment, start));
        let settled = old.settle(start, Durability::Synced);
        commit.previous = Some(old);
        Ok(Some((start, settled)))
    }
}
