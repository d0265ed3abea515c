//! Making room: the oldest clean chunk goes; what was read since it came is copied and stays.
//!
//! Every eviction frees one chunk and copies at most half of one, so two of them always gain a chunk.
//! Only who holds the [`Filler`] evicts; bucket locks are taken after it, one at a time.

use std::sync::atomic::Ordering;

use super::bucket::SLOTS;
use super::layout::Header;
use super::{Addr, Memory};
use crate::record::hash_key;

/// The chunk that clean records are copied into. Its mutex is the eviction mutex.
#[derive(Default)]
pub(super) struct Filler {
    pub(super) chunk: Option<u32>,
    pub(super) key: Vec<u8>,
    due: Vec<(u64, Addr, Header)>,
}

/// How many records of a chunk are looked at before their buckets are: these misses overlap.
const GROUP: usize = 32;

/// How many buckets a sweep goes through before it lets evictions in.
const SWEEP_BUCKETS: usize = 1024;

impl Memory {
    /// A free chunk for a memtable, by eviction if need be. One is left over for copies, if possible.
    pub(super) fn take_chunk(&self) -> Option<u32> {
        if let Some(chunk) = self.pop_free(1) {
            return Some(chunk);
        }
        let mut filler = self.filler.lock();
        loop {
            if let Some(chunk) = self.pop_free(1) {
                return Some(chunk);
            }
            if !self.evict_oldest(&mut filler, true) {
                return self.pop_free(0);
            }
        }
    }

    #[cold]
    pub(super) fn make_room_for_slots(&self) {
        self.free_slots(&mut self.filler.lock());
    }

    /// Evicts until the table has slots to spare; false if nothing clean is left and it has none.
    pub(super) fn free_slots(&self, filler: &mut Filler) -> bool {
        // What was read of late gets its second turn only at first: this has to come to an end.
        let mut turns = 4;
        // Somewhat more than needed, so as not to be back at once.
        while self.table.used() >= self.slots_limit - self.slots_limit / 64 {
            if !self.evict_oldest(filler, turns > 0) && !self.evict_oldest(filler, false) {
                return self.table.used() < self.slots_limit;
            }
            turns -= i32::from(turns > 0);
        }
        true
    }

    /// Evicts one chunk. False if there is none, or the only one is being filled and others are free.
    pub(super) fn evict_oldest(&self, filler: &mut Filler, keep: bool) -> bool {
        let oldest = self.lists.lock().clean.pop_front();
        // The chunk being filled is the last resort.
        let (chunk, keep) = match oldest {
            Some(chunk) => (chunk, keep),
            None if keep && self.free.load(Ordering::Relaxed) > 0 => return false,
            None => match filler.chunk.take() {
                Some(chunk) => (chunk, false),
                None => return false,
            },
        };
        self.evict(chunk, filler, keep);
        self.push_free(chunk);
        true
    }

    fn evict(&self, chunk: u32, filler: &mut Filler, keep: bool) {
        if !self.arena.is_live(chunk) {
            return;
        }
        let mut allowance = if keep {
            self.arena.chunk_words() / 2
        } else {
            0
        };
        let mut records = self.arena.walk(chunk);
        loop {
            filler.due.clear();
            for (addr, header) in records.by_ref().take(GROUP) {
                self.arena.copy_key(addr, header, &mut filler.key);
                let hash = hash_key(&filler.key);
                self.prefetch(hash);
                filler.due.push((hash, addr, header));
            }
            if filler.due.is_empty() {
                return;
            }
            for i in 0..filler.due.len() {
                let (hash, addr, header) = filler.due[i];
                self.evict_record(hash, addr, header, filler, &mut allowance);
            }
        }
    }

    fn evict_record(
        &self,
        hash: u64,
        addr: Addr,
        header: Header,
        filler: &mut Filler,
        allowance: &mut usize,
    ) {
        let mut home = self.table.lock(hash);
        let Some(found) = home.find(|other| other == addr) else {
            // Replaced since. The lock was needed even so: see `Arena::unlink`.
            return;
        };
        let words = header.words();
        if home.is_referenced(found)
            && words <= *allowance
            && let Some(chunk) = self.room_in_filler(filler, words)
        {
            *allowance -= words;
            let copy = self.arena.append_copy(chunk, addr, words);
            home.redirect(found, copy);
            home.unreference(found);
            self.arena.unlink(addr);
            self.counters.kept.fetch_add(1, Ordering::Relaxed);
        } else {
            self.unlink(&mut home, found, addr);
            self.counters.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The filler's chunk if it has room, else a free one put in its place; no eviction.
    pub(super) fn room_in_filler(&self, filler: &mut Filler, words: usize) -> Option<u32> {
        if let Some(chunk) = filler
            .chunk
            .filter(|&chunk| self.arena.room(chunk) >= words)
        {
            return Some(chunk);
        }
        let chunk = self.pop_free(0)?;
        self.arena.start(chunk, None);
        if let Some(full) = filler.chunk.replace(chunk) {
            self.lists.lock().clean.push_back(full);
        }
        Some(chunk)
    }

    /// Drops every clean record.
    pub fn clear_clean(&self) {
        let mut filler = self.filler.lock();
        let clean = self.lists.lock().clean.len();
        for _ in 0..clean {
            self.evict_oldest(&mut filler, false);
        }
        if let Some(chunk) = filler.chunk.take() {
            self.evict(chunk, &mut filler, false);
            self.push_free(chunk);
        }
    }

    /// Removes every entry, dirty ones included, of which `covered` says that a range delete (or
    /// whatever else took effect at `seq`) hides it; it is shown key and sequence number. From now on
    /// nothing that was read before `seq` is cached.
    pub fn sweep(&self, seq: u64, covered: impl Fn(&[u8], u64) -> bool) {
        let filler = self.filler.lock();
        // A fill holds the mutex from its look at this number to its insertion.
        self.newest_removed_seq.fetch_max(seq, Ordering::Relaxed);
        drop(filler);
        self.counters.sweeps.fetch_add(1, Ordering::Relaxed);
        let mut start = 0;
        while start < self.table.bucket_count() {
            let end = (start + SWEEP_BUCKETS).min(self.table.bucket_count());
            // While this is held no clean chunk is reused: any record seen in a slot stays readable.
            let mut filler = self.filler.lock();
            for bucket in start..end {
                self.prefetch_records(end.min(bucket + 8));
                self.sweep_bucket(bucket, &mut filler.key, &covered);
            }
            start = end;
        }
    }

    fn prefetch_records(&self, bucket: usize) {
        if bucket < self.table.bucket_count() {
            for slot in 0..SLOTS {
                if let Some(addr) = self.table.bucket(bucket).slot(slot).addr() {
                    super::probe::prefetch(self.arena.pointer(addr));
                }
            }
        }
    }

    fn sweep_bucket(&self, bucket: usize, key: &mut Vec<u8>, covered: impl Fn(&[u8], u64) -> bool) {
        for slot in 0..SLOTS {
            let Some(addr) = self.table.bucket(bucket).slot(slot).addr() else {
                continue;
            };
            std::sync::atomic::fence(Ordering::Acquire);
            let header = self.arena.header(addr);
            self.arena.copy_key(addr, header, key);
            if covered(key, header.seq()) {
                self.forget_if(hash_key(key), addr);
            }
        }
    }
}
