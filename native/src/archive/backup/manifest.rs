//! What a backup says of itself: `manifest.json`, written last.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trilith::slot::ARCS;

use crate::operate::Problem;

/// The manifest's name in a backup's folder.
pub const NAME: &str = "manifest.json";
/// The folder in a backup's with a file for each range.
pub const RANGES: &str = "ranges";

/// The newest form of manifests that is known here.
const FORMAT: u32 = 1;

/// A backup that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the manifest.
    pub format: u32,
    /// The version of the program that wrote it.
    pub trilith: String,
    /// When the backup was begun, in milliseconds since 1970: everything that was acknowledged before is in it.
    pub begun_ms: u64,
    /// When it was complete.
    pub ended_ms: u64,
    /// The newest map that was known when it was begun.
    pub map_version: u64,
    /// Copies of each range.
    pub n: u8,
    /// Copies that store a write before it is acknowledged.
    pub w: u8,
    /// Copies that a read hears.
    pub r: u8,
    /// The files, each range once, in order.
    pub ranges: Vec<RangeFile>,
}

/// One range's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeFile {
    /// The range.
    pub range: u32,
    /// The file, in [`RANGES`].
    pub file: String,
    /// The last entry whose effect is in it: its term.
    pub term: u64,
    /// And its index.
    pub index: u64,
    /// And its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The last entry that changed the keys, or one behind it: by this the next backup sees whether anything has changed.
    pub changed: Changed,
    /// Keys in the file.
    pub keys: u64,
    /// The file's length.
    pub bytes: u64,
    /// The checksum at the file's end, in hexadecimal.
    pub crc64: String,
}

/// An entry of a range's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// Its time, which tells the entries of two clusters apart.
    pub time_ms: u64,
}

impl Manifest {
    /// Of a backup of these ranges, which is complete now.
    pub fn new(begun_ms: u64, ended_ms: u64, mut ranges: Vec<RangeFile>) -> Self {
        ranges.sort_by_key(|file| file.range);
        Self {
            format: FORMAT,
            trilith: env!("CARGO_PKG_VERSION").to_owned(),
            begun_ms,
            ended_ms,
            map_version: 0,
            n: 0,
            w: 0,
            r: 0,
            ranges,
        }
    }

    /// Reads the manifest of the backup in `folder`.
    ///
    /// # Errors
    /// There is none, or it makes no sense.
    pub fn read(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(NAME);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::failed(
                format!("{} is no complete backup: it has no {NAME}.", folder.display()),
                format!(
                    "If it was broken off, `trilith backup --to {}` with the same node goes on with it; else name another one",
                    folder.display()
                ),
            ),
            _ => unreadable(&path, &error.to_string()),
        })?;
        Self::decode(&bytes).map_err(|why| unreadable(&path, &why))
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let Form { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!(
                "its form is {format}, and this program knows {FORMAT}: use the version that wrote it"
            ));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether it names every range once, and no file that lies elsewhere.
    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for file in &self.ranges {
            if file.range >= u32::from(ARCS) {
                return Err(format!("there is no range {}", file.range));
            }
            if !seen.insert(file.range) {
                return Err(format!("it has range {} twice", file.range));
            }
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
            if file.file.starts_with('.') || !file.file.bytes().all(is_plain) {
                return Err(format!("{:?} is no name of a range's file", file.file));
            }
        }
        match (0..u32::from(ARCS)).find(|range| !seen.contains(range)) {
            Some(range) => Err(format!("range {range} is missing")),
            None => Ok(()),
        }
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers and texts under names: nothing in it can fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// A range's file.
    pub fn file(&self, range: u32) -> Option<&RangeFile> {
        self.ranges.iter().find(|file| file.range == range)
    }

    /// Keys of all files.
    pub fn keys(&self) -> u64 {
        self.ranges.iter().map(|file| file.keys).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|file| file.bytes).sum()
    }
}

impl RangeFile {
    /// Where it lies in a backup.
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(RANGES).join(&self.file)
    }
}

fn unreadable(path: &Path, why: &str) -> Problem {
    Problem::failed(
        format!("{} cannot be used: {why}.", path.display()),
        "Use another backup; the files in its folder `ranges` are whole by themselves, and `trilith import` takes each",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(range: u32) -> RangeFile {
        RangeFile {
            range,
            file: format!("{range}-7.rdb"),
            term: 2,
            index: 7,
            time_ms: 1_700_000_000_000,
            changed: Changed {
                term: 1,
                index: 5,
                time_ms: 1_699_999_999_999,
            },
            keys: 3,
            bytes: 100,
            crc64: "0123456789abcdef".into(),
        }
    }

    fn complete() -> Manifest {
        Manifest::new(1, 2, (0..u32::from(ARCS)).rev().map(file).collect())
    }

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = complete();
        change(&mut manifest);
        Manifest::decode(&manifest.encode()).expect_err("it is refused")
    }

    #[test]
    fn a_manifest_reads_as_it_was_written() {
        let manifest = complete();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        assert!(manifest.ranges.is_sorted_by_key(|file| file.range));
        assert_eq!((manifest.keys(), manifest.bytes()), (768, 25_600));
        assert_eq!(manifest.file(255), Some(&file(255)));
        assert_eq!(manifest.file(256), None);
    }

    #[test]
    fn every_range_has_to_be_there_once() {
        let missing = refused(|manifest| drop(manifest.ranges.remove(17)));
        assert_eq!(missing, "range 17 is missing");
        let twice = refused(|manifest| manifest.ranges[17].range = 16);
        assert_eq!(twice, "it has range 16 twice");
        let more = refused(|manifest| manifest.ranges.push(file(256)));
        assert_eq!(more, "there is no range 256");
    }

    #[test]
    fn files_elsewhere_are_not_named() {
        for name in [
            "../0-7.rdb",
            "/0-7.rdb",
            "a/b.rdb",
            "..",
            ".rdb",
            "a\\b.rdb",
        ] {
            let why = refused(|manifest| manifest.ranges[0].file = name.into());
            assert!(why.contains("no name"), "{name}: {why}");
        }
    }

    #[test]
    fn another_form_is_told_from_damage() {
        let newer = refused(|manifest| manifest.format = 2);
        assert!(newer.contains("its form is 2"), "{newer}");
        // A later form may have nothing else in common with this one.
        let newer = Manifest::decode(b"{\"format\": 3, \"parts\": []}").unwrap_err();
        assert!(newer.contains("its form is 3"), "{newer}");
        let bytes = complete().encode();
        assert!(Manifest::decode(&bytes[..bytes.len() / 2]).is_err());
        assert!(Manifest::decode(b"").is_err());
    }
}
