//! What the workers of a phase have done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::RedisError;
use serde_json::{Value, json};

use crate::{WORKERS, value_of};

/// How many of the bad things are told of each kind.
const TOLD_MOST: usize = 10;

/// What all workers of a phase have done.
pub struct Ledger {
    operations: u64,
    errors: BTreeMap<String, u64>,
    wrong: Vec<String>,
    longest_gap: Duration,
    last: [Instant; WORKERS],
    /// The keys whose writes were acknowledged.
    pub acknowledged: Vec<String>,
    /// Whether the workers are to stop.
    pub is_stopping: bool,
}

impl Ledger {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            operations: 0,
            errors: BTreeMap::new(),
            wrong: Vec::new(),
            longest_gap: Duration::ZERO,
            last: [Instant::now(); WORKERS],
            acknowledged: Vec::new(),
            is_stopping: false,
        }
    }

    fn success(&mut self, worker: usize) {
        self.longest_gap = self.longest_gap.max(self.last[worker].elapsed());
        self.last[worker] = Instant::now();
        self.operations += 1;
    }

    /// A write came back. Whether it is done.
    pub fn note_write(&mut self, worker: usize, key: &str, done: Result<(), RedisError>) -> bool {
        if let Err(error) = done {
            self.note_error(&error);
            return false;
        }
        self.success(worker);
        self.acknowledged.push(key.to_owned());
        true
    }

    /// A read came back. Whether it was answered.
    pub fn note_read(
        &mut self,
        worker: usize,
        key: &str,
        read: Result<Option<String>, RedisError>,
    ) -> bool {
        match read {
            Ok(value) => {
                self.success(worker);
                if value.as_deref() != Some(&value_of(key)) {
                    self.wrong.push(format!("{key}: {value:?}"));
                }
                true
            }
            Err(error) => {
                self.note_error(&error);
                false
            }
        }
    }

    fn note_error(&mut self, error: &RedisError) {
        *self.errors.entry(error.to_string()).or_default() += 1;
    }

    /// Whether so much was done as one write of each worker.
    pub fn has_begun(&self) -> bool {
        self.operations >= WORKERS as u64
    }

    /// Tells the workers to stop. One that had no success lately has a gap up to now.
    pub fn stop(&mut self) {
        for last in self.last {
            self.longest_gap = self.longest_gap.max(last.elapsed());
        }
        self.is_stopping = true;
    }

    /// The answer to `end`.
    pub fn answer(&self) -> Value {
        json!({
            "operations": self.operations,
            "errors": self.errors,
            "wrong": self.wrong[..self.wrong.len().min(TOLD_MOST)],
            "gap_ms": self.longest_gap.as_millis() as u64,
        })
    }
}

/// The answer to `verify`.
pub fn verified(read: Vec<(String, Result<Option<String>, RedisError>)>) -> Value {
    let operations = read.len();
    let is_lost = |(key, value): &(String, Result<Option<String>, RedisError>)| !matches!(value, Ok(Some(value)) if *value == value_of(key));
    let lost = read.iter().filter(|read| is_lost(read)).take(TOLD_MOST);
    let lost: Vec<String> = lost
        .map(|(key, value)| format!("{key}: {value:?}"))
        .collect();
    json!({ "operations": operations, "lost": lost })
}
