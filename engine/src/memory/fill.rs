//! Caching what a read found below.
//!
//! The finder may be late: newer versions may have been published, and even evicted again, since it
//! began. It must never bring back an old one.

use std::sync::atomic::Ordering;

use super::Memory;
use super::evict::Filler;
use crate::record::{Kind, Record};

impl Memory {
    /// Caches the newest version of a key as of `read_seq`, found below. Refused, without waiting, if
    /// there is an entry for the key already, if a newer one may have come and gone since, if the key
    /// is not asked for often enough to evict another for it, or if someone else is filling.
    ///
    /// Only [`Kind::Put`] and [`Kind::PutApart`] are taken.
    pub fn fill(&self, hash: u64, record: &Record<'_>, read_seq: u64) -> bool {
        let filled = self.try_fill(hash, record, read_seq).is_some();
        let counter = if filled {
            &self.counters.filled
        } else {
            &self.counters.refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
        filled
    }

    fn try_fill(&self, hash: u64, record: &Record<'_>, read_seq: u64) -> Option<()> {
        let words = self.arena.words_of(record)?;
        if record.kind == Kind::Delete || record.seq > read_seq || self.is_stale(read_seq) {
            return None;
        }
        let mut filler = self.filler.try_lock()?;
        if !self.has_room() && !self.doorkeeper.admits(hash) {
            return None;
        }
        self.make_room(&mut filler, words)?;
        let chunk = self.room_in_filler(&mut filler, words)?;
        // Written first: a copy while holding the bucket would keep its readers waiting.
        let addr = self.arena.append(chunk, record, words);
        let mut home = self.table.lock(hash);
        let header = self.arena.header(addr);
        let is_known = home
            .find(|other| self.arena.same_key(addr, header, other))
            .is_some();
        // Asked under the lock: an entry that was removed from this bucket has raised the number.
        if is_known || self.is_stale(read_seq) || !home.insert(addr) {
            self.arena.take_back(chunk, words);
            return None;
        }
        Some(())
    }

    /// Whether a version newer than `read_seq` may have been here and gone.
    fn is_stale(&self, read_seq: u64) -> bool {
        self.newest_removed_seq.load(Ordering::Relaxed) > read_seq
    }

    /// Whether nothing need be evicted to cache one more record, or nearly nothing.
    fn has_room(&self) -> bool {
        self.free.load(Ordering::Relaxed) > 1 && self.table.used() < self.slots_limit
    }

    /// Evicts until there is a slot to spare and room for the record. `None` if that cannot be.
    fn make_room(&self, filler: &mut Filler, words: usize) -> Option<()> {
        if self.table.used() >= self.slots_limit && !self.free_slots(filler) {
            return None;
        }
        loop {
            let fits = filler
                .chunk
                .is_some_and(|chunk| self.arena.room(chunk) >= words);
            // The second is for the copies of the next eviction.
            if fits || self.free.load(Ordering::Relaxed) > 1 {
                return Some(());
            }
            if !self.evict_oldest(filler, true) {
                return Some(());
            }
        }
    }
}
