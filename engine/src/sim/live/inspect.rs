//! One node, taken apart: its ranges, its log, its hash table, memtables and tables, as they are at this moment.

use std::collections::BTreeMap;

use serde::Serialize;

use super::action::Number;
use super::ring::Ring;
use crate::db::{MemtableAnatomy, TableAnatomy};
use crate::ring::driver::RangeStatus;
use crate::ring::{NodeId, RangeId};
use crate::{Error, Object, Result};

/// See the module.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its machine.
    pub number: Number,
    /// Its store's identity; a new disk has a new one. None before it has been opened.
    pub id: Option<String>,
    /// `running`, `paused`, `starting`, `draining`, `dead` or `gone`.
    pub state: &'static str,
    /// By how much its wall clock is off, in milliseconds.
    pub skew_ms: i64,
    /// The objects on its disk: `segment 3`, `table 7`; and their bytes.
    pub objects: Vec<(String, u64)>,
    /// What runs on it; none if nothing does.
    pub running: Option<RunningView>,
}

/// What is in a running node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningView {
    /// The version of the cluster's map that it has.
    pub map_version: u64,
    /// Members that it has not heard lately, by machine.
    pub silent: Vec<Number>,
    /// Its copies of ranges.
    pub ranges: Vec<CopyView>,
    /// Keys in them.
    pub keys: u64,
    /// The log.
    pub log: LogView,
    /// Layer 1.
    pub hash_table: HashTableView,
    /// The memtable that is written to.
    pub memtable: MemtableAnatomy,
    /// Those that wait to be flushed, the newest first.
    pub frozen: Vec<MemtableAnatomy>,
    /// The tables, by level.
    pub levels: Vec<Vec<TableView>>,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Blocks that were found there, and that were not.
    pub cache_hits: u64,
    /// See there.
    pub cache_misses: u64,
    /// Bytes written to tables for each byte written by clients.
    pub write_amplification: f64,
    /// Memtables that were flushed since the node started.
    pub flushes: u64,
    /// Compactions that merged, and that only moved a table.
    pub compactions: u64,
    /// See there.
    pub moves: u64,
    /// From 0, none, to 1: writers stand still.
    pub pressure: f64,
    /// What keeps it from taking writes, if anything.
    pub trouble: Option<String>,
    /// The archive, where it is on.
    pub archive: Option<ArchiveView>,
}

/// A copy of a range.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyView {
    /// The range; 4294967295 is meta.
    pub range: RangeId,
    /// `master`, `voter`, `learner`, `candidate` or `void`.
    pub role: String,
    /// The machine of its master, as far as this copy knows; 0 for none.
    pub master: Number,
    /// The term.
    pub term: u64,
    /// The last entry of its log.
    pub last: u64,
    /// What is known to be committed.
    pub commit: u64,
    /// What has been applied.
    pub applied: u64,
    /// Who votes, the preferred master first, by machine; 0 is a node that is gone.
    pub voters: Vec<Number>,
    /// Who learns.
    pub learners: Vec<Number>,
    /// N, W and R as they hold for it.
    pub quorum: [u8; 3],
    /// Writes that this node has taken for it since it started.
    pub writes: u64,
    /// Reads likewise.
    pub reads: u64,
}

/// A log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogView {
    /// Its segments, the oldest first, and their bytes.
    pub segments: Vec<(u64, u64)>,
    /// Bytes appended since the node started.
    pub appended_bytes: u64,
    /// Appends.
    pub appends: u64,
}

/// A hash table and its arena.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashTableView {
    /// All slots.
    pub slots: usize,
    /// Slots that point at a record.
    pub used: usize,
    /// Of these, at records of memtables.
    pub dirty: usize,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Of these, bytes of chunks that hold nothing.
    pub free_bytes: usize,
    /// Records that were dropped to make room.
    pub evicted: u64,
    /// Reads that memory could not answer.
    pub cold_reads: u64,
}

