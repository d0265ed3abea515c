//! A second store beside the first: tables linked where that can be done, everything else copied.
//!
//! It is built under another name, synced, and renamed last: at its own name there is a complete store
//! or none.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use trilith::{Error, ErrorKind, Object, Result};

use super::directory::{create_folder, folder_of, write_synced};
use super::failure::failure;
use super::names;
use crate::sys;

const DOING: &str = "making a checkpoint";

pub(super) fn make(root: &Path, to: &Path, objects: &[(Object, u64)], meta: &Bytes) -> Result<()> {
    let fail = |error: io::Error| failure(DOING, &error);
    let building = building_path(to)?;
    check_free(to)?;
    if building.symlink_metadata().is_ok() {
        names::remove_unfinished_store(&building).map_err(|error| {
            let detail = format!("{} is in the way: {error}", building.display());
            Error::new(ErrorKind::Invalid, DOING, detail)
        })?;
    }
    let built = build(root, &building, objects, meta);
    if built.is_err() {
        // What is left of it is removed by the next attempt, if not now.
        let _ = names::remove_unfinished_store(&building);
    }
    built?;
    // Refuses a directory that was filled meanwhile.
    names::ignore_missing(fs::remove_dir(to)).map_err(fail)?;
    fs::rename(&building, to).map_err(fail)?;
    sys::sync_dir(folder_of(to)).map_err(fail)
}

fn building_path(to: &Path) -> Result<PathBuf> {
    let Some(name) = to.file_name() else {
        let detail = format!("{} does not name a directory", to.display());
        return Err(Error::new(ErrorKind::Invalid, DOING, detail));
    };
    let mut name = name.to_owned();
    name.push(".new");
    Ok(to.with_file_name(name))
}

/// Only an empty directory may be where the checkpoint goes.
fn check_free(to: &Path) -> Result<()> {
    let is_free = match to.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failure(DOING, &error)),
        Ok(metadata) if !metadata.is_dir() => false,
        Ok(_) => {
            let mut entries = fs::read_dir(to).map_err(|error| failure(DOING, &error))?;
            entries.next().is_none()
        }
    };
    if is_free {
        return Ok(());
    }
    let detail = format!("something is at {} already", to.display());
    Err(Error::new(ErrorKind::Invalid, DOING, detail))
}

fn build(root: &Path, into: &Path, objects: &[(Object, u64)], meta: &Bytes) -> Result<()> {
    let fail = |error: io::Error| failure(DOING, &error);
    create_folder(into).map_err(fail)?;
    let mut folders = vec![into.to_owned()];
    for (object, len) in objects {
        let from = names::path_of(root, object)?;
        let to = names::path_of(into, object)?;
        let folder = folder_of(&to);
        create_folder(folder).map_err(fail)?;
        if !folders.iter().any(|known| known == folder) {
            folders.push(folder.to_owned());
        }
        bring(object, &from, &to, *len).map_err(|error| error.on(object.clone()))?;
    }
    write_synced(&into.join(names::META), meta).map_err(fail)?;
    for folder in folders {
        sys::sync_dir(&folder).map_err(fail)?;
    }
    Ok(())
}

fn bring(object: &Object, from: &Path, to: &Path, len: u64) -> Result<()> {
    let fail = |error: io::Error| failure(DOING, &error);
    // Windows syncs only what is open for writing.
    let source = sys::open(from, cfg!(windows)).map_err(fail)?;
    let there = source.metadata().map_err(fail)?.len();
    if there < len {
        let detail = format!("it has {there} bytes and should have {len}");
        return Err(Error::corrupt(DOING, detail).at(there));
    }
    // Only tables never change again. A file system that refuses links gets a copy.
    let is_final = matches!(object, Object::Table(_)) && there == len;
    if is_final && fs::hard_link(from, to).is_ok() {
        return source.sync_all().map_err(fail);
    }
    copy(source, to, len).map_err(fail)
}

fn copy(source: File, to: &Path, len: u64) -> io::Result<()> {
    let mut target = File::options().write(true).create_new(true).open(to)?;
    let copied = io::copy(&mut source.take(len), &mut target)?;
    if copied != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    target.sync_all()
}
