//! Replacing everything there is of a range in one commit: founding it, installing a snapshot, destroying it.
//!
//! The new state goes to tables of its own, together with a range delete over whatever was there; one commit of
//! the manifest names these tables and the range's new record. The range's records in the log so far are void
//! from then on: the record says up to which position, and the log is synced up to there before.

use bytes::Bytes;

use super::super::core::Core;
use super::super::machine::{Counts, Machine};
use super::super::outputs::{KeptDeletes, LargeValues, Outputs};
use super::book::RangeState;
use super::{Applied, Hard, Ranges, Span, no_such_range};
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

/// A place among the sequence numbers and in the log; the range is marked as long as it is held.
struct Reserved<'a> {
    ranges: &'a Ranges,
    range: u32,
    /// The range delete's; the records have the next one.
    seq: u64,
    position: u64,
    /// Log positions mean something within one epoch only.
    epoch: u64,
    hard_version: u64,
}

impl Replacement {
    fn into_state(self, reserved: &Reserved<'_>) -> RangeState {
        RangeState {
            node: self.node,
            incarnation: self.incarnation,
            destroyed: self.destroyed,
            hard: Hard {
                version: reserved.hard_version,
                ..self.hard
            },
            void_upto: reserved.position,
            configured: self.configured,
            applied: self.applied,
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

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.ranges.book.lock().ranges.get_mut(&self.range) {
            state.replacing = false;
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Begins ranges that have no keys: all of them, or none.
    pub(crate) async fn found_ranges(&self, news: Vec<Replacement>) -> Result<()> {
        self.health.check_writable()?;
        let Some(first) = news.first().map(|new| new.range) else {
            return Ok(());
        };
        {
            let book = self.ranges.book.lock();
            for new in &news {
                match book.ranges.get(&new.range) {
                    Some(state) if !state.destroyed => {
                        return Err(no_such_range(new.range, "it is here already"));
                    }
                    Some(state) if new.incarnation <= state.incarnation => {
                        return Err(no_such_range(new.range, "this incarnation was destroyed"));
                    }
                    _ => {}
                }
            }
        }
        // None of them has anything that could be written again; one stands for all.
        let reserved = self.reserve(first, false).await?;
        self.install_ranges(news, &reserved, Edit::default()).await
    }

    /// Replaces a range's keys by what `next` gives, in ascending order, until it gives `None`. Nothing of the
    /// range may be applied meanwhile.
    pub(crate) async fn replace_range<N: AsyncRecords>(
        &self,
        new: Replacement,
        span: &Span,
        records: &mut N,
    ) -> Result<()> {
        self.health.check_writable()?;
        self.ranges.book.lock().live(new.range)?;
        let reserved = self.reserve(new.range, true).await?;
        let edit = self.write_range(span, reserved.seq, records).await?;
        let mut new = new;
        new.counts = records.counts();
        let added = edit.added();
        if let Err(error) = self.install_ranges(vec![new], &reserved, edit).await {
            self.discard_unless_committed(added, &error).await;
            return Err(error);
        }
        self.forget_keys(span, reserved.seq).await
    }

    /// Takes the places. If there are keys, all that was applied so far is in tables afterwards.
    async fn reserve(&self, range: u32, has_keys: bool) -> Result<Reserved<'_>> {
        let mut applying = self.begin_apply().await?;
        if has_keys {
            applying.freeze();
        }
        let seq = applying.reserve(2)?;
        let reserved = {
            let mut book = self.ranges.book.lock();
            if let Some(state) = book.ranges.get_mut(&range) {
                state.replacing = true;
            }
            let commit = self.commit.lock();
            Reserved {
                ranges: &self.ranges,
                range,
                seq,
                position: commit.log.end(),
                epoch: commit.epoch,
                hard_version: book.next_version(),
            }
        };
        drop(applying);
        if has_keys {
            self.await_flush_before(seq).await?;
        }
        // A shorter log would give these positions to records that are not void.
        let synced = self.sync_log(reserved.position).await;
        self.check_epoch(&reserved)?;
        synced?;
        Ok(reserved)
    }

    /// Fails if the log was mended since: what was void has been written again, behind that position.
    fn check_epoch(&self, reserved: &Reserved<'_>) -> Result<()> {
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
        let mut own = RangeDeletes::default();
        own.add(&span.start, span.end.as_deref(), seq);
        let rules = Rules {
            // Readers that are older keep what they see.
            snapshots: self.snapshot_seqs(),
            expire_at_ms: 0,
            zero: false,
            deletes: own.clone(),
        };
        let kept = KeptDeletes::new(Retain::new(rules), own, None);
        let mut outputs = Outputs::new(self, 0, LargeValues::Given(Bytes::new()), kept);
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

    async fn install_ranges(
        &self,
        news: Vec<Replacement>,
        reserved: &Reserved<'_>,
        edit: Edit,
    ) -> Result<()> {
        let opened = self.open_added(&edit).await?;
        let states: Vec<(u32, RangeState)> = news
            .into_iter()
            .map(|new| (new.range, new.into_state(reserved)))
            .collect();
        let mut manifest = self.manifest.lock().await;
        // Who mends the log copies it only after this lock has been given back.
        self.check_epoch(reserved)?;
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
        drop(manifest);
        self.machine.recount(change);
        self.pressure_changed();
        self.changed.notify();
        self.compaction_wanted.notify();
        Ok(())
    }

    /// Drops what the hash table has of a range's keys from before `seq`.
    async fn forget_keys(&self, span: &Span, seq: u64) -> Result<()> {
        let mut applying = self.begin_apply().await?;
        // Who began to read before this number was there may have read the old state.
        let newest = applying.reserve(1)?;
        drop(applying);
        self.memory
            .sweep(newest, |key, version| version < seq && span.covers(key));
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
