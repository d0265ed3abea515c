//! An RDB file as bytes, piece by piece.

use super::{MAGIC, Sizes, VERSIONS_WRITTEN, length, opcode};
use crate::archive::crc64;
use crate::archive::lzf::Compressor;
use crate::{Error, ErrorKind, Result};

/// The type of a value that is a string.
const STRING: u8 = 0;
/// Shorter strings are not compressed.
const COMPRESSED_MIN: usize = 21;
/// A number of 32 bits has no more digits than this, with its sign.
const NUMBER_BYTES_MAX: usize = 11;

/// What is kept for the next string to be compressed.
const SCRATCH_BYTES: usize = 1 << 20;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// The version that the file says it has, 9 to 11. What is in it is the same in all three; a reader refuses
    /// versions above its own. Redis 5 and 6 read up to 9, Redis 7.0 up to 10, Redis 7.2 up to 11. The default is 9.
    pub version: u16,
    /// Whether strings of more than 20 bytes are compressed where that saves bytes. The default is yes.
    pub compress: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            version: *VERSIONS_WRITTEN.start(),
            compress: true,
        }
    }
}

/// Makes the bytes of one file: [`header`](Self::header) once, [`entry`](Self::entry) for each key,
/// [`end`](Self::end) once. All append to a buffer, which the caller may empty in between.
///
/// ```
/// use trilith::archive::rdb::{EncodeOptions, Encoder, Sizes};
/// let mut encoder = Encoder::new(EncodeOptions { version: 10, compress: false })?;
/// let mut out = Vec::new();
/// encoder.header(&mut out, &[("redis-ver", b"7.0.15")], Sizes::default());
/// encoder.entry(&mut out, b"key", b"value", 0);
/// encoder.end(&mut out);
/// assert!(out.starts_with(b"REDIS0010\xfa\x09redis-ver\x067.0.15"));
/// # Ok::<(), trilith::Error>(())
/// ```
pub struct Encoder {
    version: u16,
    compressor: Option<Compressor>,
    /// The string that is being compressed: what it comes to stands before it.
    compressed: Vec<u8>,
    /// Over everything so far.
    crc: u64,
}

impl Encoder {
    /// An encoder of one file.
    ///
    /// # Errors
    /// `Invalid` if no such version is written.
    pub fn new(options: EncodeOptions) -> Result<Self> {
        let EncodeOptions { version, compress } = options;
        if !VERSIONS_WRITTEN.contains(&version) {
            let (from, to) = VERSIONS_WRITTEN.into_inner();
            let detail =
                format!("version {version} is not written, but those from {from} to {to} are");
            return Err(Error::new(
                ErrorKind::Invalid,
                "writing an RDB file",
                detail,
            ));
        }
        Ok(Self {
            version,
            compressor: compress.then(Compressor::default),
            compressed: Vec::new(),
            crc: 0,
        })
    }

    /// Appends what comes before the keys. `aux` are fields that say something about the file; readers pass over those
    /// that they do not know. `sizes` may be estimated.
    pub fn header(&mut self, out: &mut Vec<u8>, aux: &[(&str, &[u8])], sizes: Sizes) {
        let begin = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(format!("{:04}", self.version).as_bytes());
        for (name, value) in aux {
            out.push(opcode::AUX);
            self.string(out, name.as_bytes());
            self.string(out, value);
        }
        out.extend_from_slice(&[opcode::SELECT, 0]);
        out.push(opcode::SIZES);
        put_length(out, sizes.keys);
        put_length(out, sizes.keys_with_deadline);
        self.crc = crc64::update(self.crc, &out[begin..]);
    }

    /// Appends a key, its value and when it expires, in milliseconds since 1970; 0 is never. The encoder does not ask
    /// whether a key was there before: each is to be given once.
    pub fn entry(&mut self, out: &mut Vec<u8>, key: &[u8], value: &[u8], deadline_ms: u64) {
        let begin = out.len();
        if deadline_ms != 0 {
            // Readers take it as signed.
            let deadline_ms = deadline_ms.min(i64::MAX as u64);
            out.push(opcode::DEADLINE_MS);
            out.extend_from_slice(&deadline_ms.to_le_bytes());
        }
        out.push(STRING);
        self.string(out, key);
        self.string(out, value);
        self.crc = crc64::update(self.crc, &out[begin..]);
    }

    /// Appends the end and the checksum over everything that this encoder made.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        out.push(opcode::END);
        self.crc = crc64::update(self.crc, &[opcode::END]);
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    fn string(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        if let Some(number) = canonical_number(bytes) {
            put_number(out, number);
        } else if !self.string_compressed(out, bytes) {
            put_length(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }

    /// Appends the string compressed, if that is wanted and saves something.
    fn string_compressed(&mut self, out: &mut Vec<u8>, bytes: &[u8]) -> bool {
        let Some(compressor) = &mut self.compressor else {
            return false;
        };
        self.compressed.clear();
        if bytes.len() < COMPRESSED_MIN || !compressor.compress(bytes, &mut self.compressed) {
            return false;
        }
        out.push(length::LZF);
        put_length(out, self.compressed.len() as u64);
        put_length(out, bytes.len() as u64);
        out.extend_from_slice(&self.compressed);
        self.compressed.shrink_to(SCRATCH_BYTES);
        true
    }
}

fn put_length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..64 => out.push(length::BITS_6 << 6 | len as u8),
        64..16_384 => {
            let [high, low] = (len as u16).to_be_bytes();
            out.extend_from_slice(&[length::BITS_14 << 6 | high, low]);
        }
        16_384..=0xffff_ffff => {
            out.push(length::BITS_32);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(length::BITS_64);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// The number that these bytes are the only way to write.
fn canonical_number(bytes: &[u8]) -> Option<i32> {
    let digits = match bytes {
        // Most strings end here.
        [b'0'..=b'9', ..] => bytes,
        [b'-', b'1'..=b'9', ..] => &bytes[1..],
        _ => return None,
    };
    let is_canonical = bytes.len() <= NUMBER_BYTES_MAX
        && (digits[0] != b'0' || bytes.len() == 1)
        && digits.iter().all(u8::is_ascii_digit);
    if !is_canonical {
        return None;
    }
    let size = digits
        .iter()
        .fold(0i64, |size, digit| size * 10 + i64::from(digit - b'0'));
    let number = if digits.len() < bytes.len() {
        -size
    } else {
        size
    };
    i32::try_from(number).ok()
}

fn put_number(out: &mut Vec<u8>, number: i32) {
    if let Ok(number) = i8::try_from(number) {
        out.extend_from_slice(&[length::INT_8, number as u8]);
    } else if let Ok(number) = i16::try_from(number) {
        out.push(length::INT_16);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(length::INT_32);
        out.extend_from_slice(&number.to_le_bytes());
    }
}
