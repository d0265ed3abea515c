//! What clients saw in one phase.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::figures::{Latencies, milliseconds, thousands};

/// Requests that were due in this phase.
pub struct Figures {
    latencies: Latencies,
    failures: BTreeMap<String, u64>,
    redirects: u64,
}

impl Figures {
    pub fn new() -> Self {
        Self {
            latencies: Latencies::new(),
            failures: BTreeMap::new(),
            redirects: 0,
        }
    }

    pub fn done(&mut self, took: Duration, redirects: u8) {
        self.latencies.record(took);
        self.redirects += u64::from(redirects);
    }

    pub fn failed(&mut self, why: &str) {
        *self.failures.entry(why.to_owned()).or_default() += 1;
    }

    fn failed_count(&self) -> u64 {
        self.failures.values().sum()
    }

    /// In milliseconds.
    pub fn p99(&self) -> f64 {
        self.latencies.quantile(0.99)
    }

    /// In a few words.
    pub fn line(&self) -> String {
        format!(
            "{} writes, {} failed, {} redirects, p50 {}, p99 {}, longest {}",
            thousands(self.latencies.count() as f64),
            self.failed_count(),
            self.redirects,
            milliseconds(self.latencies.quantile(0.5)),
            milliseconds(self.p99()),
            milliseconds(self.latencies.longest()),
        )
    }

    pub fn cells(&self) -> Vec<String> {
        vec![
            thousands(self.latencies.count() as f64),
            self.failed_count().to_string(),
            self.redirects.to_string(),
            milliseconds(self.latencies.quantile(0.5)),
            milliseconds(self.p99()),
            milliseconds(self.latencies.quantile(0.999)),
            milliseconds(self.latencies.longest()),
        ]
    }

    /// Why requests failed, if any did.
    pub fn failures(&self, phase: &str) -> String {
        let line = |(why, count): (&String, &u64)| format!("{phase}: {count} failed: {why}\n");
        self.failures.iter().map(line).collect()
    }

    pub fn json(&self) -> Value {
        json!({
            "latency": self.latencies.json(),
            "failed": self.failed_count(),
            "failures": self.failures,
            "redirects": self.redirects,
        })
    }
}
