//! A block of entries: what data blocks and both levels of the index are made of.
//!
//! ```text
//! block = entries | restart offset u32 (each) | number of restarts u32
//! entry = shared varint | unshared varint | flags u8 | seq varint | [deadline_ms varint]
//!         | value length varint | key suffix | value
//!   shared    bytes that the key has in common with the key before it; 0 at a restart
//!   unshared  length of the key suffix, the rest of the key
//!   flags     bits 0-1: kind (0 delete, 1 put, 2 value apart); bit 7: a deadline follows; others 0
//! ```
//!
//! Entries lie in order of (key ascending, seq descending). Every sixteenth entry of a data block is a
//! restart: it holds its whole key, so a search bisects the restarts and walks at most one interval.
//! A block with no entries has no restarts. Nothing here panics on, or allocates for, bytes that are not
//! a block.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use super::Damage;
use crate::codec::{Decoder, put_varint};
use crate::record::{KEY_BYTES_MAX, Kind, Record, SEQ_MAX};

/// The largest head of an entry: four varints of at most ten bytes, one of three and the flags.
pub(crate) const ENTRY_HEAD_BYTES_MAX: usize = 48;

const KIND_MASK: u8 = 0b11;
const HAS_DEADLINE: u8 = 0x80;

const OUT_OF_BOUNDS: Damage = Damage("entry runs out of its block");

/// Builds one block after another in the same buffers.
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    interval: u32,
    since_restart: u32,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn new(restart_interval: u32) -> Self {
        Self {
            bytes: Vec::new(),
            restarts: Vec::new(),
            interval: restart_interval,
            since_restart: restart_interval,
            last_key: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// Bytes of the block if it were finished now.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    /// The key of the last entry, of this block or, when it is empty, of the one before.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Adds an entry whose key has `common` leading bytes in common with [`Self::last_key`]. The
    /// caller keeps the order and the limits.
    pub(crate) fn push(&mut self, record: &Record<'_>, common: usize) {
        let shared = if self.since_restart == self.interval {
            self.restarts.push(self.bytes.len() as u32);
            self.since_restart = 0;
            0
        } else {
            common
        };
        self.since_restart += 1;
        let suffix = &record.key[shared..];
        let out = &mut self.bytes;
        out.reserve(ENTRY_HEAD_BYTES_MAX + suffix.len() + record.value.len());
        put_varint(out, shared as u64);
        put_varint(out, suffix.len() as u64);
        let has_deadline = record.deadline_ms != 0;
        out.push(record.kind as u8 | if has_deadline { HAS_DEADLINE } else { 0 });
        put_varint(out, record.seq);
        if has_deadline {
            put_varint(out, record.deadline_ms);
        }
        put_varint(out, record.value.len() as u64);
        out.extend_from_slice(suffix);
        out.extend_from_slice(record.value);
        self.last_key.truncate(common);
        self.last_key.extend_from_slice(&record.key[common..]);
    }

    /// Completes the block. The next [`Self::clear`] begins another.
    pub(crate) fn finish(&mut self) -> &mut Vec<u8> {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        let count = self.restarts.len() as u32;
        self.bytes.extend_from_slice(&count.to_le_bytes());
        &mut self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.restarts.clear();
        self.since_restart = self.interval;
    }
}

/// How many leading bytes two keys have in common.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut common = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let x = u64::from_le_bytes(x.try_into().expect("chunks of eight"));
        let y = u64::from_le_bytes(y.try_into().expect("chunks of eight"));
        if x != y {
            return common + ((x ^ y).trailing_zeros() / 8) as usize;
        }
        common += 8;
    }
    let rest = a[common..].iter().zip(&b[common..]);
    common + rest.take_while(|(x, y)| x == y).count()
}

/// The varint at `at`, which moves behind it. Up to eight bytes are gathered from one word, without a loop:
/// sequence numbers take three to five, and every step of a search decodes one.
#[inline(always)]
fn varint_at(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let rest = bytes.get(*at..)?;
    let first = *rest.first()?;
    if first < 0x80 {
        *at += 1;
        return Some(u64::from(first));
    }
    let Some(word) = rest.first_chunk::<8>() else {
        return long_varint_at(rest, at);
    };
    let word = u64::from_le_bytes(*word);
    let last = !word & 0x8080_8080_8080_8080;
    if last == 0 {
        return long_varint_at(rest, at);
    }
    *at += (last.trailing_zeros() / 8 + 1) as usize;
    // Drops what comes after the last byte, then closes the gaps of one bit, two bits and four.
    let word = word & (last ^ (last - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    Some((word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4))
}

#[cold]
fn long_varint_at(rest: &[u8], at: &mut usize) -> Option<u64> {
    let mut decoder = Decoder::new(rest);
    let value = decoder.varint()?;
    *at += rest.len() - decoder.rest().len();
    Some(value)
}

/// One entry of a block, its key still prefix-compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) shared: usize,
    suffix_start: usize,
    suffix_end: usize,
    pub(crate) kind: Kind,
    pub(crate) seq: u64,
    pub(crate) deadline_ms: u64,
    value_end: usize,
}

impl Entry {
    pub(crate) fn suffix(&self) -> Range<usize> {
        self.suffix_start..self.suffix_end
    }

    pub(crate) fn value(&self) -> Range<usize> {
        self.suffix_end..self.value_end
    }

    /// Where the next entry begins.
    pub(crate) fn next(&self) -> usize {
        self.value_end
    }

    pub(crate) fn key_len(&self) -> usize {
        self.shared + (self.suffix_end - self.suffix_start)
    }
}

/// What a search came upon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) entry: Entry,
    /// Whether the entry's key is the key searched for.
    pub(crate) same_key: bool,
}

