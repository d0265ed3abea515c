//! Looking for sound records behind damage, where every byte may begin one.
//!
//! Bytes of a torn tail claim lengths at random, and a checksum over each claim would cost the square of the
//! tail's length. So checksums of its beginnings are noted at steps; that of any stretch follows from two of
//! them, at the price of a step's bytes. It must find every sound record that promises something.

use crc32fast::Hasher;

use super::record::{Frame, PREFIX_BYTES, checksum_start, peek};

const STEP: usize = 512;

/// The bytes of a segment from the damage on.
pub(super) struct Behind<'a> {
    bytes: &'a [u8],
    frame: Frame,
    /// The checksum of the first `i * STEP` bytes.
    marks: Vec<u32>,
}

impl<'a> Behind<'a> {
    /// `frame` is the damaged record's.
    pub(super) fn new(bytes: &'a [u8], frame: Frame) -> Self {
        let mut sum = Hasher::new();
        let mut marks = vec![0];
        for step in bytes.chunks_exact(STEP) {
            sum.update(step);
            marks.push(sum.clone().finalize());
        }
        Self {
            bytes,
            frame,
            marks,
        }
    }

    /// Whether any sound record carries a watermark past `position`.
    pub(super) fn any_promises(&self, position: u64) -> bool {
        (1..self.bytes.len()).any(|at| self.promises(at, position))
    }

    fn promises(&self, at: usize, position: u64) -> bool {
        let frame = Frame {
            position: self.frame.position + at as u64,
            ..self.frame
        };
        let Some(claimed) = peek(&self.bytes[at..], frame) else {
            return false;
        };
        // Cheap questions first: most of what is not a record fails them.
        let end = at + claimed.bytes;
        (position + 1..=frame.position).contains(&claimed.synced_upto)
            && end <= self.bytes.len()
            && self.sum(at + PREFIX_BYTES / 2, end, checksum_start(frame)) == claimed.crc
    }

    /// The checksum of a stretch, begun with `start`.
    fn sum(&self, from: usize, to: usize, start: u32) -> u32 {
        let len = (to - from) as u64;
        // Checksums are linear: both beginnings share the bytes before the stretch.
        let mut shifted = Hasher::new_with_initial_len(start ^ self.sum_upto(from), 0);
        shifted.combine(&Hasher::new_with_initial_len(0, len));
        shifted.finalize() ^ self.sum_upto(to)
    }

    fn sum_upto(&self, to: usize) -> u32 {
        let mut sum = Hasher::new_with_initial(self.marks[to / STEP]);
        sum.update(&self.bytes[to / STEP * STEP..to]);
        sum.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{LogKind, LogRecord, checksum, encode};
    use super::*;

    const FRAME: Frame = Frame {
        position: 1 << 33,
        base_time_ms: 1_700_000_000_000,
    };

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| next()).collect()
    }

    /// Noise with a record after `at` bytes that promises everything before `synced_upto`.
    fn with_record(mut bytes: Vec<u8>, at: usize, synced_upto: u64) -> Vec<u8> {
        let frame = Frame {
            position: FRAME.position + at as u64,
            ..FRAME
        };
        let record = LogRecord {
            kind: LogKind::Entry,
            range: 0,
            term: 1,
            index: 7,
            time_ms: FRAME.base_time_ms,
            seed: 3,
            payload: &noise(3000),
        };
        let mut encoded = Vec::new();
        encode(&record, frame, Some(synced_upto), &mut encoded);
        bytes[at..at + encoded.len()].copy_from_slice(&encoded);
        bytes
    }

    #[test]
    fn a_stretch_has_the_checksum_that_a_record_of_it_would_have() {
        let bytes = noise(5000);
        let behind = Behind::new(&bytes, FRAME);
        for (from, to) in [(0, 0), (0, 5000), (1, 511), (511, 513), (700, 4999)] {
            let expected = checksum(&bytes[from..to], FRAME.position);
            assert_eq!(behind.sum(from, to, checksum_start(FRAME)), expected);
        }
    }

    #[test]
    fn a_record_in_the_midst_of_noise_is_found_and_one_that_promises_less_is_not() {
        let promising = with_record(noise(20_000), 12_345, FRAME.position + 1);
        assert!(Behind::new(&promising, FRAME).any_promises(FRAME.position));
        let modest = with_record(noise(20_000), 12_345, FRAME.position);
        assert!(!Behind::new(&modest, FRAME).any_promises(FRAME.position));
    }

    #[test]
    fn megabytes_of_noise_take_no_time_to_speak_of() {
        // Their square would take minutes.
        let bytes = with_record(noise(16 << 20), 16_000_000, FRAME.position + 1);
        assert!(Behind::new(&bytes, FRAME).any_promises(FRAME.position));
    }
}
