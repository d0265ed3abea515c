//! LZF, the compression of strings in an RDB file.
//!
//! ```text
//! compressed = part (each)
//! part = 000nnnnn · n + 1 bytes                       those bytes
//!      | lllooooo · oooooooo                          l + 2 bytes that stand o + 1 bytes back; l is 1 to 6
//!      | 111ooooo · llllllll · oooooooo               l + 9 bytes that stand o + 1 bytes back
//! ```
//!
//! What is copied may reach into what it makes: one byte back makes a run.

/// Bytes that one part can hold as they are.
const LITERALS_MAX: usize = 32;
/// How far back a copy can reach.
const DISTANCE_MAX: usize = 1 << 13;
/// The longest copy.
const COPY_MAX: usize = 264;
/// The shortest copy: what it takes is two bytes.
const COPY_MIN: usize = 3;
/// So many bytes have to be saved, or it is not worth while.
const SAVED_MIN: usize = 4;
/// Places are looked up by up to this many bits.
const TABLE_BITS_MAX: u32 = 13;
/// Longer inputs are left as they are.
const INPUT_MAX: usize = 1 << 30;

/// Compresses one string after the other; keeps its table from one to the next.
pub(crate) struct Compressor {
    /// By a hash of three bytes: where they were seen last, counted over all inputs.
    places: Vec<u32>,
    /// The place of the input's first byte. What the table knows of earlier inputs lies before it, so the table need not
    /// be cleared.
    base: u32,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            places: vec![0; 1 << TABLE_BITS_MAX],
            base: 1,
        }
    }
}

impl Compressor {
    /// Appends `input` compressed to `out`; appends nothing and answers `false` where that would not save at least four
    /// bytes.
    pub(crate) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if input.len() <= SAVED_MIN || input.len() > INPUT_MAX {
            return false;
        }
        self.make_room(input.len());
        let begin = out.len();
        let mut packer = Packer {
            input,
            out,
            end: begin + input.len() - SAVED_MIN,
            literals: 0,
        };
        let fits = self.pack(&mut packer);
        self.base += input.len() as u32;
        if !fits {
            out.truncate(begin);
        }
        fits
    }

    /// Places are 32 bits wide: begins anew before they run out.
    fn make_room(&mut self, len: usize) {
        if self.base.checked_add(len as u32).is_none() {
            *self = Self::default();
        }
    }

    /// Answers whether all of it had room.
    fn pack(&mut self, packer: &mut Packer<'_>) -> bool {
        let input = packer.input;
        // A short input in a small table stays within few cache lines.
        let bits = (usize::BITS - input.len().leading_zeros() + 1).clamp(8, TABLE_BITS_MAX);
        let mut at = 0;
        let mut misses = 0;
        while let Some(word) = word_at(input, at) {
            let here = self.base + at as u32;
            let place = &mut self.places[hash(word, bits)];
            let distance = (here - *place) as usize;
            *place = here;
            // What is further back than the input began is of an input before this one.
            if distance <= at.min(DISTANCE_MAX)
                && word_at(input, at - distance).is_some_and(|seen| (seen ^ word) << 8 == 0)
            {
                let len = match_len(input, at - distance, at);
                if !packer.copy(at, distance, len) {
                    return false;
                }
                at += len;
                self.note(input, at - 1, bits);
                misses = 0;
            } else {
                // What has not compressed for long is gone through faster.
                at += 1 + (misses >> 5);
                misses += 1;
            }
        }
        packer.literals_upto(input.len())
    }

    fn note(&mut self, input: &[u8], at: usize, bits: u32) {
        if let Some(word) = word_at(input, at) {
            self.places[hash(word, bits)] = self.base + at as u32;
        }
    }
}

