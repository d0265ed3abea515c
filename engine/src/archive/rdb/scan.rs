//! The beginning of a file's bytes, taken apart without copying any.

use super::length;
use crate::archive::lzf;
use crate::record::VALUE_BYTES_MAX;

/// Why bytes could not be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// So many bytes would have to be there, counted from the beginning.
    Needs(usize),
    /// They are not what they should be.
    Damage(&'static str),
    /// A string is longer than a value may be.
    TooLong(u64),
    /// A value that cannot be passed over.
    Sealed,
}

/// Goes forward through bytes that may end before what they hold does.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of the file from the first byte on: there is nothing behind them.
    left: u64,
}

/// Where a string is, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    Plain {
        from: usize,
        len: usize,
    },
    Number(i32),
    Compressed {
        from: usize,
        stored: usize,
        len: usize,
    },
}

/// A length, or what stands in its place.
enum Length {
    Plain(u64),
    /// A number of so many bytes.
    Number(usize),
    Compressed,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8], left: u64) -> Self {
        Self { bytes, at: 0, left }
    }

    /// How far it has come.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let found = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        let Some(found) = found else {
            return Err(Stop::Needs(self.at + N));
        };
        self.at += N;
        Ok(*found)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        self.array().map(|[byte]| byte)
    }

    /// A length, a count or a number.
    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Stop> {
        match self.length()? {
            Length::Plain(number) => Ok(number),
            _ => Err(Stop::Damage("a string where a number should be")),
        }
    }

    #[inline]
    fn length(&mut self) -> Result<Length, Stop> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            length::BITS_6 => Length::Plain(u64::from(first)),
            length::BITS_14 => {
                let high = u16::from(first & 0x3f) << 8;
                Length::Plain(u64::from(high | u16::from(self.byte()?)))
            }
            _ => return self.long_length(first),
        })
    }

    fn long_length(&mut self, first: u8) -> Result<Length, Stop> {
        Ok(match first {
            length::BITS_32 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            length::BITS_64 => Length::Plain(u64::from_be_bytes(self.array()?)),
            length::INT_8 => Length::Number(1),
            length::INT_16 => Length::Number(2),
            length::INT_32 => Length::Number(4),
            length::LZF => Length::Compressed,
            _ => return Err(Stop::Damage("no such length")),
        })
    }

    /// A string; its bytes are all there.
    #[inline]
    pub(super) fn text(&mut self) -> Result<Text, Stop> {
        match self.length()? {
            Length::Plain(len) => {
                let from = self.at;
                let len = self.stretch(len)?;
                Ok(Text::Plain { from, len })
            }
            Length::Number(bytes) => self.number_text(bytes),
            Length::Compressed => self.compressed_text(),
        }
    }

    #[cold]
    fn number_text(&mut self, bytes: usize) -> Result<Text, Stop> {
        Ok(Text::Number(match bytes {
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => i16::from_le_bytes(self.array()?).into(),
            _ => i32::from_le_bytes(self.array()?),
        }))
    }

    fn compressed_text(&mut self) -> Result<Text, Stop> {
        let (stored, len) = (self.number()?, self.number()?);
        let from = self.at;
        let stored = self.stretch(stored)?;
        if len > VALUE_BYTES_MAX as u64 {
            return Err(Stop::TooLong(len));
        }
        // At most VALUE_BYTES_MAX, so it fits.
        let len = len as usize;
        Ok(Text::Compressed { from, stored, len })
    }

    /// Passes over the bytes of a string, which have to be there.
    #[inline]
    fn stretch(&mut self, len: u64) -> Result<usize, Stop> {
        let end = (self.at as u64).saturating_add(len);
        if end <= self.bytes.len() as u64 {
            self.at = end as usize;
            return Ok(len as usize);
        }
        if end > self.left {
            return Err(Stop::Damage("the file ends within a string"));
        }
        if len > VALUE_BYTES_MAX as u64 {
            return Err(Stop::TooLong(len));
        }
        // No more than the file has, and not much longer than a string may be.
        Err(Stop::Needs(end as usize))
    }

    /// How many bytes follow that belong to a string: for who wants to pass over it.
    pub(super) fn text_len(&mut self) -> Result<u64, Stop> {
        Ok(match self.length()? {
            Length::Plain(len) => len,
            Length::Number(bytes) => bytes as u64,
            Length::Compressed => {
                let stored = self.number()?;
                self.number()?;
                stored
            }
        })
    }
}

impl Text {
    /// The string's bytes, in `bytes` (those that were taken apart) or made in `scratch`.
    #[inline]
    pub(super) fn unpack(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> Result<(), Stop> {
        match *self {
            Self::Plain { .. } => {}
            Self::Number(number) => {
                scratch.clear();
                scratch.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            Self::Compressed { from, stored, len } => {
                scratch.clear();
                lzf::decompress(&bytes[from..from + stored], len, scratch)
                    .ok_or(Stop::Damage("a compressed string does not decompress"))?;
            }
        }
        Ok(())
    }

    /// The string's bytes, once it was unpacked.
    #[inline]
    pub(super) fn bytes<'a>(&self, bytes: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        match *self {
            Self::Plain { from, len } => &bytes[from..from + len],
            _ => scratch,
        }
    }
}
