//! One cache line of the table: seven slots, and what locks, versions and describes them.
//!
//! A slot holds the record's tag (16 bits of the key's hash) and the record's address plus one; zero is
//! an empty slot. Version and spill belong to the keys *homed* here: the version changes with every change
//! to where they are, in whichever bucket that is. The marks of slots read of late are hints: they are
//! loaded and stored without regard to others who do so, as a locked instruction in the midst of a probe
//! would cost more than a lost mark.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use super::layout::Addr;
use super::region::Zeroable;

pub(super) const SLOTS: usize = 7;

const ADDR_BITS: u32 = 48;
const ADDR: u64 = (1 << ADDR_BITS) - 1;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    pub(super) fn new(tag: u16, addr: Addr) -> Self {
        Self(u64::from(tag) << ADDR_BITS | (addr.raw() + 1))
    }

    #[inline]
    pub(super) fn addr(self) -> Option<Addr> {
        Some(Addr::from_raw((self.0 & ADDR).checked_sub(1)?))
    }
}

/// A bucket's version: odd while locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u32);

impl Version {
    #[inline]
    pub(super) fn is_locked(self) -> bool {
        self.0 & 1 != 0
    }
}

/// How many keys homed in a bucket lie in later ones (low byte), and how many buckets on the furthest
/// of them lies, at most (high byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spill(u16);

impl Spill {
    const COUNT_MAX: u8 = u8::MAX;
    /// Stands for "anywhere".
    const REACH_MAX: u8 = u8::MAX;

    fn parts(self) -> (u8, u8) {
        let [count, reach] = self.0.to_le_bytes();
        (count, reach)
    }

    fn new(count: u8, reach: u8) -> Self {
        Self(u16::from_le_bytes([count, reach]))
    }

    #[inline]
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// How many buckets after the home one have to be searched; `None` for all.
    #[inline]
    pub(super) fn reach(self) -> Option<usize> {
        let (_, reach) = self.parts();
        (reach != Self::REACH_MAX).then_some(usize::from(reach))
    }

    /// A key homed here was put `distance` buckets on.
    pub(super) fn displaced(self, distance: usize) -> Self {
        let (count, reach) = self.parts();
        let distance = u8::try_from(distance).unwrap_or(Self::REACH_MAX);
        Self::new(count.saturating_add(1), reach.max(distance))
    }

    /// A key homed here that lay in a later bucket is gone.
    pub(super) fn returned(self) -> Self {
        match self.parts() {
            // Once full, the count is not known any more.
            (Self::COUNT_MAX, _) => self,
            (0 | 1, _) => Self::new(0, 0),
            (count, reach) => Self::new(count - 1, reach),
        }
    }
}

/// One cache line.
#[repr(C, align(64))]
pub(super) struct Bucket {
    version: AtomicU32,
    spill: AtomicU16,
    /// One bit a slot.
    referenced: AtomicU8,
    slots: [AtomicU64; SLOTS],
}

// SAFETY: all zeroes is an unlocked bucket of empty slots.
unsafe impl Zeroable for Bucket {}

impl Bucket {
    #[inline]
    pub(super) fn version(&self, ordering: Ordering) -> Version {
        Version(self.version.load(ordering))
    }

    #[inline]
    pub(super) fn spill(&self) -> Spill {
        Spill(self.spill.load(Ordering::Relaxed))
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
            bits |= u32::from((word >> ADDR_BITS) as u16 == tag) << i;
        }
        bits
    }

    /// Whether the slot was read of late.
    pub(super) fn is_referenced(&self, i: usize) -> bool {
        self.referenced.load(Ordering::Relaxed) >> i & 1 != 0
    }

    /// Marks the slot as read of late, or not.
    #[inline]
    pub(super) fn reference(&self, i: usize, yes: bool) {
        let old = self.referenced.load(Ordering::Relaxed);
        let new = old & !(1 << i) | u8::from(yes) << i;
        if new != old {
            self.referenced.store(new, Ordering::Relaxed);
        }
    }

    /// Fills an empty slot, any.
    pub(super) fn claim(&self, slot: Slot) -> bool {
        for (i, empty) in self.slots.iter().enumerate() {
            if empty.load(Ordering::Relaxed) == 0
                && empty
                    .compare_exchange(0, slot.0, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
            {
                self.reference(i, false);
                return true;
            }
        }
        false
    }

    /// Sets a slot of a key whose home bucket is locked. `None` empties it.
    pub(super) fn set(&self, i: usize, slot: Option<Slot>) {
        let word = slot.map_or(0, |slot| slot.0);
        self.slots[i].store(word, Ordering::Release);
    }

    /// Locks the keys homed here against other writers; readers wait or try again.
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut patience = Patience::default();
        loop {
            let old = self.version(Ordering::Relaxed);
            let locked = Version(old.0 | 1);
            if !old.is_locked()
                && self
                    .version
                    .compare_exchange_weak(old.0, locked.0, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                // Who sees one of the stores that follow, sees the lock.
                fence(Ordering::Release);
                return Locked {
                    bucket: self,
                    version: locked,
                    spill: self.spill(),
                };
            }
            patience.wait();
        }
    }
}

/// A home bucket that this writer has locked; unlocks, with a new version, when dropped.
pub(super) struct Locked<'a> {
    bucket: &'a Bucket,
    version: Version,
    pub(super) spill: Spill,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.bucket.spill.store(self.spill.0, Ordering::Relaxed);
        let version = self.version.0.wrapping_add(1);
        self.bucket.version.store(version, Ordering::Release);
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
    fn spill_counts_displaced_keys_and_forgets_the_reach_with_the_last() {
        let spill = Spill(0).displaced(3).displaced(1);
        assert_eq!((spill.parts().0, spill.reach()), (2, Some(3)));
        let spill = spill.returned();
        assert_eq!((spill.parts().0, spill.reach()), (1, Some(3)));
        assert!(spill.returned().is_none());
        assert_eq!(spill.displaced(1 << 20).reach(), None);
    }

    #[test]
    fn a_spill_that_was_once_too_many_to_count_is_never_forgotten() {
        let mut spill = Spill(0);
        for _ in 0..300 {
            spill = spill.displaced(2);
        }
        for _ in 0..300 {
            spill = spill.returned();
        }
        assert_eq!(spill.reach(), Some(2));
    }

    #[test]
    fn the_version_wraps() {
        let bucket = Bucket {
            version: AtomicU32::new(u32::MAX - 1),
            spill: AtomicU16::new(0),
            referenced: AtomicU8::new(0),
            slots: Default::default(),
        };
        drop(bucket.lock());
        assert_eq!(bucket.version(Ordering::Relaxed), Version(0));
    }
}
