//! The arena: records laid out in fixed chunks of atomic words.
//!
//! A record is one piece of 8-byte words: `seq << 8 | kind`; lengths and flags; the deadline if there is
//! one; the key, padded with zeroes; the value, padded. Every access is atomic, so a reader that races
//! with the reuse of a chunk reads nonsense, never undefined behaviour; whoever reads without holding the
//! record in place must check afterwards (see the parent module) and must not trust a length before.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use super::region::Region;
use crate::record::{KEY_BYTES_MAX, Kind, Record, SEQ_MAX};
use crate::{Error, ErrorKind, Result};

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
    fn index(self) -> usize {
        // Made from an index, so it fits one.
        self.0 as usize
    }
}

const HAS_DEADLINE: u64 = 1 << 48;
/// In [`Chunk::live`]: the chunk belongs to a memtable.
const OWNED: u32 = 1 << 31;

/// The first two words of a record, which say how long it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    seq_and_kind: u64,
    lengths: u64,
}

impl Header {
    fn of(record: &Record<'_>) -> Self {
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
    fn value_len(self) -> usize {
        self.lengths as u32 as usize
    }

    #[inline]
    fn has_deadline(self) -> bool {
        self.lengths & HAS_DEADLINE != 0
    }

    #[inline]
    fn key_at(self) -> usize {
        2 + usize::from(self.has_deadline())
    }

    #[inline]
    fn value_at(self) -> usize {
        self.key_at() + self.key_len().div_ceil(8)
    }

    /// The whole record's length in words.
    #[inline]
    pub(super) fn words(self) -> usize {
        self.value_at() + self.value_len().div_ceil(8)
    }
}

/// What is known of one chunk beside its contents.
pub(super) struct Chunk {
    /// The set that owns it; 0 for none. Only compared.
    owner: AtomicU64,
    /// Words written so far.
    used: AtomicUsize,
    /// How many slots of the table may point here, and [`OWNED`].
    live: AtomicU32,
}

pub(super) struct Arena {
    words: Region<AtomicU64>,
    chunks: Box<[Chunk]>,
    chunk_shift: u32,
    /// Records in owned chunks that a slot points at, or will.
    dirty: AtomicUsize,
}

impl Arena {
    pub(super) fn new(arena_bytes: usize, chunk_bytes: usize) -> Result<Self> {
        let chunk_words = chunk_bytes / 8;
        let count = arena_bytes / chunk_bytes;
        if u32::try_from(count).is_err() {
            let detail = format!("{arena_bytes} bytes are more than can be addressed");
            return Err(Error::new(
                ErrorKind::Invalid,
                "allocating the arena",
                detail,
            ));
        }
        let chunk = |_| Chunk {
            owner: AtomicU64::new(0),
            used: AtomicUsize::new(0),
            live: AtomicU32::new(0),
        };
        Ok(Self {
            words: Region::new(count * chunk_words)?,
            chunks: (0..count).map(chunk).collect(),
            chunk_shift: chunk_words.ilog2(),
            dirty: AtomicUsize::new(0),
        })
    }

    pub(super) fn region(&self) -> (*const u8, usize) {
        (self.words.as_ptr().cast(), self.words.bytes())
    }

    pub(super) fn chunk_count(&self) -> u32 {
        self.chunks.len() as u32
    }

    pub(super) fn chunk_words(&self) -> usize {
        1 << self.chunk_shift
    }

    pub(super) fn dirty(&self) -> usize {
        self.dirty.load(Ordering::Relaxed)
    }

    /// The words this record takes, or `None` if no chunk can hold it.
    pub(super) fn words_of(&self, record: &Record<'_>) -> Option<usize> {
        if record.key.len() > KEY_BYTES_MAX || record.seq > SEQ_MAX {
            return None;
        }
        if u32::try_from(record.value.len()).is_err() {
            return None;
        }
        let words = Header::of(record).words();
        (words <= self.chunk_words()).then_some(words)
    }

    fn chunk_of(&self, addr: Addr) -> &Chunk {
        &self.chunks[addr.index() >> self.chunk_shift]
    }

    /// Takes a chunk over, emptied. No slot may point into it.
    pub(super) fn start(&self, chunk: u32, owner: Option<u64>) {
        let chunk = &self.chunks[chunk as usize];
        chunk.used.store(0, Ordering::Relaxed);
        chunk.owner.store(owner.unwrap_or(0), Ordering::Relaxed);
        let live = if owner.is_some() { OWNED } else { 0 };
        chunk.live.store(live, Ordering::Relaxed);
    }

