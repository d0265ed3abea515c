//! Applying what a range's owner says is committed.

use std::sync::atomic::Ordering::{Release, SeqCst};

use bytes::Bytes;

use super::super::applier::{Applier, Applying};
use super::super::batch::{Batch, Ops};
use super::super::changes::{Changes, Scope};
use super::super::core::Core;
use super::super::machine::{Counts, Entry, Machine};
use super::{Applied, Logged, OfRange, Span, no_such_range};
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// Memtables that may wait to be flushed before more is applied.
const FROZEN_MOST: usize = 2;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Waits until there is memory for what is to be applied.
    async fn await_memory(&self) -> Result<()> {
        self.changed
            .wait(|| {
                if let Some(error) = self.health.failure() {
                    return Some(Err(error));
                }
                if self.frozen.lock().len() < FROZEN_MOST {
                    return Some(Ok(()));
                }
                if self.stopping.load(SeqCst) {
                    let detail = "the store is being closed";
                    return Some(Err(Error::new(ErrorKind::Closed, "applying", detail)));
                }
                // Without its log nothing is flushed.
                self.commit.lock().broken.clone().map(Err)
            })
            .await
    }

    /// The log position that a memtable frozen now stands for. Of ranges, entries that are applied as they settle are
    /// found in the log again; what else is not applied is held, and written again.
    pub(in crate::db) fn freezes_at(&self, applied: u64) -> u64 {
        if !M::HAS_RANGES || !self.machine.is_replicated() {
            return applied;
        }
        let commit = self.commit.lock();
        let next = commit.pending.front();
        let end = commit.log.end();
        next.map_or(end, |pending| pending.start.min(end))
    }
}

impl<S: Storage> Applier<S> {
    /// As [`Self::apply_in_range`], as soon as the archive has room for what the entry does.
    pub(in crate::db) async fn apply_archived<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        of: &OfRange,
        entry: &Entry,
    ) -> Result<Option<M::Reply>> {
        core.await_archive(of, entry).await?;
        self.apply_in_range(core, of, entry).await
    }

    /// Applies a range's next entry. The machine's reply, if the entry was the machine's.
    pub(in crate::db) async fn apply_in_range<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        of: &OfRange,
        entry: &Entry,
    ) -> Result<Option<M::Reply>> {
        let before = core.before_next(of.range, entry.index)?;
        let (mut reply, mut change) = (None, Counts::default());
        let is_archived = core.is_archived(of.range);
        let (mut effects, mut clears) = (None, false);
        if !of.configures && !entry.payload.is_empty() {
            let scope = Scope {
                start: of.span.start.clone(),
                end: of.span.end.clone(),
                counts: before.counts,
            };
            let mut changes = Changes::new(core, entry.time_ms, self.seq).within(scope);
            reply = Some(core.machine.apply(entry, &mut changes).await?);
            // Nothing is assumed but while a log is replayed by applying it.
            clears = is_archived && changes.clears();
            let (batch, summary, _) = changes.into_parts();
            change = M::counted(&summary);
            if clears {
                core.archive_clear(of, entry, before.counts.keys);
            }
            effects = self.write_in_range(core, batch)?;
            core.machine.applied(summary);
        }
        core.note_applied(
            of,
            entry,
            before.is_held,
            effects.is_some().then_some(change),
        )?;
        let (ops, count) = effects.unwrap_or_default();
        if is_archived {
            core.archive_entry(of, entry, Ops::of(&ops, count));
        } else {
            core.note_unarchived(count);
        }
        if clears {
            core.archive_cleared();
        }
        self.freeze_if_full(core);
        Ok(reply)
    }

    /// Writes what an entry does, and gives it back.
    fn write_in_range<R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        batch: Batch,
    ) -> Result<Option<(Bytes, u64)>> {
        if batch.is_empty() {
            return Ok(None);
        }
        let (ops, count) = batch.into_ops()?;
        let written = self.apply_ops(core, &ops, Ops::of(&ops, count));
        written.inspect_err(|error| core.health.fail(error.clone()))?;
        core.visible.store(self.seq, Release);
        Ok(Some((ops, count)))
    }
}

/// A range before its next entry is applied.
struct Before {
    counts: Counts,
    /// Whether entries of it are held that a flush may have to write again.
    is_held: bool,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    fn before_next(&self, range: u32, index: u64) -> Result<Before> {
        let book = self.ranges.book.lock();
        let state = book.live(range)?;
        if index != state.applied.index + 1 {
            return Err(no_such_range(range, "its entries are applied in order"));
        }
        Ok(Before {
            counts: state.counts,
            is_held: !state.held.is_empty(),
        })
    }

    /// `change` is what the entry did to the counts, if it wrote anything.
    fn note_applied(
        &self,
        of: &OfRange,
        entry: &Entry,
        is_held: bool,
        change: Option<Counts>,
    ) -> Result<()> {
        // A memtable that is yet to be flushed may have been frozen between the entry's record and now.
        let frozen_upto = match is_held {
            true => self.frozen.lock().back().map_or(0, |last| last.position),
            false => 0,
        };
        let mut book = self.ranges.book.lock();
        let state = book.live_mut(of.range)?;
        if is_held {
            state.let_go(entry.index, frozen_upto);
        }
        state.applied = Applied {
            term: of.term,
            index: entry.index,
            time_ms: entry.time_ms,
        };
        if let Some(change) = change {
            state.changed = state.applied;
            state.counts = state.counts.plus(change);
        }
        if of.configures {
            state.configured = (entry.index, entry.payload.clone());
        }
        Ok(())
    }
}

impl<S: Storage, R: Runtime, M: Machine> Applying<'_, S, R, M> {
    /// Applies a range's next entry. The machine's reply, if the entry was the machine's.
    ///
    /// # Errors
    /// The range must go no further. What was to be read is broken, or memory is: then the store fails.
    pub(crate) async fn apply(
        &mut self,
        range: u32,
        span: &Span,
        logged: &Logged,
    ) -> Result<Option<M::Reply>> {
        self.core.await_memory().await?;
        let (of, entry) = logged.of_range(range, span);
        let core = self.core;
        core.await_archive(&of, &entry).await?;
        self.applier()?.apply_in_range(core, &of, &entry).await
    }

    /// Applies a range's next entry as one write: what it does was found out elsewhere.
    pub(crate) async fn apply_put(
        &mut self,
        range: u32,
        span: &Span,
        logged: &Logged,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.core.await_memory().await?;
        let (of, entry) = logged.of_range(range, span);
        let core = self.core;
        let before = core.before_next(range, entry.index)?;
        let mut batch = Batch::new();
        batch.put(key, value);
        let applier = self.applier()?;
        applier.write_in_range(core, batch)?;
        core.note_applied(&of, &entry, before.is_held, Some(Counts::default()))?;
        applier.freeze_if_full(core);
        Ok(())
    }

    /// The value of `key` as of now.
    pub(crate) async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        let seq = self.applier()?.seq;
        let found = self.core.get(key, seq, &mut ()).await?;
        Ok(found.map(|(value, _)| value))
    }

    /// The first of the sequence numbers below the active memtable.
    pub(super) fn below_active(&mut self) -> Result<u64> {
        Ok(self.applier()?.below_active)
    }

    /// Leaves `count` sequence numbers out and gives the first of them.
    pub(super) fn reserve(&mut self, count: u64) -> Result<u64> {
        let core = self.core;
        let applier = self.applier()?;
        let first = applier.seq + 1;
        applier.seq += count;
        core.visible.store(applier.seq, Release);
        Ok(first)
    }
}
