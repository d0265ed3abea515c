//! One process, one storage object: a lock on the file LOCK, which the system lets go with its holder.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use trilith::{Error, ErrorKind, Result};

use super::failure::failure;
use super::names;

const DOING: &str = "locking the store";

/// Takes the lock; it is held until the file is closed.
pub(super) fn take(root: &Path) -> Result<File> {
    let path = root.join(names::LOCK);
    let mut options = File::options();
    let opened = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = opened.map_err(|error| failure(DOING, &error))?;
    match file.try_lock() {
        Ok(()) => {
            // The number is for people only: without it the lock holds just as well.
            let _ = write_pid(&mut file);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(locked(root, read_pid(&mut file))),
        Err(TryLockError::Error(error)) => Err(failure(DOING, &error)),
    }
}

pub(super) fn locked(root: &Path, pid: Option<u32>) -> Error {
    let root = root.display();
    let detail = match pid {
        Some(pid) if pid == std::process::id() => format!("{root} is open in this process already"),
        Some(pid) => format!("{root} is open in process {pid}"),
        None => format!("{root} is open in another process"),
    };
    Error::new(ErrorKind::Locked, DOING, detail)
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Not to be had where a lock also keeps others from reading.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
