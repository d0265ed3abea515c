//! What a store says of itself, as JavaScript's own objects.

use js_sys::{Array, Object, Reflect};
use trilith::db::{Step, Verified};
use trilith::{Error, Explanation, Stats};
use wasm_bindgen::prelude::*;

use super::error;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface StoreStats {
  /** About how many keys there are. */
  recordsEstimate: number;
  sequence: number;
  levels: { tables: number; bytes: number }[];
  valuesBytes: number;
  memtableBytes: number;
  frozenMemtables: number;
  segments: number;
  userBytes: number;
  logBytes: number;
  flushes: number;
  flushBytes: number;
  compactions: number;
  moves: number;
  compactionReadBytes: number;
  compactionWriteBytes: number;
  coldReads: number;
  delayedWrites: number;
  stoppedWrites: number;
  /** From 0, none, to 1: writers stand still. */
  pressure: number;
  /** What keeps the store from taking writes. */
  trouble?: Error;
  /** What background work failed with and has not overcome, by its name. */
  backgroundErrors: Record<string, Error>;
  /** Transactions, for a store in IndexedDB. */
  transactions?: number;
}
export type ExplainStep =
  | { layer: "memory"; answer: "hit" | "deleted" | "apart" | "older" | "miss" }
  | { layer: "memtable"; memtable: number; found: boolean }
  | { layer: "table"; table: number; level: number }
  | { layer: "filter"; table: number; mayHold: boolean }
  | { layer: "block"; table: number; kind: string; offset: number; bytes: number; source: "pinned" | "cache" | "storage" };
export interface Explanation {
  found: boolean;
  valueBytes: number;
  tookMs: number;
  steps: ExplainStep[];
}
export interface Verified {
  tables: number;
  valuesFiles: number;
  segments: number;
  records: number;
  entries: number;
  problems: Error[];
}
"#;

/// An object that is being filled.
struct Filling(Object);

impl Filling {
    fn new() -> Self {
        Self(Object::new())
    }

    fn set(self, name: &str, value: impl Into<JsValue>) -> Self {
        let _ = Reflect::set(&self.0, &name.into(), &value.into());
        self
    }

    /// Numbers are doubles in JavaScript.
    fn count(self, name: &str, value: u64) -> Self {
        self.set(name, value as f64)
    }
}

fn errors<'a>(errors: impl Iterator<Item = &'a Error>) -> Array {
    errors.map(error::to_js).collect()
}

pub(super) fn stats(stats: &Stats, transactions: Option<u64>) -> JsValue {
    let levels: Array = stats
        .levels
        .iter()
        .map(|level| {
            let filling = Filling::new().count("tables", level.tables as u64);
            filling.count("bytes", level.bytes).0
        })
        .collect();
    let background = stats
        .background_errors
        .iter()
        .fold(Filling::new(), |filling, (name, error)| {
            filling.set(name, error::to_js(error))
        });
    let counts = [
        ("recordsEstimate", stats.records_estimate),
        ("sequence", stats.seq),
        ("valuesBytes", stats.values_bytes),
        ("memtableBytes", stats.memtable_bytes as u64),
        ("frozenMemtables", stats.frozen_memtables as u64),
        ("segments", stats.segments as u64),
        ("userBytes", stats.user_bytes),
        ("logBytes", stats.log_bytes),
        ("flushes", stats.flushes),
        ("flushBytes", stats.flush_bytes),
        ("compactions", stats.compactions),
        ("moves", stats.moves),
        ("compactionReadBytes", stats.compaction_read_bytes),
        ("compactionWriteBytes", stats.compaction_write_bytes),
        ("coldReads", stats.cold_reads),
        ("delayedWrites", stats.delayed_writes),
        ("stoppedWrites", stats.stopped_writes),
    ];
    let mut filling = Filling::new();
    for (name, value) in counts {
        filling = filling.count(name, value);
    }
    filling = filling
        .set("levels", levels)
        .set("pressure", stats.pressure)
        .set("backgroundErrors", background.0);
    if let Some(trouble) = &stats.trouble {
        filling = filling.set("trouble", error::to_js(trouble));
    }
    if let Some(transactions) = transactions {
        filling = filling.count("transactions", transactions);
    }
    filling.0.into()
}

pub(super) fn verified(verified: &Verified) -> JsValue {
    Filling::new()
        .count("tables", verified.tables as u64)
        .count("valuesFiles", verified.values_files as u64)
        .count("segments", verified.segments as u64)
        .count("records", verified.records)
        .count("entries", verified.entries)
        .set("problems", errors(verified.problems.iter()))
        .0
        .into()
}

pub(super) fn explanation(explanation: &Explanation) -> JsValue {
    let steps: Array = explanation.steps.iter().map(step).collect();
    Filling::new()
        .set("found", explanation.found)
        .count("valueBytes", explanation.value_bytes as u64)
        .set("tookMs", explanation.took_ns as f64 / 1e6)
        .set("steps", steps)
        .0
        .into()
}

fn step(step: &Step) -> JsValue {
    let filling = Filling::new();
    let filling = match step {
        Step::HashTable { answer } => filling.set("layer", "memory").set("answer", *answer),
        Step::Memtable { memtable, found } => filling
            .set("layer", "memtable")
            .count("memtable", *memtable)
            .set("found", *found),
        Step::Table { table, level } => filling
            .set("layer", "table")
            .count("table", *table)
            .count("level", *level as u64),
        Step::Filter { table, may_hold } => filling
            .set("layer", "filter")
            .count("table", *table)
            .set("mayHold", *may_hold),
        Step::Block(read) => filling
            .set("layer", "block")
            .count("table", read.table)
            .set("kind", format!("{:?}", read.kind).to_lowercase())
            .count("offset", read.offset)
            .count("bytes", read.bytes as u64)
            .set("source", format!("{:?}", read.source).to_lowercase()),
    };
    filling.0.into()
}
