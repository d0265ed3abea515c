//! The chunks one memtable writes into, and the lists of those nobody does.
//!
//! A set is held in two halves: [`ChunkSet`] writes and is not shared; [`Chunks`] reads what was written
//! and is. The chunks stay dirty until both are gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::{Addr, Memory};
use crate::record::Record;

/// Chunks that no memtable and no filler holds.
pub(super) struct Lists {
    pub(super) free: Vec<u32>,
    /// Oldest first.
    pub(super) clean: VecDeque<u32>,
}

impl Lists {
    pub(super) fn all_free(chunks: u32) -> Self {
        Self {
            // Taken from the back: low addresses first.
            free: (0..chunks).rev().collect(),
            clean: VecDeque::with_capacity(chunks as usize),
        }
    }
}

impl Memory {
    /// An empty set of chunks, for a memtable.
    pub fn chunk_set(self: &Arc<Self>) -> ChunkSet {
        let owner = self.next_owner.fetch_add(1, Ordering::Relaxed);
        ChunkSet {
            chunks: Arc::new(Chunks {
                memory: Arc::clone(self),
                owner,
                taken: Mutex::new(Vec::new()),
            }),
            current: None,
        }
    }

    /// A free chunk, if there are more than `reserve`.
    pub(super) fn pop_free(&self, reserve: usize) -> Option<u32> {
        let mut lists = self.lists.lock();
        if lists.free.len() <= reserve {
            return None;
        }
        let chunk = lists.free.pop();
        self.free.store(lists.free.len(), Ordering::Relaxed);
        chunk
    }

    pub(super) fn push_free(&self, chunk: u32) {
        let mut lists = self.lists.lock();
        lists.free.push(chunk);
        self.free.store(lists.free.len(), Ordering::Relaxed);
    }
}

/// Writes records for one memtable.
pub struct ChunkSet {
    chunks: Arc<Chunks>,
    current: Option<u32>,
}

impl ChunkSet {
    /// Writes a record, without yet pointing the table at it. `None` if no chunk can be had, not even
    /// by eviction, or the table has no slot to spare: flush something first. (Or if the record
    /// [can never fit](Memory::fits).)
    pub fn write(&mut self, record: &Record<'_>) -> Option<Addr> {
        let memory = &*self.chunks.memory;
        let words = memory.arena.words_of(record)?;
        if memory.arena.dirty() >= memory.slots_limit {
            return None;
        }
        let chunk = match self.current {
            Some(chunk) if memory.arena.room(chunk) >= words => chunk,
            _ => {
                let chunk = memory.take_chunk()?;
                memory.arena.start(chunk, Some(self.chunks.owner));
                self.chunks.taken.lock().push(chunk);
                self.current = Some(chunk);
                chunk
            }
        };
        Some(memory.arena.append(chunk, record, words))
    }

    /// The half that reads, to share.
    pub fn chunks(&self) -> &Arc<Chunks> {
        &self.chunks
    }
}

/// Reads what one memtable has written; keeps it in place.
///
/// When the last holder drops it, the records become clean: still found by probes, but evictable. So
/// drop it only once the records are safe below.
pub struct Chunks {
    memory: Arc<Memory>,
    owner: u64,
    taken: Mutex<Vec<u32>>,
}

impl Chunks {
    /// The record at `addr`, which a write into this set answered. Panics if it was another set's.
    #[inline]
    pub fn record(&self, addr: Addr) -> Record<'_> {
        // SAFETY: this set keeps its chunks until it is dropped, and the record borrows it.
        unsafe { self.memory.arena.record(addr, self.owner) }
    }

    /// Every record written so far, in the order of writing.
    pub fn records(&self) -> impl Iterator<Item = (Addr, Record<'_>)> {
        let taken = self.taken.lock().clone();
        taken
            .into_iter()
            .flat_map(|chunk| self.memory.arena.walk(chunk))
            .map(|(addr, _)| (addr, self.record(addr)))
    }

    /// The arena's bytes held, whole chunks.
    pub fn bytes(&self) -> usize {
        self.taken.lock().len() * self.memory.arena.chunk_words() * 8
    }

    /// The memory the set is of.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let memory = &*self.memory;
        let mut lists = memory.lists.lock();
        for &chunk in self.taken.get_mut().iter() {
            if memory.arena.disown(chunk) {
                lists.clean.push_back(chunk);
            } else {
                lists.free.push(chunk);
            }
        }
        memory.free.store(lists.free.len(), Ordering::Relaxed);
    }
}
