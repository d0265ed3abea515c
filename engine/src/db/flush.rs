//! The flush: a frozen memtable becomes a table of level 0.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::apart::apart;
use super::commit::Ticket;
use super::core::Core;
use super::machine::Machine;
use super::outputs::{KeptDeletes, LargeValues, Outputs};
use super::ranges::{Forwarded, FrozenRanges};
use super::stats::FLUSH;
use crate::lsm::compaction::filter::{Retain, Rules, Verdict};
use crate::lsm::cursor::{Cursor, Position};
use crate::lsm::levels::Edit;
use crate::lsm::manifest::RangeRecord;
use crate::lsm::memtable::Memtable;
use crate::lsm::range_deletes::RangeDeletes;
use crate::record::{SEQ_MAX, hash_key};
use crate::storage::Durability;
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage};

/// How long to wait before trying again what failed.
const RETRY: Duration = Duration::from_secs(1);

/// A memtable that is not written to any more, and the state of things when it was frozen.
#[derive(Clone)]
pub(crate) struct Frozen {
    pub memtable: Arc<Memtable>,
    pub seq: u64,
    pub index: u64,
    pub time_ms: u64,
    /// Log position behind its last entry.
    pub position: u64,
    /// What the machine must find again when the log is replayed from there.
    pub machine: Vec<u8>,
    /// How the replicated ranges stood.
    pub ranges: FrozenRanges,
    /// Entries that the archive had been given by then.
    pub archived: u64,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The task that flushes, one memtable after the other, until the store is closed.
    pub(crate) async fn flush_forever(self: Arc<Self>) {
        loop {
            let next = self
                .flush_wanted
                .wait(|| {
                    if self.stopping.load(SeqCst) {
                        return Some(None);
                    }
                    self.frozen.lock().front().cloned().map(Some)
                })
                .await;
            let Some(frozen) = next else { return };
            match self.flush(&frozen).await {
                Ok(()) => self.counters.set_background_error(FLUSH, None),
                // What is not flushed is in the log.
                Err(_) if self.stopping.load(SeqCst) => return,
                Err(error) => {
                    tracing::error!(%error, "a flush failed; trying again");
                    self.counters.set_background_error(FLUSH, Some(error));
                    self.changed.notify();
                    self.nap(RETRY).await;
                }
            }
        }
    }

    /// Sleeps, but not through the end of the store.
    pub(crate) async fn nap(&self, time: Duration) {
        let slice = Duration::from_millis(20);
        let mut left = time;
        while !left.is_zero() && !self.stopping.load(SeqCst) {
            self.runtime.sleep(left.min(slice)).await;
            left = left.saturating_sub(slice);
        }
    }

    async fn flush(&self, frozen: &Frozen) -> Result<()> {
        let bytes_before = self.counters.flush_bytes.load(Relaxed);
        // It commits what the machine has counted.
        self.await_resolved().await?;
        // That may have changed meanwhile.
        let frozen = &self
            .frozen
            .lock()
            .front()
            .cloned()
            .unwrap_or_else(|| frozen.clone());
        let edit = self.write_level0(&frozen.memtable).await?;
        let added = edit.added();
        let dropped = match self.finish_flush(frozen, edit).await {
            Ok(dropped) => dropped,
            Err(error) => {
                self.discard_unless_committed(added, &error).await;
                return Err(error);
            }
        };
        self.counters.flushes.fetch_add(1, Relaxed);
        tracing::debug!(
            memtable = frozen.memtable.id,
            bytes = self.counters.flush_bytes.load(Relaxed) - bytes_before,
            "flushed"
        );
        self.remove(dropped).await
    }

    /// What was written for nothing must not take up the room that is wanted. Only where no commit can have named it.
    pub(super) async fn discard_unless_committed(&self, added: Vec<Object>, error: &Error) {
        if error.kind() == ErrorKind::Full
            && let Err(error) = self.storage.remove(added).await
        {
            tracing::warn!(%error, "could not remove tables that are not used");
        }
    }

    async fn finish_flush(&self, frozen: &Frozen, edit: Edit) -> Result<Vec<Object>> {
        let mut forwarded = None;
        // The log of a ring's node must not end before what its tables hold. What is being replayed is
        // synced when the log is opened to append.
        if M::HAS_RANGES && self.machine.is_replicated() {
            forwarded = Some(apart(self.forward(frozen)).await?);
            // Nor must the archive.
            apart(self.await_archived(frozen.archived)).await;
        } else if !self.flush_without_log.load(SeqCst) && !self.replaying.load(SeqCst) {
            self.sync_log(frozen.position).await?;
        }
        self.install_flush(frozen, edit, forwarded).await
    }

    /// Freezes what there is and waits until all of it is in tables. Fails with what keeps the flush from
    /// it.
    pub(crate) async fn flush_all(&self) -> Result<()> {
        self.begin_apply().await?.freeze();
        self.changed
            .wait(|| {
                if self.frozen.lock().is_empty() {
                    return Some(Ok(()));
                }
                if let Some(error) = self.counters.flush_error() {
                    return Some(Err(error));
                }
                self.health.failure().map(Err)
            })
            .await
    }

