//! Frames: what travels on a connection once the handshake is done.
//!
//! A length is never believed beyond [`PAYLOAD_BYTES_MAX`], and memory is taken for bytes that have come, not for
//! those that were announced. docs/format.md draws a frame byte by byte.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::refusal::{Broken, Refusal};

/// Bytes of a frame's payload, at most.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Length and kind.
const HEAD_BYTES: usize = 5;

const TAG_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;

/// Bytes that a reader makes room for at a time.
const READ_BYTES: usize = 64 << 10;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A packet, or the last part of one.
    Last = 1,
    /// A part of a packet; the next frame that is no `Alive` goes on with it.
    Part = 2,
    /// Nothing, so that the other side knows that this one lives.
    Alive = 3,
}

/// What shows that a frame is its sender's, and has come whole and in its turn.
pub(super) enum Seal {
    /// Without a secret: a checksum.
    Checksum,
    /// A keyed hash.
    Key(Box<Hmac<Sha256>>),
}

impl Seal {
    fn bytes(&self) -> usize {
        match self {
            Self::Checksum => CHECKSUM_BYTES,
            Self::Key(_) => TAG_BYTES,
        }
    }

    fn checksum(sequence: u64, body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&sequence.to_le_bytes());
        hasher.update(body);
        hasher.finalize()
    }

    fn fed(key: &Hmac<Sha256>, sequence: u64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = key.clone();
        mac.update(&sequence.to_le_bytes());
        mac.update(body);
        mac
    }

    /// Appends the seal of what stands in `out` from `start` on.
    fn put(&self, sequence: u64, out: &mut Vec<u8>, start: usize) {
        match self {
            Self::Checksum => {
                let checksum = Self::checksum(sequence, &out[start..]);
                out.extend_from_slice(&checksum.to_le_bytes());
            }
            Self::Key(key) => {
                let tag = Self::fed(key, sequence, &out[start..]).finalize();
                out.extend_from_slice(&tag.into_bytes()[..TAG_BYTES]);
            }
        }
    }

    fn holds(&self, sequence: u64, body: &[u8], seal: &[u8]) -> bool {
        match self {
            Self::Checksum => Self::checksum(sequence, body).to_le_bytes() == seal,
            // In constant time.
            Self::Key(key) => Self::fed(key, sequence, body)
                .verify_truncated_left(seal)
                .is_ok(),
        }
    }
}

/// Makes frames of one direction of a connection.
pub(super) struct Sealer {
    seal: Seal,
    sequence: u64,
}

impl Sealer {
    pub(super) fn new(seal: Seal) -> Self {
        Self { seal, sequence: 0 }
    }

    /// Appends a frame to `out`. The payload must not be longer than [`PAYLOAD_BYTES_MAX`].
    pub(super) fn put(&mut self, out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        let start = out.len();
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.push(kind as u8);
        out.extend_from_slice(payload);
        self.seal.put(self.sequence, out, start);
        self.sequence += 1;
    }
}

/// A frame that has held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
}

/// Takes frames of one direction of a connection apart.
pub(super) struct Opener {
    seal: Seal,
    sequence: u64,
}

impl Opener {
    pub(super) fn new(seal: Seal) -> Self {
        Self { seal, sequence: 0 }
    }

    /// Takes a frame off the front; `None` if it is not all there.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Broken> {
        let Some(&[a, b, c, d, kind]) = buffer.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > PAYLOAD_BYTES_MAX {
            let detail = format!("{length} bytes, and {PAYLOAD_BYTES_MAX} is the most");
            return Err(Broken::Refused(Refusal::TooLong, detail));
        }
        let sealed = HEAD_BYTES + length;
        let whole = sealed + self.seal.bytes();
        if buffer.len() < whole {
            return Ok(None);
        }
        if !self
            .seal
            .holds(self.sequence, &buffer[..sealed], &buffer[sealed..whole])
        {
            return Err(Broken::refused(Refusal::Damaged));
        }
        self.sequence += 1;
        let kind = match kind {
            1 => Kind::Last,
            2 => Kind::Part,
            3 => Kind::Alive,
            other => {
                let detail = format!("it is of the unknown kind {other}");
                return Err(Broken::Refused(Refusal::Packet, detail));
            }
        };
        let mut frame = buffer.split_to(whole);
        frame.truncate(sealed);
        frame.advance(HEAD_BYTES);
        Ok(Some(Frame {
            kind,
            payload: frame.freeze(),
        }))
    }
}

