//! Doors for the fuzzers: each takes any bytes, and must neither panic nor allocate out of proportion.

use std::sync::Arc;

use bytes::Bytes;

use super::block::Block;
use super::block_cursor::BlockCursor;
use super::footer::Footer;
use super::frame::{decompress, unseal};
use super::index::Handle;
use super::properties::Properties;
use super::reader::Table;
use super::{CursorOptions, ranges};
use crate::Result;
use crate::lsm::cache::BlockCache;
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::lsm::values::ValueRef;
use crate::record::hash_key;
use crate::storage::Reader;

/// A block of entries, searched and walked both ways.
pub fn block(bytes: &[u8], key: &[u8]) {
    let Ok(block) = Block::new(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let _ = block.search(key, 7);
    for direction in [Direction::Forward, Direction::Backward] {
        let mut cursor = BlockCursor::new(direction);
        cursor.reset(block.clone());
        let mut found = cursor.first();
        while let Ok(true) = found {
            let _ = cursor.record();
            found = cursor.advance();
        }
        for found in [cursor.seek(key, 7), cursor.seek_block_of(key, 7)] {
            if let Ok(true) = found {
                let _ = cursor.advance();
            }
        }
    }
}

/// The small decoders: stored block, compressed block, footer, properties, range deletes, handle,
/// reference to a value.
pub fn small_parts(bytes: &[u8]) {
    let _ = unseal(&Bytes::copy_from_slice(bytes), 1, 0);
    let _ = decompress(bytes, 1 << 20);
    let _ = Footer::decode(bytes, bytes.len() as u64, 1);
    let _ = Properties::decode(bytes);
    let _ = ranges::decode(bytes);
    let _ = Handle::decode(bytes, &(0..u64::MAX));
    let _ = ValueRef::decode(bytes);
}

/// A whole file, as table `id`: opened, asked for a key, walked both ways and verified.
pub async fn table_of<R: Reader>(reader: R, id: u64, key: &[u8]) -> Result<()> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let table = Table::open(reader, id, cache).await?;
    let _ = table.get(hash_key(key), key, 7, &mut ()).await;
    for direction in [Direction::Forward, Direction::Backward] {
        for from in [None, Some(key)] {
            let mut cursor = table.cursor(direction, CursorOptions::default());
            let mut position = cursor.seek(from);
            loop {
                position = match position {
                    Ok(Position::Record) => cursor.step(),
                    Ok(Position::Refill) => cursor.refill().await,
                    Ok(Position::End) | Err(_) => break,
                };
            }
        }
    }
    let _ = table.verify().await;
    Ok(())
}
