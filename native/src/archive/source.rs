//! Finding the files of the archive in what somebody names.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use trilith::Object;

use super::backup::is_backup;
use super::folder::Folder;
use crate::operate::Problem;

/// Where files of the archive are looked for in a directory: as in a node's, as in Redis's, and in itself.
const FOLDERS: [&str; 4] = ["", "appendonlydir", "archive", "archive/appendonlydir"];
const MANIFEST: &str = ".manifest";

/// Files of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Append-only files, by their manifest.
    Log(PathBuf),
    /// A snapshot.
    Rdb(PathBuf),
    /// One file of commands.
    Aof(PathBuf),
    /// A backup of a cluster, by its folder.
    Backup(PathBuf),
}

impl Source {
    /// The file that it is known by, or the folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Log(path) | Self::Rdb(path) | Self::Aof(path) | Self::Backup(path) => path,
        }
    }

    /// Its folder, and the file in it.
    pub fn open(&self) -> Result<(Folder, Object), Problem> {
        let path = self.path();
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| unreadable(path, "its name is no text"))?;
        Ok((Folder::new(folder), Object::Archive(name.into())))
    }

    /// What is restored from in a directory, or the file that is named: append-only files rather than a snapshot, as
    /// they know more.
    pub fn find(path: &Path) -> Result<Self, Problem> {
        let mut found = Self::all(path)?;
        if found.is_empty() {
            return Err(Problem::failed(
                format!("{} holds no archive.", path.display()),
                "Name a node's directory, a backup, a folder with a .manifest of append-only files, an .rdb file or an .aof file",
            ));
        }
        Ok(found.remove(0))
    }

    /// Everything that is to be found, the best first.
    pub fn all(path: &Path) -> Result<Vec<Self>, Problem> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error.to_string()))?;
        if metadata.is_file() {
            return Self::of_file(path).map(|source| vec![source]);
        }
        if is_backup(path) {
            return Ok(vec![Self::Backup(path.to_owned())]);
        }
        let (mut logs, mut files) = (Vec::new(), Vec::new());
        for folder in FOLDERS {
            for path in entries(&path.join(folder)) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.ends_with(MANIFEST) {
                    logs.push(Self::Log(path));
                } else if name.ends_with(".rdb") && !name.contains(".base.") {
                    files.push(Self::Rdb(path));
                } else if name == "appendonly.aof" {
                    files.push(Self::Aof(path));
                }
            }
        }
        logs.append(&mut files);
        Ok(logs)
    }

    fn of_file(path: &Path) -> Result<Self, Problem> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(MANIFEST) {
            return Ok(Self::Log(path.to_owned()));
        }
        let mut begin = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(5).read_to_end(&mut begin));
        read.map_err(|error| unreadable(path, &error.to_string()))?;
        let is_rdb = begin == b"REDIS" && !name.ends_with(".aof");
        let is_aof = name.ends_with(".aof") || matches!(begin.first(), Some(b'*' | b'#'));
        match (is_rdb, is_aof) {
            (true, _) => Ok(Self::Rdb(path.to_owned())),
            (_, true) => Ok(Self::Aof(path.to_owned())),
            _ => Err(Problem::failed(
                format!(
                    "{} is neither an RDB file nor an append-only file.",
                    path.display()
                ),
                "Name an .rdb file, an .aof file or a .manifest, or their folder",
            )),
        }
    }
}

/// The files of a folder, in order of name; none if it is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn unreadable(path: &Path, why: &str) -> Problem {
    Problem::failed(
        format!("{} cannot be read: {why}.", path.display()),
        "Look at the path, and at who may read it",
    )
}
