//! The block cache: blocks of tables, checked and decompressed, kept by how much memory they take.
//!
//! Part of its capacity is lent to tables, for blocks that they keep at hand themselves
//! (`sstable::pins`); the cache only counts those.
//!
//! It must never answer with a block of another place: the key is the table's id (never reused) and the
//! block's offset. Blocks and what is lent together must never take more than the capacity. It draws no
//! randomness, so that the simulator replays its evictions.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::sstable::block::Block;
use crate::striped::Striped;

/// What an entry costs besides the block's own bytes: the key, the handle, the cache's bookkeeping and
/// the allocation's header.
const OVERHEAD_BYTES: u64 = 160;
const SHARDS: usize = 32;
/// Tables may keep blocks in up to half of the capacity.
const PINNED_SHARE: u64 = 2;
/// What is lent is taken from the cache in so many steps, as each makes it lock all its shards.
const LOAN_STEPS: u64 = 256;

/// A block as the cache holds it.
#[derive(Clone, Debug)]
pub(crate) enum CachedBlock {
    /// A data or index block.
    Entries(Block),
    /// A piece of a filter.
    Filter(Bytes),
}

impl CachedBlock {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Entries(block) => block.bytes(),
            Self::Filter(bytes) => bytes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    table: u64,
    offset: u64,
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.table);
        state.write_u64(self.offset);
    }
}

/// A fixed hasher for the two words of a key: they are not an attacker's to choose.
#[derive(Clone, Copy, Debug, Default)]
struct FixedHasher(u64);

impl BuildHasher for FixedHasher {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

impl Hasher for FixedHasher {
    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15)
            .wrapping_mul(0xd6e8_feb8_6659_fd93_a5a5_a5a5_9e37_79b9);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug)]
struct ByMemory;

impl Weighter<Key, CachedBlock> for ByMemory {
    fn weight(&self, _: &Key, block: &CachedBlock) -> u64 {
        block.bytes().len() as u64 + OVERHEAD_BYTES
    }
}

/// How the cache is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCacheStats {
    /// Blocks found since the store opened.
    pub hits: u64,
    /// Blocks not found since the store opened.
    pub misses: u64,
    /// Memory taken at present, by blocks in the cache and by what open tables keep at hand.
    pub bytes: u64,
    /// Blocks in the cache at present.
    pub blocks: u64,
    /// Memory that open tables take at present: filter and index blocks they keep at hand, and what they
    /// need to be open. Finding such a block is not counted as a hit.
    pub pinned_bytes: u64,
    /// Memory it may take.
    pub capacity_bytes: u64,
}

/// Blocks of all tables of a store, up to so many bytes.
#[derive(Debug)]
pub struct BlockCache {
    blocks: Cache<Key, CachedBlock, ByMemory, FixedHasher, DefaultLifecycle<Key, CachedBlock>>,
    hits: Striped,
    misses: Striped,
    /// Bytes lent; changed under the lock of `set_aside`.
    pinned: AtomicU64,
    capacity_bytes: u64,
    /// What the blocks have made room for: `pinned` rounded up to a step.
    set_aside: Mutex<u64>,
}

impl BlockCache {
    /// A cache that takes up to `capacity_bytes` of memory, bookkeeping included.
    pub fn new(capacity_bytes: u64) -> Self {
        let expected = usize::try_from(capacity_bytes / 4096).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            // As many on every machine: the simulator's runs must not depend on the cores.
            .shards(SHARDS)
            .estimated_items_capacity(expected.clamp(1, 1 << 24))
            .weight_capacity(capacity_bytes)
            .build()
            .expect("both capacities are given");
        let lifecycle = DefaultLifecycle::default();
        Self {
            blocks: Cache::with_options(options, ByMemory, FixedHasher::default(), lifecycle),
            hits: Striped::default(),
            misses: Striped::default(),
            pinned: AtomicU64::new(0),
            capacity_bytes,
            set_aside: Mutex::new(0),
        }
    }

    /// Lends `bytes` to a table, for a block that it keeps at hand. `false` once the tables' share is used
    /// up: then the block is to go through the cache.
    pub(crate) fn pin(&self, bytes: u64) -> bool {
        let fits = |pinned: u64| pinned + bytes <= self.capacity_bytes / PINNED_SHARE;
        // A look without the lock: once the share is used up, this is asked at every read.
        if !fits(self.pinned.load(Ordering::Relaxed)) {
            return false;
        }
        let mut set_aside = self.set_aside.lock();
        let pinned = self.pinned.load(Ordering::Relaxed);
        let lent = fits(pinned);
        if lent {
            self.set_pinned(&mut set_aside, pinned + bytes);
        }
        lent
    }

