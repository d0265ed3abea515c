//! Any folder as a storage of archive files: without a lock, and without the layout of a node's directory.
//!
//! What is read may belong to a node that runs, to Redis, or to a copy of either. What is written goes to a folder that
//! nobody else knows yet.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use trilith::{
    Contents, Durability, Error, ErrorKind, MaybeSend, Object, Reader, Result, Storage, Writer,
};

use crate::files::failure;
use crate::sys;

/// A folder. See the module.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder `root`, which has to be there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path_of(&self, object: &Object) -> Result<PathBuf> {
        object.check_name()?;
        match object {
            Object::Archive(name) => Ok(self.root.join(&**name)),
            _ => Err(invalid(
                "naming an object",
                "a folder holds files of the archive only",
            )),
        }
    }
}

fn invalid(doing: &'static str, detail: &str) -> Error {
    Error::new(ErrorKind::Invalid, doing, detail)
}

impl Storage for Folder {
    type Writer = FolderWriter;
    type Reader = FolderReader;
    type Place = PathBuf;

    async fn load(&self) -> Result<Contents> {
        Err(invalid("loading", "a folder is no store"))
    }

    async fn commit(&self, _meta: Bytes) -> Result<()> {
        Err(invalid("committing", "a folder is no store"))
    }

    async fn create(&self, object: Object) -> Result<FolderWriter> {
        let path = self.path_of(&object)?;
        let file = File::create(&path);
        let file = file.map_err(|error| failure("creating the file", &error).on(object.clone()))?;
        Ok(FolderWriter {
            file: Arc::new(file),
            object,
            len: 0,
        })
    }

    async fn resume(&self, object: Object, cut_at: u64) -> Result<FolderWriter> {
        let path = self.path_of(&object)?;
        let fail = |error: io::Error| failure("cutting the file", &error).on(object.clone());
        let file = File::options().write(true).open(&path).map_err(fail)?;
        file.set_len(cut_at).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        Ok(FolderWriter {
            file: Arc::new(file),
            object,
            len: cut_at,
        })
    }

    async fn open(&self, object: Object) -> Result<FolderReader> {
        let path = self.path_of(&object)?;
        let fail = |error: io::Error| failure("opening the file", &error).on(object.clone());
        let file = sys::open(&path, false).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        Ok(FolderReader(Arc::new((file, object, len))))
    }

    async fn replace(&self, from: Object, to: Object) -> Result<()> {
        let (old, new) = (self.path_of(&from)?, self.path_of(&to)?);
        let fail = |error: io::Error| failure("renaming the file", &error).on(from.clone());
        fs::rename(&old, &new).map_err(fail)?;
        sys::sync_dir(new.parent().unwrap_or(Path::new("."))).map_err(fail)
    }

    async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        for object in objects {
            match fs::remove_file(self.path_of(&object)?) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failure("removing the file", &error).on(object));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn checkpoint(
        &self,
        _to: PathBuf,
        _objects: Vec<(Object, u64)>,
        _meta: Bytes,
    ) -> Result<()> {
        Err(invalid("making a checkpoint", "a folder is no store"))
    }

    async fn room(&self) -> Result<Option<u64>> {
        sys::room(&self.root).map_err(|error| failure("asking for free space", &error))
    }
}

/// Appends to a file at once.
#[derive(Debug)]
pub struct FolderWriter {
    file: Arc<File>,
    object: Object,
    len: u64,
}

impl Writer for FolderWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        sys::write_all_at(&self.file, bytes, self.len).map_err(|error| {
            failure("writing", &error)
                .on(self.object.clone())
                .at(self.len)
        })?;
        self.len += bytes.len() as u64;
        Ok(self.len)
    }

    fn settle(
        &self,
        _upto: u64,
        to: Durability,
    ) -> impl Future<Output = Result<()>> + MaybeSend + use<> {
        let synced = match to {
            Durability::Written => Ok(()),
            Durability::Synced => self.file.sync_all(),
        };
        let object = self.object.clone();
        std::future::ready(synced.map_err(|error| failure("syncing", &error).on(object)))
    }
}

/// Reads a file.
#[derive(Clone, Debug)]
pub struct FolderReader(Arc<(File, Object, u64)>);

impl FolderReader {
    fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        let (file, object, _) = &*self.0;
        sys::read_exact_at(file, offset, len as usize)
            .map(Bytes::from)
            .map_err(|error| failure("reading", &error).on(object.clone()).at(offset))
    }
}

impl Reader for FolderReader {
    fn len(&self) -> u64 {
        self.0.2
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        Some(self.read(offset, len))
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.read(offset, len)
    }
}
