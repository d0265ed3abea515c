//! One zeroed allocation of a fixed size, never grown, moved or returned before its owner goes.
//!
//! It is asked for zeroed so that an operating system can commit it page by page on first touch, and
//! aligned to huge pages where it is large enough for one. Writing zeroes by hand would commit it all.

use std::alloc::{self, Layout};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU64};

use crate::{Error, ErrorKind, Result};

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Types for which all zero bits are a value, and which may be shared between threads.
///
/// # Safety
/// The implementor must be valid when every byte of it is zero, and need no drop.
pub(super) unsafe trait Zeroable: Sync {}

// SAFETY: an atomic integer has the representation of the integer.
unsafe impl Zeroable for AtomicU64 {}
// SAFETY: as above.
unsafe impl Zeroable for AtomicU16 {}

/// A slice of `T` that begins as zeroes.
pub(super) struct Region<T> {
    start: NonNull<T>,
    len: usize,
    allocation: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a Region owns its memory as a Box<[T]> would, and hands out only shared references.
unsafe impl<T: Zeroable + Send> Send for Region<T> {}
// SAFETY: as above; Zeroable implies Sync.
unsafe impl<T: Zeroable> Sync for Region<T> {}

impl<T: Zeroable> Region<T> {
    pub(super) fn new(len: usize) -> Result<Self> {
        let refused = || {
            let detail = format!("{len} times {} bytes cannot be had", size_of::<T>());
            Error::new(
                ErrorKind::Invalid,
                "allocating the hash table's memory",
                detail,
            )
        };
        let bytes = len.max(1).checked_mul(size_of::<T>()).ok_or_else(refused)?;
        let align = if bytes >= HUGE_PAGE_BYTES {
            HUGE_PAGE_BYTES
        } else {
            align_of::<T>()
        };
        // Aligned by hand: allocators answer large alignments by zeroing all pages themselves.
        let padded = bytes.checked_add(align).ok_or_else(refused)?;
        let layout = Layout::from_size_align(padded, align_of::<u64>()).map_err(|_| refused())?;
        // SAFETY: the layout is not empty: it holds at least one T and the alignment.
        let allocation =
            NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).ok_or_else(refused)?;
        let skip = allocation.as_ptr().align_offset(align);
        // SAFETY: `skip` is less than `align`, which was added to what the slice needs.
        let start = unsafe { allocation.add(skip) }.cast();
        Ok(Self {
            start,
            len,
            allocation,
            layout,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T> Deref for Region<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned and valid for `len` values, zeroed when allocated; only shared
        // references to them are ever made.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Region<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; nothing borrows the region any more.
        unsafe { alloc::dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_region_starts_on_a_huge_page_and_is_zero() {
        let region = Region::<AtomicU64>::new((4 << 20) / 8).unwrap();
        assert_eq!(region.as_ptr() as usize % HUGE_PAGE_BYTES, 0);
        assert!(
            region
                .iter()
                .all(|word| word.load(std::sync::atomic::Ordering::Relaxed) == 0)
        );
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        let error = Region::<AtomicU64>::new(usize::MAX / 16)
            .err()
            .map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::Invalid));
        assert!(Region::<AtomicU64>::new(usize::MAX / 2).is_err());
    }
}
