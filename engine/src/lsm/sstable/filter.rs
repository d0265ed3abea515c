//! The bloom filter, cut into pieces that are read and cached like any block.
//!
//! ```text
//! filter       = filter block (all of one size, none compressed), one behind the other
//! filter block = lines of 64 bytes
//! ```
//!
//! A key's hash (`record::hash_key`) chooses one line and six bits in it. With `high` and `low` its upper
//! and lower 32 bits: `p = high * blocks`; the block is `p >> 32`, the line in it is
//! `((p & 0xffff_ffff) * lines per block) >> 32`. The six bits: multiply `low` by 0x9e3779b9 (mod 2^32)
//! once for each; the upper nine bits of the product are the bit's number in the line, counted from the
//! lowest bit of its first byte.
//!
//! So a question reads one block and one cache line of it. The answer "no" is always right.

use super::Damage;

/// Bytes of a line, the unit a key is confined to.
pub(crate) const LINE_BYTES: usize = 64;
const LINE_BITS: u64 = 8 * LINE_BYTES as u64;
const LINES_PER_BLOCK_MAX: u64 = 64;
const PROBES: u32 = 6;

/// How a filter is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilterShape {
    /// Number of filter blocks; 0 for no filter, which holds nothing back.
    pub(crate) blocks: u32,
    /// Lines in each.
    pub(crate) lines: u32,
}

impl FilterShape {
    /// The shape for so many keys.
    fn of(keys: usize, bits_per_key: u32) -> Self {
        let lines = (keys as u64 * u64::from(bits_per_key)).div_ceil(LINE_BITS);
        let blocks = lines.div_ceil(LINES_PER_BLOCK_MAX);
        let lines = if blocks == 0 {
            0
        } else {
            lines.div_ceil(blocks)
        };
        Self {
            blocks: blocks as u32,
            lines: lines as u32,
        }
    }

    /// A shape as a footer gives it, if it can be one.
    pub(crate) fn new(blocks: u32, lines: u32) -> Result<Self, Damage> {
        let sane = if blocks == 0 {
            lines == 0
        } else {
            (1..=LINES_PER_BLOCK_MAX as u32).contains(&lines)
        };
        if !sane {
            return Err(Damage("filter of an impossible shape"));
        }
        Ok(Self { blocks, lines })
    }

    pub(crate) fn block_bytes(self) -> usize {
        self.lines as usize * LINE_BYTES
    }

    /// The block that knows about a hash, and the line in it.
    #[inline]
    pub(crate) fn locate(self, hash: u64) -> (u32, usize) {
        let product = (hash >> 32) * u64::from(self.blocks);
        let line = ((product & 0xffff_ffff) * u64::from(self.lines)) >> 32;
        ((product >> 32) as u32, line as usize)
    }
}

/// Collects hashes of keys and builds the filter from them.
pub(crate) struct FilterBuilder {
    hashes: Vec<u64>,
    bits_per_key: u32,
}

impl FilterBuilder {
    pub(crate) fn new(bits_per_key: u32) -> Self {
        Self {
            hashes: Vec::new(),
            bits_per_key,
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, hash: u64) {
        self.hashes.push(hash);
    }

    /// Bytes that the filter will take.
    pub(crate) fn bytes(&self) -> u64 {
        self.hashes.len() as u64 * u64::from(self.bits_per_key) / 8
    }

    /// The filter's shape and its blocks, one behind the other, without trailers.
    pub(crate) fn build(self) -> (FilterShape, Vec<u8>) {
        let shape = FilterShape::of(self.hashes.len(), self.bits_per_key);
        let mut bytes = vec![0; shape.blocks as usize * shape.block_bytes()];
        for hash in self.hashes {
            let (block, line) = shape.locate(hash);
            let at = block as usize * shape.block_bytes() + line * LINE_BYTES;
            let line = &mut bytes[at..at + LINE_BYTES];
            for bit in bits(hash) {
                line[bit / 8] |= 1 << (bit % 8);
            }
        }
        (shape, bytes)
    }
}

/// Whether the filter block may know the key with this hash, whose line is `line`.
#[inline]
pub(crate) fn may_hold(block: &[u8], line: usize, hash: u64) -> Result<bool, Damage> {
    let at = line * LINE_BYTES;
    let line = block
        .get(at..at + LINE_BYTES)
        .ok_or(Damage("filter block shorter than its lines"))?;
    Ok(bits(hash).all(|bit| line[bit / 8] >> (bit % 8) & 1 == 1))
}

#[inline]
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let mut state = hash as u32;
    (0..PROBES).map(move |_| {
        state = state.wrapping_mul(0x9e37_79b9);
        (state >> 23) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::hash_key;

    fn asked(shape: FilterShape, bytes: &[u8], hash: u64) -> bool {
        let (block, line) = shape.locate(hash);
        let at = block as usize * shape.block_bytes();
        may_hold(&bytes[at..at + shape.block_bytes()], line, hash).unwrap()
    }

    #[test]
    fn every_key_is_held_and_few_others_seem_to_be() {
        for keys in [1usize, 10, 1000, 3300, 200_000] {
            let mut builder = FilterBuilder::new(10);
            for i in 0..keys as u64 {
                builder.add(hash_key(&i.to_le_bytes()));
            }
            let (shape, bytes) = builder.build();
            assert!(bytes.len() * 8 >= keys * 10);
            assert!(bytes.len() * 8 <= keys * 11 + 512 + shape.blocks as usize * 512);
            for i in 0..keys as u64 {
                assert!(
                    asked(shape, &bytes, hash_key(&i.to_le_bytes())),
                    "key {i} of {keys}"
                );
            }
            let others = 200_000u64;
            let wrong = (0..others)
                .filter(|i| asked(shape, &bytes, hash_key(&(u64::MAX - i).to_le_bytes())))
                .count();
            let rate = wrong as f64 / others as f64;
            println!("{keys} keys: false positive rate {:.2} %", 100.0 * rate);
            assert!(rate <= 0.015, "{keys} keys: {rate}");
        }
    }

    #[test]
    fn a_filter_of_no_keys_has_no_blocks() {
        assert_eq!(
            FilterBuilder::new(10).build(),
            (
                FilterShape {
                    blocks: 0,
                    lines: 0
                },
                vec![]
            )
        );
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert!(FilterShape::new(0, 1).is_err());
        assert!(FilterShape::new(1, 0).is_err());
        assert!(FilterShape::new(1, 65).is_err());
        assert!(FilterShape::new(u32::MAX, 64).is_ok());
    }
}
