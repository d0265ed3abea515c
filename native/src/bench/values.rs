//! Values that compress by about half, as db_bench's do.

use super::keys::Random;

const POOL_BYTES: usize = 1 << 20;
/// Each piece is half random bytes, half the same bytes again.
const PIECE_BYTES: usize = 100;

/// A pool of bytes that all threads cut their values from.
pub struct Values {
    pool: Vec<u8>,
    value_bytes: usize,
}

impl Values {
    /// A pool for values of one size.
    #[must_use]
    pub fn new(value_bytes: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut pool = Vec::with_capacity(POOL_BYTES + value_bytes);
        while pool.len() < POOL_BYTES + value_bytes {
            let start = pool.len();
            pool.extend((0..PIECE_BYTES / 2).map(|_| (random.next() >> 56) as u8));
            pool.extend_from_within(start..);
        }
        Self { pool, value_bytes }
    }

    /// Where a thread starts to cut.
    #[must_use]
    pub fn start(&self, random: &mut Random) -> usize {
        random.below(POOL_BYTES as u64) as usize
    }

    /// The next value; `position` moves on.
    pub fn next<'a>(&'a self, position: &mut usize) -> &'a [u8] {
        if *position >= POOL_BYTES {
            *position = 0;
        }
        let value = &self.pool[*position..*position + self.value_bytes];
        *position += self.value_bytes.max(1);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_size_asked_for_and_differ() {
        let values = Values::new(300, 7);
        let mut position = values.start(&mut Random::new(1));
        let first = values.next(&mut position).to_vec();
        for _ in 0..10_000 {
            let next = values.next(&mut position);
            assert_eq!(next.len(), 300);
        }
        assert_ne!(first, values.next(&mut position));
    }

    #[test]
    fn half_of_a_piece_repeats_the_other_half() {
        let values = Values::new(100, 7);
        let value = values.next(&mut 0);
        assert_eq!(value[..50], value[50..]);
        assert_ne!(value[..25], value[25..50]);
    }
}
