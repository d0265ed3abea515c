//! Replacing everything there is of a range in one commit: founding it, installing a snapshot, destroying it.
//!
//! The new state goes to tables of its own, together with a range delete over whatever was there; one commit of
//! the manifest names these tables and the range's new record. The range's records in the log so far are void
//! from then on: the record says up to which position, and the log is synced up to there before.
//!
//! Where tables are written, everything that was applied so far goes to tables before: no table may hold sequence
//! numbers from both sides of those that are taken here.

use bytes::Bytes;

use super::super::core::Core;
use super::super::machine::{Counts, Machine};
use super::super::outputs::{KeptDeletes, LargeValues, Outputs};
use super::book::RangeState;
use super::{Applied, Hard, Ranges, Span};
use crate::lsm::compaction::filter::{Retain, Rules};
use crate::lsm::levels::Edit;
use crate::lsm::range_deletes::RangeDeletes;
use crate::record::{Kind, Record};
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage};

/// Where a table of a snapshot ends.
const TABLE_BYTES: u64 = 64 << 20;

/// A range's new record.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    pub range: u32,
    pub node: u64,
    pub incarnation: u128,
    pub destroyed: bool,
    /// Its version is the store's to give.
    pub hard: Hard,
    pub configured: (u64, Bytes),
    pub applied: Applied,
    pub counts: Counts,
}

/// A record of a new state.
#[derive(Clone, Debug)]
pub(crate) struct Ingested {
    pub key: Vec<u8>,
    pub value: Bytes,
    pub deadline_ms: u64,
}

/// A place among the sequence numbers and in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    /// The range delete's; the records have the next one.
    pub(super) seq: u64,
    position: u64,
    /// Log positions mean something within one epoch only.
    epoch: u64,
    hard_version: u64,
}

/// Ranges that are marked as being replaced as long as this is held.
pub(super) struct Marked<'a> {
    ranges: &'a Ranges,
    of: Vec<u32>,
}

impl<'a> Marked<'a> {
    /// Of ranges that have been marked.
    pub(super) fn new(ranges: &'a Ranges, of: Vec<u32>) -> Self {
        Self { ranges, of }
    }

    /// They stay marked: whoever wants them replaced goes on from here.
    fn stay(&mut self) {
        self.of.clear();
    }
}

impl Replacement {
    fn into_state(self, reserved: Reservation) -> RangeState {
        RangeState {
            node: self.node,
            incarnation: self.incarnation,
            destroyed: self.destroyed,
            hard: Hard {
                version: reserved.hard_version,
                ..self.hard
            },
            deleted_at: if self.destroyed { reserved.seq } else { 0 },
            void_upto: reserved.position,
            configured: self.configured,
            applied: self.applied,
            changed: self.applied,
            counts: self.counts,
            flushed: self.applied.index,
            ..RangeState::default()
        }
    }
}

