//! How much of what the map allows is used to move copies: little at first, more as long as clients do not wait, and
//! less at once when they do.

/// Writes that wait longer show that this node, or those that it waits for, have too much to do.
const STRAINED_MS: u64 = 15;

/// Thousandths of what is allowed that are used in any case.
const LEAST: u64 = 16;

/// Those that moving begins with.
const FIRST: u64 = 64;

/// All of it.
const ALL: u64 = 1000;

/// Ranges that move at a time in any case, if so many may: each of them waits most of its time, for its turn or for
/// another node.
const RANGES_LEAST: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    thousandths: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { thousandths: FIRST }
    }
}

impl Pace {
    /// Once a tick: how long the write that waits longest has waited, and whether anything is moving.
    pub(super) fn note(&mut self, waits_ms: u64, moves: bool) {
        self.thousandths = if waits_ms >= STRAINED_MS {
            (self.thousandths / 2).max(LEAST)
        } else if moves {
            (self.thousandths + self.thousandths / 16 + 1).min(ALL)
        } else {
            // Between one range and the next, too.
            self.thousandths
        };
    }

    /// Bytes a second, of those that are allowed.
    pub(super) fn rate(&self, bytes_per_second: u64) -> u64 {
        (bytes_per_second / ALL * self.thousandths).max(1)
    }

    /// Ranges at a time, of those that are allowed.
    pub(super) fn at_once(&self, at_once: u16) -> usize {
        let ranges = u64::from(at_once) * self.thousandths / ALL;
        (ranges as usize)
            .max(RANGES_LEAST)
            .min(usize::from(at_once))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_slows_down_at_once_when_clients_wait_and_speeds_up_slowly() {
        let mut pace = Pace::default();
        for _ in 0..200 {
            pace.note(0, true);
        }
        assert_eq!((pace.rate(64_000), pace.at_once(4)), (64_000, 4));
        for _ in 0..3 {
            pace.note(20, true);
        }
        assert_eq!((pace.rate(64_000), pace.at_once(4)), (8_000, 2));
        pace.note(0, true);
        assert!(pace.rate(64_000) < 9_000);
    }

    #[test]
    fn moving_goes_on_however_long_clients_wait() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.note(1_000, true);
        }
        assert_eq!((pace.rate(1_000_000), pace.at_once(4)), (16_000, 2));
        assert_eq!(pace.at_once(1), 1);
        assert_eq!(pace.rate(10), 1);
    }
}
