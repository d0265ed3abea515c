//! The secret that the nodes of a cluster share. It must never be shown: not by `Debug`, not in a log.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::server::Failure;

/// Shorter ones could be guessed by whoever has listened to a handshake.
const BYTES_LEAST: usize = 16;

/// What the nodes of a cluster know and nobody else: who knows it is one of them. Wiped when the last clone goes.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// The secret of these bytes, without the white space around them.
    ///
    /// # Errors
    ///
    /// It is shorter than 16 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, Failure> {
        let trimmed = bytes.trim_ascii();
        if trimmed.len() < BYTES_LEAST {
            return Err(Failure::new(
                format!(
                    "The cluster's secret has {} bytes; it needs {BYTES_LEAST} at least.",
                    trimmed.len()
                ),
                "Make one with: openssl rand -hex 32",
            ));
        }
        Ok(Self(Arc::new(Zeroizing::new(trimmed.to_vec()))))
    }

    /// The secret in a file, without the white space around it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds less than 16 bytes.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(file).map(Zeroizing::new).map_err(|error| {
            Failure::new(
                format!(
                    "The cluster's secret in {} cannot be read: {error}.",
                    file.display()
                ),
                "Check that the file exists and that this user may read it",
            )
        })?;
        warn_if_open_to_others(file);
        Self::new(&bytes)
    }

    /// A keyed hash, ready to be fed.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        keyed(&self.0)
    }
}

/// HMAC-SHA256 under a key of any length.
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(unix)]
fn warn_if_open_to_others(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(
            file = %file.display(),
            "the cluster's secret can be read by other users of this machine: chmod 600 it"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_file: &Path) {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        let secret = Secret::new(b"a long enough secret").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn white_space_around_a_secret_is_not_part_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "  a long enough secret\r\n").unwrap();
        let read = Secret::read(&file).unwrap();
        assert_eq!(read.0.as_slice(), b"a long enough secret");
    }

    #[test]
    fn a_short_secret_is_refused_and_the_error_says_how_to_make_one() {
        let failure = Secret::new(b"   fifteen bytes!\n").unwrap_err();
        assert!(failure.what.contains("14 bytes"), "{failure}");
        assert!(failure.remedy.contains("openssl rand"));
        assert!(Secret::read(Path::new("there/is/none")).is_err());
    }
}
