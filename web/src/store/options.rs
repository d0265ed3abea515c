//! What `open` is told.

use std::time::Duration;

use trilith::{Error, ErrorKind, MemoryStorage, Options, Result, Sync};
use wasm_bindgen::prelude::*;

use crate::host::property;
use crate::storage::{FileHost, HostFiles, IndexedDb, WebStorage};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface StoreOptions {
  /** Where the store lies. Memory by default. */
  storage?: "memory" | { indexedDB: string } | { files: FileHost };
  /** When a write is answered: synced ("always"), or handed to the system and synced each second ("everysec") or whenever
   *  the system likes ("no"). "everysec" by default. */
  sync?: "always" | "everysec" | "no";
  /** All the memory that the store may use, in bytes. 32 MiB by default; at least 1 MiB. */
  memoryBytes?: number;
  /** When a memtable is written to a table, in bytes. */
  memtableBytes?: number;
  /** Values from this length on are kept apart from the keys. 4096 by default. */
  largeValueBytes?: number;
  /** Where a segment of the log ends, in bytes. An eighth of the memory by default. */
  segmentBytes?: number;
  /** How long opening a database may take, in milliseconds. 10 s by default. */
  openTimeoutMs?: number;
  /** Functions are added that let go of locks, connections and handles. To be called when the instance has panicked,
   *  before another one opens the store. */
  releases?: (() => void)[];
}
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript interface of the same name.
    #[wasm_bindgen(typescript_type = "StoreOptions")]
    pub type StoreOptions;
}

const MEMORY_BYTES: usize = 32 << 20;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of a database that are kept, as a share of all memory.
const ROWS_SHARE: usize = 16;

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "opening the store", detail)
}

fn number(of: &JsValue, name: &str) -> Result<Option<f64>> {
    let value = property(of, name);
    if value.is_undefined() {
        return Ok(None);
    }
    match value.as_f64() {
        Some(number) if number >= 0.0 => Ok(Some(number)),
        _ => Err(invalid(format!(
            "{name} is not a number of bytes or milliseconds"
        ))),
    }
}

/// The engine's options.
pub(super) fn options_of(given: &JsValue) -> Result<Options> {
    let bytes = |name| number(given, name).map(|number| number.map(|number| number as usize));
    let memory_bytes = bytes("memoryBytes")?.unwrap_or(MEMORY_BYTES).max(1 << 20);
    let defaults = Options::default();
    let sync = match property(given, "sync") {
        sync if sync.is_undefined() => defaults.sync,
        sync => match sync.as_string().as_deref() {
            Some("always") => Sync::Always,
            Some("everysec") => Sync::EverySecond,
            Some("no") => Sync::No,
            _ => {
                return Err(invalid(
                    "sync is one of \"always\", \"everysec\" and \"no\"",
                ));
            }
        },
    };
    Ok(Options {
        sync,
        memory_bytes: memory_bytes - memory_bytes / ROWS_SHARE,
        memtable_bytes: bytes("memtableBytes")?,
        large_value_bytes: bytes("largeValueBytes")?.unwrap_or(defaults.large_value_bytes),
        segment_bytes: bytes("segmentBytes")?.unwrap_or(memory_bytes / 8) as u64,
        ..defaults
    })
}

/// The storage that is asked for.
pub(super) fn storage_of(given: &JsValue) -> Result<WebStorage> {
    let storage = property(given, "storage");
    if storage.is_undefined() || storage.as_string().is_some_and(|name| name == "memory") {
        return Ok(WebStorage::Memory(MemoryStorage::new()));
    }
    let releases = property(given, "releases").dyn_into::<js_sys::Array>();
    let releases = releases.unwrap_or_default();
    if let Some(name) = property(&storage, "indexedDB").as_string() {
        let memory_bytes = number(given, "memoryBytes")?.unwrap_or(MEMORY_BYTES as f64);
        let timeout = match number(given, "openTimeoutMs")? {
            Some(ms) => Duration::from_millis(ms as u64),
            None => OPEN_TIMEOUT,
        };
        let cache_bytes = memory_bytes as usize / ROWS_SHARE;
        return Ok(WebStorage::IndexedDb(IndexedDb::new(
            name,
            cache_bytes,
            timeout,
            releases,
        )));
    }
    let files = property(&storage, "files");
    if files.is_object() {
        let host = files.unchecked_into::<FileHost>();
        return Ok(WebStorage::Files(HostFiles::new(host, &releases)));
    }
    Err(invalid(
        "storage is \"memory\", { indexedDB: name } or { files: host }",
    ))
}
