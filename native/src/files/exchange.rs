//! Another store in the place of the one in a directory, whose files are laid aside and not lost.
//!
//! The new store is made in a folder of the directory, whose name says how far things are:
//!
//! ```text
//! recovery.unfinished/   it is being made: the next attempt begins with removing it
//! recovery.complete/     it is whole: the old files are on their way to the folder that ASIDE in it names
//! recovery.placing/      the old files are there: the new ones are on their way to their places, META last
//! ```
//!
//! So a crash leaves the old files as they were, or is gone on from by who opens the directory next ([`go_on`]), in
//! the direction in which things were going.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trilith::{Error, ErrorKind, Result};

use super::directory::{create_folder, write_synced};
use super::failure::failure;
use super::kill_point::{self, Point};
use super::{lock, names};
use crate::sys;

const UNFINISHED: &str = "recovery.unfinished";
const COMPLETE: &str = "recovery.complete";
const PLACING: &str = "recovery.placing";
/// Names the folder that the old files go to.
const ASIDE: &str = "ASIDE";
/// What is to be said of it all; it goes to that folder too.
const REPORT: &str = "recovery.txt";
/// What lies beside a store that belongs to it.
const BESIDE: [&str; 3] = ["archive", "cluster.json", names::META_NEW];

/// How long the lock is waited for: who held it in this process may be about to let it go.
const LOCKED_FOR: Duration = Duration::from_secs(10);

const DOING: &str = "putting a recovered store in its place";

/// An exchange that has begun. The directory is locked until it ends; what is unfinished then is removed.
#[derive(Debug)]
pub struct Exchange {
    root: PathBuf,
    _lock: File,
}

impl Exchange {
    /// Begins to exchange the store in `root`, which may hold none.
    ///
    /// # Errors
    /// `Locked` while somebody uses the store; those of the system.
    pub fn begin(root: &Path) -> Result<Self> {
        let this = Self {
            root: root.to_owned(),
            _lock: lock_soon(root)?,
        };
        this.go_on()?;
        this.remove_unfinished().map_err(fail)?;
        Ok(this)
    }

    /// Where the new store is to be made.
    pub fn draft(&self) -> PathBuf {
        self.root.join(UNFINISHED)
    }

    /// The new store is complete, closed and synced: it takes its place. The old one's files go to the folder `aside` of the
    /// directory, with `report` in `recovery.txt`.
    ///
    /// # Errors
    /// Those of the system. If the old files have begun to move, opening the directory goes on with that.
    pub fn finish(self, aside: &str, report: &str) -> Result<()> {
        let draft = self.draft();
        let written = write_synced(&draft.join(REPORT), report.as_bytes());
        let written = written.and_then(|()| write_synced(&draft.join(ASIDE), aside.as_bytes()));
        let written = written.and_then(|()| sys::sync_dir(&draft));
        written.map_err(fail)?;
        self.rename(UNFINISHED, COMPLETE).map_err(fail)?;
        self.go_on().map(drop)
    }

    /// Goes on with what a crash has cut short. Tells whether there was anything.
    fn go_on(&self) -> Result<bool> {
        let mut has_begun = false;
        let complete = self.root.join(COMPLETE);
        if complete.is_dir() {
            self.lay_aside(&complete).map_err(fail)?;
            self.rename(COMPLETE, PLACING).map_err(fail)?;
            has_begun = true;
        }
        let placing = self.root.join(PLACING);
        if placing.is_dir() {
            self.place(&placing).map_err(fail)?;
            has_begun = true;
        }
        Ok(has_begun)
    }

    fn lay_aside(&self, complete: &Path) -> io::Result<()> {
        let aside = self.aside(complete)?;
        create_folder(&aside)?;
        for name in names::of_store(&self.root)? {
            move_into(&self.root, &name, &aside)?;
        }
        for name in BESIDE {
            move_into(&self.root, name, &aside)?;
        }
        sys::sync_dir(&aside)?;
        sys::sync_dir(&self.root)
    }

    fn place(&self, placing: &Path) -> io::Result<()> {
        for name in names::of_store(placing)? {
            if name != names::META {
                move_into(placing, &name, &self.root)?;
            }
        }
        sys::sync_dir(&self.root)?;
        move_into(placing, names::META, &self.root)?;
        sys::sync_dir(&self.root)?;
        if placing.join(ASIDE).exists() {
            let aside = self.aside(placing)?;
            move_into(placing, REPORT, &aside)?;
            sys::sync_dir(&aside)?;
        }
        fs::remove_dir_all(placing)?;
        sys::sync_dir(&self.root)
    }

