//! A store in a directory of files, kept by a [`FileHost`]: node:fs, or sync access handles of the origin's own file
//! system in a worker. The files are those of the native storage.

mod append;
mod file;
mod host;
mod names;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use trilith::{Contents, Error, ErrorKind, Object, Result, Storage as _, Writer as _};
use wasm_bindgen::prelude::*;

pub use append::{HostWriter, Settle};
pub use file::HostReader;
pub use host::FileHost;

use super::table::Table;
use crate::host::property;
use append::Appended;
use file::HostFile;
use host::{failure, listed, settled};
use names::{name_of, object_of};

/// The storage in one directory. See [`trilith::Storage`]; clones share it.
#[derive(Clone)]
pub struct HostFiles(Rc<Shared>);

struct Shared {
    host: FileHost,
    loaded: Cell<bool>,
    abandoned: Rc<Cell<bool>>,
    objects: RefCell<Table<Object, Rc<Entry>>>,
}

/// An object that is there.
#[derive(Default)]
struct Entry {
    len: Rc<Cell<u64>>,
    /// While somebody has it open.
    file: RefCell<Weak<HostFile>>,
    /// While somebody writes to it.
    writer: RefCell<Weak<Appended>>,
}

impl Entry {
    /// Whoever writes to it stops.
    fn retire(&self) {
        if let Some(writer) = self.writer.take().upgrade() {
            writer.retire();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.loaded.get() && !self.abandoned.get() && !crate::host::is_poisoned() {
            let _ = self.host.release();
        }
    }
}

impl HostFiles {
    /// The storage that `host` keeps. A function that lets go of it is added to `releases`.
    pub fn new(host: FileHost, releases: &Array) -> Self {
        if let Some(release) = property(&host, "release").dyn_ref::<js_sys::Function>() {
            releases.push(&release.bind0(&host));
        }
        Self(Rc::new(Shared {
            host,
            loaded: Cell::new(false),
            abandoned: Rc::default(),
            objects: RefCell::default(),
        }))
    }

    pub(super) fn abandon(&self) {
        if !self.0.abandoned.replace(true) {
            let _ = self.0.host.release();
        }
    }

    fn check_loaded(&self) -> Result<()> {
        let detail = match (self.0.abandoned.get(), self.0.loaded.get()) {
            (true, _) => "it was abandoned",
            (false, false) => "the storage was not loaded",
            (false, true) => return Ok(()),
        };
        Err(Error::new(ErrorKind::Closed, "using the store", detail))
    }

    fn entry(&self, object: &Object) -> Option<Rc<Entry>> {
        self.0.objects.borrow().get(object).cloned()
    }

    fn keep(&self, handle: JsValue, object: Object, entry: &Entry) -> Rc<HostFile> {
        let (host, abandoned) = (self.0.host.clone(), self.0.abandoned.clone());
        let file = Rc::new(HostFile::new(
            host,
            handle,
            object,
            entry.len.clone(),
            abandoned,
        ));
        *entry.file.borrow_mut() = Rc::downgrade(&file);
        file
    }

    /// The file that is open, or the file opened.
    async fn file(
        &self,
        object: &Object,
        doing: &'static str,
    ) -> Result<(Rc<HostFile>, Rc<Entry>)> {
        let Some(entry) = self.entry(object) else {
            let detail = "there is no such object";
            return Err(Error::new(ErrorKind::Missing, doing, detail).on(object.clone()));
        };
        let open = entry.file.borrow().upgrade();
        if let Some(file) = open {
            return Ok((file, entry));
        }
        let handle = settled(self.0.host.open(&name_of(object))).await;
        let handle = handle.map_err(|thrown| failure(doing, &thrown).on(object.clone()))?;
        // Somebody else may have opened it meanwhile.
        let open = entry.file.borrow().upgrade();
        if let Some(file) = open {
            let _ = self.0.host.close(&handle);
            return Ok((file, entry));
        }
        Ok((self.keep(handle, object.clone(), &entry), entry))
    }

    fn writer(&self, file: Rc<HostFile>, entry: &Entry, len: u64) -> HostWriter {
        let writer = HostWriter::new(file, len);
        *entry.writer.borrow_mut() = Rc::downgrade(writer.shared());
        writer
    }

    pub(super) async fn load(&self) -> Result<Contents> {
        const DOING: &str = "opening the store";
        if self.0.loaded.get() {
            return Err(Error::new(ErrorKind::Locked, DOING, "it is already open"));
        }
        let found = settled(self.0.host.load()).await;
        let found = found.map_err(|thrown| failure(DOING, &thrown))?;
        self.0.loaded.set(true);
        let meta = property(&found, "meta").dyn_into::<Uint8Array>().ok();
        let boot = property(&found, "boot").as_string();
        let mut objects = self.0.objects.borrow_mut();
        for (name, len) in listed(&found) {
            if let Some(object) = object_of(&name) {
                let entry = Rc::new(Entry::default());
                entry.len.set(len);
                objects.insert(object, entry);
            }
        }
        Ok(Contents {
            meta: meta.map(|meta| meta.to_vec().into()),
            objects: objects
                .iter()
                .map(|(object, entry)| (object.clone(), entry.len.get()))
                .collect(),
            host_epoch: boot.and_then(|boot| u128::from_str_radix(&boot, 16).ok()),
        })
    }

