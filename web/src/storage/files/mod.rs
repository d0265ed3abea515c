//! A store in a directory of files, kept by a [`FileHost`]: node:fs, or sync access handles of the origin's own file
//! system in a worker. The files are those of the native storage.

mod append;
mod file;
mod host;
mod names;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use trilith::{Contents, Error, ErrorKind, Object, Result, Storage as _, Writer as _};
use wasm_bindgen::prelude::*;

pub use append::{HostWriter, Settle};
pub use file::HostReader;
pub use host::FileHost;

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
    open: RefCell<BTreeMap<Object, Weak<HostFile>>>,
    writers: RefCell<BTreeMap<Object, Weak<Appended>>>,
    /// Every object, and how long it is.
    lens: RefCell<BTreeMap<Object, Rc<Cell<u64>>>>,
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
            open: RefCell::default(),
            writers: RefCell::default(),
            lens: RefCell::default(),
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

    fn take_over(&self, object: &Object) {
        let writer = self.0.writers.borrow_mut().remove(object);
        if let Some(writer) = writer.and_then(|writer| writer.upgrade()) {
            writer.retire();
        }
    }

    fn new_file(&self, handle: JsValue, object: Object, len: Rc<Cell<u64>>) -> Rc<HostFile> {
        let abandoned = self.0.abandoned.clone();
        let file = HostFile::new(self.0.host.clone(), handle, object.clone(), len, abandoned);
        let file = Rc::new(file);
        let mut open = self.0.open.borrow_mut();
        open.retain(|_, file| file.strong_count() > 0);
        open.insert(object, Rc::downgrade(&file));
        file
    }

    /// The file that is open, or the file opened.
    async fn file(&self, object: &Object, doing: &'static str) -> Result<Rc<HostFile>> {
        let open = self.0.open.borrow().get(object).and_then(Weak::upgrade);
        if let Some(file) = open {
            return Ok(file);
        }
        let Some(len) = self.0.lens.borrow().get(object).cloned() else {
            let detail = "there is no such object";
            return Err(Error::new(ErrorKind::Missing, doing, detail).on(object.clone()));
        };
        let handle = settled(self.0.host.open(&name_of(object))).await;
        let handle = handle.map_err(|thrown| failure(doing, &thrown).on(object.clone()))?;
        // Somebody else may have opened it meanwhile.
        let open = self.0.open.borrow().get(object).and_then(Weak::upgrade);
        if let Some(file) = open {
            let _ = self.0.host.close(&handle);
            return Ok(file);
        }
        Ok(self.new_file(handle, object.clone(), len))
    }

    fn writer(&self, file: Rc<HostFile>, object: Object, len: u64) -> HostWriter {
        let writer = HostWriter::new(file, len);
        let shared = Rc::downgrade(writer.shared());
        self.0.writers.borrow_mut().insert(object, shared);
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
        let mut lens = self.0.lens.borrow_mut();
        *lens = listed(&found)
            .into_iter()
            .filter_map(|(name, len)| Some((object_of(&name)?, Rc::new(Cell::new(len)))))
            .collect();
        Ok(Contents {
            meta: meta.map(|meta| meta.to_vec().into()),
            objects: lens
                .iter()
                .map(|(object, len)| (object.clone(), len.get()))
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
        self.take_over(&object);
        self.0.open.borrow_mut().remove(&object);
        let handle = settled(self.0.host.create(&name_of(&object))).await;
        let handle =
            handle.map_err(|thrown| failure("creating the file", &thrown).on(object.clone()))?;
        let len = Rc::new(Cell::new(0));
        self.0.lens.borrow_mut().insert(object.clone(), len.clone());
        let file = self.new_file(handle, object.clone(), len);
        Ok(self.writer(file, object, 0))
    }

    pub(super) async fn resume(&self, object: Object, cut_at: u64) -> Result<HostWriter> {
        const DOING: &str = "resuming the file";
        self.check_loaded()?;
        let file = self.file(&object, DOING).await?;
        self.take_over(&object);
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
        Ok(self.writer(file, object, cut_at))
    }

    pub(super) async fn open(&self, object: &Object) -> Result<HostReader> {
        let file = self.file(object, "opening the file").await?;
        Ok(HostReader::new(file))
    }

    pub(super) async fn replace(&self, from: Object, to: Object) -> Result<()> {
        self.check_loaded()?;
        to.check_name()?;
        self.take_over(&to);
        let done = settled(self.0.host.rename(&name_of(&from), &name_of(&to))).await;
        done.map_err(|thrown| failure("renaming the file", &thrown).on(from.clone()))?;
        let open = self.0.open.borrow_mut().remove(&from);
        if let Some(file) = open.as_ref().and_then(Weak::upgrade) {
            file.rename(to.clone());
        }
        let mut lens = self.0.lens.borrow_mut();
        if let Some(len) = lens.remove(&from) {
            lens.insert(to.clone(), len);
        }
        self.0.open.borrow_mut().remove(&to);
        if let Some(open) = open {
            self.0.open.borrow_mut().insert(to, open);
        }
        Ok(())
    }

    pub(super) async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        self.check_loaded()?;
        for object in objects {
            self.take_over(&object);
            self.0.open.borrow_mut().remove(&object);
            if self.0.lens.borrow_mut().remove(&object).is_none() {
                continue;
            }
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
