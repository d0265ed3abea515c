//! One cache line of the table: seven slots, and a word that locks, versions and describes them.
//!
//! A slot holds the record's tag (16 bits of the key's hash), whether it was read of late, and the
//! record's address plus one; zero is an empty slot. The meta word belongs to the keys *homed* here: its
//! version changes with every change to where they are, in whichever bucket that is.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::arena::Addr;
use super::region::Zeroable;

pub(super) const SLOTS: usize = 7;

const ADDR_BITS: u32 = 47;
const ADDR: u64 = (1 << ADDR_BITS) - 1;
const REFERENCED: u64 = 1 << ADDR_BITS;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    pub(super) fn new(tag: u16, addr: Addr) -> Self {
        Self(u64::from(tag) << 48 | (addr.raw() + 1))
    }

    #[inline]
    pub(super) fn addr(self) -> Option<Addr> {
        Some(Addr::from_raw((self.0 & ADDR).checked_sub(1)?))
    }

    #[inline]
    pub(super) fn is_referenced(self) -> bool {
        self.0 & REFERENCED != 0
    }

    pub(super) fn referenced(self, yes: bool) -> Self {
        Self(if yes {
            self.0 | REFERENCED
        } else {
            self.0 & !REFERENCED
        })
    }

    #[inline]
    pub(super) fn same_place(self, other: Self) -> bool {
        (self.0 ^ other.0) & !REFERENCED == 0
    }
}

/// The meta word: version (32 bits, odd while locked), how many keys homed here lie in later buckets
/// (16 bits), and how many buckets on the furthest of them lies, at most (16 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta(u64);

impl Meta {
    const VERSION: u64 = 0xffff_ffff;
    const COUNT_MAX: u64 = 0xffff;
    /// Stands for "anywhere".
    const REACH_MAX: u64 = 0xffff;

    #[inline]
    pub(super) fn is_locked(self) -> bool {
        self.0 & 1 != 0
    }

    fn count(self) -> u64 {
        self.0 >> 32 & Self::COUNT_MAX
    }

    /// How many buckets after the home one have to be searched; `None` for all.
    #[inline]
    pub(super) fn reach(self) -> Option<usize> {
        let reach = self.0 >> 48;
        (reach != Self::REACH_MAX).then_some(reach as usize)
    }

    fn with(self, count: u64, reach: u64) -> Self {
        Self(self.0 & Self::VERSION | count << 32 | reach << 48)
    }

    /// A key homed here was put `distance` buckets on.
    pub(super) fn displaced(self, distance: usize) -> Self {
        let distance = (distance as u64).min(Self::REACH_MAX);
        let count = (self.count() + 1).min(Self::COUNT_MAX);
        self.with(count, (self.0 >> 48).max(distance))
    }

    /// A key homed here that lay in a later bucket is gone.
    pub(super) fn returned(self) -> Self {
        match self.count() {
            // Once full, the count is not known any more.
            Self::COUNT_MAX | 0 => self,
            1 => self.with(0, 0),
            count => self.with(count - 1, self.0 >> 48),
        }
    }
}

/// One cache line.
#[repr(C, align(64))]
pub(super) struct Bucket {
    meta: AtomicU64,
    slots: [AtomicU64; SLOTS],
}

// SAFETY: all zeroes is an unlocked bucket of empty slots.
unsafe impl Zeroable for Bucket {}

impl Bucket {
    #[inline]
    pub(super) fn meta(&self, ordering: Ordering) -> Meta {
        Meta(self.meta.load(ordering))
    }

    #[inline]
    pub(super) fn slot(&self, i: usize) -> Slot {
        Slot(self.slots[i].load(Ordering::Relaxed))
    }

    /// The slots that bear the tag, as bits.
    #[inline]
    pub(super) fn matches(&self, tag: u16) -> u32 {
        let mut bits = 0;
        for (i, slot) in self.slots.iter().enumerate() {
            let word = slot.load(Ordering::Relaxed);
            bits |= u32::from((word >> 48) as u16 == tag) << i;
        }
        bits
    }

    /// Marks the slot as read of late, if it still is what it was.
    #[inline]
    pub(super) fn reference(&self, i: usize, slot: Slot) {
        // Losing the race loses a hint.
        let _ = self.slots[i].compare_exchange(
            slot.0,
            slot.referenced(true).0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Fills an empty slot, any.
    pub(super) fn claim(&self, slot: Slot) -> bool {
        self.slots.iter().any(|empty| {
            empty.load(Ordering::Relaxed) == 0
                && empty
                    .compare_exchange(0, slot.0, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
        })
    }

    /// Sets a slot of a key whose home bucket is locked. `None` empties it. Answers what it was: only
    /// the mark of being read can have changed meanwhile.
    pub(super) fn set(&self, i: usize, slot: Option<Slot>) -> Slot {
        let word = slot.map_or(0, |slot| slot.0);
        Slot(self.slots[i].swap(word, Ordering::AcqRel))
    }

    /// Locks the keys homed here against other writers; readers wait or try again.
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut patience = Patience::default();
        loop {
            let meta = self.meta(Ordering::Relaxed);
            if !meta.is_locked()
                && self
                    .meta
                    .compare_exchange_weak(meta.0, meta.0 | 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                // Who sees one of the stores that follow, sees the lock.
                fence(Ordering::Release);
                return Locked {
                    bucket: self,
                    meta: Meta(meta.0 | 1),
                };
            }
            patience.wait();
        }
    }
}

/// A home bucket that this writer has locked; unlocks, with a new version, when dropped.
pub(super) struct Locked<'a> {
    bucket: &'a Bucket,
    pub(super) meta: Meta,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let version = (self.meta.0 as u32).wrapping_add(1);
        let meta = self.meta.0 & !Meta::VERSION | u64::from(version);
        self.bucket.meta.store(meta, Ordering::Release);
    }
}

/// Waiting for someone who holds a lock for some tens of nanoseconds, unless it was put to sleep.
#[derive(Default)]
pub(super) struct Patience(u32);

impl Patience {
    #[cold]
    pub(super) fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(64) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_one_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }

    #[test]
    fn meta_counts_displaced_keys_and_forgets_the_reach_with_the_last() {
        let meta = Meta(6).displaced(3).displaced(1);
        assert_eq!((meta.count(), meta.reach()), (2, Some(3)));
        let meta = meta.returned();
        assert_eq!((meta.count(), meta.reach()), (1, Some(3)));
        assert_eq!(meta.returned(), Meta(6));
        assert_eq!(meta.displaced(1 << 20).reach(), None);
    }

    #[test]
    fn the_version_wraps_without_touching_the_rest() {
        let bucket = Bucket {
            meta: AtomicU64::new(0x0002_0001_ffff_fffe),
            slots: Default::default(),
        };
        drop(bucket.lock());
        assert_eq!(bucket.meta(Ordering::Relaxed).0, 0x0002_0001_0000_0000);
    }
}
