//! The backup before: what has not changed since is taken from it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::manifest::{Changed, Manifest, NAME, RANGES, RangeFile};
use super::target::{has_ending, parent_of};
use crate::sys;

/// A complete backup.
pub struct Previous {
    /// Its folder.
    pub folder: PathBuf,
    manifest: Manifest,
}

/// How a file came from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the same file.
    Linked,
    /// It is a copy.
    Copied,
}

impl Previous {
    /// The backup in this folder.
    pub fn of(folder: &Path) -> Result<Self, crate::operate::Problem> {
        Ok(Self {
            folder: folder.to_owned(),
            manifest: Manifest::read(folder)?,
        })
    }

    /// The newest of those that lie beside `folder`, if there is one.
    pub fn beside(folder: &Path) -> Option<Self> {
        let beside = fs::read_dir(parent_of(folder)).ok()?.flatten();
        let folders = beside.map(|entry| entry.path());
        let backups = folders
            .filter(|path| path.join(NAME).is_file())
            .filter_map(|path| Self::of(&path).ok());
        backups.max_by_key(|backup| backup.manifest.begun_ms)
    }

    /// The file of a range, if nothing has changed since, and if it is there as the manifest says.
    pub fn unchanged(&self, range: u32, changed: Changed) -> Option<&RangeFile> {
        let file = self.manifest.file(range)?;
        let is_same = file.changed == changed;
        let is_there = || has_ending(&file.path(&self.folder), file).unwrap_or(false);
        (is_same && is_there()).then_some(file)
    }

    /// Has a file in another backup too.
    pub fn take(&self, file: &RangeFile, folder: &Path) -> io::Result<Taken> {
        let (from, to) = (file.path(&self.folder), file.path(folder));
        match fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if fs::hard_link(&from, &to).is_ok() {
            return Ok(Taken::Linked);
        }
        let draft = folder.join(RANGES).join(format!("{}.draft", file.file));
        fs::copy(&from, &draft)?;
        fs::File::open(&draft)?.sync_all()?;
        fs::rename(&draft, &to)?;
        sys::sync_dir(parent_of(&to))?;
        Ok(Taken::Copied)
    }
}
