//! Time in the log (rule 11): it never goes back, over masters neither, and clocks are only a hint to it.

use super::{Mutation, Range, Role};
use crate::ring::effect::Now;

/// Milliseconds by which the log's clock is moved in a second, at most.
const SLEW_MS: i64 = 50;

/// The clock of a master's entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogClock {
    base_ms: u64,
    since_ms: u64,
}

impl LogClock {
    /// The clock of a master that takes office now, on a log whose last entry is of `last_ms`.
    pub(super) fn begin(now: Now, last_ms: u64) -> Self {
        Self {
            base_ms: now.wall_ms.max(last_ms),
            since_ms: now.monotonic_ms,
        }
    }

    pub(super) fn time_ms(&self, now: Now) -> u64 {
        self.base_ms + now.monotonic_ms.saturating_sub(self.since_ms)
    }

    /// Moves a little towards the members' median, which is `median_ms` ahead of this host's clock.
    pub(super) fn slew(&mut self, now: Now, median_ms: i64) {
        let target_ms = (now.wall_ms as i64).saturating_add(median_ms);
        let off_ms = target_ms.saturating_sub(self.time_ms(now) as i64);
        let step_ms = off_ms.clamp(-SLEW_MS, SLEW_MS);
        self.base_ms = self.base_ms.saturating_add_signed(step_ms);
    }
}

impl Range {
    /// The time of an entry that is appended now.
    pub(super) fn entry_time_ms(&self) -> u64 {
        if self.breaks(Mutation::TrustWallClock) {
            return self.now.wall_ms;
        }
        match &self.role {
            Role::Master(office) => office.clock.time_ms(self.now).max(self.log.last_time_ms()),
            _ => self.log.last_time_ms(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64, wall_ms: u64) -> Now {
        Now {
            monotonic_ms,
            wall_ms,
        }
    }

    #[test]
    fn a_clock_that_jumps_does_not_move_the_log() {
        let clock = LogClock::begin(at(0, 1_000), 0);
        assert_eq!(clock.time_ms(at(5, 900_000)), 1_005);
        assert_eq!(clock.time_ms(at(9, 3)), 1_009);
    }

    #[test]
    fn a_log_from_the_future_is_continued_and_slowed_down() {
        let mut clock = LogClock::begin(at(0, 1_000), 5_000);
        assert_eq!(clock.time_ms(at(10, 1_010)), 5_010);
        clock.slew(at(10, 1_010), 0);
        assert_eq!(clock.time_ms(at(10, 1_010)), 5_010 - SLEW_MS as u64);
    }
}
