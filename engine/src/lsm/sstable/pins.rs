//! The filter and index blocks that an open table keeps at hand.
//!
//! Nearly every read of a table asks them, and looking one up in the block cache costs more than asking it.
//! A block comes here when it is first used, as long as the block cache lends the memory; from then on
//! finding it takes no lock, no hash and no count of references. What the cache does not lend memory for
//! goes through it like any block.
//!
//! It must never hold memory that the cache does not know of; all of it goes back with the table.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::block::Block;
use super::footer::Footer;
use super::index::Handle;
use crate::lsm::cache::{BlockCache, CachedBlock};

/// What a block costs besides its own bytes: the header of its allocation and the count of references.
const OVERHEAD_BYTES: usize = 64;

/// See the module.
pub(crate) struct Pins {
    cache: Arc<BlockCache>,
    filters: Box<[OnceLock<Bytes>]>,
    first_filter: u64,
    stored_filter_bytes: u64,
    /// Where each index block begins, in order; the slot of the same number holds it.
    index_offsets: Box<[u64]>,
    indexes: Box<[OnceLock<Block>]>,
    /// What the table takes in any case: these slots, and what the caller said.
    resident_bytes: u64,
}

impl Pins {
    /// Room for the blocks of a table that itself takes `resident_bytes`, whose index blocks begin at
    /// `index_offsets`.
    pub(crate) fn new(
        cache: Arc<BlockCache>,
        footer: &Footer,
        index_offsets: Vec<u64>,
        resident_bytes: u64,
    ) -> Self {
        let slots = index_offsets.len() * (size_of::<OnceLock<Block>>() + size_of::<u64>())
            + footer.filter.blocks as usize * size_of::<OnceLock<Bytes>>();
        let resident_bytes = resident_bytes + slots as u64;
        cache.take(resident_bytes);
        Self {
            cache,
            filters: (0..footer.filter.blocks).map(|_| OnceLock::new()).collect(),
            first_filter: footer.filter_offset,
            stored_filter_bytes: u64::from(footer.filter_block(0).len),
            indexes: index_offsets.iter().map(|_| OnceLock::new()).collect(),
            index_offsets: index_offsets.into(),
            resident_bytes,
        }
    }

    /// A filter block by its number.
    #[inline]
    pub(crate) fn filter(&self, number: u32) -> Option<&Bytes> {
        self.filters.get(number as usize)?.get()
    }

    /// An index block by where it begins.
    #[inline]
    pub(crate) fn index(&self, offset: u64) -> Option<&Block> {
        self.indexes.get(self.index_number(offset)?)?.get()
    }

    #[inline]
    fn index_number(&self, offset: u64) -> Option<usize> {
        self.index_offsets.binary_search(&offset).ok()
    }

    /// Keeps a block that was just used, if it is one to keep and there is room. `true` if it is kept: the
    /// cache then need not hold it, too.
    pub(crate) fn keep(&self, handle: Handle, block: &CachedBlock) -> bool {
        match block {
            CachedBlock::Filter(bytes) => {
                let number = handle
                    .offset
                    .checked_sub(self.first_filter)
                    .and_then(|at| at.checked_div(self.stored_filter_bytes));
                let slot = number.and_then(|number| self.filters.get(number as usize));
                self.fill(slot, bytes, bytes)
            }
            CachedBlock::Entries(block) => {
                let number = self.index_number(handle.offset);
                let slot = number.and_then(|number| self.indexes.get(number));
                self.fill(slot, block, block.bytes())
            }
        }
    }

    fn fill<T: Clone>(&self, slot: Option<&OnceLock<T>>, block: &T, bytes: &Bytes) -> bool {
        let Some(slot) = slot else { return false };
        if slot.get().is_some() {
            return true;
        }
        let cost = cost(bytes);
        if !self.cache.pin(cost) {
            return false;
        }
        if slot.set(block.clone()).is_err() {
            // Somebody else was faster.
            self.cache.give_back(cost);
        }
        true
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let filters = self.filters.iter().filter_map(OnceLock::get).map(cost);
        let indexes = self.indexes.iter().filter_map(OnceLock::get);
        let indexes = indexes.map(|block| cost(block.bytes()));
        let bytes = filters.chain(indexes).sum::<u64>() + self.resident_bytes;
        self.cache.give_back(bytes);
    }
}

fn cost(bytes: &Bytes) -> u64 {
    (bytes.len() + OVERHEAD_BYTES) as u64
}
