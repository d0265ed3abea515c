//! Applying what a range's owner says is committed.

use std::sync::atomic::Ordering::{Release, SeqCst};

use bytes::Bytes;

use super::super::applier::Applying;
use super::super::batch::{Batch, Ops};
use super::super::changes::{Changes, Scope};
use super::super::core::Core;
use super::super::machine::{Counts, Entry, Machine};
use super::{Applied, Logged, Span, no_such_range};
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

    /// The log position that a memtable frozen now stands for.
    pub(in crate::db) fn freezes_at(&self, applied: u64) -> u64 {
        if self.machine.is_replicated() {
            self.commit.lock().log.end()
        } else {
            applied
        }
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
        let counts = self.begin(range, logged).await?;
        let core = self.core;
        let applier = self.applier()?;
        let (mut reply, mut change) = (None, Counts::default());
        if !logged.configures && !logged.payload.is_empty() {
            let entry = Entry {
                index: logged.index,
                time_ms: logged.time_ms,
                seed: logged.seed,
                payload: logged.payload.clone(),
            };
            let scope = Scope {
                start: span.start.clone(),
                end: span.end.clone(),
                counts,
            };
            let mut changes = Changes::new(core, entry.time_ms, applier.seq).within(scope);
            reply = Some(core.machine.apply(&entry, &mut changes).await?);
            // Nothing is assumed but while a log is replayed by applying it.
            let (batch, summary, _) = changes.into_parts();
            change = M::counted(&summary);
            self.write(batch)?;
            core.machine.applied(summary);
        }
        self.finish(range, logged, change)?;
        Ok(reply)
    }

    /// Applies a range's next entry as one write: what it does was found out elsewhere.
    pub(crate) async fn apply_put(
        &mut self,
        range: u32,
        logged: &Logged,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.begin(range, logged).await?;
        let mut batch = Batch::new();
        batch.put(key, value);
        self.write(batch)?;
        self.finish(range, logged, Counts::default())
    }

    /// The value of `key` as of now.
    pub(crate) async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        let seq = self.applier()?.seq;
        let found = self.core.get(key, seq, &mut ()).await?;
        Ok(found.map(|(value, _)| value))
    }

    async fn begin(&mut self, range: u32, logged: &Logged) -> Result<Counts> {
        self.core.await_memory().await?;
        let book = self.core.ranges.book.lock();
        let state = book.live(range)?;
        if logged.index != state.applied.index + 1 {
            return Err(no_such_range(range, "its entries are applied in order"));
        }
        Ok(state.counts)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let core = self.core;
        let applier = self.applier()?;
        let (ops, count) = batch.into_ops()?;
        let written = applier.apply_ops(core, &ops, Ops::of(&ops, count));
        let seq = applier.seq;
        written.inspect_err(|error| core.health.fail(error.clone()))?;
        core.visible.store(seq, Release);
        Ok(())
    }

    fn finish(&mut self, range: u32, logged: &Logged, change: Counts) -> Result<()> {
        let core = self.core;
        // A memtable that is yet to be flushed may have been frozen between the entry's record and now.
        let frozen_upto = core.frozen.lock().back().map_or(0, |last| last.position);
        {
            let mut book = core.ranges.book.lock();
            let state = book.live_mut(range)?;
            state.let_go(logged.index, frozen_upto);
            state.applied = Applied {
                term: logged.term,
                index: logged.index,
                time_ms: logged.time_ms,
            };
            state.counts = state.counts.plus(change);
            if logged.configures {
                state.configured = (logged.index, logged.payload.clone());
            }
        }
        self.applier()?.freeze_if_full(core);
        Ok(())
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
