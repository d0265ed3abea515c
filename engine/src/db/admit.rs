//! Letting writers in at the pace that the background can follow.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::batch::{Op, Ops};
use super::commit::Ticket;
use super::core::Core;
use super::machine::Machine;
use super::pressure::{Behind, Limits};
use super::view::View;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Waits, if it must, before `bytes` may be appended. Two loads while nothing is behind.
    #[inline]
    pub(crate) async fn admit(&self, bytes: usize) -> Result<()> {
        if self.pressure.is_off() && self.pending_bytes.load(Relaxed) < self.budget.pending_bytes {
            return Ok(());
        }
        self.admit_slowly(bytes).await
    }

    #[cold]
    async fn admit_slowly(&self, bytes: usize) -> Result<()> {
        loop {
            self.health.check_writable()?;
            self.pressure_changed();
            let rate = self.pressure.rate();
            if rate == 0.0 {
                self.await_relief().await?;
                continue;
            }
            if !self.pressure.is_off()
                && let Some(delay) = self.pressure.delay(self.runtime.monotonic(), bytes, rate)
            {
                self.counters.delayed_writes.fetch_add(1, Relaxed);
                self.runtime.sleep(delay).await;
            }
            self.make_room().await;
            return Ok(());
        }
    }

    /// Waits until not too much waits to be applied, and does it: those whose entries these are may be
    /// waiting here themselves, or be gone.
    async fn make_room(&self) {
        loop {
            if self.pending_bytes.load(Relaxed) < self.budget.pending_bytes
                || self.health.trouble().is_some()
            {
                return;
            }
            let last = {
                let commit = self.commit.lock();
                let epoch = commit.epoch;
                commit.pending.back().map(|pending| Ticket {
                    position: pending.position,
                    epoch,
                })
            };
            match last {
                // What it comes to is its submitter's to hear.
                Some(ticket) => drop(self.finish(ticket).await),
                None => {
                    let room = || self.pending_bytes.load(Relaxed) < self.budget.pending_bytes;
                    self.changed
                        .wait(|| (room() || self.health.trouble().is_some()).then_some(()))
                        .await;
                }
            }
        }
    }

    /// Waits until writers need not stand still any more, or until there is no hope of that.
    async fn await_relief(&self) -> Result<()> {
        self.counters.stopped_writes.fetch_add(1, Relaxed);
        self.flush_wanted.notify();
        self.compaction_wanted.notify();
        self.changed
            .wait(|| {
                self.pressure_changed();
                if self.pressure.rate() > 0.0 {
                    return Some(Ok(()));
                }
                if self.stopping.load(SeqCst) {
                    return Some(self.health.check_writable());
                }
                let view = self.view();
                if view.frozen.is_empty() && self.is_pinned(&view) {
                    return Some(Err(Error::new(
                        ErrorKind::Full,
                        "writing",
                        "open scans hold the memory that writes need: finish or drop them, or raise the budget",
                    )));
                }
                let error = self.counters.background_error()?;
                let kind = if error.kind() == ErrorKind::Full {
                    ErrorKind::Full
                } else {
                    ErrorKind::ReadOnly
                };
                Some(Err(error.into_kind(kind)))
            })
            .await
    }

    /// Measures again what is behind. Called whenever a memtable or a table comes or goes.
    pub(crate) fn pressure_changed(&self) {
        let view = self.view();
        let debt = crate::lsm::compaction::debt(&view.levels, &self.compaction);
        let behind = Behind {
            frozen: view.frozen.len(),
            active: self.fullness(&view.active),
            l0_runs: debt.l0_runs,
            debt_bytes: debt.bytes,
            pinned: self.is_pinned(&view),
        };
        self.pressure.set(behind, &Limits::default());
    }

    /// Whether memtables that were flushed long ago, but that idle scans still hold, leave too little of the
    /// arena for the active one.
    fn is_pinned(&self, view: &View<S>) -> bool {
        let memory = self.memory.stats();
        let reclaimable = (memory.free_chunks + memory.clean_chunks) * memory.chunk_bytes;
        let left = 1.0 - self.fullness(&view.active).min(1.0);
        let wanted = (self.budget.memtable_bytes as f64 * left) as usize;
        reclaimable < wanted + memory.chunk_bytes
    }

    /// Refuses what could never be applied within the memory budget. Once in the log it would stop the
    /// store, and stop it again whenever it is opened.
    pub(crate) fn check_size(&self, payload_bytes: usize, needs: &Needs) -> Result<()> {
        let invalid = |detail| Err(Error::new(ErrorKind::Invalid, "writing a batch", detail));
        if payload_bytes > crate::log::PAYLOAD_BYTES_MAX {
            return invalid(format!("it is too large: {payload_bytes} bytes; split it"));
        }
        let (chunk, slots) = (self.memory.chunk_bytes(), self.memory.slots());
        // Where memtables are small there is room for more than one holds.
        let most = self.budget.memtable_bytes.max(self.budget.arena_bytes / 8);
        if needs.bytes > most || needs.records > slots / 5 {
            return invalid(format!(
                "it is too large: {} records of {} bytes where the memory budget allows {} of {most}; split it",
                needs.records,
                needs.bytes,
                slots / 5
            ));
        }
        if needs.largest_bytes > chunk {
            return invalid(format!(
                "a record of {} bytes is too long for the memory budget, which allows {chunk}",
                needs.largest_bytes
            ));
        }
        Ok(())
    }

    /// What a batch asks of the memory budget.
    pub(crate) fn needs_of(&self, payload: &[u8]) -> Result<Needs> {
        let mut needs = Needs::default();
        // However small its records are, this much always fits.
        if payload.len() < NEEDS_NO_LOOK_BYTES {
            return Ok(needs);
        }
        for op in Ops::new(payload).into_iter().flatten() {
            match op? {
                Op::Put { key, value, .. } if value.len() >= self.options.large_value_bytes => {
                    needs.add(key.len());
                }
                Op::Put { key, value, .. } => needs.add(key.len() + value.len()),
                Op::Delete { key } => needs.add(key.len()),
                Op::DeleteRange { .. } => {}
            }
        }
        Ok(needs)
    }
}

/// Entries shorter than this need not be looked into before they are appended.
pub(crate) const NEEDS_NO_LOOK_BYTES: usize = 1024;
/// What a record takes in the arena and the memtable besides its key and its value, at most.
const RECORD_EXTRA_BYTES: usize = 64;

/// What an entry asks of the memory budget when it is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    records: usize,
    bytes: usize,
    largest_bytes: usize,
}

impl Needs {
    /// One record more, with so many bytes of key and value.
    pub(crate) fn add(&mut self, bytes: usize) {
        let bytes = bytes.saturating_add(RECORD_EXTRA_BYTES);
        self.records += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.largest_bytes = self.largest_bytes.max(bytes);
    }
}
