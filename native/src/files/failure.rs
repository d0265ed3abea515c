//! From the system's errors to the engine's.

use std::io;

use trilith::{Error, ErrorKind};

/// The engine's error for `error`, met while `doing` something.
pub(crate) fn failure(doing: &'static str, error: &io::Error) -> Error {
    Error::new(kind_of(error), doing, error.to_string())
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        // A file that may not grow any more is as full as a disk.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Full
        }
        io::ErrorKind::NotFound => ErrorKind::Missing,
        io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
        _ => ErrorKind::Failed,
    }
}
