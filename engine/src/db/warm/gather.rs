//! Keys in use, gathered from the hash table and put in order, in slices.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::memory::{Hot, Memory};
use crate::record::hash_key;

/// Keys that are sorted at a time, at least.
const RUN: usize = 4096;
/// What the keys of a slice take, about: few buckets hold so much.
const SLICE_BYTES_MOST: usize = 1 << 20;
/// No more keys are noted, and no more bytes of them.
const KEYS_MOST: usize = 1 << 20;
const BYTES_MOST: usize = 32 << 20;
/// What of the store's memory the keys may take meanwhile.
const SHARE: usize = 16;

/// How much is gathered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    keys: usize,
    /// That the keys take here.
    key_bytes: usize,
    /// Of their records in the arena.
    record_bytes: usize,
}

impl Limits {
    /// Of what fits into memory, as much as is read back.
    pub(super) fn of(memory: &Memory, memory_bytes: usize) -> Self {
        let (keys, record_bytes) = memory.most_ahead();
        Self {
            keys: keys.min(KEYS_MOST),
            key_bytes: (memory_bytes / SHARE).min(BYTES_MOST),
            record_bytes,
        }
    }
}

/// The keys of some buckets. Taken while fills and evictions have to wait, so that is all that is done with them.
#[derive(Default)]
pub(super) struct Slice {
    bytes: Vec<u8>,
    /// The length of each key, and what its record takes of the arena.
    lengths: Vec<(usize, usize)>,
}

impl Slice {
    /// Takes a key, unless those before it were uncommonly long.
    pub(super) fn take(&mut self, hot: Hot<'_>) {
        if self.bytes.len() < SLICE_BYTES_MOST {
            self.bytes.extend_from_slice(hot.key);
            self.lengths.push((hot.key.len(), hot.record_bytes));
        }
    }
}

/// Keys, sorted in runs.
#[derive(Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    /// Where each key lies: beginning and length.
    places: Vec<(u32, u32)>,
    /// Where each run ends among them.
    runs: Vec<usize>,
    record_bytes: usize,
    /// Whatever the order in which keys come, the same keys come to the same sum.
    pub fingerprint: u64,
}

impl Gathered {
    /// Takes the keys of a slice, and empties it, unless there are enough.
    pub(super) fn take(&mut self, slice: &mut Slice, limits: Limits) {
        let mut keys = &slice.bytes[..];
        for (len, record_bytes) in slice.lengths.drain(..) {
            let (key, rest) = keys.split_at(len);
            keys = rest;
            if self.is_full(limits) {
                break;
            }
            self.record_bytes += record_bytes;
            self.fingerprint = self.fingerprint.wrapping_add(hash_key(key));
            // `BYTES_MOST` and one key more fit 32 bits.
            self.places.push((self.bytes.len() as u32, len as u32));
            self.bytes.extend_from_slice(key);
        }
        slice.bytes.clear();
        if self.places.len() - self.sorted() >= RUN {
            self.end_run();
        }
    }

    /// How many keys lie in runs.
    fn sorted(&self) -> usize {
        self.runs.last().copied().unwrap_or(0)
    }

    /// Ends a run. To be called when no more keys come.
    pub(super) fn end_run(&mut self) {
        let start = self.sorted();
        let bytes = &self.bytes;
        let key = |&(at, len): &(u32, u32)| &bytes[at as usize..][..len as usize];
        self.places[start..].sort_unstable_by(|a, b| key(a).cmp(key(b)));
        self.runs.push(self.places.len());
    }

    pub(super) fn is_full(&self, limits: Limits) -> bool {
        self.places.len() >= limits.keys
            || self.bytes.len() + size_of_val(&*self.places) >= limits.key_bytes
            || self.record_bytes >= limits.record_bytes
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What a file of them takes at most, nearly.
    pub(super) fn file_bytes(&self) -> u64 {
        (self.bytes.len() + 6 * self.places.len() + 1024) as u64
    }

    /// The keys in order, each once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.runs.iter().copied());
        let bounds = starts.zip(&self.runs);
        let mut runs: Vec<_> = bounds
            .map(|(start, &end)| self.places[start..end].iter())
            .collect();
        let key = |&(at, len): &(u32, u32)| &self.bytes[at as usize..][..len as usize];
        let firsts = runs.iter_mut().enumerate();
        let mut heads: BinaryHeap<_> = firsts
            .filter_map(|(run, keys)| Some(Reverse((key(keys.next()?), run))))
            .collect();
        let mut last = None;
        std::iter::from_fn(move || {
            loop {
                let mut head = heads.peek_mut()?;
                let Reverse((least, run)) = *head;
                match runs[run].next() {
                    Some(next) => *head = Reverse((key(next), run)),
                    None => _ = std::collections::binary_heap::PeekMut::pop(head),
                }
                // A key whose record was moved while the table was walked may have been met twice.
                if last != Some(least) {
                    last = Some(least);
                    return Some(least);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const PLENTY: Limits = Limits {
        keys: usize::MAX,
        key_bytes: usize::MAX,
        record_bytes: usize::MAX,
    };

    fn hot(key: &[u8]) -> Hot<'_> {
        Hot {
            key,
            deadline_ms: 0,
            record_bytes: 100,
        }
    }

    fn gathered(keys: &[Vec<u8>], limits: Limits) -> Gathered {
        let mut gathered = Gathered::default();
        let mut slice = Slice::default();
        for keys in keys.chunks(300) {
            for key in keys {
                slice.take(hot(key));
            }
            gathered.take(&mut slice, limits);
        }
        gathered.end_run();
        gathered
    }

    #[test]
    fn keys_of_many_runs_come_in_order_and_once() {
        let mut random = Random::new(3);
        for count in [0, 1, RUN, RUN + 1, 5 * RUN - 7] {
            let keys: Vec<Vec<u8>> = (0..count)
                .map(|_| random.below(20_000).to_string().into_bytes())
                .collect();
            let expected: std::collections::BTreeSet<_> = keys.iter().map(|key| &key[..]).collect();
            let gathered = gathered(&keys, PLENTY);
            assert!(gathered.keys().eq(expected), "{count}");
        }
    }

    #[test]
    fn the_same_keys_have_the_same_fingerprint_in_any_order() {
        let mut keys: Vec<Vec<u8>> = (0..100_u32).map(|i| i.to_be_bytes().to_vec()).collect();
        let before = gathered(&keys, PLENTY).fingerprint;
        keys.reverse();
        assert_eq!(gathered(&keys, PLENTY).fingerprint, before);
        keys.pop();
        assert_ne!(gathered(&keys, PLENTY).fingerprint, before);
    }

    #[test]
    fn each_limit_holds() {
        let keys: Vec<Vec<u8>> = (0..100_u32).map(|i| i.to_be_bytes().to_vec()).collect();
        for limits in [
            Limits { keys: 10, ..PLENTY },
            Limits {
                key_bytes: 10 * (4 + 8),
                ..PLENTY
            },
            Limits {
                record_bytes: 1000,
                ..PLENTY
            },
        ] {
            assert_eq!(gathered(&keys, limits).len(), 10, "{limits:?}");
        }
    }
}
