//! A running hash of everything that happens: equal for equal runs, and for nothing else that matters.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Words gathered before they are hashed.
const BLOCK_BYTES: usize = 4096;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest {
    state: u64,
    block: Vec<u8>,
}

impl Digest {
    pub(super) fn add(&mut self, word: u64) {
        self.block.extend_from_slice(&word.to_le_bytes());
        if self.block.len() >= BLOCK_BYTES {
            self.fold();
        }
    }

    pub(super) fn add_all<const N: usize>(&mut self, words: [u64; N]) {
        for word in words {
            self.add(word);
        }
    }

    fn fold(&mut self) {
        self.state = xxh3_64_with_seed(&self.block, self.state);
        self.block.clear();
    }

    /// The hash of what was added so far.
    pub(super) fn value(&self) -> u64 {
        xxh3_64_with_seed(&self.block, self.state)
    }
}
