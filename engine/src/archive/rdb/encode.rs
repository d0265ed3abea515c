//! An RDB file as bytes, piece by piece.

use super::Sizes;
use crate::Result;

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
            version: 9,
            compress: true,
        }
    }
}

/// Makes the bytes of one file: [`header`](Self::header) once, [`entry`](Self::entry) for each key,
/// [`end`](Self::end) once. All append to a buffer, which the caller may empty in between.
pub struct Encoder {
    options: EncodeOptions,
}

impl Encoder {
    /// An encoder of one file.
    ///
    /// # Errors
    /// `Invalid` if no such version is written.
    pub fn new(options: EncodeOptions) -> Result<Self> {
        Ok(Self { options })
    }

    /// Appends what comes before the keys. `aux` are fields that say something about the file; readers pass over those
    /// that they do not know. `sizes` may be estimated.
    pub fn header(&mut self, out: &mut Vec<u8>, aux: &[(&str, &[u8])], sizes: Sizes) {
        todo!("{:?} {} {} {sizes:?}", self.options, out.len(), aux.len())
    }

    /// Appends a key, its value and when it expires, in milliseconds since 1970; 0 is never. The encoder does not ask
    /// whether a key was there before: each is to be given once.
    pub fn entry(&mut self, out: &mut Vec<u8>, key: &[u8], value: &[u8], deadline_ms: u64) {
        todo!("{} {} {} {deadline_ms}", out.len(), key.len(), value.len())
    }

    /// Appends the end and the checksum over everything that this encoder made.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        todo!("{}", out.len())
    }
}
