//! The classes themselves.

use std::cell::RefCell;

use trilith::db::BatchesOnly;
use trilith::{Db, Range, Result, Runtime as _};
use wasm_bindgen::prelude::*;

use super::answer::{Answer, answer, bytes};
use super::cursor::Cursor;
use super::encoding::{batch_of, deadline_of, keys_of, put_pair, put_value};
use super::feed::Feed;
use super::options::{StoreOptions, options_of, storage_of};
use super::transfer::{Exporter, Importer};
use super::{WebDb, describe, error};
use crate::host::{self, KeepAlive};
use crate::{WebRuntime, WebStorage};

thread_local! {
    /// Where values are put on their way out.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A scratch that one huge value has grown beyond this is let go.
const SCRATCH_KEPT: usize = 64 << 10;
/// So many keys are counted between two turns of the event loop.
const COUNTED_AT_ONCE: u64 = 10_000;

fn thrown(error: trilith::Error) -> JsValue {
    error::to_js(&error)
}

fn check_sound() -> std::result::Result<(), JsValue> {
    match host::is_poisoned() {
        true => Err(error::poisoned()),
        false => Ok(()),
    }
}

fn range_of(start: Option<Vec<u8>>, end: Option<Vec<u8>>, reverse: bool) -> Range {
    Range {
        start: start.map(Into::into),
        end: end.map(Into::into),
        reverse,
    }
}

fn prefix_range(prefix: &[u8], reverse: bool) -> Range {
    let range = Range::prefix(prefix);
    if reverse { range.reversed() } else { range }
}

/// A store that is open.
#[wasm_bindgen]
pub struct Store {
    db: WebDb,
    storage: WebStorage,
    feed: Feed,
}

#[wasm_bindgen]
impl Store {
    /// Opens a store, or makes one.
    pub async fn open(options: StoreOptions) -> std::result::Result<Store, JsValue> {
        check_sound()?;
        let _under_way = KeepAlive::new();
        let given = JsValue::from(options);
        let engine_options = options_of(&given).map_err(thrown)?;
        let storage = storage_of(&given).map_err(thrown)?;
        let opened = Db::open(storage.clone(), WebRuntime, engine_options).await;
        Ok(Self {
            db: opened.map_err(thrown)?,
            storage,
            feed: Feed::default(),
        })
    }

    /// The value of a key. At once if memory can tell.
    #[wasm_bindgen(
        unchecked_return_type = "Uint8Array | undefined | Promise<Uint8Array | undefined>"
    )]
    pub fn get(&self, key: &[u8]) -> Answer {
        check_sound()?;
        let now = SCRATCH.with(|scratch| -> Result<Option<JsValue>> {
            let value = &mut *scratch.borrow_mut();
            value.clear();
            let found = self.db.get_now(key, value)?;
            let found = found.map(|is_there| match is_there {
                true => bytes(value),
                false => JsValue::UNDEFINED,
            });
            value.shrink_to(SCRATCH_KEPT);
            Ok(found)
        });
        if let Some(now) = now.map_err(thrown)? {
            return Ok(now);
        }
        let (db, key) = (self.db.clone(), key.to_vec());
        answer(async move {
            let value = db.get(&key).await?;
            Ok(value.map_or(JsValue::UNDEFINED, |value| bytes(&value)))
        })
    }

    /// Whether a key is there.
    #[wasm_bindgen(unchecked_return_type = "boolean | Promise<boolean>")]
    pub fn has(&self, key: Vec<u8>) -> Answer {
        let db = self.db.clone();
        answer(async move { Ok(db.deadline(&key).await?.is_some().into()) })
    }

    /// When a key expires, in milliseconds since the Unix epoch: 0 for never, `undefined` if it is not there.
    #[wasm_bindgen(unchecked_return_type = "number | undefined | Promise<number | undefined>")]
    pub fn deadline(&self, key: Vec<u8>) -> Answer {
        let db = self.db.clone();
        answer(async move {
            let deadline = db.deadline(&key).await?;
            Ok(deadline.map_or(JsValue::UNDEFINED, |ms| (ms as f64).into()))
        })
    }

    /// The values of many keys: see INTERFACE.md.
    #[wasm_bindgen(js_name = getMany, unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn get_many(&self, keys: Vec<u8>) -> Answer {
        let db = self.db.clone();
        answer(async move {
            let keys = keys_of(&keys)?;
            let values = db.get_many(&keys).await?;
            let len = values
                .iter()
                .flatten()
                .map(|value| value.len())
                .sum::<usize>();
            let mut flat = Vec::with_capacity(len + 4 * values.len());
            for value in &values {
                put_value(&mut flat, value.as_deref());
            }
            Ok(bytes(&flat))
        })
    }

    /// Sets a key, for `ttlMs` milliseconds if given.
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn put(
        &self,
        key: Vec<u8>,
        value: Vec<u8>,
        #[wasm_bindgen(js_name = ttlMs)] ttl_ms: Option<f64>,
    ) -> Answer {
        let deadline_ms = deadline_of(ttl_ms, WebRuntime.wall_ms());
        if deadline_ms != 0 || self.feed.is_on() {
            let mut operations = vec![if deadline_ms == 0 { 1 } else { 2 }];
            if deadline_ms != 0 {
                operations.extend_from_slice(&ttl_ms.unwrap_or_default().to_le_bytes());
            }
            put_pair(&mut operations, &key, &value);
            return self.write(operations);
        }
        let db = self.db.clone();
        answer(async move {
            db.put(&key, &value).await?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Removes a key.
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn delete(&self, key: Vec<u8>) -> Answer {
        let mut operations = vec![3];
        put_value(&mut operations, Some(&key));
        self.write(operations)
    }

    /// Writes operations: all of them or none. See INTERFACE.md.
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn write(&self, operations: Vec<u8>) -> Answer {
        let (db, feed) = (self.db.clone(), self.feed.clone());
        answer(async move {
            db.write(batch_of(&operations, WebRuntime.wall_ms())?)
                .await?;
            feed.tell(&operations);
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Sets a key to `value` (`undefined`: removes it) if its value is `expected` (`undefined`: if it is not there), and
    /// tells whether it was so.
    #[wasm_bindgen(js_name = compareAndSet, unchecked_return_type = "boolean | Promise<boolean>")]
    pub fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        #[wasm_bindgen(js_name = ttlMs)] ttl_ms: Option<f64>,
    ) -> Answer {
        let (db, feed) = (self.db.clone(), self.feed.clone());
        answer(async move {
            let deadline_ms = deadline_of(ttl_ms, WebRuntime.wall_ms());
            let (expected, value) = (expected.as_deref(), value.as_deref());
            let held = db
                .compare_and_set(&key, expected, value, deadline_ms)
                .await?;
            if held && feed.is_on() {
                let mut operations = vec![if value.is_some() { 1 } else { 3 }];
                match value {
                    Some(value) => put_pair(&mut operations, &key, value),
                    None => put_value(&mut operations, Some(&key)),
                }
                feed.tell(&operations);
            }
            Ok(held.into())
        })
    }

    /// Walks the keys from `start` on and before `end`, as they are now. `fields`: 1 for keys, 2 for values, 3 for both.
    pub fn scan(
        &self,
        start: Option<Vec<u8>>,
        end: Option<Vec<u8>>,
        reverse: bool,
        fields: u8,
    ) -> std::result::Result<Cursor, JsValue> {
        check_sound()?;
        let scan = self
            .db
            .scan(range_of(start, end, reverse))
            .map_err(thrown)?;
        Ok(Cursor::new(scan, fields))
    }

    /// Walks the keys that begin with `prefix`.
    #[wasm_bindgen(js_name = scanPrefix)]
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        reverse: bool,
        fields: u8,
    ) -> std::result::Result<Cursor, JsValue> {
        check_sound()?;
        let scan = self
            .db
            .scan(prefix_range(prefix, reverse))
            .map_err(thrown)?;
        Ok(Cursor::new(scan, fields))
    }

    /// The store as it is now, to be read from later.
    pub fn snapshot(&self) -> std::result::Result<Snapshot, JsValue> {
        check_sound()?;
        Ok(Snapshot(self.db.snapshot()))
    }

    /// How many keys there are from `start` on and before `end`: walks over them.
    #[wasm_bindgen(unchecked_return_type = "number | Promise<number>")]
    pub fn count(&self, start: Option<Vec<u8>>, end: Option<Vec<u8>>) -> Answer {
        let db = self.db.clone();
        answer(async move {
            let mut scan = db.scan(range_of(start, end, false))?;
            let mut count = 0;
            while scan.next().await?.is_some() {
                count += 1;
                if count % COUNTED_AT_ONCE == 0 {
                    WebRuntime.breathe().await;
                }
            }
            Ok((count as f64).into())
        })
    }

    /// Numbers about the store.
    #[wasm_bindgen(unchecked_return_type = "StoreStats")]
    pub fn stats(&self) -> Answer {
        check_sound()?;
        let transactions = match &self.storage {
            WebStorage::IndexedDb(database) => Some(database.committed()),
            _ => None,
        };
        Ok(describe::stats(&self.db.stats(), transactions))
    }

    /// Reads a key and tells which way the read took.
    #[wasm_bindgen(unchecked_return_type = "Explanation | Promise<Explanation>")]
    pub fn explain(&self, key: Vec<u8>) -> Answer {
        let db = self.db.clone();
        answer(async move { Ok(describe::explanation(&db.explain(&key).await?)) })
    }

    /// Reads everything and checks every checksum and invariant.
    #[wasm_bindgen(unchecked_return_type = "Verified | Promise<Verified>")]
    pub fn verify(&self) -> Answer {
        let db = self.db.clone();
        answer(async move { Ok(describe::verified(&db.verify().await?)) })
    }

    /// What was acknowledged so far survives a loss of power from here on.
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn sync(&self) -> Answer {
        let db = self.db.clone();
        answer(async move { db.sync().await.map(|()| JsValue::UNDEFINED) })
    }

    /// Writes everything that is in memory to tables.
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn flush(&self) -> Answer {
        let db = self.db.clone();
        answer(async move { db.flush().await.map(|()| JsValue::UNDEFINED) })
    }

    /// Merges all tables into one level.
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn compact(&self) -> Answer {
        let db = self.db.clone();
        answer(async move { db.compact().await.map(|()| JsValue::UNDEFINED) })
    }

    /// Copies the store to another database or directory, without stopping writers.
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn checkpoint(&self, to: String) -> Answer {
        let db = self.db.clone();
        answer(async move { db.checkpoint(to).await.map(|()| JsValue::UNDEFINED) })
    }

    /// Begins to write the store, as it is now, as an RDB file.
    #[wasm_bindgen(js_name = exportRdb)]
    pub fn export_rdb(&self) -> std::result::Result<Exporter, JsValue> {
        check_sound()?;
        Exporter::begin(&self.db).map_err(thrown)
    }

    /// Begins to take an RDB file in.
    #[wasm_bindgen(js_name = importRdb)]
    pub async fn import_rdb(&self) -> std::result::Result<Importer, JsValue> {
        check_sound()?;
        let db = self.db.clone();
        Importer::begin(db).await.map_err(thrown)
    }

    /// `callback(operations)` is called after each write that has taken effect, in their order, with the operations as
    /// INTERFACE.md has them. An import does not tell of its keys.
    #[wasm_bindgen(js_name = onChange)]
    pub fn on_change(
        &self,
        #[wasm_bindgen(unchecked_param_type = "((operations: Uint8Array) => void) | undefined")]
        callback: Option<js_sys::Function>,
    ) {
        self.feed.set(callback);
    }

    /// Ends the store in good order. Calls from now on fail with "closed".
    #[wasm_bindgen(unchecked_return_type = "undefined | Promise<undefined>")]
    pub fn close(&self) -> Answer {
        let (db, storage) = (self.db.clone(), self.storage.clone());
        answer(async move {
            let closed = db.close().await;
            storage.abandon();
            closed.map(|()| JsValue::UNDEFINED)
        })
    }

    /// Lets go of everything at once, as if the process had ended: what is under way fails, or is never answered.
    pub fn abandon(&self) {
        self.storage.abandon();
    }
}

/// A store as it was. Holds that state until it is freed.
#[wasm_bindgen]
pub struct Snapshot(trilith::Snapshot<WebStorage, WebRuntime, BatchesOnly>);

#[wasm_bindgen]
impl Snapshot {
    /// The value of a key at that time.
    #[wasm_bindgen(
        unchecked_return_type = "Uint8Array | undefined | Promise<Uint8Array | undefined>"
    )]
    pub fn get(&self, key: Vec<u8>) -> Answer {
        let snapshot = self.0.clone();
        answer(async move {
            let value = snapshot.get(&key).await?;
            Ok(value.map_or(JsValue::UNDEFINED, |value| bytes(&value)))
        })
    }

    /// As [`Store::scan`].
    pub fn scan(
        &self,
        start: Option<Vec<u8>>,
        end: Option<Vec<u8>>,
        reverse: bool,
        fields: u8,
    ) -> std::result::Result<Cursor, JsValue> {
        check_sound()?;
        let scan = self.0.scan(range_of(start, end, reverse)).map_err(thrown)?;
        Ok(Cursor::new(scan, fields))
    }

    /// As [`Store::scan_prefix`].
    #[wasm_bindgen(js_name = scanPrefix)]
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        reverse: bool,
        fields: u8,
    ) -> std::result::Result<Cursor, JsValue> {
        check_sound()?;
        let scan = self.0.scan(prefix_range(prefix, reverse)).map_err(thrown)?;
        Ok(Cursor::new(scan, fields))
    }

    /// The store's write counter at that time.
    pub fn sequence(&self) -> f64 {
        self.0.seq() as f64
    }
}

/// Bytes that the browser still lets this site store; `undefined` where it does not tell.
#[wasm_bindgen(unchecked_return_type = "number | undefined")]
pub async fn room() -> JsValue {
    host::room()
        .await
        .map_or(JsValue::UNDEFINED, |room| (room as f64).into())
}

/// Asks the browser to keep what this site stores even when room is short. Tells whether it will.
#[wasm_bindgen]
pub async fn persist() -> bool {
    host::persist().await
}
