//! Which file holds which object.
//!
//! ```text
//! LOCK               held while the store is open
//! META               the blob, replaced by renaming META.new
//! 000012.table       a table
//! 000013.segment     a segment of the log
//! archive/NAME       a file of the archive; NAME may have folders
//! ```
//!
//! While a store is exchanged for a recovered one there are folders besides: see `exchange`.
//!
//! A name that reads as none of these belongs to somebody else and is left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use trilith::{Object, Result};

pub(super) const LOCK: &str = "LOCK";
pub(super) const META: &str = "META";
pub(super) const META_NEW: &str = "META.new";
const ARCHIVE: &str = "archive";
/// What a file is called while it is being written by this storage itself.
const UNFINISHED: &str = ".new";

/// The file that holds `object`.
pub(super) fn path_of(root: &Path, object: &Object) -> Result<PathBuf> {
    object.check_name()?;
    Ok(match object {
        Object::Table(id) => root.join(format!("{id:06}.table")),
        Object::Segment(id) => root.join(format!("{id:06}.segment")),
        Object::Archive(name) => root.join(ARCHIVE).join(&**name),
    })
}

fn object_of(name: &str) -> Option<Object> {
    let (stem, extension) = name.split_once('.')?;
    let id = stem.parse().ok()?;
    // One object has one name: `+00012` and `12` are somebody else's.
    if format!("{id:06}") != stem {
        return None;
    }
    match extension {
        "table" => Some(Object::Table(id)),
        "segment" => Some(Object::Segment(id)),
        _ => None,
    }
}

/// The names of a store's own files in `root`: META, tables and segments.
pub(super) fn of_store(root: &Path) -> io::Result<Vec<String>> {
    let names = entries(root)?.into_iter().map(|(name, _)| name);
    Ok(names
        .filter(|name| name == META || object_of(name).is_some())
        .collect())
}

/// The objects under `root` and their lengths, in order of name.
pub(super) fn list(root: &Path) -> io::Result<Vec<(Object, u64)>> {
    let mut objects = Vec::new();
    for (name, entry) in entries(root)? {
        let metadata = entry.metadata()?;
        if let Some(object) = object_of(&name)
            && metadata.is_file()
        {
            objects.push((object, metadata.len()));
        }
    }
    list_archive(
        &root.join(ARCHIVE),
        "",
        Object::ARCHIVE_DEPTH_MAX,
        &mut objects,
    )?;
    objects.sort();
    Ok(objects)
}

fn list_archive(
    folder: &Path,
    prefix: &str,
    depth_left: usize,
    objects: &mut Vec<(Object, u64)>,
) -> io::Result<()> {
    if depth_left == 0 {
        return Ok(());
    }
    for (name, entry) in entries(folder)? {
        let metadata = entry.metadata()?;
        let name = format!("{prefix}{name}");
        if metadata.is_dir() {
            list_archive(&entry.path(), &format!("{name}/"), depth_left - 1, objects)?;
            continue;
        }
        let object = Object::Archive(name.into());
        if metadata.is_file() && object.check_name().is_ok() {
            objects.push((object, metadata.len()));
        }
    }
    Ok(())
}

/// Removes what a crash left half written: the blob that was about to replace the old one.
pub(super) fn remove_unfinished(root: &Path) -> io::Result<()> {
    for (name, entry) in entries(root)? {
        let is_ours = name == META_NEW
            || name
                .strip_suffix(UNFINISHED)
                .is_some_and(|name| object_of(name).is_some());
        if is_ours && entry.metadata()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes a store that was being built when its process died, and nothing else: fails where anything
/// but our own files is in the way.
pub(super) fn remove_unfinished_store(root: &Path) -> io::Result<()> {
    remove_unfinished(root)?;
    for (object, _) in list(root)? {
        if let Ok(path) = path_of(root, &object) {
            fs::remove_file(path)?;
        }
    }
    for name in [META, LOCK] {
        ignore_missing(fs::remove_file(root.join(name)))?;
    }
    remove_empty_folders(&root.join(ARCHIVE))?;
    ignore_missing(fs::remove_dir(root))
}

fn remove_empty_folders(folder: &Path) -> io::Result<()> {
    for (_, entry) in entries(folder)? {
        if entry.file_type()?.is_dir() {
            remove_empty_folders(&entry.path())?;
        }
    }
    ignore_missing(fs::remove_dir(folder))
}

/// Directory entries whose names are text; a directory that is not there has none.
fn entries(folder: &Path) -> io::Result<Vec<(String, fs::DirEntry)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut named = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            named.push((name, entry));
        }
    }
    Ok(named)
}

pub(super) fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use trilith::ErrorKind;

    use super::*;

    #[test]
    fn names_read_back_as_the_objects_they_name() {
        for object in [
            Object::Table(0),
            Object::Table(12),
            Object::Segment(u64::MAX),
            Object::Segment(1_234_567),
        ] {
            let path = path_of(Path::new("store"), &object).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(object_of(name), Some(object));
        }
    }

    #[test]
    fn what_is_not_exactly_our_name_is_not_ours() {
        for name in [
            "12.table",
            "0000012.table",
            "+00012.table",
            "000012.tables",
            "000012",
            "META",
        ] {
            assert_eq!(object_of(name), None, "{name}");
        }
    }

    #[test]
    fn an_archive_name_cannot_leave_the_archive() {
        for name in [
            "",
            "..",
            "a/../b",
            "/etc",
            "a//b",
            "a\\b",
            "c:",
            "a.new",
            "a/b/c/d/e",
        ] {
            let path = path_of(Path::new("store"), &Object::Archive(name.into()));
            assert_eq!(path.unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
        }
        let nested = Object::Archive("appendonlydir/appendonly.aof.manifest".into());
        assert!(path_of(Path::new("store"), &nested).is_ok());
    }
}
