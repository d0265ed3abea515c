//! A store in a database of the browser's.
//!
//! ```text
//! store     "meta" -> the blob · "identity" -> 16 random bytes
//! objects   name -> [file, length]
//! rows      [file, offset] -> Uint8Array, 128 KiB at most
//! ```
//!
//! A file is a number, given once. An object that is replaced gets another file, so that readers of the old one go on;
//! files that no object has are removed with their last reader, or when the store is loaded. The length of a segment
//! is that of its rows.
//!
//! Everything is written by one transaction at a time, which all who wait share (`queue`).

mod checkpoint;
mod connection;
mod failure;
mod load;
mod queue;
mod read;
mod rows;
mod transaction;
mod write;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use trilith::{Contents, Error, ErrorKind, Object, Result};

pub(crate) use failure::doing;
pub use read::RowReader;
pub use write::{RowWriter, Settle};

use super::table::Table;
use crate::host::{Hold, Slot, SlotWaker, slot};
use connection::Connection;
use failure::Failure;
use queue::{Job, Queue, Request};
use rows::{Cache, File};
use transaction::Mode;

/// The storage in one database. See [`trilith::Storage`]; clones share it.
#[derive(Clone)]
pub struct IndexedDb(Rc<Shared>);

struct Shared {
    name: String,
    open_timeout: Duration,
    connection: Rc<Connection>,
    queue: Rc<Queue>,
    cache: Rc<Cache>,
    releases: Array,
    hold: RefCell<Option<Hold>>,
    loaded: Cell<bool>,
    objects: RefCell<Table<Object, Rc<File>>>,
    next_file: Cell<u64>,
}

/// How a name reads in the database.
fn name_of(object: &Object) -> String {
    match object {
        Object::Table(id) => format!("table/{id}"),
        Object::Segment(id) => format!("segment/{id}"),
        Object::Archive(name) => format!("archive/{name}"),
    }
}

fn object_of(name: &str) -> Option<Object> {
    let (kind, name) = name.split_once('/')?;
    match kind {
        "table" => name.parse().ok().map(Object::Table),
        "segment" => name.parse().ok().map(Object::Segment),
        "archive" => Some(Object::Archive(name.into())),
        _ => None,
    }
}

/// Requests that somebody waits for.
struct Change {
    requests: Vec<Request>,
    mode: Mode,
    done: SlotWaker<Result<(), Failure>>,
}

impl Job for Change {
    fn plan(&self, requests: &mut Vec<Request>) -> Mode {
        requests.extend(self.requests.iter().cloned());
        self.mode
    }

    fn done(&self, result: Result<(), Failure>) {
        self.done.set(result);
    }
}

impl IndexedDb {
    /// The storage in the database `name`, which [`trilith::Storage::load`] makes if need be. Rows that were read are
    /// kept, up to `cache_bytes`.
    /// Functions that let go of it are added to `releases`.
    pub fn new(
        name: impl Into<String>,
        cache_bytes: usize,
        open_timeout: Duration,
        releases: Array,
    ) -> Self {
        let name = name.into();
        let connection = Rc::new(Connection::new(
            name.clone(),
            open_timeout,
            releases.clone(),
        ));
        Self(Rc::new(Shared {
            name,
            open_timeout,
            queue: Rc::new(Queue::new(connection.clone())),
            connection,
            cache: Rc::new(Cache::new(cache_bytes)),
            releases,
            hold: RefCell::default(),
            loaded: Cell::new(false),
            objects: RefCell::default(),
            next_file: Cell::new(1),
        }))
    }

    /// See [`WebStorage::abandon`](super::WebStorage::abandon).
    pub fn abandon(&self) {
        let error = Error::new(ErrorKind::Closed, "using the store", "it was abandoned");
        self.0.connection.give_up(error);
        self.0.hold.take();
    }

    /// Transactions that were committed.
    pub fn committed(&self) -> u64 {
        self.0.queue.committed.get()
    }

    fn change(&self, requests: Vec<Request>, mode: Mode) -> Slot<Result<(), Failure>> {
        let (done, waker) = slot();
        self.0.queue.add(Rc::new(Change {
            requests,
            mode,
            done: waker,
        }));
        done
    }

    fn new_file(&self, object: Object, id: u64, starts: Vec<u64>, len: u64) -> Rc<File> {
        Rc::new(File {
            id,
            object: RefCell::new(object),
            starts: RefCell::new(starts),
            len: Cell::new(len),
            removed: Cell::new(false),
            writer: RefCell::default(),
            cache: self.0.cache.clone(),
            queue: self.0.queue.clone(),
        })
    }

    fn find(&self, object: &Object, doing: &'static str) -> Result<Rc<File>> {
        let found = self.0.objects.borrow().get(object).cloned();
        found.ok_or_else(|| missing(doing, object))
    }

    fn check_loaded(&self) -> Result<()> {
        if self.0.loaded.get() {
            return Ok(());
        }
        let detail = "the storage was not loaded";
        Err(Error::new(
            ErrorKind::Invalid,
            "writing to the store",
            detail,
        ))
    }

    /// Nobody finds this file any more; whoever writes to it stops.
    fn drop_file(&self, file: &Rc<File>) {
        file.removed.set(true);
        self.retire(file);
    }

    fn retire(&self, file: &File) {
        let writer = file.writer.take();
        if let Some(writer) = writer.upgrade() {
            writer.retire();
        }
    }

    fn writer(&self, file: Rc<File>, row_start: u64, tail: Vec<u8>, synced: u64) -> RowWriter {
        let writer = RowWriter::new(file.clone(), self.0.queue.clone(), row_start, tail, synced);
        *file.writer.borrow_mut() = Rc::downgrade(writer.shared());
        writer
    }

