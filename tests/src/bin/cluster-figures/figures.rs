//! Percentiles, and what a subcommand comes to.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// What is printed: one or the other.
pub struct Outcome {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

/// The longest time that is told apart.
const LONGEST: Duration = Duration::from_secs(600);

/// How long requests took.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        let highest = LONGEST.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, highest, 3);
        Self(histogram.expect("these bounds are in order"))
    }

    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(took.as_nanos() as u64);
    }

    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds.
    pub fn quantile(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }

    /// In milliseconds.
    pub fn longest(&self) -> f64 {
        self.0.max() as f64 / 1e6
    }

    pub fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "p50_ms": self.quantile(0.5),
            "p99_ms": self.quantile(0.99),
            "p99_9_ms": self.quantile(0.999),
            "longest_ms": self.longest(),
        })
    }
}

/// The middle one of some figures, and the highest.
pub fn median_and_worst(figures: &[f64]) -> (f64, f64) {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let median = figures.get(figures.len() / 2).copied();
    let worst = figures.last().copied();
    (median.unwrap_or(f64::NAN), worst.unwrap_or(f64::NAN))
}

/// Milliseconds, as precise as they are worth reading.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        _ if ms < 10.0 => format!("{ms:.3} ms"),
        _ if ms < 1_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1e3),
    }
}

/// A number with its thousands apart.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
