//! Which key comes next: random numbers, permutations and skewed choices, all determined by a seed.

/// SplitMix64: small, fast and good enough to choose keys with.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A seed for one of many independent streams.
#[must_use]
pub fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// A pseudo-random permutation of `0..count`: every number once, in no order, without a table.
#[derive(Clone, Debug)]
pub struct Permutation {
    count: u64,
    half_bits: u32,
    seed: u64,
}

impl Permutation {
    /// A permutation of `0..count`.
    #[must_use]
    pub fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self {
            count,
            half_bits: bits.div_ceil(2).max(1),
            seed,
        }
    }

    /// The number at a place. Places past the end are an error of the caller.
    #[must_use]
    pub fn at(&self, place: u64) -> u64 {
        debug_assert!(place < self.count);
        // A Feistel network over the next even number of bits; what falls outside walks on until it is inside.
        let mask = (1u64 << self.half_bits) - 1;
        let mut word = place;
        loop {
            let (mut left, mut right) = (word >> self.half_bits, word & mask);
            for round in 0..4u64 {
                let mixed = mix(right ^ self.seed.wrapping_add(round << 56)) & mask;
                (left, right) = (right, left ^ mixed);
            }
            word = (left << self.half_bits) | right;
            if word < self.count {
                return word;
            }
        }
    }
}

/// Ranks with a zipfian distribution, by the method of Gray et al. that YCSB uses.
#[derive(Clone, Debug)]
pub struct Zipfian {
    count: u64,
    theta: f64,
    alpha: f64,
    eta: f64,
    zeta: f64,
}

impl Zipfian {
    /// The skew that YCSB uses.
    pub const THETA: f64 = 0.99;

    /// Ranks in `0..count`, 0 the most frequent. Takes time in proportion to `count`.
    #[must_use]
    pub fn new(count: u64, theta: f64) -> Self {
        let count = count.max(2);
        let zeta = (1..=count)
            .map(|rank| (rank as f64).powf(-theta))
            .sum::<f64>();
        let zeta_of_two = 1.0 + 2f64.powf(-theta);
        Self {
            count,
            theta,
            alpha: 1.0 / (1.0 - theta),
            eta: (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - zeta_of_two / zeta),
            zeta,
        }
    }

    /// The next rank.
    pub fn next(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(self.theta) {
            return 1;
        }
        let rank = self.count as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count - 1)
    }
}

/// Writes the key of a number: big-endian, so that numbers and keys sort alike, then filled up with zeros.
pub fn write_key(number: u64, key_bytes: usize, key: &mut Vec<u8>) {
    key.clear();
    let digits = number.to_be_bytes();
    key.extend_from_slice(&digits[8 - key_bytes.min(8)..]);
    key.resize(key_bytes, b'0');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_has_every_number_once() {
        for count in [1, 2, 3, 100, 1000, 4097] {
            let permutation = Permutation::new(count, 42);
            let mut seen = (0..count)
                .map(|place| permutation.at(place))
                .collect::<Vec<_>>();
            assert!(count < 100 || seen.windows(2).any(|pair| pair[0] > pair[1]));
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_zipfian_load_has_a_tenth_of_a_percent_of_the_keys_take_half_the_accesses() {
        let zipfian = Zipfian::new(1_000_000, Zipfian::THETA);
        let mut random = Random::new(1);
        let hot = (0..100_000)
            .filter(|_| zipfian.next(&mut random) < 1000)
            .count();
        assert!((45_000..60_000).contains(&hot), "{hot}");
    }

    #[test]
    fn keys_sort_as_their_numbers_do() {
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for key_bytes in [4, 8, 16, 20] {
            write_key(255, key_bytes, &mut low);
            write_key(256, key_bytes, &mut high);
            assert!(low < high);
            assert_eq!(low.len(), key_bytes);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..10).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(3), numbers(3));
        assert_ne!(numbers(3), numbers(4));
    }
}
