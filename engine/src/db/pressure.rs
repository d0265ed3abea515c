//! Backpressure: writers are slowed smoothly before they are stopped.
//!
//! What is behind is measured in three ways (memtables that wait to be flushed, runs in level 0, bytes
//! that compaction owes) and mapped to one number from 0 (no delay) to 1 (stop). In between, writers
//! share a rate that falls geometrically, so the last stretch before a stop is slow, not sudden.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The rate at which slowing begins, in bytes a second.
const RATE_MOST: f64 = 256.0 * 1048576.0;
/// The rate just before a stop.
const RATE_LEAST: f64 = 1.0 * 1048576.0;
/// Waits shorter than this are saved up: a timer costs more than they give.
const SLEEP_LEAST: Duration = Duration::from_millis(1);

/// The most that one write is held up for, and the most that others may have before it.
const SLEEP_MOST_NS: u64 = 1_000_000_000;

/// What is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Behind {
    /// Memtables that wait to be flushed.
    pub frozen: usize,
    /// How full the active one is, from 0 to 1.
    pub active: f64,
    /// Sorted runs in level 0.
    pub l0_runs: usize,
    /// Bytes that compaction has to move before the tree has its shape.
    pub debt_bytes: u64,
    /// Readers hold so much memory that the active memtable cannot be filled.
    pub pinned: bool,
}

/// The limits behind which writers are slowed, and stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub frozen_stop: usize,
    pub l0_slow: usize,
    pub l0_stop: usize,
    pub debt_slow_bytes: u64,
    pub debt_stop_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frozen_stop: 2,
            l0_slow: 12,
            l0_stop: 36,
            debt_slow_bytes: 16 << 30,
            debt_stop_bytes: 128 << 30,
        }
    }
}

impl Behind {
    /// From 0 (writers run free) to 1 (writers stop).
    pub(crate) fn pressure(&self, limits: &Limits) -> f64 {
        let between =
            |value: f64, slow: f64, stop: f64| ((value - slow) / (stop - slow)).clamp(0.0, 1.0);
        if self.pinned {
            return 1.0;
        }
        let memtables = self.frozen as f64 + self.active;
        let stop = limits.frozen_stop as f64 + 1.0;
        between(memtables, stop - 1.0, stop)
            .max(between(
                self.l0_runs as f64,
                limits.l0_slow as f64,
                limits.l0_stop as f64,
            ))
            .max(between(
                self.debt_bytes as f64,
                limits.debt_slow_bytes as f64,
                limits.debt_stop_bytes as f64,
            ))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// The present pressure, as bits of an `f64`.
    pressure: AtomicU64,
    /// Whether a write has to look closer: there is pressure, or there would be once the active memtable
    /// fills up.
    on: AtomicBool,
    /// When the bytes admitted so far will have passed at the present rate, in nanoseconds of the
    /// monotonic clock.
    paid_until_ns: AtomicU64,
}

impl Pressure {
    pub(crate) fn set(&self, behind: Behind, limits: &Limits) {
        let pressure = behind.pressure(limits);
        self.pressure.store(pressure.to_bits(), Relaxed);
        self.on.store(
            pressure > 0.0 || behind.frozen >= limits.frozen_stop,
            Relaxed,
        );
    }

    /// From 0 to 1.
    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.pressure.load(Relaxed))
    }

    /// Whether writers run free: the one load that a write pays for all this.
    pub(crate) fn is_off(&self) -> bool {
        !self.on.load(Relaxed)
    }

    /// The rate that writers share, in bytes a second; 0 is a stop.
    pub(crate) fn rate(&self) -> f64 {
        match self.get() {
            pressure if pressure >= 1.0 => 0.0,
            // Geometric, without the platform's libm: halve and interpolate.
            pressure => {
                let octaves = (RATE_MOST / RATE_LEAST) as u64;
                let steps = pressure * f64::from(octaves.ilog2());
                let whole = steps as u32;
                let rate = RATE_MOST / f64::from(1u32 << whole);
                rate * (1.0 - (steps - f64::from(whole)) / 2.0)
            }
        }
    }

    /// How long a writer of `bytes` has to wait at `now`, given the rate.
    pub(crate) fn delay(&self, now: Duration, bytes: usize, rate: f64) -> Option<Duration> {
        let now_ns = now.as_nanos() as u64;
        // What was admitted at a low rate must not hold up those who come after it has risen again.
        let cost_ns = ((bytes as f64 / rate * 1e9) as u64).min(SLEEP_MOST_NS);
        let now_at_most = |paid: u64| paid.clamp(now_ns, now_ns + SLEEP_MOST_NS);
        let before = self
            .paid_until_ns
            .fetch_update(Relaxed, Relaxed, |paid| Some(now_at_most(paid) + cost_ns))
            .unwrap_or_else(|paid| paid);
        let wait = Duration::from_nanos((now_at_most(before) + cost_ns).saturating_sub(now_ns));
        (wait >= SLEEP_LEAST).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_with_what_is_behind_and_stops_at_the_limit() {
        let limits = Limits::default();
        let at = |l0_runs| {
            Behind {
                l0_runs,
                ..Behind::default()
            }
            .pressure(&limits)
        };
        assert_eq!(at(4), 0.0);
        assert_eq!(at(12), 0.0);
        assert!(at(20) > 0.0 && at(20) < at(30));
        assert_eq!(at(36), 1.0);
        let full = Behind {
            frozen: 2,
            active: 1.0,
            ..Behind::default()
        };
        assert_eq!(full.pressure(&limits), 1.0);
        let half = Behind {
            frozen: 2,
            active: 0.5,
            ..Behind::default()
        };
        assert_eq!(half.pressure(&limits), 0.5);
    }

    fn filling(active: f64) -> Behind {
        Behind {
            frozen: 2,
            active,
            ..Behind::default()
        }
    }

    #[test]
    fn the_rate_falls_smoothly_to_its_least() {
        let pressure = Pressure::default();
        let mut last = f64::INFINITY;
        for step in 1..100 {
            pressure.set(filling(f64::from(step) / 100.0), &Limits::default());
            assert!(pressure.rate() < last && pressure.rate() >= RATE_LEAST);
            last = pressure.rate();
        }
        pressure.set(filling(1.0), &Limits::default());
        assert_eq!(pressure.rate(), 0.0);
    }

    #[test]
    fn small_debts_are_saved_up_until_they_are_worth_a_timer() {
        let pressure = Pressure::default();
        let mut waited = 0;
        for _ in 0..100 {
            waited += u32::from(pressure.delay(Duration::ZERO, 100, 1e6).is_some());
        }
        assert_eq!(waited, 91);
    }
}