/// A sorted table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableView {
    /// Its number.
    pub id: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// Versions of keys.
    pub entries: u64,
    /// Tombstones among them.
    pub deletes: u64,
    /// The arc of its first key, and that key.
    pub smallest: (u16, String),
    /// The arc of its last key, and that key.
    pub largest: (u16, String),
    /// Bytes of its filter.
    pub filter_bytes: u64,
    /// Bytes of its index.
    pub index_bytes: u64,
    /// Its data blocks.
    pub data_blocks: u64,
    /// What made it.
    pub creator: String,
}

/// An archive.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveView {
    /// Bytes of the append-only files that count.
    pub aof_bytes: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
    /// Changes since the last snapshot.
    pub changes: u64,
    /// When that was, in seconds of the node's wall clock; 0 for never.
    pub saved_s: u64,
    /// The last lines of the newest append-only file.
    pub tail: String,
}

/// How a ring is set at present: what a visitor's sliders and switches stand at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// N, W and R that were asked for last.
    pub quorum: [u8; 3],
    /// The load: requests a second, keys, pattern, percent of reads, bytes of a value.
    pub load: (u32, u32, &'static str, u8, u32),
    /// The groups of the partition; none if there is none.
    pub partition: Vec<Vec<Number>>,
    /// Packets' delay in milliseconds by node; 0 stands for all.
    pub delays: Vec<(Number, u32)>,
    /// Packets lost of a thousand, likewise.
    pub drops: Vec<(Number, u32)>,
    /// Changes of the cluster that are yet to be made.
    pub wishes: usize,
    /// Whether nothing is away and every range is where it belongs.
    pub is_whole: bool,
}

/// Bytes of an append-only file that are shown.
const TAIL_BYTES: usize = 2_048;

impl Ring {
    /// Takes a node apart.
    ///
    /// # Errors
    /// `Invalid` if there is no such node.
    pub fn inspect(&self, number: Number) -> Result<NodeView> {
        let place = (number as usize).checked_sub(1);
        let machine = place.and_then(|place| self.machines.get(place));
        let Some(machine) = machine else {
            let detail = format!("there is no node {number}");
            return Err(Error::new(crate::ErrorKind::Invalid, "inspecting", detail));
        };
        let objects = machine.disk.objects();
        Ok(NodeView {
            number,
            id: machine.id.map(|id| id.to_string()),
            state: machine.state().name(),
            skew_ms: machine.skew_ms,
            running: machine
                .node
                .as_ref()
                .map(|node| self.running_view(node, &objects, &machine.disk)),
            objects: (objects.into_iter())
                .map(|(object, bytes)| (object.to_string(), bytes))
                .collect(),
        })
    }

    /// How the ring is set.
    pub fn setting(&self) -> Setting {
        let load = self.clients.load;
        let of = |fronts: &BTreeMap<Number, (Vec<u64>, u32)>| {
            let each = fronts.iter().map(|(&node, &(_, much))| (node, much));
            each.collect()
        };
        let (n, w, r) = (
            self.quorum.replicas(),
            self.quorum.acknowledge(),
            self.quorum.read(),
        );
        Setting {
            quorum: [n, w, r],
            load: (
                load.per_s,
                load.keys,
                load.pattern.name(),
                load.reads_percent,
                load.value_bytes,
            ),
            partition: self.weather.groups.clone(),
            delays: of(&self.weather.delays),
            drops: of(&self.weather.losses),
            wishes: self.wishes.len(),
            is_whole: self.is_whole(),
        }
    }

