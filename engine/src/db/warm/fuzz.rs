//! A door for the fuzzers: any bytes, which must neither panic nor take memory out of proportion.

use super::format::{KeysReader, KeysWriter, Next};
use crate::Result;
use crate::storage::Reader;

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
