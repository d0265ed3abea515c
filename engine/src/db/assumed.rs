//! Keys that replay took to be absent without asking the tables.
//!
//! A machine that counts wants to know of each key that it writes whether it was there. While the log is
//! replayed that is mostly a read of a cold table, one for each key: seconds before the first answer. So
//! replay takes a key that memory does not know to be absent and marks the record that it writes. Once the
//! store serves, the marked keys are looked up in order, which meets each block once, and what was wrong
//! is corrected: in the machine, and in what it saved when a memtable was frozen.
//!
//! No memtable with marks is flushed before that, nor one after it: so what memory does not know has not been
//! written since the marks began, and the tables hold what was there before. What an entry does to the *keys* must not depend on what is assumed here.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::core::Core;
use super::machine::Machine;
use super::view::View;
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::lsm::memtable::Memtable;
use crate::lsm::merge::MergeCursor;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// The name of the look-ups among the errors of the background.
const COUNTING: &str = "counting keys";
/// How many keys are looked up before others may run.
const SLICE: usize = 256;
/// How long to wait before trying again what failed.
const RETRY: Duration = Duration::from_secs(1);
/// The most keys that one entry tidies up after.
const TIDY_AT_ONCE: usize = 512;

/// The marks. See the module.
#[derive(Default)]
pub(crate) struct Assumed {
    /// Whether anything may be assumed that has not been corrected.
    open: AtomicBool,
    marks: Mutex<Arc<Marks>>,
    /// Keys that had a deadline and that the machine is to tidy up after.
    found: Mutex<Vec<(Bytes, u64)>>,
}

#[derive(Clone, Default)]
struct Marks {
    /// The sequence number before the first.
    base: u64,
    /// One bit a sequence number.
    bits: Vec<u64>,
}

impl Marks {
    fn add(&mut self, seq: u64) {
        let place = (seq - self.base) as usize;
        if self.bits.len() <= place / 64 {
            self.bits.resize(place / 64 + 1, 0);
        }
        self.bits[place / 64] |= 1 << (place % 64);
    }

    fn has(&self, seq: u64) -> bool {
        let place = seq.checked_sub(self.base).map(|place| place as usize);
        place.is_some_and(|place| {
            let word = self.bits.get(place / 64).copied().unwrap_or(0);
            word >> (place % 64) & 1 != 0
        })
    }
}

/// What the look-ups have shown.
struct Resolved<M: Machine> {
    /// Keys that had a deadline.
    found: Vec<(Bytes, u64)>,
    /// What is to be corrected as of the end of each frozen memtable, by its number.
    frozen: Vec<(u64, M::Summary)>,
    /// What is to be corrected by now.
    summary: M::Summary,
}

impl Assumed {
    /// Lets keys be assumed absent from the sequence number `base` on.
    pub(crate) fn begin(&self, base: u64) {
        *self.marks.lock() = Arc::new(Marks {
            base,
            bits: Vec::new(),
        });
        self.open.store(true, Release);
    }

