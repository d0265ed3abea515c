//! What a phase came to, for people and for programs.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::target::WriteStats;
use super::workload::Workload;

/// Percentiles of the time an operation took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50_us: f64,
    /// 95 % were faster.
    pub p95_us: f64,
    /// 99 % were faster.
    pub p99_us: f64,
    /// 99.9 % were faster.
    pub p99_9_us: f64,
    /// 99.99 % were faster.
    pub p99_99_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50_us: at(0.5),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: histogram.max() as f64 / 1e3,
        })
    }
}

/// One workload, run once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The store's name.
    pub target: String,
    /// What was run.
    pub workload: Workload,
    /// Threads, without the writer of `readwhilewriting`.
    pub threads: usize,
    /// Operations completed; a scan of everything counts its pairs.
    pub operations: u64,
    /// How many of the reads found something.
    pub found: u64,
    /// From the first operation to the last, without settling.
    pub seconds: f64,
    /// Operations by seconds.
    pub operations_per_second: f64,
    /// Bytes of keys and values written and read, by seconds, in millions.
    pub megabytes_per_second: f64,
    /// All operations; none where a single operation is too short to time.
    pub latency: Option<Latency>,
    /// Of a mixed workload, what reads.
    pub read_latency: Option<Latency>,
    /// Of a mixed workload, what writes.
    pub write_latency: Option<Latency>,
    /// What the extra thread of `readwhilewriting` wrote meanwhile.
    pub background_writes: u64,
    /// The longest time without any completed operation; 0 if under a millisecond.
    pub longest_gap_ms: f64,
    /// How many such gaps were at least as long as the window asked for.
    pub stalls: u64,
    /// The window asked for.
    pub stall_window_ms: u64,
    /// Flushing and waiting for compactions after a workload that writes.
    pub settle_seconds: f64,
    /// Bytes of keys and values the workload wrote.
    pub user_bytes: u64,
    /// Bytes the process handed to the kernel, settling included.
    pub written_bytes: u64,
    /// The same by purpose, where the store counts it.
    pub write_stats: Option<WriteStats>,
    /// What the store's files hold afterwards.
    pub disk_bytes: u64,
    /// The most memory the process has had resident so far.
    pub peak_resident_bytes: u64,
}

impl PhaseReport {
    /// Bytes written for each byte of the user's, the log included: by the kernel's count, which treats
    /// all stores alike, or by the store's own where the kernel keeps none.
    #[must_use]
    pub fn write_amplification(&self) -> Option<f64> {
        let own = self
            .write_stats
            .map_or(0, |stats| stats.log_bytes + stats.table_bytes);
        let written = if self.written_bytes > 0 {
            self.written_bytes
        } else {
            own
        };
        (self.user_bytes > 0 && written > 0).then(|| written as f64 / self.user_bytes as f64)
    }

    /// Bytes written to tables for each byte of the user's.
    #[must_use]
    pub fn write_amplification_of_tables(&self) -> Option<f64> {
        let tables = self.write_stats?.table_bytes;
        (self.user_bytes > 0).then(|| tables as f64 / self.user_bytes as f64)
    }

    /// The heading over [`Self::line`].
    #[must_use]
    pub fn heading() -> String {
        format!(
            "{:<16} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>6}",
            "workload",
            "ops/s",
            "MB/s",
            "p50 us",
            "p95",
            "p99",
            "p99.9",
            "p99.99",
            "max",
            "gap ms",
            "stalls"
        )
    }

    /// The phase on one line.
    #[must_use]
    pub fn line(&self) -> String {
        let latency = self.latency.map_or_else(
            || {
                format!(
                    "{:>8} {:>8} {:>8} {:>8} {:>8} {:>9}",
                    "-", "-", "-", "-", "-", "-"
                )
            },
            |latency| {
                format!(
                    "{:>8.2} {:>8.2} {:>8.2} {:>8.1} {:>8.1} {:>9.1}",
                    latency.p50_us,
                    latency.p95_us,
                    latency.p99_us,
                    latency.p99_9_us,
                    latency.p99_99_us,
                    latency.max_us
                )
            },
        );
        format!(
            "{:<16} {:>11.0} {:>8.1} {latency} {:>8.1} {:>6}",
            self.workload,
            self.operations_per_second,
            self.megabytes_per_second,
            self.longest_gap_ms,
            self.stalls
        )
    }

    /// What else there is to say, if anything.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.workload.fills() && self.found < self.operations && self.user_bytes == 0 {
            notes.push(format!("found {} of {}", self.found, self.operations));
        }
        for (kind, latency) in [("reads", self.read_latency), ("writes", self.write_latency)] {
            if let Some(latency) = latency {
                notes.push(format!(
                    "{kind}: p50 {:.2} us, p99 {:.2} us, p99.99 {:.1} us",
                    latency.p50_us, latency.p99_us, latency.p99_99_us
                ));
            }
        }
        if self.background_writes > 0 {
            let rate = self.background_writes as f64 / self.seconds;
            notes.push(format!("meanwhile {rate:.0} writes/s"));
        }
        if let Some(amplification) = self.write_amplification() {
            let tables = self
                .write_amplification_of_tables()
                .map_or_else(String::new, |tables| {
                    format!(", {tables:.2} without the log")
                });
            notes.push(format!(
                "write amplification {amplification:.2}{tables}; settled in {:.2} s; {} on disk",
                self.settle_seconds,
                bytes(self.disk_bytes)
            ));
        }
        notes
    }
}

/// A number of bytes as people read it.
#[must_use]
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (count.max(1).ilog2() / 10).min(units.len() as u32 - 1);
    let amount = count as f64 / 2f64.powi(10 * power as i32);
    let decimals = usize::from(power > 0);
    format!("{amount:.decimals$} {}", units[power as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_in_their_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
    }
}