    /// Counts `bytes` that an open table takes in any case.
    pub(crate) fn take(&self, bytes: u64) {
        let mut set_aside = self.set_aside.lock();
        let pinned = self.pinned.load(Ordering::Relaxed) + bytes;
        self.set_pinned(&mut set_aside, pinned);
    }

    /// Takes back what was lent or counted.
    pub(crate) fn give_back(&self, bytes: u64) {
        let mut set_aside = self.set_aside.lock();
        let pinned = self.pinned.load(Ordering::Relaxed);
        self.set_pinned(&mut set_aside, pinned.saturating_sub(bytes));
    }

    fn set_pinned(&self, set_aside: &mut u64, pinned: u64) {
        self.pinned.store(pinned, Ordering::Relaxed);
        let rounded = pinned.next_multiple_of((self.capacity_bytes / LOAN_STEPS).max(1));
        if rounded != *set_aside {
            *set_aside = rounded;
            self.blocks
                .set_capacity(self.capacity_bytes.saturating_sub(rounded));
        }
    }

    #[inline]
    pub(crate) fn get(&self, table: u64, offset: u64) -> Option<CachedBlock> {
        let found = self.blocks.get(&Key { table, offset });
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.count();
        found
    }

    pub(crate) fn remove(&self, table: u64, offset: u64) {
        self.blocks.remove(&Key { table, offset });
    }

    pub(crate) fn insert(&self, table: u64, offset: u64, block: CachedBlock) {
        self.blocks.insert(Key { table, offset }, block);
    }

    /// Drops every block of a table that is gone. Looks at every block held: call it once a table, off
    /// the hot path.
    pub fn evict_table(&self, table: u64) {
        self.blocks.retain(|key, _| key.table != table);
    }

    /// Hits, misses and memory.
    pub fn stats(&self) -> BlockCacheStats {
        let pinned_bytes = self.pinned.load(Ordering::Relaxed);
        BlockCacheStats {
            hits: self.hits.sum(),
            misses: self.misses.sum(),
            bytes: self.blocks.weight() + pinned_bytes,
            blocks: self.blocks.len() as u64,
            pinned_bytes,
            capacity_bytes: self.capacity_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(len: usize) -> CachedBlock {
        CachedBlock::Filter(Bytes::from(vec![7; len]))
    }

    #[test]
    fn what_it_holds_stays_within_its_capacity() {
        let cache = BlockCache::new(1 << 20);
        for offset in 0..4096 {
            cache.insert(1, offset * 4096, filter(4096));
        }
        let stats = cache.stats();
        assert!(stats.bytes <= 1 << 20, "{stats:?}");
        assert!(stats.bytes > 1 << 19, "{stats:?}");
    }

    #[test]
    fn what_is_lent_is_taken_from_the_blocks_and_comes_back() {
        let cache = BlockCache::new(1 << 20);
        let fill = || (0..4096).for_each(|block| cache.insert(1, block * 4096, filter(4096)));
        fill();
        let before = cache.stats();
        let mut lent = 0;
        while cache.pin(10_000) {
            lent += 10_000;
        }
        assert!(((1 << 19) - 10_000..=1 << 19).contains(&lent), "{lent}");
        cache.take(100_000);
        fill();
        let stats = cache.stats();
        assert_eq!(stats.pinned_bytes, lent + 100_000);
        assert!(stats.bytes <= 1 << 20, "{stats:?}");
        assert!(stats.blocks < before.blocks / 2, "{stats:?}");
        cache.give_back(lent + 100_000);
        fill();
        assert_eq!(cache.stats().pinned_bytes, 0);
        assert_eq!(cache.stats().blocks, before.blocks);
    }

    #[test]
    fn a_block_is_found_under_its_own_place_only() {
        let cache = BlockCache::new(1 << 20);
        cache.insert(1, 4096, filter(10));
        assert!(cache.get(1, 4096).is_some());
        assert!(cache.get(4096, 1).is_none());
        assert!(cache.get(1, 4097).is_none());
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.blocks), (1, 2, 1));
    }

    #[test]
    fn evicting_a_table_leaves_the_others() {
        let cache = BlockCache::new(1 << 20);
        cache.insert(1, 0, filter(10));
        cache.insert(2, 0, filter(10));
        cache.evict_table(1);
        assert!(cache.get(1, 0).is_none());
        assert!(cache.get(2, 0).is_some());
    }

    #[test]
    fn a_cache_of_nothing_holds_nothing() {
        let cache = BlockCache::new(0);
        cache.insert(1, 0, filter(10));
        assert!(cache.get(1, 0).is_none());
    }
}