impl Ranges {
    /// The manifest says so. What was logged behind `position` meanwhile is kept. By how much the number of
    /// keys has changed.
    fn replace(&self, states: Vec<(u32, RangeState)>, position: u64) -> Counts {
        let mut book = self.book.lock();
        let mut change = Counts::default();
        for (range, mut state) in states {
            let before = book.ranges.remove(&range).unwrap_or_default();
            state.generation = before.generation + 1;
            state.deleted_at = state.deleted_at.max(before.deleted_at);
            if before.hard.version > state.hard.version {
                state.hard = before.hard;
            }
            state.held = before.held;
            state
                .held
                .retain(|&index, held| held.position > position && index > state.flushed);
            change = change.plus(state.counts.less(before.counts));
            book.ranges.insert(range, state);
        }
        drop(book);
        self.moved();
        change
    }
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        let mut book = self.ranges.book.lock();
        for range in &self.of {
            if let Some(state) = book.ranges.get_mut(range) {
                state.replacing = None;
            }
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Replaces a range's keys by what `next` gives, in ascending order, until it gives `None`. Nothing of the
    /// range may be applied meanwhile.
    pub(crate) async fn replace_range<N: AsyncRecords>(
        &self,
        new: Replacement,
        span: &Span,
        records: &mut N,
    ) -> Result<()> {
        self.health.check_writable()?;
        let has_keys = self.ranges.book.lock().live(new.range)?.may_have_keys();
        let below = match has_keys {
            true => None,
            false => self.reserve_below(new.range).await?,
        };
        let reserved = match below {
            Some(reserved) => reserved,
            None => self.wish_for_place(new.clone()).await?,
        };
        let _marked = Marked::new(&self.ranges, vec![new.range]);
        let edit = self.write_range(span, reserved.seq, records).await?;
        let mut new = new;
        new.counts = records.counts();
        let added = edit.added();
        if let Err(error) = self.install_ranges(vec![new], reserved, edit).await {
            self.discard_unless_committed(added, &error).await;
            return Err(error);
        }
        if has_keys {
            self.forget_keys(std::slice::from_ref(span), reserved.seq)
                .await?;
        }
        Ok(())
    }

    /// Takes a place, which may serve several ranges, and marks them. If there will be tables, all that was applied so
    /// far is in tables afterwards.
    pub(super) async fn reserve(&self, of: &[u32], has_tables: bool) -> Result<Reservation> {
        let mut applying = self.begin_apply().await?;
        if has_tables {
            applying.freeze();
        }
        let reserved = self.mark(of, applying.reserve(2)?);
        drop(applying);
        let mut marked = Marked::new(&self.ranges, of.to_vec());
        if has_tables {
            self.await_flush_before(reserved.seq).await?;
        }
        self.sync_void(&reserved).await?;
        marked.stay();
        Ok(reserved)
    }

    /// A place for a range of which nothing is here yet: below the active memtable, which holds nothing of it. So
    /// nothing has to be flushed. `None` if something was there that only a newer number hides.
    async fn reserve_below(&self, range: u32) -> Result<Option<Reservation>> {
        let mut applying = self.begin_apply().await?;
        let seq = applying.below_active()?;
        if self.ranges.book.lock().live(range)?.deleted_at >= seq {
            return Ok(None);
        }
        let reserved = self.mark(&[range], seq);
        drop(applying);
        let mut marked = Marked::new(&self.ranges, vec![range]);
        self.sync_void(&reserved).await?;
        marked.stay();
        Ok(Some(reserved))
    }

    /// Marks ranges as being replaced. To be called by who has the right to apply.
    fn mark(&self, of: &[u32], seq: u64) -> Reservation {
        let mut book = self.ranges.book.lock();
        for range in of {
            if let Some(state) = book.ranges.get_mut(range) {
                state.replacing = Some(seq);
            }
        }
        let commit = self.commit.lock();
        Reservation {
            seq,
            position: commit.log.end(),
            epoch: commit.epoch,
            hard_version: book.next_version(),
        }
    }

    /// Syncs what is to be void: a shorter log would give these positions to records that are not.
    async fn sync_void(&self, reserved: &Reservation) -> Result<()> {
        let synced = self.sync_log(reserved.position).await;
        self.check_epoch(reserved)?;
        synced
    }

    /// Fails if the log was mended since: what was void has been written again, behind that position.
    fn check_epoch(&self, reserved: &Reservation) -> Result<()> {
        let commit = self.commit.lock();
        if commit.epoch == reserved.epoch && !commit.repairing {
            return Ok(());
        }
        let detail = "the log is being mended: try again";
        Err(Error::new(ErrorKind::ReadOnly, "replacing a range", detail))
    }

    async fn await_flush_before(&self, seq: u64) -> Result<()> {
        self.changed
            .wait(|| {
                if self
                    .frozen
                    .lock()
                    .front()
                    .is_none_or(|first| first.seq >= seq)
                {
                    return Some(Ok(()));
                }
                let error = self.counters.flush_error();
                error.or_else(|| self.health.failure()).map(Err)
            })
            .await
    }

    async fn write_range<N: AsyncRecords>(
        &self,
        span: &Span,
        seq: u64,
        records: &mut N,
    ) -> Result<Edit> {
        let mut outputs = self.covering(std::slice::from_ref(span), seq);
        match self
            .write_records(span, seq + 1, records, &mut outputs)
            .await
        {
            Ok(()) => outputs.finish().await,
            Err(error) => {
                outputs.abandon().await;
                Err(error)
            }
        }
    }

    /// Tables that cover whatever was in `spans`.
    pub(super) fn covering(&self, spans: &[Span], seq: u64) -> Outputs<'_, S, R, M> {
        let mut own = RangeDeletes::default();
        for span in spans {
            own.add(&span.start, span.end.as_deref(), seq);
        }
        let rules = Rules {
            // Readers that are older keep what they see.
            snapshots: self.snapshot_seqs(),
            expire_at_ms: 0,
            zero: false,
            deletes: own.clone(),
        };
        let kept = KeptDeletes::new(Retain::new(rules), own, None);
        Outputs::new(self, 0, LargeValues::Given(Bytes::new()), kept)
    }