/// Reads frames off a connection.
pub(super) struct FrameReader<R> {
    io: R,
    opener: Opener,
    buffer: BytesMut,
    silence: Duration,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// `silence` is how long a peer may say nothing at all.
    pub(super) fn new(io: R, seal: Seal, silence: Duration) -> Self {
        Self {
            io,
            opener: Opener::new(seal),
            buffer: BytesMut::new(),
            silence,
        }
    }

    /// The next frame. `received` hears of bytes as they come.
    pub(super) async fn next(&mut self, received: impl Fn(usize)) -> Result<Frame, Broken> {
        loop {
            if let Some(frame) = self.opener.take(&mut self.buffer)? {
                return Ok(frame);
            }
            self.buffer.reserve(READ_BYTES);
            let read = self.io.read_buf(&mut self.buffer);
            let count = match tokio::time::timeout(self.silence, read).await {
                Ok(count) => count?,
                Err(_late) => return Err(Broken::refused(Refusal::Silent)),
            };
            if count == 0 {
                return Err(Broken::closed());
            }
            received(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::secret::keyed;

    fn seals() -> [fn() -> Seal; 2] {
        [
            || Seal::Checksum,
            || Seal::Key(Box::new(keyed(b"a key of a session"))),
        ]
    }

    fn take(opener: &mut Opener, bytes: &[u8]) -> Result<Option<Frame>, Broken> {
        opener.take(&mut BytesMut::from(bytes))
    }

    fn refusal(taken: Result<Option<Frame>, Broken>) -> Option<Refusal> {
        match taken {
            Err(Broken::Refused(refusal, _)) => Some(refusal),
            _ => None,
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        for seal in seals() {
            let (mut sealer, mut opener) = (Sealer::new(seal()), Opener::new(seal()));
            let mut bytes = Vec::new();
            sealer.put(&mut bytes, Kind::Part, b"one");
            sealer.put(&mut bytes, Kind::Last, b"two");
            sealer.put(&mut bytes, Kind::Alive, b"");
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut taken = Vec::new();
            while let Some(frame) = opener.take(&mut buffer).unwrap() {
                taken.push((frame.kind, frame.payload));
            }
            let expected: [(Kind, &'static [u8]); 3] = [
                (Kind::Part, b"one"),
                (Kind::Last, b"two"),
                (Kind::Alive, b""),
            ];
            assert_eq!(
                taken,
                expected.map(|(kind, bytes)| (kind, Bytes::from(bytes)))
            );
        }
    }

    #[test]
    fn a_frame_waits_for_its_last_byte() {
        for seal in seals() {
            let mut bytes = Vec::new();
            Sealer::new(seal()).put(&mut bytes, Kind::Last, b"payload");
            for end in 0..bytes.len() {
                assert_eq!(take(&mut Opener::new(seal()), &bytes[..end]).unwrap(), None);
            }
        }
    }

    #[test]
    fn every_bit_of_a_frame_is_sealed() {
        for seal in seals() {
            let mut bytes = Vec::new();
            Sealer::new(seal()).put(&mut bytes, Kind::Last, b"payload");
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                // A longer length waits for bytes that do not come, or is refused.
                let taken = take(&mut Opener::new(seal()), &damaged);
                assert!(!matches!(taken, Ok(Some(_))), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_that_comes_again_or_out_of_its_turn_is_refused() {
        for seal in seals() {
            let mut sealer = Sealer::new(seal());
            let (mut first, mut second) = (Vec::new(), Vec::new());
            sealer.put(&mut first, Kind::Last, b"same");
            sealer.put(&mut second, Kind::Last, b"same");
            let mut opener = Opener::new(seal());
            assert!(take(&mut opener, &first).unwrap().is_some());
            assert_eq!(refusal(take(&mut opener, &first)), Some(Refusal::Damaged));
            let mut opener = Opener::new(seal());
            assert_eq!(refusal(take(&mut opener, &second)), Some(Refusal::Damaged));
        }
    }

    #[test]
    fn a_frame_of_four_gigabytes_is_refused_by_its_head() {
        let head = [0xff, 0xff, 0xff, 0xff, Kind::Last as u8];
        let taken = take(&mut Opener::new(Seal::Checksum), &head);
        assert_eq!(refusal(taken), Some(Refusal::TooLong));
    }
}
