//! A node's directory: made beside its place and moved there when it is complete, or opened to be read from.

use std::fs;
use std::path::{Path, PathBuf};

use trilith::Options;
use trilith::ring::Quorum;
use trilith::ring::driver::{DriverOptions, Start};

pub use super::alone::Node;
use super::alone::{self, to_be_loaded};
use crate::operate::Problem;
use crate::server::Failure;

/// What a node that is restored tells others until it is served: serving it tells its real address.
const ADDRESS: &str = "127.0.0.1:6379";

/// Opens a directory as a node that is alone, or makes one there.
pub async fn open(path: &Path, memory: u64) -> Result<Node, Problem> {
    let store = to_be_loaded(Options {
        memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
        segment_bytes: (memory / 8).clamp(1 << 20, 64 << 20),
        ..Options::default()
    });
    let of_open = |error: trilith::Error| Problem::of(Failure::of_open(&error, path));
    let quorum = Quorum::new(3, 2, 2).map_err(of_open)?;
    let options = DriverOptions {
        store,
        shards: std::thread::available_parallelism().map_or(1, |count| count.get()),
        ..DriverOptions::new(ADDRESS, Start::Found { quorum })
    };
    alone::open(path, options).await.map_err(of_open)
}

/// A directory being made.
pub struct Draft {
    to: PathBuf,
    at: PathBuf,
    is_done: bool,
}

impl Draft {
    /// Begins to make the directory `to`, which must be empty or not be there.
    pub fn of(to: &Path) -> Result<Self, Problem> {
        let is_free = match fs::read_dir(to) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(Problem::failed(
                format!(
                    "{} is there already, and not an empty directory.",
                    to.display()
                ),
                "Name a directory that is not there yet; nothing was changed",
            ));
        }
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let at = to.with_file_name(format!("{name}.unfinished"));
        if at.exists() {
            return Err(Problem::failed(
                format!(
                    "{} is there: what was begun before was not finished.",
                    at.display()
                ),
                format!(
                    "If nothing is writing to it, remove it and try again: rm -r {}",
                    at.display()
                ),
            ));
        }
        fs::create_dir_all(&at).map_err(|error| cannot_make(&at, &error))?;
        Ok(Self {
            to: to.to_owned(),
            at,
            is_done: false,
        })
    }

    /// Where it is made.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// It is complete: moves it to its place.
    pub fn finish(mut self) -> Result<(), Problem> {
        if self.to.exists() {
            fs::remove_dir(&self.to).map_err(|error| cannot_make(&self.to, &error))?;
        }
        fs::rename(&self.at, &self.to).map_err(|error| cannot_make(&self.to, &error))?;
        self.is_done = true;
        let parent = match self.to.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        crate::sys::sync_dir(parent).map_err(|error| cannot_make(&self.to, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_done {
            // Nobody is told: why it was not finished is told already.
            let _ = fs::remove_dir_all(&self.at);
        }
    }
}

fn cannot_make(path: &Path, error: &std::io::Error) -> Problem {
    Problem::failed(
        format!("{} cannot be made: {error}.", path.display()),
        "Look at the path, at who may write there, and at the room that is left",
    )
}