/// A block that was read: its bytes, and where its restarts begin.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    bytes: Bytes,
    entries_end: usize,
}

impl Block {
    pub(crate) fn new(bytes: Bytes) -> Result<Self, Damage> {
        let (rest, count) = bytes
            .split_last_chunk::<4>()
            .ok_or(Damage("block without a restart count"))?;
        let count = u32::from_le_bytes(*count) as usize;
        let entries_end = count
            .checked_mul(4)
            .and_then(|restarts| rest.len().checked_sub(restarts))
            .ok_or(Damage("block shorter than its restarts"))?;
        if (count == 0) != (entries_end == 0) {
            return Err(Damage("block with entries but no restarts, or the reverse"));
        }
        Ok(Self { bytes, entries_end })
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same block, in a buffer that nothing else shares.
    pub(crate) fn in_own_buffer(&self) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(&self.bytes),
            entries_end: self.entries_end,
        }
    }

    pub(crate) fn restarts(&self) -> usize {
        (self.bytes.len() - 4 - self.entries_end) / 4
    }

    pub(crate) fn entries_end(&self) -> usize {
        self.entries_end
    }

    /// Where the entry of restart `index` begins.
    #[inline]
    pub(crate) fn restart(&self, index: usize) -> Result<usize, Damage> {
        let at = self.entries_end + 4 * index;
        let offset = self.bytes[at..].first_chunk::<4>().ok_or(OUT_OF_BOUNDS)?;
        let offset = u32::from_le_bytes(*offset) as usize;
        if offset >= self.entries_end {
            return Err(Damage("restart points out of its block"));
        }
        Ok(offset)
    }

    /// The entry that begins at `at`. All its ranges lie within the block, and its key (if what it shares
    /// is there) is not too long.
    #[inline(always)]
    pub(crate) fn entry(&self, at: usize) -> Result<Entry, Damage> {
        self.try_entry(at).ok_or(OUT_OF_BOUNDS)
    }

    #[inline(always)]
    fn try_entry(&self, at: usize) -> Option<Entry> {
        let entries = self.bytes.get(..self.entries_end)?;
        let mut at = at;
        let shared = usize::try_from(varint_at(entries, &mut at)?).ok()?;
        let unshared = usize::try_from(varint_at(entries, &mut at)?).ok()?;
        let flags = *entries.get(at)?;
        at += 1;
        let seq = varint_at(entries, &mut at)?;
        let deadline_ms = match flags & HAS_DEADLINE {
            0 => 0,
            _ => varint_at(entries, &mut at)?,
        };
        let value_len = usize::try_from(varint_at(entries, &mut at)?).ok()?;
        let kind = Kind::from_u8(flags & KIND_MASK)?;
        let well_formed = flags & !(KIND_MASK | HAS_DEADLINE) == 0
            && seq <= SEQ_MAX
            && shared <= KEY_BYTES_MAX
            && unshared <= KEY_BYTES_MAX - shared;
        if !well_formed {
            return None;
        }
        let suffix_end = at.checked_add(unshared)?;
        let value_end = suffix_end.checked_add(value_len)?;
        (value_end <= self.entries_end).then_some(Entry {
            shared,
            suffix_start: at,
            suffix_end,
            kind,
            seq,
            deadline_ms,
            value_end,
        })
    }

    /// The last restart that lies before (key, seq), or the first if none does. The block is not empty.
    pub(crate) fn restart_before(&self, key: &[u8], seq: u64) -> Result<usize, Damage> {
        let (mut low, mut high) = (0, self.restarts());
        // Every restart below `low` lies before the target, none from `high` on does.
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(self.restart(middle)?)?;
            let order = self.bytes[entry.suffix()]
                .cmp(key)
                .then(seq.cmp(&entry.seq));
            if order == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.saturating_sub(1))
    }

    /// The first entry at or after (key, seq): the newest version of `key` not newer than `seq`, or what
    /// follows where it would be. Compares the compressed keys as they lie, without a copy.
    pub(crate) fn search(&self, key: &[u8], seq: u64) -> Result<Option<Hit>, Damage> {
        if self.entries_end == 0 {
            return Ok(None);
        }
        let mut at = self.restart(self.restart_before(key, seq)?)?;
        let mut key_len = 0;
        // How many leading bytes of `key` the entry before has; it is known to lie before the target.
        let mut matched = 0;
        while at < self.entries_end {
            let entry = self.entry(at)?;
            if entry.shared > key_len {
                return Err(Damage("entry shares more than there is"));
            }
            // Sharing past the first difference means differing there likewise: still before.
            if entry.shared <= matched {
                let suffix = &self.bytes[entry.suffix()];
                let wanted = &key[entry.shared..];
                let common = common_prefix(suffix, wanted);
                let order = suffix[common..].first().cmp(&wanted[common..].first());
                if order.then(seq.cmp(&entry.seq)) != Ordering::Less {
                    let same_key = order == Ordering::Equal;
                    return Ok(Some(Hit { entry, same_key }));
                }
                matched = entry.shared + common;
            }
            key_len = entry.key_len();
            at = entry.next();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put<'a>(key: &'a [u8], seq: u64) -> Record<'a> {
        let (kind, value) = (Kind::Put, &key[..key.len().min(2)]);
        Record {
            key,
            seq,
            kind,
            deadline_ms: seq % 3,
            value,
        }
    }

    fn built(records: &[(Vec<u8>, u64)], interval: u32) -> Block {
        let mut builder = BlockBuilder::new(interval);
        for (key, seq) in records {
            let common = if builder.is_empty() {
                0
            } else {
                common_prefix(builder.last_key(), key)
            };
            builder.push(&put(key, *seq), common);
        }
        Block::new(std::mem::take(builder.finish()).into()).unwrap()
    }

    #[test]
    fn common_prefixes_are_counted_to_the_byte() {
        let a: Vec<u8> = (0..40).collect();
        for len in 0..40 {
            let mut b = a.clone();
            b[len] ^= 0x80;
            assert_eq!(common_prefix(&a, &b), len);
            assert_eq!(common_prefix(&a[..len], &a), len);
        }
    }

    #[test]
    fn varints_are_read_as_the_codec_writes_them() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                for padding in [0, 1, 20] {
                    let mut bytes = Vec::new();
                    put_varint(&mut bytes, value);
                    let len = bytes.len();
                    assert_eq!(varint_at(&bytes[..len - 1], &mut 0), None);
                    bytes.resize(len + padding, 0xff);
                    let mut at = 0;
                    assert_eq!(varint_at(&bytes, &mut at), Some(value));
                    assert_eq!(at, len);
                }
            }
        }
        assert_eq!(varint_at(&[0xff; 20], &mut 0), None);
        assert_eq!(varint_at(&[], &mut 1), None);
    }

    #[test]
    fn an_empty_block_holds_nothing() {
        let block = built(&[], 16);
        assert!(block.search(b"a", 1).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_sorted_list_finds(
            keys in prop::collection::btree_set(
                (prop::collection::vec(0u8..3, 0..6), (0u64..20).prop_map(std::cmp::Reverse)), 1..80),
            interval in 1u32..20,
            target in prop::collection::vec(0u8..4, 0..6),
            seq in 0u64..22,
        ) {
            let sorted: Vec<_> = keys.into_iter().map(|(key, seq)| (key, seq.0)).collect();
            let block = built(&sorted, interval);
            let wanted = (&target, std::cmp::Reverse(seq));
            let expected = sorted.iter().find(|(k, s)| (k, std::cmp::Reverse(*s)) >= wanted);
            let hit = block.search(&target, seq).unwrap();
            prop_assert_eq!(hit.is_some(), expected.is_some());
            if let (Some(hit), Some((key, seq))) = (hit, expected) {
                prop_assert_eq!(hit.entry.seq, *seq);
                prop_assert_eq!(hit.same_key, *key == target);
                prop_assert_eq!(hit.entry.deadline_ms, seq % 3);
                prop_assert_eq!(&block.bytes()[hit.entry.value()], &key[..key.len().min(2)]);
            }
        }

        #[test]
        fn bytes_that_are_no_block_are_refused_or_searched_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            restarts in 0u32..6,
            key in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut bytes = bytes;
            bytes.extend_from_slice(&restarts.to_le_bytes());
            if let Ok(block) = Block::new(bytes.into()) {
                let _ = block.search(&key, 3);
            }
        }
    }
}
