//! Doors for the fuzzers: each takes any bytes, and must neither panic nor allocate out of proportion.

use super::encode;
use super::manifest::Manifest;
use super::reader::{Item, Reader};
use super::scan::Scanner;
use crate::storage::{self, Object};
use crate::{Error, Result};

/// A whole file, walked twice: in one go, and again only as far as it is whole. What is read is written and read again.
///
/// # Errors
/// What is wrong with it.
pub async fn file<R: storage::Reader>(reader: R) -> Result<u64> {
    let object = || Object::Archive("fuzzed".into());
    let found = Scanner::new(Reader::new(reader.clone(), object()))
        .run(|_| {})
        .await?;
    let mut whole = Reader::new(reader, object()).upto(found.whole);
    let (mut items, mut again) = (0, Vec::new());
    while let Some(item) = whole.next().await? {
        items += 1;
        if let Item::Command(command) = item {
            again.clear();
            encode::command(&mut again, &command.args);
            if again.len() as u64 > whole.offset() - command.offset {
                return Err(Error::corrupt("writing again", "it has become longer"));
            }
        }
    }
    if whole.ending().tear.is_some() {
        return Err(Error::corrupt("reading again", "what was whole is torn"));
    }
    Ok(items)
}

/// A manifest, written and read again; false if it is none.
pub fn manifest(text: &[u8]) -> bool {
    let Ok(manifest) = Manifest::decode(text) else {
        return false;
    };
    let _ = manifest.chains();
    assert_eq!(Manifest::decode(&manifest.encode()).ok(), Some(manifest));
    true
}
