//! What a store is made of at one moment, part by part: for whoever draws it. Numbers about it are in
//! [`Stats`](super::Stats).

use std::ops::Bound;

use bytes::Bytes;
use serde::Serialize;

use super::core::Core;
use super::machine::Machine;
use crate::lsm::levels::LEVELS;
use crate::{Runtime, Storage};

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct Anatomy {
    /// Being written to.
    pub active: MemtableAnatomy,
    /// Waiting to be flushed, the newest first.
    pub frozen: Vec<MemtableAnatomy>,
    /// The tables of each level, from 0 on; in level 0 the newest last, else in order of their keys.
    pub levels: Vec<Vec<TableAnatomy>>,
    /// Segments of the log that are kept, the oldest first.
    pub segments: Vec<u64>,
}

/// A memtable.
#[derive(Clone, Debug, Serialize)]
pub struct MemtableAnatomy {
    /// Its number.
    pub id: u64,
    /// Bytes that it takes, those of its large values included.
    pub bytes: usize,
    /// Versions of keys in it.
    pub entries: u64,
}

/// A sorted table.
#[derive(Clone, Debug, Serialize)]
pub struct TableAnatomy {
    /// Its number.
    pub id: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// Versions of keys in it.
    pub entries: u64,
    /// Tombstones among them.
    pub deletes: u64,
    /// The first key that it may hold.
    pub smallest: Bytes,
    /// The last key that it may hold; `None` if it covers everything from the first one on.
    pub largest: Option<Bytes>,
    /// Bytes of its filter.
    pub filter_bytes: u64,
    /// Bytes of its index.
    pub index_bytes: u64,
    /// Its data blocks.
    pub data_blocks: u64,
    /// What made it, for people: "flush", "compaction to level 3".
    pub creator: Box<str>,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    pub(super) fn anatomy(&self) -> Anatomy {
        let view = self.view();
        let mut memtables = view.memtables().map(|memtable| MemtableAnatomy {
            id: memtable.id,
            bytes: memtable.bytes(),
            entries: memtable.entries(),
        });
        let empty = MemtableAnatomy {
            id: 0,
            bytes: 0,
            entries: 0,
        };
        let tables = |level| {
            let tables = view.levels.tables(level).iter().map(|meta| {
                let properties = view.tables.get(&meta.id).map(|table| table.properties());
                TableAnatomy {
                    id: meta.id,
                    bytes: meta.bytes,
                    entries: meta.entries,
                    deletes: meta.deletes,
                    smallest: Bytes::copy_from_slice(&meta.smallest),
                    largest: match &meta.largest {
                        Bound::Included(key) | Bound::Excluded(key) => {
                            Some(Bytes::copy_from_slice(key))
                        }
                        Bound::Unbounded => None,
                    },
                    filter_bytes: properties.map_or(0, |properties| properties.filter_bytes),
                    index_bytes: properties.map_or(0, |properties| properties.index_bytes),
                    data_blocks: properties.map_or(0, |properties| properties.data_blocks),
                    creator: properties.map_or("".into(), |properties| properties.creator.clone()),
                }
            });
            tables.collect()
        };
        Anatomy {
            active: memtables.next().unwrap_or(empty),
            frozen: memtables.collect(),
            levels: (0..LEVELS).map(tables).collect(),
            segments: (self.commit.lock().segments.iter())
                .map(|&(segment, _)| segment)
                .collect(),
        }
    }
}