    /// Whether anything may be assumed that has not been corrected.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Acquire)
    }

    /// Marks a record that was written on an assumption.
    pub(crate) fn mark(&self, seq: u64) {
        Arc::make_mut(&mut *self.marks.lock()).add(seq);
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Lets keys that nothing newer than `seq` has written be assumed absent, if the machine counts.
    pub(crate) fn assume_from(&self, seq: u64) {
        if self.machine.counts() {
            self.assumed.begin(seq);
        }
    }

    /// Resolves the marks, until it succeeds or the store is closed. Runs once the log has been replayed.
    pub(crate) async fn resolve_at_last(&self) {
        while !self.stopping.load(SeqCst) {
            match self.resolve_beside().await {
                Ok(()) => {
                    self.counters.set_background_error(COUNTING, None);
                    return self.tidy_up().await;
                }
                Err(error) => {
                    tracing::error!(%error, "the keys could not be counted; trying again");
                    self.counters.set_background_error(COUNTING, Some(error));
                    self.changed.notify();
                    self.nap(RETRY).await;
                }
            }
        }
    }

    /// Resolves the marks while others write.
    async fn resolve_beside(&self) -> Result<()> {
        let resolved = self.look_up().await?;
        // Whoever applies freezes memtables, and saves the machine with them.
        let applying = self.begin_apply().await?;
        self.correct(resolved);
        drop(applying);
        Ok(())
    }

    /// Resolves the marks for one who applies.
    pub(crate) async fn resolve_while_applying(&self) -> Result<()> {
        if self.assumed.is_open() {
            let resolved = self.look_up().await?;
            self.correct(resolved);
        }
        Ok(())
    }

    /// Takes what was found into account, unless somebody has already.
    fn correct(&self, resolved: Resolved<M>) {
        if !self.assumed.open.swap(false, AcqRel) {
            return;
        }
        for frozen in self.frozen.lock().iter_mut() {
            let by_then = resolved
                .frozen
                .iter()
                .find(|(id, _)| *id == frozen.memtable.id);
            let summary = by_then.map_or(&resolved.summary, |(_, summary)| summary);
            self.machine.amend(&mut frozen.machine, summary);
        }
        self.machine.applied(resolved.summary);
        *self.assumed.found.lock() = resolved.found;
        *self.assumed.marks.lock() = Arc::default();
        self.changed.notify();
    }

    async fn look_up(&self) -> Result<Resolved<M>> {
        let marks = Arc::clone(&self.assumed.marks.lock());
        let view = self.view();
        let mut resolved = Resolved {
            found: Vec::new(),
            frozen: Vec::new(),
            summary: M::Summary::default(),
        };
        // The oldest first: what a memtable saved is as of its end.
        for memtable in view.frozen.iter().rev() {
            self.look_up_in(&view, memtable, &marks, &mut resolved)
                .await?;
            let by_then = (memtable.id, resolved.summary.clone());
            resolved.frozen.push(by_then);
        }
        self.look_up_in(&view, &view.active, &marks, &mut resolved)
            .await?;
        Ok(resolved)
    }

    async fn look_up_in(
        &self,
        view: &View<S>,
        memtable: &Arc<Memtable>,
        marks: &Marks,
        resolved: &mut Resolved<M>,
    ) -> Result<()> {
        let cursors = memtable.cursors(Direction::Forward);
        let mut records = MergeCursor::new(cursors, Direction::Forward);
        let mut position = records.seek(None)?;
        let mut looked_up = 0_usize;
        while position == Position::Record {
            let record = records.record();
            if marks.has(record.seq) {
                let key = record.key;
                let was = self.find_flushed(view, key, marks.base).await?;
                if let Some(was) = was {
                    self.machine.correct(&mut resolved.summary, was.deadline_ms);
                    if was.deadline_ms != 0 {
                        let key = Bytes::copy_from_slice(key);
                        resolved.found.push((key, was.deadline_ms));
                    }
                }
                looked_up += 1;
                if looked_up.is_multiple_of(SLICE) {
                    self.runtime.breathe().await;
                    if self.stopping.load(SeqCst) {
                        return Err(closed());
                    }
                }
            }
            position = records.step()?;
        }
        Ok(())
    }

    /// Has the machine remove what keys with a deadline have left behind.
    async fn tidy_up(&self) {
        let found = std::mem::take(&mut *self.assumed.found.lock());
        for found in found.chunks(TIDY_AT_ONCE) {
            let Some(payload) = self.machine.tidy(found) else {
                continue;
            };
            let tidied = async {
                self.admit(payload.len()).await?;
                let ticket = self.append(payload, 0, None)?;
                self.finish(ticket).await
            };
            if let Err(error) = tidied.await {
                // Nothing but room is lost.
                tracing::warn!(%error, "what expired keys left behind could not be removed");
                return;
            }
        }
    }

    /// Waits until nothing is assumed any more.
    pub(crate) async fn await_resolved(&self) -> Result<()> {
        self.changed
            .wait(|| {
                if !self.assumed.is_open() {
                    return Some(Ok(()));
                }
                if self.stopping.load(SeqCst) {
                    return Some(Err(closed()));
                }
                self.counters.error_of(COUNTING).map(Err)
            })
            .await
    }
}

fn closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "counting the keys",
        "the store is closed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_is_marked_and_nothing_else() {
        let mut marks = Marks {
            base: 1000,
            bits: Vec::new(),
        };
        for seq in [1001, 1063, 1064, 5000] {
            marks.add(seq);
        }
        let marked: Vec<u64> = (0..10_000).filter(|&seq| marks.has(seq)).collect();
        assert_eq!(marked, [1001, 1063, 1064, 5000]);
    }
}
