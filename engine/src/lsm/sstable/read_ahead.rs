//! How far a scan reads ahead: one block at first, then more of them in one read, doubling while it goes on
//! from block to block.
//!
//! What was read ahead stays here, checked only when it is used; it never enters the block cache as a slice
//! of the large read, which would keep all of it alive.

use std::ops::Range;

use bytes::Bytes;

use super::index::Handle;
use crate::lsm::cursor::Direction;

const FIRST_BYTES: u64 = 16 << 10;
const MAX_BYTES: u64 = 256 << 10;
/// Blocks in a row, after the first, before reading ahead begins.
const RUN_BEFORE: u32 = 2;

/// One scan's reading ahead.
pub(crate) struct ReadAhead {
    direction: Direction,
    /// What a read starts with once the scan is seen to go on; given from the start for a scan that is
    /// known to read everything.
    initial_bytes: u64,
    window_bytes: u64,
    run: u32,
    last: Handle,
    start: u64,
    bytes: Bytes,
}

impl ReadAhead {
    pub(crate) fn new(direction: Direction, initial_bytes: u64) -> Self {
        Self {
            direction,
            initial_bytes: initial_bytes.min(MAX_BYTES),
            window_bytes: initial_bytes.min(MAX_BYTES),
            run: 0,
            last: Handle::default(),
            start: 0,
            bytes: Bytes::new(),
        }
    }

    /// Tells that the scan has come to a block.
    pub(crate) fn visit(&mut self, handle: Handle) {
        let goes_on = match self.direction {
            Direction::Forward => handle.offset == self.last.end(),
            Direction::Backward => handle.end() == self.last.offset,
        };
        self.last = handle;
        if goes_on {
            self.run += 1;
            if self.run == RUN_BEFORE {
                self.window_bytes = self.window_bytes.max(FIRST_BYTES);
            }
        } else {
            self.run = 0;
            self.window_bytes = self.initial_bytes;
        }
    }

    /// The stored block, if it was read ahead.
    pub(crate) fn get(&self, handle: Handle) -> Option<Bytes> {
        let from = usize::try_from(handle.offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(handle.len as usize)?;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }

    /// What to read so as to have the block: bytes `within` which there is something to read ahead.
    pub(crate) fn plan(&self, handle: Handle, within: &Range<u64>) -> Handle {
        let extra = self.window_bytes.saturating_sub(u64::from(handle.len));
        let (start, end) = match self.direction {
            Direction::Forward => (handle.offset, handle.end().saturating_add(extra)),
            Direction::Backward => (handle.offset.saturating_sub(extra), handle.end()),
        };
        let (start, end) = (start.max(within.start), end.min(within.end));
        Handle {
            offset: start,
            len: (end - start) as u32,
        }
    }

    /// Takes what was read by a plan; the next one is twice as large.
    pub(crate) fn fill(&mut self, plan: Handle, bytes: Bytes) {
        if self.window_bytes > 0 {
            self.window_bytes = (2 * self.window_bytes).min(MAX_BYTES);
        }
        self.start = plan.offset;
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(block: u64) -> Handle {
        Handle {
            offset: block * 4000,
            len: 4000,
        }
    }

    #[test]
    fn only_a_scan_that_goes_on_reads_ahead() {
        let within = 0..10_000_000;
        let mut ahead = ReadAhead::new(Direction::Forward, 0);
        for block in [3, 9, 10] {
            ahead.visit(handle(block));
            assert_eq!(ahead.plan(handle(block), &within), handle(block));
        }
        ahead.visit(handle(11));
        let plan = ahead.plan(handle(11), &within);
        assert_eq!((plan.offset, plan.len), (44_000, 16 << 10));
        ahead.fill(plan, vec![0; 16 << 10].into());
        assert!(ahead.get(handle(14)).is_some());
        assert!(ahead.get(handle(15)).is_none(), "it was read in part only");
        ahead.visit(handle(12));
        assert_eq!(ahead.plan(handle(12), &within).len, 32 << 10);
        ahead.visit(handle(100));
        assert_eq!(ahead.plan(handle(100), &within), handle(100));
    }

    #[test]
    fn it_does_not_leave_its_part_of_the_file() {
        let forward = ReadAhead::new(Direction::Forward, 1 << 20);
        assert_eq!(
            forward.plan(handle(1), &(0..9000)),
            Handle {
                offset: 4000,
                len: 5000
            }
        );
        let backward = ReadAhead::new(Direction::Backward, 1 << 20);
        assert_eq!(
            backward.plan(handle(1), &(0..9000)),
            Handle {
                offset: 0,
                len: 8000
            }
        );
    }
}
