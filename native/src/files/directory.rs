//! The directory: which files there are, who writes to them, and the blob.
//!
//! Everything here may wait for the disk. A new name is synced before anything that depends on it is
//! promised; a removed one is not, for a crash may bring it back.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use trilith::{Contents, Error, ErrorKind, Object, Result};

use super::append::{AppendFile, FileWriter, Start};
use super::failure::failure;
use super::kill_point::{self, Point};
use super::read::FileReader;
use super::{lock, names};
use crate::sys;
use crate::workers::Queue;

pub(super) struct Directory {
    root: PathBuf,
    lock: Mutex<Option<File>>,
    /// Taken for each replacement of the blob: two at once would share one temporary file.
    commits: Mutex<()>,
    writers: Mutex<Writers>,
}

/// Who writes to which object at present: an object has one writer.
#[derive(Default)]
pub(super) struct Writers {
    by_object: HashMap<Object, (u64, Weak<AppendFile>)>,
    last_id: u64,
}

impl Directory {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            lock: Mutex::default(),
            commits: Mutex::default(),
            writers: Mutex::default(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn load(&self) -> Result<Contents> {
        let mut held = self.lock.lock();
        if held.is_some() {
            return Err(lock::locked(&self.root, Some(std::process::id())));
        }
        let fail = |error: io::Error| failure("opening the store", &error);
        create_folder(&self.root).map_err(fail)?;
        let file = lock::take(&self.root)?;
        names::remove_unfinished(&self.root).map_err(fail)?;
        let meta = match fs::read(self.root.join(names::META)) {
            Ok(meta) => Some(Bytes::from(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail(error)),
        };
        let objects = names::list(&self.root).map_err(fail)?;
        *held = Some(file);
        Ok(Contents {
            meta,
            objects,
            host_epoch: sys::boot_id(),
        })
    }

    /// Nothing may be changed without the lock.
    fn check_held(&self) -> Result<()> {
        if self.lock.lock().is_some() {
            return Ok(());
        }
        let detail = "the storage was not loaded";
        Err(Error::new(
            ErrorKind::Invalid,
            "writing to the store",
            detail,
        ))
    }

    pub(super) fn commit(&self, meta: &[u8]) -> Result<()> {
        self.check_held()?;
        let _alone = self.commits.lock();
        let doing = "replacing the store's META";
        let new = self.root.join(names::META_NEW);
        if let Err(error) = write_synced(&new, meta) {
            // The old blob is in place; of the new one nothing should stay.
            let _ = fs::remove_file(&new);
            return Err(failure(doing, &error));
        }
        kill_point::reach(Point::Prepare);
        fs::rename(&new, self.root.join(names::META)).map_err(|error| failure(doing, &error))?;
        kill_point::reach(Point::Commit);
        // From here on either blob may be found after a crash.
        sys::sync_dir(&self.root)
            .map_err(|error| failure(doing, &error).into_kind(ErrorKind::Unknown))
    }

    pub(super) fn create(
        self: &Arc<Self>,
        object: Object,
        syncs: Arc<Queue>,
    ) -> Result<FileWriter> {
        self.check_held()?;
        let path = names::path_of(&self.root, &object)?;
        let fail = |error: io::Error| failure("creating the file", &error).on(object.clone());
        self.take_over(&object);
        if matches!(object, Object::Archive(_)) {
            create_folder(folder_of(&path)).map_err(fail)?;
        }
        // Not truncated but removed: those who read the old file, or a checkpoint linked to it, keep it.
        names::ignore_missing(fs::remove_file(&path)).map_err(fail)?;
        let mut options = File::options();
        let opened = options.read(true).write(true).create_new(true).open(&path);
        let file = opened.map_err(fail)?;
        if matches!(object, Object::Segment(_)) {
            kill_point::reach(Point::Rotation);
        }
        Ok(self.writer(file, object, &path, 0, syncs))
    }

    pub(super) fn resume(
        self: &Arc<Self>,
        object: Object,
        cut_at: u64,
        syncs: Arc<Queue>,
    ) -> Result<FileWriter> {
        self.check_held()?;
        let path = names::path_of(&self.root, &object)?;
        let fail = |error: io::Error| failure("resuming the file", &error).on(object.clone());
        let file = sys::open(&path, true).map_err(fail)?;
        self.take_over(&object);
        let len = file.metadata().map_err(fail)?.len();
        if len < cut_at {
            let detail = format!("it has {len} bytes and should have {cut_at}");
            return Err(Error::corrupt("resuming the file", detail)
                .on(object)
                .at(len));
        }
        file.set_len(cut_at).map_err(fail)?;
        // The whole file, not the cut alone: what an earlier process merely wrote counts as synced now.
        file.sync_all().map_err(fail)?;
        sys::sync_dir(folder_of(&path)).map_err(fail)?;
        Ok(self.writer(file, object, &path, cut_at, syncs))
    }

    fn writer(
        self: &Arc<Self>,
        file: File,
        object: Object,
        path: &Path,
        len: u64,
        syncs: Arc<Queue>,
    ) -> FileWriter {
        let id = {
            let mut writers = self.writers.lock();
            writers.last_id += 1;
            writers.last_id
        };
        let start = Start {
            id,
            file,
            object: object.clone(),
            folder: folder_of(path).to_owned(),
            len,
        };
        let file = Arc::new(AppendFile::new(start, self.clone(), syncs));
        let entry = (id, Arc::downgrade(&file));
        self.writers.lock().by_object.insert(object, entry);
        FileWriter::new(file)
    }

    /// Sees that nobody writes to, or trims, the object's file any more.
    fn take_over(&self, object: &Object) {
        let before = self.writers.lock().by_object.remove(object);
        // Upgraded outside the lock: dropping the last reference takes it.
        if let Some(file) = before.and_then(|(_, file)| file.upgrade()) {
            file.retire();
        }
    }

    /// Runs `trim` if the file with this id still is its object's file. It cannot be taken over meanwhile.
    pub(super) fn writer_gone(&self, object: &Object, id: u64, trim: impl FnOnce()) {
        let mut writers = self.writers.lock();
        if writers
            .by_object
            .get(object)
            .is_some_and(|(now, _)| *now == id)
        {
            trim();
            writers.by_object.remove(object);
        }
    }

    pub(super) fn open(&self, object: Object, reads: Arc<Queue>) -> Result<FileReader> {
        let path = names::path_of(&self.root, &object)?;
        let fail = |error: io::Error| failure("opening the file", &error).on(object.clone());
        // What a writer has set aside ahead of itself is not yet part of the object.
        let live = self
            .writers
            .lock()
            .by_object
            .get(&object)
            .map(|(_, file)| file.clone());
        let written = live
            .and_then(|file| file.upgrade())
            .map(|file| file.written());
        let file = sys::open(&path, false).map_err(fail)?;
        let len = match written {
            Some(written) => written,
            None => file.metadata().map_err(fail)?.len(),
        };
        Ok(FileReader::new(file, object, len, reads))
    }

    pub(super) fn replace(&self, from: Object, to: Object) -> Result<()> {
        self.check_held()?;
        let old = names::path_of(&self.root, &from)?;
        let new = names::path_of(&self.root, &to)?;
        let fail = |error: io::Error| failure("renaming the file", &error).on(from.clone());
        self.take_over(&to);
        // Whoever writes to `from` goes on, in the same file under its new name.
        self.writers.lock().by_object.remove(&from);
        if matches!(to, Object::Archive(_)) {
            create_folder(folder_of(&new)).map_err(fail)?;
        }
        fs::rename(&old, &new).map_err(fail)?;
        sys::sync_dir(folder_of(&new)).map_err(fail)?;
        if folder_of(&old) != folder_of(&new) {
            sys::sync_dir(folder_of(&old)).map_err(fail)?;
        }
        Ok(())
    }

    pub(super) fn remove(&self, objects: Vec<Object>) -> Result<()> {
        self.check_held()?;
        for object in objects {
            let path = names::path_of(&self.root, &object)?;
            self.take_over(&object);
            names::ignore_missing(fs::remove_file(path))
                .map_err(|error| failure("removing the file", &error).on(object))?;
        }
        Ok(())
    }
}

/// The folder that holds the name; a path without one is in the current directory.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Creates the folder and those above it that are missing, each under a synced name.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    create_folder(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sys::sync_dir(above)
}

/// Writes a small file whole and syncs it, but not its name.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = File::create(path)?;
    sys::write_all_at(&file, bytes, 0)?;
    file.sync_data()
}