/// Four bytes, of which the first three count.
#[inline]
fn word_at(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[inline]
fn hash(word: u32, bits: u32) -> usize {
    ((word << 8).wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

/// How many bytes at `from` and at `at` are the same, up to what one copy can hold; the first three are.
#[inline]
fn match_len(input: &[u8], from: usize, at: usize) -> usize {
    let upto = (input.len() - at).min(COPY_MAX);
    let (old, new) = (&input[from..from + upto], &input[at..at + upto]);
    let mut len = COPY_MIN;
    while let (Some(a), Some(b)) = (old[len..].first_chunk(), new[len..].first_chunk()) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while len < upto && old[len] == new[len] {
        len += 1;
    }
    len
}

/// Puts parts one behind the other.
struct Packer<'a> {
    input: &'a [u8],
    out: &'a mut Vec<u8>,
    /// The output must not get longer than this.
    end: usize,
    /// Where the bytes begin that are not yet in any part.
    literals: usize,
}

impl Packer<'_> {
    /// Adds the bytes up to `at` as they are; answers whether they had room.
    fn literals_upto(&mut self, at: usize) -> bool {
        let literals = &self.input[self.literals..at];
        self.literals = at;
        let bytes = literals.len() + literals.len().div_ceil(LITERALS_MAX);
        if self.out.len() + bytes > self.end {
            return false;
        }
        for run in literals.chunks(LITERALS_MAX) {
            self.out.push(run.len() as u8 - 1);
            self.out.extend_from_slice(run);
        }
        true
    }

    /// Adds what is before `at`, then a copy; answers whether they had room.
    fn copy(&mut self, at: usize, distance: usize, len: usize) -> bool {
        if !self.literals_upto(at) || self.out.len() + 3 > self.end {
            return false;
        }
        self.literals = at + len;
        let [back, back_high] = (distance as u16 - 1).to_le_bytes();
        match len - 2 {
            short @ ..7 => self
                .out
                .extend_from_slice(&[(short as u8) << 5 | back_high, back]),
            long => self
                .out
                .extend_from_slice(&[7 << 5 | back_high, (long - 7) as u8, back]),
        }
        true
    }
}

/// Appends to `out` what `compressed` holds, which has to be `len` bytes; `None` if it is not. May leave some of it in
/// `out` then. Takes memory for no more than what so many bytes can come to.
pub(crate) fn decompress(compressed: &[u8], len: usize, out: &mut Vec<u8>) -> Option<()> {
    if len > compressed.len().saturating_mul(COPY_MAX / COPY_MIN) {
        return None;
    }
    out.reserve(len);
    let begin = out.len();
    let end = begin + len;
    let mut rest = compressed;
    while let Some((&control, behind)) = rest.split_first() {
        rest = behind;
        if control < LITERALS_MAX as u8 {
            let (run, behind) = rest.split_at_checked(usize::from(control) + 1)?;
            out.extend_from_slice(run);
            rest = behind;
        } else {
            let copy = Copy::read(control, &mut rest)?;
            copy.append(out, begin)?;
        }
        if out.len() > end {
            return None;
        }
    }
    (out.len() == end).then_some(())
}

struct Copy {
    distance: usize,
    len: usize,
}

impl Copy {
    fn read(control: u8, rest: &mut &[u8]) -> Option<Self> {
        let mut len = usize::from(control >> 5) + 2;
        if len == 9 {
            len += usize::from(*rest.split_off_first()?);
        }
        let back = rest.split_off_first()?;
        let distance = usize::from(u16::from_le_bytes([*back, control & 0x1f])) + 1;
        Some(Self { distance, len })
    }

    /// Copies within `out`, not from before `begin`.
    fn append(&self, out: &mut Vec<u8>, begin: usize) -> Option<()> {
        let from = out.len().checked_sub(self.distance)?;
        if from < begin {
            return None;
        }
        let mut left = self.len;
        // Each round can copy what the ones before it made.
        while left > 0 {
            let piece = left.min(out.len() - from);
            out.extend_from_within(from..from + piece);
            left -= piece;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
