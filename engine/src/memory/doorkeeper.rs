//! Decides which cold keys are worth evicting something else for: those asked for before, not long ago.
//!
//! A direct-mapped array of fingerprints: a key is admitted when its own is found in its place, and put
//! there otherwise. Later keys overwrite it, so the array ages by itself. It may be wrong either way;
//! nothing but the hit rate depends on it.

use std::sync::atomic::{AtomicU16, Ordering};

use super::region::Region;
use crate::Result;

pub(super) struct Doorkeeper {
    seen: Region<AtomicU16>,
}

impl Doorkeeper {
    pub(super) fn new(entries: usize) -> Result<Self> {
        Ok(Self {
            seen: Region::new(entries)?,
        })
    }

    /// Whether the key with this hash was seen recently; from now on it was.
    pub(super) fn admits(&self, hash: u64) -> bool {
        // Other bits than those the table takes its bucket and tag from.
        let mixed = (hash ^ (hash >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (u128::from(mixed) * self.seen.len() as u128) >> 64;
        // Never zero, which stands for nothing.
        let print = (mixed as u16) | 1;
        let Some(entry) = self.seen.get(place as usize) else {
            return false;
        };
        let admits = entry.load(Ordering::Relaxed) == print;
        entry.store(print, Ordering::Relaxed);
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::hash_key;

    #[test]
    fn a_key_is_admitted_the_second_time_and_forgotten_after_many_others() {
        let doorkeeper = Doorkeeper::new(1024).unwrap();
        let hash = |i: u32| hash_key(&i.to_le_bytes());
        assert!(!doorkeeper.admits(hash(0)));
        assert!(doorkeeper.admits(hash(0)));
        let admitted = (1..100_000).filter(|&i| doorkeeper.admits(hash(i))).count();
        assert!(admitted < 100, "{admitted} of keys seen once were admitted");
        assert!(!doorkeeper.admits(hash(0)));
    }
}