    fn aside(&self, folder: &Path) -> io::Result<PathBuf> {
        Ok(self.root.join(fs::read_to_string(folder.join(ASIDE))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))?;
        kill_point::reach(Point::Exchange);
        sys::sync_dir(&self.root)
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        names::ignore_missing(fs::remove_dir_all(self.draft()))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // The next attempt begins with it.
        let _ = self.remove_unfinished();
    }
}

/// Goes on with an exchange that a crash has cut short when the new store was complete. Tells whether there was one.
///
/// # Errors
/// As [`Exchange::begin`].
pub fn go_on(root: &Path) -> Result<bool> {
    let has_begun = [COMPLETE, PLACING]
        .iter()
        .any(|name| root.join(name).is_dir());
    if !has_begun {
        return Ok(false);
    }
    let exchange = Exchange {
        root: root.to_owned(),
        _lock: lock_soon(root)?,
    };
    exchange.go_on()
}

fn lock_soon(root: &Path) -> Result<File> {
    let begun = Instant::now();
    loop {
        match lock::take(root) {
            Err(error) if error.kind() == ErrorKind::Locked && begun.elapsed() < LOCKED_FOR => {
                std::thread::sleep(Duration::from_millis(20));
            }
            taken => return taken,
        }
    }
}

/// Moves what has this name, if it is there.
fn move_into(from: &Path, name: &str, to: &Path) -> io::Result<()> {
    names::ignore_missing(fs::rename(from.join(name), to.join(name)))?;
    kill_point::reach(Point::Exchange);
    Ok(())
}

fn fail(error: io::Error) -> Error {
    failure(DOING, &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        create_folder(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|_| "nothing".into())
    }

    fn old(root: &Path) {
        for name in [
            "META",
            "000001.table",
            "archive/dump.rdb",
            "cluster.json",
            "notes",
        ] {
            write(&root.join(name), "old");
        }
    }

    fn new(folder: &Path) {
        for name in ["META", "000001.table", "000002.segment", "LOCK"] {
            write(&folder.join(name), "new");
        }
    }

    fn assert_exchanged(root: &Path) {
        for name in ["META", "000001.table", "000002.segment"] {
            assert_eq!(read(&root.join(name)), "new", "{name}");
        }
        for name in ["META", "000001.table", "archive/dump.rdb", "cluster.json"] {
            assert_eq!(read(&root.join("aside").join(name)), "old", "{name}");
        }
        assert_eq!(read(&root.join("aside").join(REPORT)), "report");
        assert_eq!(read(&root.join("notes")), "old", "somebody else's");
        for name in [UNFINISHED, COMPLETE, PLACING, "archive", "cluster.json"] {
            assert!(!root.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn the_new_store_takes_its_place_and_the_old_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        old(root);
        let exchange = Exchange::begin(root).unwrap();
        new(&exchange.draft());
        exchange.finish("aside", "report").unwrap();
        assert_exchanged(root);
        assert!(!go_on(root).unwrap());
    }

    #[test]
    fn what_is_not_finished_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        old(root);
        let exchange = Exchange::begin(root).unwrap();
        new(&exchange.draft());
        // As a crash leaves it.
        std::mem::forget(exchange);
        assert!(!go_on(root).unwrap());
        assert_eq!(read(&root.join("META")), "old");
    }

    #[test]
    fn what_was_cut_short_anywhere_is_gone_on_with() {
        // The store, what lies beside it, and the folder's names.
        for moved in 0..4 {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            old(root);
            let complete = root.join(COMPLETE);
            new(&complete);
            write(&complete.join(ASIDE), "aside");
            write(&complete.join(REPORT), "report");
            create_folder(&root.join("aside")).unwrap();
            for name in ["META", "archive", "cluster.json"].iter().take(moved) {
                move_into(root, name, &root.join("aside")).unwrap();
            }
            assert!(go_on(root).unwrap());
            assert_exchanged(root);
        }
        for moved in 0..4 {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            old(&root.join("aside"));
            fs::rename(root.join("aside/notes"), root.join("notes")).unwrap();
            let placing = root.join(PLACING);
            new(&placing);
            write(&placing.join(ASIDE), "aside");
            write(&placing.join(REPORT), "report");
            for name in ["000001.table", "000002.segment", "META"]
                .iter()
                .take(moved)
            {
                move_into(&placing, name, root).unwrap();
            }
            assert!(go_on(root).unwrap());
            assert_exchanged(root);
        }
    }
}
