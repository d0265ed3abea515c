//! Files that are read again when they have changed, so that credentials can be replaced while the node runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::server::Failure;

/// How often files are looked at, at most: whoever connects must not keep the disk busy.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that was read.
pub(super) struct Content {
    pub(super) file: PathBuf,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// Makes of files' contents what they are for.
type Make<T> = fn(&[Content]) -> Result<T, Failure>;

/// What files hold, or held when they last made sense.
pub(super) struct Kept<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    latest: Mutex<Latest<T>>,
}

struct Latest<T> {
    value: Arc<T>,
    /// Of the contents that were last looked at.
    digest: Option<[u8; 32]>,
    looked: Instant,
}

impl<T> Kept<T> {
    /// Something that is in no file, and stays as it is.
    pub(super) fn fixed(value: T, make: Make<T>) -> Self {
        Self::new(Vec::new(), make, value, None)
    }

    /// What the files hold now.
    pub(super) fn read(files: Vec<PathBuf>, make: Make<T>) -> Result<Self, Failure> {
        let contents = read(&files)?;
        let value = make(&contents)?;
        let digest = digest(&contents);
        Ok(Self::new(files, make, value, Some(digest)))
    }

    fn new(files: Vec<PathBuf>, make: Make<T>, value: T, digest: Option<[u8; 32]>) -> Self {
        Self {
            files,
            make,
            latest: Mutex::new(Latest {
                value: Arc::new(value),
                digest,
                looked: Instant::now(),
            }),
        }
    }

    /// What the files hold, or held: one that cannot be read, or makes no sense, is as if it had not changed.
    pub(super) fn current(&self) -> Arc<T> {
        let mut latest = self.latest.lock();
        if !self.files.is_empty() && latest.looked.elapsed() >= LOOK_EVERY {
            latest.looked = Instant::now();
            self.look(&mut latest);
        }
        Arc::clone(&latest.value)
    }

    fn look(&self, latest: &mut Latest<T>) {
        let contents = read(&self.files);
        let digest = contents.as_deref().ok().map(digest);
        if digest == latest.digest {
            return;
        }
        // What does not change is said once.
        latest.digest = digest;
        match contents.and_then(|contents| (self.make)(&contents)) {
            Ok(value) => {
                latest.value = Arc::new(value);
                tracing::info!(files = ?self.files, "the bus's credentials were read anew");
            }
            Err(Failure { what, remedy }) => {
                tracing::warn!("what the bus had stays in use: {what} {remedy}");
            }
        }
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<Content>, Failure> {
    let contents = files.iter().map(|file| {
        let bytes = std::fs::read(file).map_err(|error| {
            Failure::new(
                format!("{} cannot be read: {error}.", file.display()),
                "Check that the file exists and that this user may read it",
            )
        })?;
        Ok(Content {
            file: file.clone(),
            bytes: Zeroizing::new(bytes),
        })
    });
    contents.collect()
}

fn digest(contents: &[Content]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for content in contents {
        digest.update((content.bytes.len() as u64).to_le_bytes());
        digest.update(content.bytes.as_slice());
    }
    digest.finalize().into()
}

/// Says so if others than the owner may read a file that is nobody else's business.
#[cfg(unix)]
pub(super) fn warn_if_open_to_others(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(
            file = %file.display(),
            "the bus's credentials can be read by other users of this machine: chmod 600 the file"
        );
    }
}

#[cfg(not(unix))]
pub(super) fn warn_if_open_to_others(_file: &std::path::Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(contents: &[Content]) -> Result<u64, Failure> {
        let text = String::from_utf8_lossy(&contents[0].bytes);
        text.trim()
            .parse()
            .map_err(|_| Failure::new("It is no number.", "Write one"))
    }

    impl<T> Kept<T> {
        /// As if nobody had looked for a while.
        pub(in crate::bus) fn forget_look(&self) {
            let before = Instant::now().checked_sub(LOOK_EVERY).unwrap();
            self.latest.lock().looked = before;
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed_and_makes_sense() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        std::fs::write(&file, "1").unwrap();
        let kept = Kept::read(vec![file.clone()], number).unwrap();
        for (written, expected) in [("2", 2), ("none", 2), ("none", 2), ("3", 3)] {
            std::fs::write(&file, written).unwrap();
            kept.forget_look();
            assert_eq!(*kept.current(), expected);
        }
        std::fs::remove_file(&file).unwrap();
        kept.forget_look();
        assert_eq!(*kept.current(), 3);
    }

    #[test]
    fn files_are_not_looked_at_all_the_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        std::fs::write(&file, "1").unwrap();
        let kept = Kept::read(vec![file.clone()], number).unwrap();
        std::fs::write(&file, "2").unwrap();
        let began = kept.latest.lock().looked;
        // Unless the machine has slept in between.
        if began.elapsed() < LOOK_EVERY / 2 {
            assert_eq!(*kept.current(), 1);
        }
    }
}
