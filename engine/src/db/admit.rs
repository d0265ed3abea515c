//! Letting writers in at the pace that the background can follow.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::core::Core;
use super::machine::Machine;
use super::pressure::{Behind, Limits};
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
            let room = || self.pending_bytes.load(Relaxed) < self.budget.pending_bytes;
            self.changed
                .wait(|| (room() || self.health.trouble().is_some()).then_some(()))
                .await;
            return Ok(());
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
            l0_tables: debt.l0_tables,
            debt_bytes: debt.bytes,
        };
        self.pressure.set(behind, &Limits::default());
    }

    /// Refuses what could never be applied within the memory budget.
    pub(crate) fn check_size(&self, payload_bytes: usize, inline_bytes: usize) -> Result<()> {
        let most = self.budget.memtable_bytes;
        if payload_bytes > crate::log::PAYLOAD_BYTES_MAX || inline_bytes > most {
            return Err(Error::new(
                ErrorKind::Invalid,
                "writing a batch",
                format!(
                    "it is too large: {inline_bytes} bytes of records where the memory budget allows {most}; split it"
                ),
            ));
        }
        Ok(())
    }
}
