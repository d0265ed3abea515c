//! How a file grows on the disk: the log ahead of its writes, everything else behind them.

use std::fs::File;

use crate::sys;

const MIB: u64 = 1 << 20;
/// Segments grow ahead in steps that double between these. In space set aside a sync has no file size
/// to commit to the journal, which takes a third off it.
const STEP_MIN: u64 = MIB;
const STEP_MAX: u64 = 64 * MIB;
/// Elsewhere write-back starts each time so much has been written: the final sync is then no burst that
/// the log's syncs have to wait behind.
const WRITEBACK_EVERY: u64 = 8 * MIB;

pub(super) struct Growth {
    is_log: bool,
    can_reserve: bool,
    /// Space was set aside up to here, and the file is as long; where none was, its first length.
    allocated: u64,
    step: u64,
    /// Write-back was started up to here.
    kicked: u64,
}

impl Growth {
    pub(super) fn new(file: &File, len: u64, is_log: bool) -> Self {
        let mut growth = Self {
            is_log,
            can_reserve: is_log,
            allocated: len,
            step: STEP_MIN,
            kicked: len,
        };
        growth.reserve(file, len + 1);
        growth
    }

    /// How far the file reaches, if that is further than what was written.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Sets space aside so that the file can be written up to `end`.
    pub(super) fn reserve(&mut self, file: &File, end: u64) {
        if !self.can_reserve || end <= self.allocated {
            return;
        }
        let len = self.step.max(end - self.allocated);
        match sys::preallocate(file, self.allocated, len) {
            Ok(()) => {
                self.allocated += len;
                self.step = (self.step * 2).min(STEP_MAX);
            }
            // Without it writes are slower and no less safe. If the disk is full, they will say so.
            Err(error) => {
                tracing::debug!(%error, "no space was set aside");
                self.can_reserve = false;
            }
        }
    }

    /// Told of each write: the file holds `end` bytes.
    pub(super) fn written(&mut self, file: &File, end: u64) {
        if !self.is_log && end - self.kicked >= WRITEBACK_EVERY {
            sys::start_writeback(file, self.kicked, end - self.kicked);
            self.kicked = end;
        }
    }

    /// Told that the file was cut back.
    pub(super) fn cut(&mut self, to: u64) {
        self.allocated = to;
        self.can_reserve = false;
    }
}