    /// Ends a chunk's ownership. Answers whether it holds any record.
    pub(super) fn disown(&self, chunk: u32) -> bool {
        let chunk = &self.chunks[chunk as usize];
        chunk.owner.store(0, Ordering::Relaxed);
        let live = chunk.live.fetch_and(!OWNED, Ordering::AcqRel) & !OWNED;
        self.dirty.fetch_sub(live as usize, Ordering::Relaxed);
        chunk.used.load(Ordering::Relaxed) != 0
    }

    /// Whether any slot may still point into the chunk.
    pub(super) fn is_live(&self, chunk: u32) -> bool {
        self.chunks[chunk as usize].live.load(Ordering::Acquire) & !OWNED != 0
    }

    /// Words left in a chunk.
    pub(super) fn room(&self, chunk: u32) -> usize {
        self.chunk_words() - self.used(chunk)
    }

    /// Words written to a chunk.
    pub(super) fn used(&self, chunk: u32) -> usize {
        self.chunks[chunk as usize].used.load(Ordering::Acquire)
    }

    /// Writes a record behind the chunk's last and counts the slot that will point at it. Only the
    /// one writer of the chunk calls this, and only if `words` (the record's) are left.
    pub(super) fn append(&self, chunk: u32, record: &Record<'_>, words: usize) -> Addr {
        let (addr, slots) = self.begin(chunk, words);
        let header = Header::of(record);
        slots[0].store(header.seq_and_kind, Ordering::Relaxed);
        slots[1].store(header.lengths, Ordering::Relaxed);
        if header.has_deadline() {
            slots[2].store(record.deadline_ms, Ordering::Relaxed);
        }
        store_bytes(&slots[header.key_at()..], record.key);
        store_bytes(&slots[header.value_at()..], record.value);
        self.finish(chunk, words);
        addr
    }

    /// Copies a record that stays in place meanwhile, as [`Self::append`] would write it.
    pub(super) fn append_copy(&self, chunk: u32, from: Addr, words: usize) -> Addr {
        let (addr, slots) = self.begin(chunk, words);
        for (to, from) in slots.iter().zip(&self.words[from.index()..]) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.finish(chunk, words);
        addr
    }

    fn begin(&self, chunk: u32, words: usize) -> (Addr, &[AtomicU64]) {
        let used = self.chunks[chunk as usize].used.load(Ordering::Relaxed);
        let index = ((chunk as usize) << self.chunk_shift) + used;
        // Whoever still reads what lay here before and sees a new word, sees the new versions too.
        fence(Ordering::Release);
        (Addr::new(index), &self.words[index..index + words])
    }

    fn finish(&self, chunk: u32, words: usize) {
        let chunk = &self.chunks[chunk as usize];
        let used = chunk.used.load(Ordering::Relaxed);
        if chunk.live.fetch_add(1, Ordering::Relaxed) & OWNED != 0 {
            self.dirty.fetch_add(1, Ordering::Relaxed);
        }
        chunk.used.store(used + words, Ordering::Release);
    }

