//! How a record lies in words of eight bytes: `seq << 8 | kind`; lengths and flags; the deadline if there
//! is one; the key, padded with zeroes; the value, padded. Bytes keep their order in memory, so what does
//! not change any more can be borrowed as a slice.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::{Kind, Record};

/// Where a record lies: counted in words from the arena's start. Below 2^46.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr(u64);

impl Addr {
    pub(super) fn new(index: usize) -> Self {
        Self(index as u64)
    }

    pub(super) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number behind it, for whoever packs addresses.
    pub fn raw(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        // Made from an index, so it fits one.
        self.0 as usize
    }
}

const HAS_DEADLINE: u64 = 1 << 48;
/// The first two words of a record, which say how long it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) seq_and_kind: u64,
    pub(super) lengths: u64,
}

impl Header {
    pub(super) fn of(record: &Record<'_>) -> Self {
        let flags = if record.deadline_ms == 0 {
            0
        } else {
            HAS_DEADLINE
        };
        Self {
            seq_and_kind: record.seq << 8 | record.kind as u64,
            lengths: record.value.len() as u64 | (record.key.len() as u64) << 32 | flags,
        }
    }

    #[inline]
    pub(super) fn seq(self) -> u64 {
        self.seq_and_kind >> 8
    }

    /// `None` only for the nonsense of a race.
    #[inline]
    pub(super) fn kind(self) -> Option<Kind> {
        Kind::from_u8(self.seq_and_kind as u8)
    }

    #[inline]
    pub(super) fn key_len(self) -> usize {
        usize::from((self.lengths >> 32) as u16)
    }

    #[inline]
    pub(super) fn value_len(self) -> usize {
        self.lengths as u32 as usize
    }

    #[inline]
    pub(super) fn has_deadline(self) -> bool {
        self.lengths & HAS_DEADLINE != 0
    }

    #[inline]
    pub(super) fn key_at(self) -> usize {
        2 + usize::from(self.has_deadline())
    }

    #[inline]
    pub(super) fn value_at(self) -> usize {
        self.key_at() + self.key_len().div_ceil(8)
    }

    /// The whole record's length in words.
    #[inline]
    pub(super) fn words(self) -> usize {
        self.value_at() + self.value_len().div_ceil(8)
    }
}

/// Up to eight bytes as a word, padded with zeroes. Words keep bytes in memory's order.
#[inline]
pub(super) fn padded(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

pub(super) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        words[whole.len()].store(padded(rest), Ordering::Relaxed);
    }
}

#[inline]
pub(super) fn load_bytes(words: &[AtomicU64], len: usize, out: &mut Vec<u8>) {
    let words = &words[..len.div_ceil(8)];
    out.reserve_exact(len);
    let start = out.len();
    let (whole, rest) = (len / 8, len % 8);
    let load = |i: usize| words[i].load(Ordering::Relaxed);
    // SAFETY: `len` bytes behind `start` are reserved, and all of them are written before the length
    // is set: eight by each whole word, `rest` by the last.
    unsafe {
        let to = out.as_mut_ptr().add(start);
        for (i, word) in words[..whole].iter().enumerate() {
            let word = word.load(Ordering::Relaxed);
            to.add(i * 8).cast::<u64>().write_unaligned(word);
        }
        if rest != 0 && whole != 0 {
            // The last eight bytes lie across two words: one store, where a copy would be a call.
            let (low, high) = (u64::from_le(load(whole - 1)), u64::from_le(load(whole)));
            let word = low >> (8 * rest) | high << (64 - 8 * rest);
            to.add(len - 8).cast::<u64>().write_unaligned(word.to_le());
        } else if rest != 0 {
            let word = load(0).to_ne_bytes();
            std::ptr::copy_nonoverlapping(word.as_ptr(), to, rest);
        }
        out.set_len(start + len);
    }
}
