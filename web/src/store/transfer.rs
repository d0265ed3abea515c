//! Everything out of a store and into one, as an RDB file: Redis and its tools read it, and theirs are read here.

use std::cell::RefCell;
use std::rc::Rc;

use trilith::archive::rdb::{EncodeOptions, Encoder, Item, Reader, Sizes};
use trilith::db::BatchesOnly;
use trilith::{
    Batch, Error, ErrorKind, MemoryStorage, Object, Range, Result, Runtime as _, Scan,
    Storage as _, Writer as _,
};
use wasm_bindgen::prelude::*;

use super::WebDb;
use super::answer::{Answer, answer, bytes};
use crate::storage::WebWriter;
use crate::{WebRuntime, WebStorage};

/// A piece of the file.
const PIECE_BYTES: usize = 256 << 10;
/// What is written at once.
const BATCH_BYTES: usize = 256 << 10;

/// An export under way: of the store as it was when it began.
#[wasm_bindgen]
pub struct Exporter(Rc<RefCell<Option<Export>>>);

struct Export {
    scan: Scan<WebStorage, WebRuntime, BatchesOnly>,
    encoder: Encoder,
    header: Vec<u8>,
    is_over: bool,
}

impl Exporter {
    pub(super) fn begin(db: &WebDb) -> Result<Self> {
        let mut encoder = Encoder::new(EncodeOptions::default())?;
        let seconds = (WebRuntime.wall_ms() / 1000).to_string();
        let mut header = Vec::new();
        let sizes = Sizes {
            keys: db.stats().records_estimate,
            keys_with_deadline: 0,
        };
        encoder.header(&mut header, &[("ctime", seconds.as_bytes())], sizes);
        Ok(Self(Rc::new(RefCell::new(Some(Export {
            scan: db.scan(Range::all())?,
            encoder,
            header,
            is_over: false,
        })))))
    }
}

impl Export {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_over {
            return Ok(None);
        }
        let mut piece = std::mem::take(&mut self.header);
        while piece.len() < PIECE_BYTES {
            let Some((key, value, deadline_ms)) = self.scan.next_until().await? else {
                self.is_over = true;
                self.encoder.end(&mut piece);
                break;
            };
            self.encoder.entry(&mut piece, key, value, deadline_ms);
        }
        Ok(Some(piece))
    }
}

#[wasm_bindgen]
impl Exporter {
    /// The next piece of the file; `undefined` behind the last.
    #[wasm_bindgen(
        unchecked_return_type = "Uint8Array | undefined | Promise<Uint8Array | undefined>"
    )]
    pub fn next(&self) -> Answer {
        let place = self.0.clone();
        answer(async move {
            let export = place.borrow_mut().take();
            let mut export = export.ok_or_else(|| {
                let detail = "it has failed, or its last piece is still awaited";
                Error::new(ErrorKind::Invalid, "exporting", detail)
            })?;
            let piece = export.piece().await?;
            *place.borrow_mut() = Some(export);
            Ok(piece.map_or(JsValue::UNDEFINED, |piece| bytes(&piece)))
        })
    }
}

/// An import that is being gathered. Nothing is written before all of the file is there.
#[wasm_bindgen]
pub struct Importer {
    db: WebDb,
    /// `None` once it was finished.
    file: Rc<RefCell<Option<(WebStorage, WebWriter)>>>,
}

fn object() -> Object {
    Object::Archive("import.rdb".into())
}

impl Importer {
    pub(super) async fn begin(db: WebDb) -> Result<Self> {
        let storage = WebStorage::Memory(MemoryStorage::new());
        let writer = storage.create(object()).await?;
        Ok(Self {
            db,
            file: Rc::new(RefCell::new(Some((storage, writer)))),
        })
    }
}

#[wasm_bindgen]
impl Importer {
    /// Takes the next piece of the file, of any length.
    pub fn push(&self, piece: &[u8]) -> std::result::Result<(), JsValue> {
        if let Some((_, writer)) = &mut *self.file.borrow_mut() {
            let pushed = writer.append(piece);
            pushed.map_err(|error| super::error::to_js(&error))?;
        }
        Ok(())
    }

    /// Checks the file, writes what is in it over what is in the store, and tells how many keys were taken and how many
    /// were of types that are not kept here. What has expired is left out.
    #[wasm_bindgen(unchecked_return_type = "Promise<{ keys: number; skipped: number }>")]
    pub fn finish(&self) -> Answer {
        let (db, file) = (self.db.clone(), self.file.clone());
        answer(async move {
            let file = file.borrow_mut().take();
            let (storage, writer) = file.ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    "importing",
                    "it has been finished already",
                )
            })?;
            drop(writer);
            // The checksum comes last: a first reading looks for it.
            load(&storage, None).await?;
            let (keys, skipped) = load(&storage, Some(&db)).await?;
            let told = js_sys::Object::new();
            for (name, count) in [("keys", keys), ("skipped", skipped)] {
                let _ = js_sys::Reflect::set(&told, &name.into(), &(count as f64).into());
            }
            Ok(told.into())
        })
    }
}

/// Reads the file, and writes what it holds if there is somewhere to.
async fn load(storage: &WebStorage, db: Option<&WebDb>) -> Result<(u64, u64)> {
    let mut reader = Reader::open(storage.open(object()).await?, object()).await?;
    let (mut keys, mut skipped) = (0, 0);
    let mut batch = Batch::new();
    while let Some(item) = reader.next().await? {
        match item {
            Item::Entry {
                key,
                value,
                deadline_ms,
                ..
            } => {
                if deadline_ms != 0 && deadline_ms <= WebRuntime.wall_ms() {
                    continue;
                }
                keys += 1;
                if let Some(db) = db {
                    batch.put_until(key, value, deadline_ms);
                    if batch.bytes() >= BATCH_BYTES {
                        db.write(std::mem::take(&mut batch)).await?;
                    }
                }
            }
            Item::Unsupported { .. } => skipped += 1,
            _ => {}
        }
    }
    if let Some(db) = db {
        db.write(batch).await?;
    }
    Ok((keys, skipped))
}