    async fn write_records<N: AsyncRecords>(
        &self,
        span: &Span,
        seq: u64,
        records: &mut N,
        outputs: &mut Outputs<'_, S, R, M>,
    ) -> Result<()> {
        let mut last: Option<Vec<u8>> = None;
        while let Some(Ingested {
            key,
            value,
            deadline_ms,
        }) = records.next().await?
        {
            if !span.covers(&key) || last.as_ref().is_some_and(|last| *last >= key) {
                return Err(crate::Error::corrupt(
                    "replacing a range",
                    "its keys are out of order or belong to another range",
                ));
            }
            let record = Record {
                key: &key,
                seq,
                kind: Kind::Put,
                deadline_ms,
                value: &value,
            };
            let cut = outputs.table_bytes() >= TABLE_BYTES;
            if value.len() >= self.options.large_value_bytes {
                outputs.add_large(record, value.clone(), cut).await?;
            } else {
                outputs.add(record, cut).await?;
            }
            last = Some(key);
        }
        Ok(())
    }

    pub(super) async fn install_ranges(
        &self,
        news: Vec<Replacement>,
        reserved: Reservation,
        edit: Edit,
    ) -> Result<()> {
        let opened = self.open_added(&edit).await?;
        let ranges: Vec<(u32, u64)> = news
            .iter()
            .map(|new| (new.range, new.applied.index))
            .collect();
        self.archive_gap(self.changes_keys(&news)).await;
        let states: Vec<(u32, RangeState)> = news
            .into_iter()
            .map(|new| (new.range, new.into_state(reserved)))
            .collect();
        let mut manifest = self.manifest.lock().await;
        // Who mends the log copies it only after this lock has been given back.
        self.check_epoch(&reserved)?;
        let mut next = manifest.clone();
        next.levels = next.levels.apply(&edit)?.levels;
        next.applied_seq = next.applied_seq.max(reserved.seq + 1);
        for (range, state) in &states {
            next.ranges.retain(|other| other.range != *range);
            let place = next.ranges.partition_point(|other| other.range < *range);
            next.ranges.insert(place, state.record(*range));
        }
        self.note_watermark(&mut next);
        self.storage.commit(next.encode()).await?;
        let levels = std::sync::Arc::new(next.levels.clone());
        *manifest = next;
        self.change_view(|view| {
            view.levels = levels;
            opened.add_to(view);
        });
        let change = self.ranges.replace(states, reserved.position);
        for (range, index) in ranges {
            self.archive_replaced(range, index);
        }
        drop(manifest);
        self.machine.recount(change);
        self.pressure_changed();
        self.changed.notify();
        self.compaction_wanted.notify();
        Ok(())
    }

    /// Whether keys come or go with ranges that are replaced, or indices that the archive has begin anew.
    fn changes_keys(&self, news: &[Replacement]) -> bool {
        let book = self.ranges.book.lock();
        let archived = news
            .iter()
            .filter(|new| self.machine.is_archived(new.range));
        archived.into_iter().any(|new| {
            let changes = |before: &RangeState| {
                before.counts.keys != 0 || (new.destroyed && before.may_have_keys())
            };
            let had = book.ranges.get(&new.range).is_some_and(changes);
            had || new.counts.keys != 0 || self.archive.feed.is_held(new.range)
        })
    }

    /// Drops what the hash table has of these keys from before `seq`.
    pub(super) async fn forget_keys(&self, spans: &[Span], seq: u64) -> Result<()> {
        let mut applying = self.begin_apply().await?;
        // Who began to read before this number was there may have read the old state.
        let newest = applying.reserve(1)?;
        drop(applying);
        let is_gone = |key: &[u8]| spans.iter().any(|span| span.covers(key));
        self.memory
            .sweep(newest, |key, version| version < seq && is_gone(key));
        Ok(())
    }

    /// Removes objects that nothing refers to yet.
    pub(crate) async fn discard(&self, objects: Vec<Object>) -> Result<()> {
        self.remove(objects).await
    }
}

/// The records of a new state, one after the other.
pub(crate) trait AsyncRecords: crate::MaybeSend {
    /// The next one; `None` behind the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<Ingested>>> + crate::MaybeSend;

    /// How many keys they were.
    fn counts(&self) -> Counts;
}
