//! The folder of a backup being made. While it is not complete it has a list of the files that are, so that a backup
//! that was broken off goes on with them; once it is, it has a manifest instead.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::manifest::{Manifest, NAME, RANGES, RangeFile};
use crate::operate::Problem;
use crate::sys;

/// The list's name: a line of JSON for each file that is complete.
const LIST: &str = "manifest.json.draft";
/// The manifest before it has its name.
const NEW: &str = "manifest.json.new";
/// The checksum at the end of an RDB file.
const CHECKSUM_BYTES: u64 = 8;

/// A folder. See the module.
pub struct Target {
    folder: PathBuf,
    list: Mutex<File>,
    /// Files that an earlier attempt has completed.
    earlier: BTreeMap<u32, RangeFile>,
}

impl Target {
    /// Begins a backup in a folder that is empty or not there, or goes on with one that was broken off.
    pub fn open(folder: &Path) -> Result<Self, Problem> {
        let fail = |error: io::Error| cannot_write(folder, &error);
        if folder.join(NAME).exists() {
            return Err(Problem::failed(
                format!("{} is a complete backup already.", folder.display()),
                "Name another folder; beside it, the new backup takes from it what has not changed",
            ));
        }
        let is_begun = folder.join(LIST).exists();
        let is_empty = match fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !is_begun && !is_empty {
            return Err(Problem::failed(
                format!("{} is there already, and not empty.", folder.display()),
                "Name a folder that is not there yet; nothing was changed",
            ));
        }
        fs::create_dir_all(folder.join(RANGES)).map_err(fail)?;
        let path = folder.join(LIST);
        let earlier = match fs::read(&path) {
            Ok(bytes) => read_list(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(fail(error)),
        };
        let list = File::options().create(true).append(true).open(&path);
        let list = list.map_err(fail)?;
        if list.try_lock().is_err() {
            return Err(Problem::failed(
                format!("Another backup is being written to {}.", folder.display()),
                "Wait until it has ended, or name another folder",
            ));
        }
        // It may have been torn within a line.
        let mut begun = &list;
        begun.write_all(b"\n").map_err(fail)?;
        Ok(Self {
            folder: folder.to_owned(),
            list: Mutex::new(list),
            earlier,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file that an earlier attempt has completed.
    pub fn earlier(&self, range: u32) -> Option<&RangeFile> {
        self.earlier.get(&range)
    }

    /// Takes note of a file that is complete and synced.
    pub fn note(&self, file: &RangeFile) -> Result<(), Problem> {
        // A line of its own, whole or not at all to whoever reads it.
        let mut line = serde_json::to_vec(file).unwrap_or_default();
        line.push(b'\n');
        let written = self.list.lock().write_all(&line);
        written.map_err(|error| cannot_write(&self.folder, &error))
    }

    /// Everything is there: removes what is not of it, and gives the folder its manifest.
    pub fn finish(self, manifest: &Manifest) -> Result<(), Problem> {
        self.try_to_finish(manifest)
            .map_err(|error| cannot_write(&self.folder, &error))
    }

    fn try_to_finish(&self, manifest: &Manifest) -> io::Result<()> {
        let ranges = self.folder.join(RANGES);
        for entry in fs::read_dir(&ranges)? {
            let entry = entry?;
            let name = entry.file_name();
            if !manifest.ranges.iter().any(|file| *file.file == *name) {
                fs::remove_file(entry.path())?;
            }
        }
        sys::sync_dir(&ranges)?;
        let new = self.folder.join(NEW);
        let mut file = File::create(&new)?;
        file.write_all(&manifest.encode())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&new, self.folder.join(NAME))?;
        sys::sync_dir(&self.folder)?;
        fs::remove_file(self.folder.join(LIST))?;
        sys::sync_dir(parent_of(&self.folder))
    }
}

/// Whether a folder is a backup's, complete or not.
pub fn is_backup(folder: &Path) -> bool {
    folder.join(NAME).is_file() || folder.join(LIST).is_file()
}

/// The files that a list names, the newest of each range.
fn read_list(bytes: &[u8]) -> BTreeMap<u32, RangeFile> {
    let lines = bytes.split(|&byte| byte == b'\n');
    let files = lines.filter_map(|line| serde_json::from_slice::<RangeFile>(line).ok());
    files.map(|file| (file.range, file)).collect()
}

/// The folder that something lies in.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Whether a file has the length and the checksum at its end that a manifest says. Its content is not read.
pub fn has_ending(path: &Path, file: &RangeFile) -> io::Result<bool> {
    Ok(fs::metadata(path)?.len() == file.bytes && ending(path)? == file.crc64)
}

/// The checksum at the end of an RDB file, in hexadecimal.
pub fn ending(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(CHECKSUM_BYTES)))?;
    let mut bytes = [0; CHECKSUM_BYTES as usize];
    file.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

/// The folder cannot be written to.
pub fn cannot_write(folder: &Path, error: &io::Error) -> Problem {
    Problem::failed(
        format!("{} cannot be written: {error}.", folder.display()),
        "Look at the room that is left, and at who may write there; the same command goes on with what is there",
    )
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Changed;
    use super::*;

    fn file(range: u32) -> RangeFile {
        RangeFile {
            range,
            file: format!("{range}-1.rdb"),
            term: 1,
            index: 1,
            time_ms: 1,
            changed: Changed::default(),
            keys: 0,
            bytes: 0,
            crc64: String::new(),
        }
    }

    fn all() -> Manifest {
        Manifest::new(1, 2, (0..256).map(file).collect())
    }

    #[test]
    fn what_was_broken_off_goes_on_with_the_files_that_are_complete() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("backup");
        let target = Target::open(&folder).unwrap();
        target.note(&file(3)).unwrap();
        target.note(&file(4)).unwrap();
        let refused = Target::open(&folder).err().unwrap();
        assert!(refused.failure.what.contains("Another backup"), "{refused}");
        drop(target);
        // As a crash leaves it, within a line.
        let path = folder.join(LIST);
        let list = fs::read(&path).unwrap();
        fs::write(&path, &list[..list.len() - 5]).unwrap();
        let target = Target::open(&folder).unwrap();
        assert_eq!(target.earlier(3), Some(&file(3)));
        assert_eq!(target.earlier(4), None);
        target.note(&file(4)).unwrap();
        drop(target);
        let target = Target::open(&folder).unwrap();
        assert_eq!(target.earlier(4), Some(&file(4)));

        assert!(!folder.join(NAME).exists());
        let stray = folder.join(RANGES).join("9-9.rdb.draft");
        fs::write(&stray, b"REDIS").unwrap();
        target.finish(&all()).unwrap();
        assert!(!stray.exists() && !path.exists());
        assert_eq!(Manifest::read(&folder).unwrap(), all());
        let refused = Target::open(&folder).err().unwrap();
        assert!(refused.failure.what.contains("complete"), "{refused}");
    }

    #[test]
    fn what_is_no_backup_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("letter.txt"), b"dear").unwrap();
        assert!(Target::open(root.path()).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
