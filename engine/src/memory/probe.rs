//! The hot path: finding a key's newest version without taking a lock or waiting for anything.
//!
//! The order of loads and fences here is what the parent module argues about. A hit touches two cache
//! lines it cannot foresee, the bucket and the record's first.

use std::sync::atomic::{Ordering, fence};

use super::arena::Header;
use super::bucket::{Bucket, Meta, Patience};
use super::table::tag;
use super::{Addr, Memory};
use crate::record::Kind;

/// What the table knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// This is the newest version; a tombstone is one too.
    Hit {
        /// When it was written.
        seq: u64,
        /// What it says.
        kind: Kind,
        /// When it expires, in milliseconds since the Unix epoch; 0 for never.
        deadline_ms: u64,
        /// Where it lay, for [`Memory::forget_if`] and, if a memtable holds it, [`super::Chunks`].
        addr: Addr,
    },
    /// The newest version is newer than the reader's snapshot; what that sees lies in a memtable or
    /// below.
    Newer,
    /// The key has no entry. So no memtable has a version of it, unless [`Memory::sweep`] removed it.
    /// Take the state to search below *after* this answer: what was in a memtable before may have
    /// been flushed meanwhile.
    Missing,
}

/// How many probes of a batch are under way at once.
const WINDOW: usize = 16;

impl Memory {
    /// Looks a key up for a reader whose snapshot is `seq_max`, and appends the value to `value`.
    #[inline]
    pub fn probe(&self, hash: u64, key: &[u8], seq_max: u64, value: &mut Vec<u8>) -> Probe {
        let start = value.len();
        match self.attempt(hash, key, seq_max, value) {
            Some(probe) => probe,
            None => self.attempt_again(hash, key, seq_max, value, start),
        }
    }

    #[cold]
    fn attempt_again(
        &self,
        hash: u64,
        key: &[u8],
        seq_max: u64,
        value: &mut Vec<u8>,
        start: usize,
    ) -> Probe {
        let mut patience = Patience::default();
        loop {
            patience.wait();
            value.truncate(start);
            if let Some(probe) = self.attempt(hash, key, seq_max, value) {
                return probe;
            }
        }
    }

    /// `None` if a writer came between.
    #[inline]
    fn attempt(&self, hash: u64, key: &[u8], seq_max: u64, value: &mut Vec<u8>) -> Option<Probe> {
        let index = self.table.home(hash);
        let home = self.table.bucket(index);
        let meta = home.meta(Ordering::Acquire);
        if meta.is_locked() {
            return None;
        }
        let sought = Sought {
            tag: tag(hash),
            key,
            seq_max,
        };
        let found = match self.look_in(home, &sought, value) {
            Look::Absent if meta.reach() != Some(0) => {
                self.look_beyond(index, meta, &sought, value)
            }
            look => look,
        };
        let probe = match found {
            Look::Found(probe) => probe,
            Look::Absent => {
                fence(Ordering::Acquire);
                Probe::Missing
            }
            Look::Torn => return None,
        };
        (home.meta(Ordering::Relaxed) == meta).then_some(probe)
    }

    /// Most keys lie in their home bucket.
    #[inline(never)]
    fn look_beyond(
        &self,
        index: usize,
        meta: Meta,
        sought: &Sought<'_>,
        value: &mut Vec<u8>,
    ) -> Look {
        for distance in 1..=self.reach(meta) {
            let bucket = self.table.bucket(self.table.after(index, distance));
            match self.look_in(bucket, sought, value) {
                Look::Absent => (),
                look => return look,
            }
        }
        Look::Absent
    }

    /// After anything but `Absent` an acquire fence has been passed.
    #[inline(always)]
    fn look_in(&self, bucket: &Bucket, sought: &Sought<'_>, value: &mut Vec<u8>) -> Look {
        let mut bits = bucket.matches(sought.tag);
        while bits != 0 {
            let i = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let slot = bucket.slot(i);
            let Some(addr) = slot.addr() else { continue };
            self.prefetch_record(addr);
            fence(Ordering::Acquire);
            let header = self.arena.header(addr);
            if !self.arena.has_key(addr, header, sought.key) {
                continue;
            }
            let probe = self.hit(addr, header, sought.seq_max, value);
            fence(Ordering::Acquire);
            let (Some(probe), true) = (probe, bucket.slot(i).same_place(slot)) else {
                return Look::Torn;
            };
            if !slot.is_referenced() {
                bucket.reference(i, slot);
            }
            return Look::Found(probe);
        }
        Look::Absent
    }

    #[inline]
    fn reach(&self, meta: Meta) -> usize {
        let all = self.table.bucket_count() - 1;
        meta.reach().unwrap_or(all).min(all)
    }

    #[inline]
    fn hit(&self, addr: Addr, header: Header, seq_max: u64, value: &mut Vec<u8>) -> Option<Probe> {
        if header.seq() > seq_max {
            return Some(Probe::Newer);
        }
        self.arena.copy_value(addr, header, value)?;
        Some(Probe::Hit {
            seq: header.seq(),
            kind: header.kind()?,
            deadline_ms: self.arena.deadline_ms(addr, header),
            addr,
        })
    }

    /// Probes for several keys, given with their hashes, so that their cache misses overlap. Each
    /// answer goes to `each` with its number and the value in an empty buffer, which may be taken.
    pub fn probe_batch(
        &self,
        keys: &[(u64, &[u8])],
        seq_max: u64,
        mut each: impl FnMut(usize, Probe, &mut Vec<u8>),
    ) {
        let mut value = Vec::new();
        for (window, keys) in keys.chunks(WINDOW).enumerate() {
            for &(hash, _) in keys {
                self.prefetch(hash);
            }
            for &(hash, _) in keys {
                self.prefetch_match(hash);
            }
            for (i, &(hash, key)) in keys.iter().enumerate() {
                value.clear();
                let probe = self.probe(hash, key, seq_max, &mut value);
                each(window * WINDOW + i, probe, &mut value);
            }
        }
    }

    /// Fetches the bucket of a key that will be asked for soon.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch(std::ptr::from_ref(self.table.bucket(self.table.home(hash))).cast());
    }

    /// Fetches the record that the key's home bucket seems to point at.
    #[inline]
    fn prefetch_match(&self, hash: u64) {
        let bucket = self.table.bucket(self.table.home(hash));
        let bits = bucket.matches(tag(hash));
        if bits != 0
            && let Some(addr) = bucket.slot(bits.trailing_zeros() as usize).addr()
        {
            prefetch(self.arena.pointer(addr));
            self.prefetch_record(addr);
        }
    }

    /// Fetches the lines after a record's first, where a common value lies: their addresses would
    /// otherwise wait for its length.
    #[inline]
    fn prefetch_record(&self, addr: Addr) {
        let first = self.arena.pointer(addr);
        prefetch(first.wrapping_add(64));
        prefetch(first.wrapping_add(128));
    }
}

struct Sought<'a> {
    tag: u16,
    key: &'a [u8],
    seq_max: u64,
}

/// What one bucket had, if the home bucket's version says that it was so.
enum Look {
    Found(Probe),
    /// A match that turned into something else under the reader's eyes.
    Torn,
    Absent,
}

/// Asks for a cache line early. Any address may be given.
#[inline]
pub(super) fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing as far as the program can tell, and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
