//! The block cache: blocks of tables, checked and decompressed, kept by how much memory they take.
//!
//! It must never answer with a block of another place: the key is the table's id (never reused) and the
//! block's offset. It draws no randomness, so that the simulator replays its evictions.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::sstable::block::Block;

/// What an entry costs besides the block's own bytes: the key, the handle, the cache's bookkeeping and
/// the allocation's header.
const OVERHEAD_BYTES: u64 = 160;
const SHARDS: usize = 32;
const STRIPES: usize = 8;

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

/// Counters on cache lines of their own, so that cores do not fight over one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How the cache is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCacheStats {
    /// Blocks found since the store opened.
    pub hits: u64,
    /// Blocks not found since the store opened.
    pub misses: u64,
    /// Memory taken at present.
    pub bytes: u64,
    /// Blocks held at present.
    pub blocks: u64,
    /// Memory it may take.
    pub capacity_bytes: u64,
}

/// Blocks of all tables of a store, up to so many bytes.
#[derive(Debug)]
pub struct BlockCache {
    blocks: Cache<Key, CachedBlock, ByMemory, FixedHasher, DefaultLifecycle<Key, CachedBlock>>,
    stripes: [Stripe; STRIPES],
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
            stripes: Default::default(),
        }
    }

    /// Changes the capacity, evicting down to it.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.blocks.set_capacity(capacity_bytes);
    }

    #[inline]
    pub(crate) fn get(&self, table: u64, offset: u64) -> Option<CachedBlock> {
        let found = self.blocks.get(&Key { table, offset });
        let stripe = &self.stripes[(offset >> 12) as usize % STRIPES];
        let counter = if found.is_some() {
            &stripe.hits
        } else {
            &stripe.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
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
        let sum = |pick: fn(&Stripe) -> &AtomicU64| {
            self.stripes
                .iter()
                .map(|stripe| pick(stripe).load(Ordering::Relaxed))
                .sum()
        };
        BlockCacheStats {
            hits: sum(|stripe| &stripe.hits),
            misses: sum(|stripe| &stripe.misses),
            bytes: self.blocks.weight(),
            blocks: self.blocks.len() as u64,
            capacity_bytes: self.blocks.capacity(),
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
        cache.set_capacity(1 << 18);
        assert!(cache.stats().bytes <= 1 << 18);
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
