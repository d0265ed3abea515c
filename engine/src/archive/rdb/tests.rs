//! What the codec writes and reads, byte by byte, and what it refuses.

mod other_types;
mod refusals;
mod round_trip;
mod writer;

use futures_lite::future::block_on;

use super::window::{READ_BYTES, Window};
use super::{EncodeOptions, Encoder, Ending, Item, Reader, Sizes};
use crate::storage::{MemoryStorage, Object, Storage, Writer as _};
use crate::{Durability, Error, Result};

/// A key, its value, its deadline.
type Entry = (Vec<u8>, Vec<u8>, u64);

fn dump() -> Object {
    Object::Archive("dump.rdb".into())
}

/// A file of these entries.
fn encoded(options: EncodeOptions, entries: &[Entry]) -> Vec<u8> {
    let mut encoder = Encoder::new(options).unwrap();
    let mut out = Vec::new();
    encoder.header(&mut out, &[], Sizes::default());
    for (key, value, deadline_ms) in entries {
        encoder.entry(&mut out, key, value, *deadline_ms);
    }
    encoder.end(&mut out);
    out
}

/// A file of this version whose items are these bytes, without a checksum.
fn file_of(version: u16, items: &[u8]) -> Vec<u8> {
    let mut file = format!("REDIS{version:04}").into_bytes();
    file.extend_from_slice(items);
    file.push(255);
    if version >= 5 {
        file.extend_from_slice(&[0; 8]);
    }
    file
}

/// What is in a file: its items as they are displayed, its entries, how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    items: Vec<String>,
    entries: Vec<Entry>,
    ending: Ending,
}

/// Reads a file in pieces of this many bytes.
fn read_in(bytes: &[u8], read_bytes: usize) -> Result<Content> {
    block_on(async {
        let storage = MemoryStorage::new();
        let mut writer = storage.create(dump()).await?;
        let len = writer.append(bytes)?;
        writer.settle(len, Durability::Written).await?;
        let window = Window::new(storage.open(dump()).await?, dump(), read_bytes);
        let mut file = Reader::begin(window).await?;
        let (mut items, mut entries) = (Vec::new(), Vec::new());
        loop {
            match file.next().await {
                Ok(Some(item)) => {
                    items.push(format!("{item:?}"));
                    if let Item::Entry {
                        key,
                        value,
                        deadline_ms,
                        ..
                    } = item
                    {
                        entries.push((key.to_vec(), value.to_vec(), deadline_ms));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let again = file.next().await.unwrap_err();
                    assert_eq!(error.to_string(), again.to_string());
                    return Err(error);
                }
            }
        }
        assert_eq!(file.next().await?, None);
        let ending = file.ending().unwrap();
        Ok(Content {
            items,
            entries,
            ending,
        })
    })
}

/// Reads a file in pieces of several sizes, which must not make a difference.
fn read(bytes: &[u8]) -> Result<Content> {
    let content = read_in(bytes, READ_BYTES);
    for read_bytes in [1, 7] {
        match (&content, read_in(bytes, read_bytes)) {
            (Ok(content), Ok(other)) => assert_eq!(*content, other),
            (Err(error), Err(other)) => assert_eq!(error.to_string(), other.to_string()),
            (content, other) => panic!("{content:?}, but {other:?}"),
        }
    }
    content
}

/// The error that a file is refused with.
#[track_caller]
fn refused(bytes: &[u8]) -> Error {
    let error = read(bytes).unwrap_err();
    assert_eq!(error.object(), Some(&dump()));
    assert!(error.offset().is_some(), "{error}");
    error
}