    pub(super) async fn load(&self) -> Result<Contents> {
        if self.0.loaded.get() || self.0.hold.borrow().is_some() {
            return Err(Error::new(
                ErrorKind::Locked,
                "loading the store",
                "it is already open",
            ));
        }
        let lock = format!("trilith:{}", self.0.name);
        let hold = Hold::take(&lock, &self.0.releases).await?;
        self.0.connection.open().await?;
        let contents = self.read_contents().await?;
        *self.0.hold.borrow_mut() = Some(hold);
        self.0.loaded.set(true);
        Ok(contents)
    }

    pub(super) async fn commit(&self, meta: Bytes) -> Result<()> {
        self.check_loaded()?;
        let meta = Request::PutMeta(Uint8Array::from(&meta[..]));
        let done = self.change(vec![meta], Mode::Strict).await;
        done.map_err(|failure| failure.into_error("replacing the store's meta blob"))
    }

    pub(super) async fn create(&self, object: Object) -> Result<RowWriter> {
        self.check_loaded()?;
        object.check_name()?;
        let id = self.0.next_file.replace(self.0.next_file.get() + 1);
        let file = self.new_file(object.clone(), id, Vec::new(), 0);
        let request = Request::PutObject {
            name: name_of(&object),
            file: id,
            len: 0,
        };
        let before = self
            .0
            .objects
            .borrow_mut()
            .insert(object.clone(), file.clone());
        if let Some(before) = before {
            self.drop_file(&before);
        }
        let done = self.change(vec![request], Mode::Relaxed).await;
        done.map_err(|failure| {
            self.0.objects.borrow_mut().remove(&object);
            failure.into_error("creating an object").on(object)
        })?;
        Ok(self.writer(file, 0, Vec::new(), 0))
    }

    pub(super) async fn resume(&self, object: Object, cut_at: u64) -> Result<RowWriter> {
        const DOING: &str = "resuming an object";
        self.check_loaded()?;
        let file = self.find(&object, DOING)?;
        self.retire(&file);
        // What was under way is over, one way or the other.
        let _ = self.change(Vec::new(), Mode::Relaxed).await;
        let len = file.len.get();
        if cut_at > len {
            let detail = format!("it has {len} bytes and should have {cut_at}");
            return Err(Error::corrupt(DOING, detail).on(object).at(len));
        }
        let row_start = file.rows_of(cut_at, cut_at).first().copied().unwrap_or(0);
        let reader = RowReader::new(file.clone(), self.0.connection.clone());
        let row_start = match cut_at - row_start {
            kept if kept >= rows::ROW_CLOSED_BYTES as u64 && cut_at == len => cut_at,
            _ => row_start,
        };
        let tail = reader.read(row_start, cut_at).await?;
        if cut_at == len && matches!(object, Object::Segment(_)) {
            // There is nothing to cut, so this needs no room: the log of a store without any is resumed.
            return Ok(self.writer(file, row_start, tail.to_vec(), 0));
        }
        let mut requests = vec![Request::DeleteRows {
            file: file.id,
            from: row_start,
        }];
        if !tail.is_empty() {
            requests.push(Request::PutRow {
                file: file.id,
                start: row_start,
                bytes: Uint8Array::from(&tail[..]),
            });
        }
        requests.push(Request::PutObject {
            name: name_of(&object),
            file: file.id,
            len: cut_at,
        });
        let done = self.change(requests, Mode::Strict).await;
        done.map_err(|failure| failure.into_error(DOING).on(object))?;
        file.cache.forget_from(file.id, row_start);
        file.len.set(cut_at);
        file.cut_rows(row_start, !tail.is_empty());
        Ok(self.writer(file, row_start, tail.to_vec(), cut_at))
    }

    pub(super) fn open(&self, object: &Object) -> Result<RowReader> {
        let file = self.find(object, "opening an object")?;
        Ok(RowReader::new(file, self.0.connection.clone()))
    }

    pub(super) async fn replace(&self, from: Object, to: Object) -> Result<()> {
        const DOING: &str = "replacing an object";
        self.check_loaded()?;
        to.check_name()?;
        let file = self.find(&from, DOING)?;
        let mut requests = vec![Request::PutObject {
            name: name_of(&to),
            file: file.id,
            len: file.len.get(),
        }];
        if from != to {
            requests.push(Request::DeleteObject {
                name: name_of(&from),
            });
        }
        let done = self.change(requests, Mode::Strict).await;
        done.map_err(|failure| failure.into_error(DOING).on(from.clone()))?;
        *file.object.borrow_mut() = to.clone();
        let before = {
            let mut objects = self.0.objects.borrow_mut();
            objects.remove(&from);
            objects.insert(to, file.clone())
        };
        if let Some(before) = before.filter(|before| before.id != file.id) {
            self.drop_file(&before);
        }
        Ok(())
    }

    pub(super) async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        self.check_loaded()?;
        let mut requests = Vec::new();
        let mut removed = Vec::new();
        for object in objects {
            if let Some(file) = self.0.objects.borrow_mut().remove(&object) {
                requests.push(Request::DeleteObject {
                    name: name_of(&object),
                });
                self.drop_file(&file);
                removed.push(file);
            }
        }
        let done = self.change(requests, Mode::Relaxed).await;
        done.map_err(|failure| failure.into_error("removing objects"))
    }

    pub(super) async fn room(&self) -> Result<Option<u64>> {
        Ok(crate::host::room().await)
    }
}

fn missing(doing: &'static str, object: &Object) -> Error {
    Error::new(ErrorKind::Missing, doing, "there is no such object").on(object.clone())
}
