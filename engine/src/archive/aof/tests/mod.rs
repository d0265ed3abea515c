//! The formats of the append-only log: written, read, cut anywhere and damaged.

mod chains;
mod files;
mod manifests;

use futures_lite::future::block_on;

use super::{Ending, Item, Reader};
use crate::storage::{MemoryReader, MemoryStorage, Object, Storage, Writer};
use crate::{ErrorKind, Result};

fn object() -> Object {
    Object::Archive("file.aof".into())
}

/// What reads a file of these bytes.
fn reader(bytes: &[u8]) -> Reader<MemoryReader> {
    Reader::new(stored(bytes), object())
}

fn stored(bytes: &[u8]) -> MemoryReader {
    block_on(async {
        let storage = MemoryStorage::new();
        let mut writer = storage.create(object()).await.unwrap();
        writer.append(bytes).unwrap();
        storage.open(object()).await.unwrap()
    })
}

/// All items, and how the file ends.
fn read(bytes: &[u8]) -> Result<(Vec<Item>, Ending)> {
    block_on(async {
        let mut reader = reader(bytes);
        let mut items = Vec::new();
        while let Some(item) = reader.next().await? {
            items.push(item);
        }
        Ok((items, reader.ending()))
    })
}

/// The words of all commands, as text.
fn words(items: &[Item]) -> Vec<String> {
    let commands = items.iter().filter_map(|item| match item {
        Item::Command(command) => Some(command),
        Item::Annotation { .. } => None,
    });
    let text = |args: &[bytes::Bytes]| {
        let words: Vec<_> = args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg))
            .collect();
        words.join(" ")
    };
    commands.map(|command| text(&command.args)).collect()
}

fn is_corrupt_at(bytes: &[u8], offset: u64) {
    let error = read(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.offset(), Some(offset), "{error}");
}
