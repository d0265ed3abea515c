//! A door for the fuzzers: any bytes, which must neither panic nor take memory out of proportion.

use super::format::{self, KeysReader, KeysWriter, Next};
use crate::Result;
use crate::storage::{Durability, MemoryStorage, Reader, Storage, Writer};

/// A whole file of keys in use, read to its end.
///
/// # Errors
/// What is wrong with it.
pub async fn keys<R: Reader>(reader: R) -> Result<()> {
    let mut file = KeysReader::open(reader).await?;
    let mut last = Vec::new();
    loop {
        match file.next().await? {
            Next::Keys(mut section) => {
                last.clear();
                let mut is_first = true;
                while let Some(key) = section.next() {
                    assert!(is_first || key > &last[..], "keys come in order");
                    last.clear();
                    last.extend_from_slice(key);
                    is_first = false;
                }
            }
            Next::End(_) => return Ok(()),
        }
    }
}

/// The same of a file of one section, of any kind and content, behind the checksum that it should have.
///
/// # Errors
/// What is wrong with it.
pub async fn section(kind: u8, body: &[u8]) -> Result<()> {
    let mut file = Vec::new();
    let mut writer = KeysWriter::begin(&mut file);
    writer.push_section(kind, body, &mut file);
    let storage = MemoryStorage::new();
    storage.load().await?;
    let mut object = storage.create(format::object()).await?;
    let end = object.append(&file)?;
    object.settle(end, Durability::Written).await?;
    keys(storage.open(format::object()).await?).await
}

/// A file of these keys, which come in order: what a corpus begins with.
pub fn write<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut file = KeysWriter::begin(&mut out);
    for key in keys {
        file.add(key, &mut out);
    }
    file.finish(&mut out);
    out
}
