//! The table: buckets, found by the upper half of a key's hash and searched onwards from there.
//!
//! A key lies in its home bucket or in a later one, and stays in its slot until it is removed. Whoever
//! changes where a key is holds its home bucket's lock; empty slots of other buckets are claimed by
//! compare-and-swap. So readers have one version to check, the home bucket's.

use std::sync::atomic::{AtomicUsize, Ordering, fence};

use super::arena::Addr;
use super::bucket::{Bucket, Locked, SLOTS, Slot};
use super::region::Region;
use crate::Result;

pub(super) struct Table {
    buckets: Region<Bucket>,
    used: AtomicUsize,
}

/// A slot found, and what it held.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) bucket: usize,
    pub(super) slot: usize,
    pub(super) held: Slot,
}

/// The home bucket of a key, locked.
pub(super) struct Home<'a> {
    table: &'a Table,
    index: usize,
    tag: u16,
    locked: Locked<'a>,
}

#[inline]
pub(super) fn tag(hash: u64) -> u16 {
    hash as u16
}

impl Table {
    pub(super) fn new(buckets: usize) -> Result<Self> {
        Ok(Self {
            buckets: Region::new(buckets)?,
            used: AtomicUsize::new(0),
        })
    }

    pub(super) fn region(&self) -> (*const u8, usize) {
        (self.buckets.as_ptr().cast(), self.buckets.bytes())
    }

    pub(super) fn slots(&self) -> usize {
        self.buckets.len() * SLOTS
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        // The number of buckets fits 32 bits, so the product's upper half is below it.
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    pub(super) fn bucket(&self, index: usize) -> &Bucket {
        &self.buckets[index]
    }

    /// The bucket `distance` after `index`, around the end.
    #[inline]
    pub(super) fn after(&self, index: usize, distance: usize) -> usize {
        let sum = index + distance;
        if sum < self.buckets.len() {
            sum
        } else {
            sum - self.buckets.len()
        }
    }

    pub(super) fn lock(&self, hash: u64) -> Home<'_> {
        let index = self.home(hash);
        Home {
            table: self,
            index,
            tag: tag(hash),
            locked: self.bucket(index).lock(),
        }
    }
}

impl Home<'_> {
    /// The slot of this tag for which `is_it` holds.
    ///
    /// A slot of the same tag that belongs to another home may change meanwhile, and the bytes it
    /// leads to may come to look like this key's; a slot that has not changed after the look is no such.
    pub(super) fn find(&self, is_it: impl Fn(Addr) -> bool) -> Option<Found> {
        let all = self.table.buckets.len() - 1;
        let reach = self.locked.meta.reach().unwrap_or(all).min(all);
        for distance in 0..=reach {
            let index = self.table.after(self.index, distance);
            let bucket = self.table.bucket(index);
            let mut bits = bucket.matches(self.tag);
            while bits != 0 {
                let slot = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let held = bucket.slot(slot);
                fence(Ordering::Acquire);
                if !held.addr().is_some_and(&is_it) {
                    continue;
                }
                fence(Ordering::Acquire);
                if bucket.slot(slot).same_place(held) {
                    return Some(Found {
                        bucket: index,
                        slot,
                        held,
                    });
                }
            }
        }
        None
    }

    /// Points a slot elsewhere.
    pub(super) fn redirect(&self, found: Found, addr: Addr, referenced: bool) {
        let slot = Slot::new(self.tag, addr).referenced(referenced);
        self.table.bucket(found.bucket).set(found.slot, Some(slot));
    }

    /// Empties a slot.
    pub(super) fn remove(&mut self, found: Found) {
        self.table.bucket(found.bucket).set(found.slot, None);
        if found.bucket != self.index {
            self.locked.meta = self.locked.meta.returned();
        }
        self.table.used.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds a slot for a key that has none. False only if every slot of the table is taken.
    pub(super) fn insert(&mut self, addr: Addr) -> bool {
        let slot = Slot::new(self.tag, addr);
        for distance in 0..self.table.buckets.len() {
            let index = self.table.after(self.index, distance);
            if self.table.bucket(index).claim(slot) {
                if distance != 0 {
                    self.locked.meta = self.locked.meta.displaced(distance);
                }
                self.table.used.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }
}
