//! Layer 1: a hash table over an arena of records, both of a fixed size and allocated once.
//!
//! The table is a cache of what lies below it and, at the same time, the index of what does not yet:
//! for every key with a version in a memtable it points at the newest one. Records of memtables are
//! *dirty* and stay; when their memtable is released they are *clean* and may be evicted, oldest chunk
//! first, those read of late being given a second turn.
//!
//! It must never answer with an older version of a key than the newest it was told of, must never forget
//! a dirty record, and must never allocate after [`Memory::new`] but for the caller's own buffers and a
//! few words per chunk.
//!
//! # Why readers need no lock
//!
//! Every word of table and arena is atomic. A key is bound to its *home* bucket, whose version every
//! writer makes odd before, and even again after, it changes where that key is. A probe reads the version
//! (acquire), the slots and the record (relaxed), then passes an acquire fence and reads the version
//! again; if it changed, everything read is thrown away.
//!
//! - *A record is seen whole.* Its words are stored before the slot that points at it (release); a probe passes an acquire fence between reading the slot and the record.
//! - *A slot change is noticed.* A writer takes the lock, passes a release fence, changes slots, and
//!   unlocks by a release store. A probe that read a changed slot passes its acquire fence before the
//!   second look at the version: the fences synchronise, so that look sees the lock or a later version.
//! - *The reuse of a chunk is noticed.* Before a chunk is written anew, eviction has locked, for each record
//!   in it, the record's home bucket, and removed or redirected the slot. That happens before the chunk
//!   passes (by mutex) to its next writer, who passes a release fence before each store into it. A probe
//!   that read one new word therefore sees, behind its acquire fence, the raised version of the key whose
//!   slot had led it there. Until then it trusts nothing: lengths are held against the chunk's end before
//!   they are used, and bytes against the key.
//! - *Another key's slot misleads nobody.* A slot of the same tag may belong to a key of another home,
//!   whose version is not checked, and its record may be overwritten, even by the very key sought. So a
//!   match counts only if afterwards the slot still is what it was: then it leads to a record of the key
//!   sought and is this key's own, guarded by the version that is checked.
//!
//! Under a home bucket's lock the records of its keys cannot move: eviction needs that lock before their
//! chunk can be reused. The eviction mutex, taken before any bucket, never after, orders evictions,
//! fills and sweeps.

mod arena;
mod bucket;
mod budget;
mod chunk_set;
mod doorkeeper;
mod evict;
mod fill;
mod hot;
mod layout;
mod probe;
mod region;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::record::{Kind, Record};
use crate::{Error, ErrorKind, Result};

pub use budget::Budget;
pub use chunk_set::{ChunkSet, Chunks};
pub use hot::Hot;
pub use layout::Addr;
pub use probe::Probe;

use arena::Arena;
use chunk_set::Lists;
use doorkeeper::Doorkeeper;
use evict::Filler;
use table::{Home, Table};

/// The hash table and its arena. Shared by everyone who reads or writes a store.
///
/// All hashes are [`hash_key`](crate::record::hash_key) of the key; eviction computes them anew.
pub struct Memory {
    table: Table,
    arena: Arena,
    doorkeeper: Doorkeeper,
    lists: Mutex<Lists>,
    /// Chunks on the free list, for a look without the lock.
    free: AtomicUsize,
    filler: Mutex<Filler>,
    /// No version newer than this was ever removed from the table: a read at or past it that finds a
    /// version below has found the newest.
    newest_removed_seq: AtomicU64,
    /// Above this many used slots clean records make room.
    slots_limit: usize,
    next_owner: AtomicU64,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    evicted: AtomicU64,
    kept: AtomicU64,
    filled: AtomicU64,
    refused: AtomicU64,
    sweeps: AtomicU64,
}

/// What the table knew of a key before a newer version was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing. There may be older versions below.
    Unknown,
    /// This was the newest version.
    Known {
        /// When it was written.
        seq: u64,
        /// What it said.
        kind: Kind,
        /// When it expires, in milliseconds since the Unix epoch; 0 for never.
        deadline_ms: u64,
    },
}

/// Numbers for metrics and for deciding when to freeze a memtable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Size of one chunk.
    pub chunk_bytes: usize,
    /// All chunks.
    pub chunks: usize,
    /// Chunks that hold nothing.
    pub free_chunks: usize,
    /// Chunks of clean records, the one being filled not counted.
    pub clean_chunks: usize,
    /// All slots of the table.
    pub slots: usize,
    /// Slots that point at a record.
    pub slots_used: usize,
    /// Slots that point at a memtable's record, or are set aside for one.
    pub dirty_slots: usize,
    /// Records dropped to make room.
    pub evicted: u64,
    /// Records that were due for eviction and kept because they had been read.
    pub kept: u64,
    /// Records cached from below.
    pub filled: u64,
    /// Records offered from below and not taken.
    pub refused: u64,
    /// How often all of the table was gone through, for keys that are gone.
    pub sweeps: u64,
}

