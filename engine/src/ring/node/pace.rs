//! How much of what the map allows is used to move copies: little at first, more as long as clients do not wait, and
//! less at once when they do.

/// Writes that wait longer show that this node, or those that it waits for, have too much to do.
const STRAINED_MS: u64 = 15;

/// Thousandths of what is allowed that are used in any case.
const LEAST: u64 = 10;

/// Those that moving begins with.
const FIRST: u64 = 60;

/// Those that are used while clients write and do not wait.
const CALM: u64 = 20;

/// All of it.
const ALL: u64 = 1000;

/// Ranges a second that begin to move, where all that is allowed is used. A range costs more than its bytes: it is
/// installed, synced and destroyed, its members change twice, and its master may move.
const RANGES_PER_SECOND: u64 = 100;

/// Beginnings that gather while none is needed.
const GATHERED_MOST: u64 = 4;

/// A beginning, in the millionths that are counted.
const BEGINNING: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    thousandths: u64,
    /// Ranges that may begin to move, in millionths.
    beginnings: u64,
    noted_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            thousandths: FIRST,
            beginnings: BEGINNING,
            noted_ms: 0,
        }
    }
}

impl Pace {
    /// Once a tick: how long the write that waits longest has waited, if any does, and whether anything is moving. The
    /// node is one of `shares` that keep to the same bounds together.
    pub(super) fn note(&mut self, now_ms: u64, waits_ms: Option<u64>, moves: bool, shares: u64) {
        let passed_ms = now_ms.saturating_sub(self.noted_ms);
        self.noted_ms = now_ms;
        let gathered = passed_ms.saturating_mul(RANGES_PER_SECOND * self.thousandths / shares);
        self.beginnings = (self.beginnings.saturating_add(gathered)).min(GATHERED_MOST * BEGINNING);
        self.thousandths = match waits_ms {
            Some(STRAINED_MS..) => (self.thousandths / 2).max(LEAST),
            // Not every wait is seen from here: where clients write at all, only little is moved.
            Some(_) if self.thousandths > CALM => {
                (self.thousandths - self.thousandths / 16).max(CALM)
            }
            Some(_) => (self.thousandths + 1).min(CALM),
            None if moves => (self.thousandths + self.thousandths / 16 + 1).min(ALL),
            // Between one range and the next, too.
            _ => self.thousandths,
        };
    }

    /// Bytes a second, of those that are allowed.
    pub(super) fn rate(&self, bytes_per_second: u64) -> u64 {
        (bytes_per_second / ALL * self.thousandths).max(1)
    }

    /// How many ranges may begin to move now.
    pub(super) fn may_begin(&self) -> usize {
        (self.beginnings / BEGINNING) as usize
    }

    /// So many have.
    pub(super) fn have_begun(&mut self, ranges: usize) {
        let spent = (ranges as u64).saturating_mul(BEGINNING);
        self.beginnings = self.beginnings.saturating_sub(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_slows_down_at_once_when_clients_wait_and_speeds_up_slowly() {
        let mut pace = Pace::default();
        for now_ms in 0..200 {
            pace.note(now_ms, None, true, 1);
        }
        assert_eq!(pace.rate(64_000), 64_000);
        for now_ms in 200..203 {
            pace.note(now_ms, Some(20), true, 1);
        }
        assert_eq!(pace.rate(64_000), 8_000);
        pace.note(203, Some(1), true, 1);
        assert!(pace.rate(64_000) < 8_000);
        pace.note(204, None, true, 1);
        assert!(pace.rate(64_000) > 7_900);
    }

    #[test]
    fn while_clients_write_little_is_moved() {
        let mut pace = Pace::default();
        for now_ms in 0..200 {
            pace.note(now_ms, Some(1), true, 1);
        }
        assert_eq!(pace.rate(1_000_000), 1_000 * CALM);
        for now_ms in 200..300 {
            pace.note(now_ms, Some(STRAINED_MS), true, 1);
        }
        assert_eq!(pace.rate(1_000_000), 1_000 * LEAST);
        for now_ms in 300..400 {
            pace.note(now_ms, Some(1), true, 1);
        }
        assert_eq!(pace.rate(1_000_000), 1_000 * CALM);
    }

    #[test]
    fn moving_goes_on_however_long_clients_wait() {
        let mut pace = Pace::default();
        let mut begun = 0;
        for now_ms in 0..=10_000 {
            pace.note(now_ms, Some(1_000), true, 2);
            begun += pace.may_begin();
            pace.have_begun(pace.may_begin());
        }
        assert_eq!(pace.rate(1_000_000), 10_000);
        assert_eq!(pace.rate(10), 1);
        // The first at once; of the one a second that is left, this node has half.
        assert_eq!(begun, 6);
    }

    #[test]
    fn beginnings_gather_only_so_far() {
        let mut pace = Pace::default();
        pace.note(1_000_000, None, false, 1);
        assert_eq!(pace.may_begin(), GATHERED_MOST as usize);
        pace.have_begun(3);
        assert_eq!(pace.may_begin(), 1);
    }
}
