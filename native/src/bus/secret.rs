//! The secret that the nodes of a cluster share. It must never be shown: not by `Debug`, not in a log.
//!
//! So that it can be replaced while the cluster runs, there may be several: a node proves that it is one by the first,
//! and believes who knows any of them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::kept::{Content, Kept, warn_if_open_to_others};
use crate::server::Failure;

/// Shorter ones could be guessed by whoever has listened to a handshake.
const BYTES_LEAST: usize = 16;

/// More are a mistake, and each costs a hash for whoever connects.
const KEYS_MOST: usize = 4;

/// What the nodes of a cluster know and nobody else: who knows it is one of them. A file that has changed counts for
/// connections that are made from then on.
#[derive(Clone)]
pub struct Secret(Arc<Kept<Vec<Key>>>);

/// One secret. Wiped when the last clone goes.
#[derive(Clone)]
pub(super) struct Key(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// The secrets in this text, one a line, without the white space around them.
    ///
    /// # Errors
    ///
    /// There is none, one is shorter than 16 bytes, or there are more than four.
    pub fn new(text: &[u8]) -> Result<Self, Failure> {
        let kept = Kept::fixed(keys(text)?, of_file);
        Ok(Self(Arc::new(kept)))
    }

    /// The secrets in a file, one a line, without the white space around them.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), or the file cannot be read.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let kept = Kept::read(vec![file.to_owned()], of_file)?;
        warn_if_open_to_others(file);
        Ok(Self(Arc::new(kept)))
    }

    /// All of them, the one that this node uses first.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.0.current().as_ref().clone()
    }

    #[cfg(test)]
    pub(super) fn forget_look(&self) {
        self.0.forget_look();
    }
}

impl Key {
    /// A keyed hash, ready to be fed.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        keyed(&self.0)
    }
}

fn of_file(contents: &[Content]) -> Result<Vec<Key>, Failure> {
    let [content] = contents else {
        unreachable!("one file is read")
    };
    keys(&content.bytes)
}

fn keys(text: &[u8]) -> Result<Vec<Key>, Failure> {
    let lines = text.trim_ascii().split(|byte| *byte == b'\n');
    let keys = lines.map(|line| {
        let line = line.trim_ascii();
        if line.len() >= BYTES_LEAST {
            return Ok(Key(Arc::new(Zeroizing::new(line.to_vec()))));
        }
        Err(Failure::new(
            format!(
                "The cluster's secret has {} bytes; it needs {BYTES_LEAST} at least.",
                line.len()
            ),
            "Make one with: openssl rand -hex 32",
        ))
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if keys.len() <= KEYS_MOST {
        return Ok(keys);
    }
    Err(Failure::new(
        format!(
            "There are {} secrets for the cluster; {KEYS_MOST} are the most.",
            keys.len()
        ),
        "Keep one a line: the one to use, and below it others to accept while they are replaced",
    ))
}

/// HMAC-SHA256 under a key of any length.
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secret: &Secret) -> Vec<String> {
        let keys = secret.keys().into_iter();
        keys.map(|key| String::from_utf8(key.0.to_vec()).unwrap())
            .collect()
    }

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
        assert_eq!(shown(&read), ["a long enough secret"]);
    }

    #[test]
    fn there_may_be_several_one_a_line() {
        let secret = Secret::new(b"the one that is used\r\n  the one that goes\n").unwrap();
        assert_eq!(
            shown(&secret),
            ["the one that is used", "the one that goes"]
        );
        let many = b"a long enough secret\n".repeat(KEYS_MOST + 1);
        assert!(Secret::new(&many).is_err());
        assert!(Secret::new(b"a long enough secret\nshort").is_err());
    }

    #[test]
    fn a_short_secret_is_refused_and_the_error_says_how_to_make_one() {
        let failure = Secret::new(b"   fifteen bytes!\n").unwrap_err();
        assert!(failure.what.contains("14 bytes"), "{failure}");
        assert!(failure.remedy.contains("openssl rand"));
        assert!(Secret::read(Path::new("there/is/none")).is_err());
    }
}