impl Memory {
    /// A table of about `table_bytes` over an arena of about `arena_bytes` (see [`Budget::of`]).
    /// `advise` is told of each large region before anything touches it.
    pub fn new(
        table_bytes: usize,
        arena_bytes: usize,
        advise: impl Fn(*const u8, usize),
    ) -> Result<Arc<Self>> {
        if arena_bytes < budget::ARENA_BYTES_MIN {
            let detail = format!("{arena_bytes} bytes are too few");
            return Err(Error::new(
                ErrorKind::Invalid,
                "allocating the arena",
                detail,
            ));
        }
        let (buckets, doorkeeper_entries) = budget::table_parts(table_bytes);
        let arena = Arena::new(arena_bytes, budget::chunk_bytes(arena_bytes))?;
        let table = Table::new(buckets)?;
        for (start, bytes) in [table.region(), arena.region()] {
            advise(start, bytes);
        }
        let chunks = arena.chunk_count();
        Ok(Arc::new(Self {
            slots_limit: table.slots() / 20 * 17,
            table,
            arena,
            doorkeeper: Doorkeeper::new(doorkeeper_entries)?,
            lists: Mutex::new(Lists::all_free(chunks)),
            free: AtomicUsize::new(chunks as usize),
            filler: Mutex::new(Filler::default()),
            newest_removed_seq: AtomicU64::new(0),
            next_owner: AtomicU64::new(1),
            counters: Counters::default(),
        }))
    }

    /// Whether a chunk is large enough for this record. What does not fit never will.
    pub fn fits(&self, record: &Record<'_>) -> bool {
        self.arena.words_of(record).is_some()
    }

    /// Points the table at `addr`, the newest version of its key, written by a [`ChunkSet`] that is
    /// still held. Called by whoever applies writes, in order of sequence numbers per key.
    ///
    /// `None` only if every slot is taken by records of memtables, which [`ChunkSet::write`] prevents.
    pub fn publish(&self, hash: u64, addr: Addr) -> Option<Before> {
        if self.table.used() >= self.slots_limit {
            self.make_room_for_slots();
        }
        let header = self.arena.header(addr);
        let mut home = self.table.lock(hash);
        let same_key = |other| self.arena.same_key(addr, header, other);
        let Some(found) = home.find(same_key) else {
            return home.insert(addr).then_some(Before::Unknown);
        };
        // The mark stays: a key that was of interest still is.
        home.redirect(found, addr);
        let old = found.held.addr()?;
        let before = self.arena.header(old);
        let known = Before::Known {
            seq: before.seq(),
            kind: before.kind()?,
            deadline_ms: self.arena.deadline_ms(old, before),
        };
        self.arena.unlink(old);
        Some(known)
    }

    /// Removes the key's entry if it still points at `addr`: what was found there turned out to be of
    /// no use. Only for records that are not dirty, or whose key nobody can ask for any more.
    pub fn forget_if(&self, hash: u64, addr: Addr) {
        let mut home = self.table.lock(hash);
        if let Some(found) = home.find(|other| other == addr) {
            self.unlink(&mut home, found, addr);
        }
    }

    /// Numbers for metrics and decisions. Takes a lock; see [`Self::dirty_slots`] for the hot path.
    pub fn stats(&self) -> MemoryStats {
        let lists = self.lists.lock();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MemoryStats {
            chunk_bytes: self.arena.chunk_words() * 8,
            chunks: self.arena.chunk_count() as usize,
            free_chunks: lists.free.len(),
            clean_chunks: lists.clean.len(),
            slots: self.table.slots(),
            slots_used: self.table.used(),
            dirty_slots: self.arena.dirty(),
            evicted: count(&self.counters.evicted),
            kept: count(&self.counters.kept),
            filled: count(&self.counters.filled),
            refused: count(&self.counters.refused),
            sweeps: count(&self.counters.sweeps),
        }
    }

    /// The longest record that there is room for, header included.
    pub fn chunk_bytes(&self) -> usize {
        self.arena.chunk_words() * 8
    }

    /// All slots of the table. Writes stop being taken when 85 of 100 are dirty.
    pub fn slots(&self) -> usize {
        self.table.slots()
    }

    /// Slots that point at memtables' records, or are set aside for one.
    pub fn dirty_slots(&self) -> usize {
        self.arena.dirty()
    }

    /// Removes a slot under its home's lock, and sees to it that no reader of an older state puts
    /// what it found back.
    fn unlink(&self, home: &mut Home<'_>, found: table::Found, addr: Addr) {
        let seq = self.arena.header(addr).seq();
        self.newest_removed_seq.fetch_max(seq, Ordering::Relaxed);
        home.remove(found);
        self.arena.unlink(addr);
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