    fn running_view(
        &self,
        node: &super::wire::Node,
        objects: &[(Object, u64)],
        disk: &crate::FaultyStorage,
    ) -> RunningView {
        let (view, stats, db) = (node.view(), node.stats(), node.store().db());
        let anatomy = db.anatomy();
        let size_of = |segment: u64| {
            let of = |(object, _): &&(Object, u64)| *object == Object::Segment(segment);
            objects.iter().find(of).map_or(0, |&(_, bytes)| bytes)
        };
        let store = &stats.store.db;
        let memory = &store.memory;
        RunningView {
            map_version: view.map.as_ref().map_or(0, |map| map.version),
            silent: view
                .silent
                .iter()
                .map(|&node| self.number_of(node))
                .collect(),
            ranges: node
                .ranges()
                .iter()
                .map(|copy| self.copy_view(copy))
                .collect(),
            keys: node.store().dbsize(),
            log: LogView {
                segments: (anatomy.segments.iter())
                    .map(|&segment| (segment, size_of(segment)))
                    .collect(),
                appended_bytes: store.log_bytes,
                appends: stats.appends,
            },
            hash_table: HashTableView {
                slots: memory.slots,
                used: memory.slots_used,
                dirty: memory.dirty_slots,
                arena_bytes: memory.chunks * memory.chunk_bytes,
                free_bytes: memory.free_chunks * memory.chunk_bytes,
                evicted: memory.evicted,
                cold_reads: store.cold_reads,
            },
            memtable: anatomy.active,
            frozen: anatomy.frozen,
            levels: (anatomy.levels.into_iter())
                .map(|tables| tables.into_iter().map(table_view).collect())
                .collect(),
            cache_bytes: store.cache.bytes,
            cache_hits: store.cache.hits,
            cache_misses: store.cache.misses,
            write_amplification: store.write_amplification(),
            flushes: store.flushes,
            compactions: store.compactions,
            moves: store.moves,
            pressure: store.pressure,
            trouble: node.trouble().map(|error| error.to_string()),
            archive: self.options.archive.then(|| {
                let archive = db.archive();
                ArchiveView {
                    aof_bytes: archive.aof.bytes,
                    waiting_bytes: archive.aof.waiting_bytes,
                    changes: archive.rdb.changes,
                    saved_s: archive.rdb.last_s,
                    tail: tail_of(objects, disk),
                }
            }),
        }
    }

    fn copy_view(&self, copy: &RangeStatus) -> CopyView {
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|&node| self.number_of(node)).collect();
        CopyView {
            range: copy.range,
            role: copy.role.clone(),
            master: copy.master.map_or(0, |node| self.number_of(node)),
            term: copy.term,
            last: copy.last,
            commit: copy.commit,
            applied: copy.applied,
            voters: numbers(&copy.voters),
            learners: numbers(&copy.learners),
            quorum: [copy.n, copy.w, copy.r],
            writes: copy.writes,
            reads: copy.reads,
        }
    }
}

/// The end of the newest append-only file.
fn tail_of(objects: &[(Object, u64)], disk: &crate::FaultyStorage) -> String {
    let files = objects.iter().filter_map(|(object, _)| match object {
        Object::Archive(name) if name.ends_with(".aof") && name.contains(".incr.") => Some(object),
        _ => None,
    });
    let newest = files.max_by_key(|object| object.to_string());
    let bytes = newest
        .and_then(|object| disk.bytes_of(object))
        .unwrap_or_default();
    let tail = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
    String::from_utf8_lossy(tail).into_owned()
}

fn table_view(table: TableAnatomy) -> TableView {
    // A key lies behind its arc and a byte that says what it is.
    let key = |place: &[u8]| match place {
        [high, low, _, key @ ..] => (
            u16::from_be_bytes([*high, *low]),
            String::from_utf8_lossy(key).into_owned(),
        ),
        _ => (0, String::new()),
    };
    TableView {
        id: table.id,
        bytes: table.bytes,
        entries: table.entries,
        deletes: table.deletes,
        smallest: key(&table.smallest),
        largest: key(table.largest.as_deref().unwrap_or_default()),
        filter_bytes: table.filter_bytes,
        index_bytes: table.index_bytes,
        data_blocks: table.data_blocks,
        creator: table.creator.into(),
    }
}