    async fn write_level0(&self, memtable: &Arc<Memtable>) -> Result<Edit> {
        let own = RangeDeletes::clone(&memtable.range_deletes());
        let rules = Rules {
            snapshots: self.snapshot_seqs(),
            // Expiry is compaction's business: there, what lies below is known.
            expire_at_ms: 0,
            zero: false,
            deletes: own.clone(),
        };
        let kept = KeptDeletes::new(Retain::new(rules.clone()), own, None);
        let mut outputs = Outputs::new(self, 0, LargeValues::Memtable(Arc::clone(memtable)), kept);
        match self
            .flush_into(memtable, Retain::new(rules), &mut outputs)
            .await
        {
            Ok(()) => outputs.finish().await,
            Err(error) => {
                outputs.abandon().await;
                Err(error)
            }
        }
    }

    async fn flush_into(
        &self,
        memtable: &Arc<Memtable>,
        mut retain: Retain,
        outputs: &mut Outputs<'_, S, R, M>,
    ) -> Result<()> {
        let mut cursor = memtable.sort();
        let mut position = cursor.seek(None)?;
        while position == Position::Record {
            let record = cursor.record();
            if retain.judge(record, |_| true) != Verdict::Drop {
                outputs.add(record, false).await?;
            }
            position = cursor.step()?;
        }
        Ok(())
    }

    pub(super) async fn sync_log(&self, position: u64) -> Result<()> {
        let epoch = self.commit.lock().epoch;
        let settled = self
            .settle(Ticket { position, epoch }, Durability::Synced)
            .await;
        let Err(error) = settled else { return Ok(()) };
        self.repair(&error, epoch);
        if self.flush_without_log.load(SeqCst) {
            // The repair waits for this very flush; failing it would fail the repair.
            return Ok(());
        }
        Err(error)
    }

    /// Commits the manifest, then lets readers see the table in place of the memtable.
    async fn install_flush(
        &self,
        frozen: &Frozen,
        edit: Edit,
        forwarded: Option<Forwarded>,
    ) -> Result<Vec<Object>> {
        let opened = self.open_added(&edit).await?;
        let mut manifest = self.manifest.lock().await;
        let mut next = manifest.clone();
        next.levels = next.levels.apply(&edit)?.levels;
        // A range that was replaced since has left its mark already.
        next.applied_seq = next.applied_seq.max(frozen.seq);
        if M::HAS_RANGES
            && let Some(forwarded) = &forwarded
        {
            self.ranges.note(&frozen.ranges, forwarded, &mut next);
        } else {
            next.ranges = vec![RangeRecord {
                term: 1,
                applied_index: frozen.index,
                applied_term: 1,
                applied_time_ms: frozen.time_ms,
                log_start_index: frozen.index + 1,
                ..RangeRecord::default()
            }];
            next.settings = frozen.machine.clone().into();
            next.log_start = self.log_start_after(frozen.position);
        }
        self.note_watermark(&mut next);
        self.storage.commit(next.encode()).await?;
        let levels = Arc::new(next.levels.clone());
        let first_segment = next.log_start;
        *manifest = next;
        // Under the manifest's lock, so that views follow each other as manifests do.
        self.change_view(|view| {
            view.frozen
                .retain(|memtable| memtable.id != frozen.memtable.id);
            view.levels = levels;
            opened.add_to(view);
        });
        self.ranges.flushed(&frozen.ranges);
        drop(manifest);
        self.frozen.lock().pop_front();
        self.retire(&frozen.memtable);
        self.pressure_changed();
        self.changed.notify();
        self.compaction_wanted.notify();
        Ok(self.drop_segments_before(first_segment))
    }

    /// What the hash table and the list of range deletes must forget once the memtable is a table.
    fn retire(&self, memtable: &Arc<Memtable>) {
        if memtable.has_large() {
            memtable
                .for_each_large(|addr, record| self.memory.forget_if(hash_key(record.key), addr));
        }
        let ranges = memtable.range_deletes();
        if !ranges.is_empty() {
            // From here on nothing in memory says that these records are hidden.
            self.memory.sweep(ranges.newest(), |key, seq| {
                ranges.covering_seq(key, SEQ_MAX) > seq
            });
            self.unflushed_ranges.forget_upto(ranges.newest());
        }
    }

    /// The first segment that holds anything behind `position`.
    pub(super) fn log_start_after(&self, position: u64) -> u64 {
        // Also while a failed log is repaired: until the last memtable is in tables, what the younger ones
        // hold and was acknowledged is in these segments only.
        let commit = self.commit.lock();
        let holding = commit
            .segments
            .iter()
            .rev()
            .find(|&&(_, start)| start <= position);
        holding.map_or(commit.log.segment(), |&(segment, _)| segment)
    }

    fn drop_segments_before(&self, first: u64) -> Vec<Object> {
        let mut commit = self.commit.lock();
        let mut dropped = Vec::new();
        while let Some(&(segment, _)) = commit.segments.front()
            && segment < first
            && segment < commit.log.segment()
        {
            commit.segments.pop_front();
            dropped.push(Object::Segment(segment));
        }
        dropped
    }
}