    pub(super) async fn commit(&self, meta: Bytes) -> Result<()> {
        self.check_loaded()?;
        let done = settled(self.0.host.commit(&Uint8Array::from(&meta[..]))).await;
        done.map(drop)
            .map_err(|thrown| failure("replacing the store's meta blob", &thrown))
    }

    pub(super) async fn create(&self, object: Object) -> Result<HostWriter> {
        self.check_loaded()?;
        object.check_name()?;
        if let Some(before) = self.entry(&object) {
            before.retire();
        }
        let handle = settled(self.0.host.create(&name_of(&object))).await;
        let handle =
            handle.map_err(|thrown| failure("creating the file", &thrown).on(object.clone()))?;
        let entry = Rc::new(Entry::default());
        self.0
            .objects
            .borrow_mut()
            .insert(object.clone(), entry.clone());
        let file = self.keep(handle, object, &entry);
        Ok(self.writer(file, &entry, 0))
    }

    pub(super) async fn resume(&self, object: Object, cut_at: u64) -> Result<HostWriter> {
        const DOING: &str = "resuming the file";
        self.check_loaded()?;
        let (file, entry) = self.file(&object, DOING).await?;
        entry.retire();
        let len = file.written.get();
        if len < cut_at {
            let detail = format!("it has {len} bytes and should have {cut_at}");
            return Err(Error::corrupt(DOING, detail).on(object).at(len));
        }
        let fail = |thrown: JsValue| failure(DOING, &thrown).on(object.clone());
        file.truncate(cut_at).map_err(fail)?;
        // The whole file, not the cut alone: what an earlier process merely wrote counts as synced now.
        file.sync().await.map_err(fail)?;
        settled(self.0.host.sync_name(&file.name()))
            .await
            .map_err(fail)?;
        Ok(self.writer(file, &entry, cut_at))
    }

    pub(super) async fn open(&self, object: &Object) -> Result<HostReader> {
        let (file, _) = self.file(object, "opening the file").await?;
        Ok(HostReader::new(file))
    }

    pub(super) async fn replace(&self, from: Object, to: Object) -> Result<()> {
        self.check_loaded()?;
        to.check_name()?;
        if let Some(before) = self.entry(&to) {
            before.retire();
        }
        let done = settled(self.0.host.rename(&name_of(&from), &name_of(&to))).await;
        done.map_err(|thrown| failure("renaming the file", &thrown).on(from.clone()))?;
        let mut objects = self.0.objects.borrow_mut();
        if let Some(entry) = objects.remove(&from) {
            if let Some(file) = entry.file.borrow().upgrade() {
                file.rename(to.clone());
            }
            objects.insert(to, entry);
        }
        Ok(())
    }

    pub(super) async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        self.check_loaded()?;
        for object in objects {
            let Some(entry) = self.0.objects.borrow_mut().remove(&object) else {
                continue;
            };
            entry.retire();
            match settled(self.0.host.remove(&name_of(&object))).await {
                Err(thrown) if failure("", &thrown).kind() != ErrorKind::Missing => {
                    return Err(failure("removing the file", &thrown).on(object));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) async fn room(&self) -> Result<Option<u64>> {
        let room = settled(self.0.host.room()).await;
        let room = room.map_err(|thrown| failure("asking for free space", &thrown))?;
        Ok(room.as_f64().map(|room| room as u64))
    }

    /// Copies everything to another directory, whose blob is written last.
    pub(super) async fn checkpoint(
        &self,
        to: String,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> Result<()> {
        const DOING: &str = "making a checkpoint";
        const PIECE_BYTES: u64 = 1 << 20;
        let host = self.0.host.beside(&to);
        let copy = Self::new(
            host.map_err(|thrown| failure(DOING, &thrown))?,
            &Array::new(),
        );
        let there = copy.load().await?;
        if there.meta.is_some() {
            let detail = format!("there is a store in {to:?} already");
            return Err(Error::new(ErrorKind::Invalid, DOING, detail));
        }
        copy.remove(
            there
                .objects
                .into_iter()
                .map(|(object, _)| object)
                .collect(),
        )
        .await?;
        for (object, len) in objects {
            let reader = self.open(&object).await?;
            let mut writer = super::WebStorage::Files(copy.clone())
                .create(object.clone())
                .await?;
            let mut at = 0;
            while at < len {
                let piece = (len - at).min(PIECE_BYTES);
                writer.append(&reader.read(at, piece as u32)?)?;
                at += piece;
            }
            writer.settle(len, trilith::Durability::Synced).await?;
        }
        copy.commit(meta).await
    }
}
