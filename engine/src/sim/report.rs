//! What a run has found.

use std::collections::BTreeMap;

use serde::Serialize;

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What decided it.
    pub seed: u64,
    /// N, W and R.
    pub quorum: String,
    /// Virtual time that has passed, healing included.
    pub simulated_seconds: f64,
    /// Processor time that it took, if the caller has measured it.
    pub core_seconds: f64,
    /// What clients have asked.
    pub operations: u64,
    /// What was answered.
    pub acknowledged: u64,
    /// Acknowledged writes of which nothing was left.
    pub lost: u64,
    /// Of these, writes that no lost-writes file names.
    pub unnamed: u64,
    /// Reads that were behind.
    pub stale: u64,
    /// Whether clients saw one store: none if the search took too long.
    pub linearizable: Option<bool>,
    /// Milliseconds from the end of all faults until every range had a master and equal copies.
    pub healed_ms: u64,
    /// Masters elected.
    pub elections: u64,
    /// Elections that needed replicas which may have forgotten entries.
    pub by_flagged: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Ranges that an operator had to recover from one copy.
    pub recovered: u64,
    /// Copies that were found to differ from the others.
    pub mismatches: u64,
    /// What must not be, in words.
    pub violations: Vec<String>,
    /// What has gone wrong on purpose, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// What joining, draining and replacing nodes took, in the scenario that is about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<super::growth::Phase>,
    /// Equal for equal runs.
    pub trace_hash: String,
}

impl Report {
    /// Whether nothing was found that must not be.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}