    /// Takes back the chunk's last record, which no slot ever pointed at.
    pub(super) fn take_back(&self, chunk: u32, words: usize) {
        let chunk = &self.chunks[chunk as usize];
        chunk.used.fetch_sub(words, Ordering::Relaxed);
        chunk.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that the slot that pointed at `addr` does so no more. Call it with the bucket still
    /// locked: eviction locks the same bucket before the chunk is used anew.
    pub(super) fn unlink(&self, addr: Addr) {
        if self.chunk_of(addr).live.fetch_sub(1, Ordering::AcqRel) & OWNED != 0 {
            self.dirty.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The records of a chunk that is not reused meanwhile, in the order of writing.
    pub(super) fn walk(&self, chunk: u32) -> impl Iterator<Item = (Addr, Header)> + '_ {
        let start = (chunk as usize) << self.chunk_shift;
        let end = start + self.used(chunk);
        let mut at = start;
        std::iter::from_fn(move || {
            let addr = Addr::new(at);
            let header = (at < end).then(|| self.header(addr))?;
            at += header.words();
            Some((addr, header))
        })
    }

    /// Where the record's words are, for a prefetch.
    #[inline]
    pub(super) fn pointer(&self, addr: Addr) -> *const u8 {
        self.words.as_ptr().wrapping_add(addr.index()).cast()
    }

    #[inline]
    pub(super) fn header(&self, addr: Addr) -> Header {
        Header {
            seq_and_kind: self.words[addr.index()].load(Ordering::Relaxed),
            lengths: self.words[addr.index() + 1].load(Ordering::Relaxed),
        }
    }

    /// The words of the record, unless they cannot be: it would leave its chunk.
    #[inline]
    fn record_words(&self, addr: Addr, header: Header) -> Option<&[AtomicU64]> {
        let offset = addr.index() & (self.chunk_words() - 1);
        let words = header.words();
        if words > self.chunk_words() - offset {
            return None;
        }
        self.words.get(addr.index()..addr.index() + words)
    }

    /// Whether the record's key is `key`.
    #[inline]
    pub(super) fn has_key(&self, addr: Addr, header: Header, key: &[u8]) -> bool {
        if header.key_len() != key.len() {
            return false;
        }
        let Some(words) = self.record_words(addr, header) else {
            return false;
        };
        let (whole, rest) = key.as_chunks::<8>();
        let words = &words[header.key_at()..];
        let (head, tail) = words.split_at(whole.len());
        let equal = head
            .iter()
            .zip(whole)
            .all(|(word, bytes)| word.load(Ordering::Relaxed) == u64::from_ne_bytes(*bytes));
        equal && (rest.is_empty() || tail[0].load(Ordering::Relaxed) == padded(rest))
    }

    /// Whether the record at `other`, which may change meanwhile, has the same key as the one at
    /// `addr`, which does not.
    pub(super) fn same_key(&self, addr: Addr, header: Header, other: Addr) -> bool {
        let theirs = self.header(other);
        if theirs.key_len() != header.key_len() {
            return false;
        }
        let (Some(ours), Some(words)) = (
            self.record_words(addr, header),
            self.record_words(other, theirs),
        ) else {
            return false;
        };
        // Padding is zero, so whole words compare.
        let ours = &ours[header.key_at()..header.value_at()];
        let words = &words[theirs.key_at()..theirs.value_at()];
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        ours.iter().map(load).eq(words.iter().map(load))
    }

    #[inline]
    pub(super) fn deadline_ms(&self, addr: Addr, header: Header) -> u64 {
        match self.words.get(addr.index() + 2) {
            Some(word) if header.has_deadline() => word.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    /// Appends the record's value to `out`; `None` if the record cannot be one.
    #[inline]
    pub(super) fn copy_value(&self, addr: Addr, header: Header, out: &mut Vec<u8>) -> Option<()> {
        let words = self.record_words(addr, header)?;
        load_bytes(&words[header.value_at()..], header.value_len(), out);
        Some(())
    }

    /// Replaces what is in `out` by the record's key.
    pub(super) fn copy_key(&self, addr: Addr, header: Header, out: &mut Vec<u8>) {
        out.clear();
        if let Some(words) = self.record_words(addr, header) {
            load_bytes(&words[header.key_at()..], header.key_len(), out);
        }
    }

    /// The record at `addr`, in place. Panics unless `owner`, which is not 0, owns the chunk and the
    /// record was written.
    ///
    /// # Safety
    /// The owner must keep the chunk for as long as the record is borrowed.
    pub(super) unsafe fn record(&self, addr: Addr, owner: u64) -> Record<'_> {
        let chunk = self.chunk_of(addr);
        let used = chunk.used.load(Ordering::Acquire);
        let header = self.header(addr);
        let offset = addr.index() & (self.chunk_words() - 1);
        assert!(
            chunk.owner.load(Ordering::Relaxed) == owner && offset + header.words() <= used,
            "a record is asked of a set that does not own it"
        );
        let start = self.pointer(addr);
        // SAFETY: the words up to `used` of an owned chunk were written before `used` was stored and
        // do not change while it is owned, which the caller sees to; atomic words are plain bytes.
        let bytes =
            |at: usize, len: usize| unsafe { std::slice::from_raw_parts(start.add(at * 8), len) };
        Record {
            key: bytes(header.key_at(), header.key_len()),
            seq: header.seq(),
            kind: header.kind().unwrap_or(Kind::Delete),
            deadline_ms: self.deadline_ms(addr, header),
            value: bytes(header.value_at(), header.value_len()),
        }
    }
}

/// Up to eight bytes as a word, padded with zeroes. Words keep bytes in memory's order.
#[inline]
fn padded(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        words[whole.len()].store(padded(rest), Ordering::Relaxed);
    }
}

#[inline]
fn load_bytes(words: &[AtomicU64], len: usize, out: &mut Vec<u8>) {
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
