//! The footer: the last bytes of a table, from which everything else is found.
//!
//! ```text
//! offset from its start
//!    0  table id u64
//!    8  filter: offset u64, blocks u32, lines of 64 bytes in each u32
//!   24  index: offset of its first block u64
//!   32  top index block: offset u64, length u32
//!   44  range deletes: offset u64, length u32 (0: there are none)
//!   56  properties: offset u64, length u32
//!   68  length of the footer u32: 88
//!   72  version u32: 1
//!   76  crc u32: CRC-32 of the footer's bytes before it
//!   80  magic: "TRLTABLE"
//! ```
//!
//! Every version keeps the last twenty bytes where they are, so that an older engine can tell a newer table
//! from a damaged one. Lengths include trailers. Data blocks fill the file from 0 to the filter, the filter
//! goes up to the index, the index up to the top index block.

use std::ops::Range;

use super::Damage;
use super::filter::FilterShape;
use super::frame::TRAILER_BYTES;
use super::index::Handle;
use crate::codec::Decoder;
use crate::{Error, ErrorKind, Object, Result};

/// Bytes of a footer of this version.
pub(crate) const FOOTER_BYTES: usize = 88;
const MAGIC: &[u8; 8] = b"TRLTABLE";
const VERSION: u32 = 1;
/// What every version has at its end: length, version, crc, magic.
const ENDING_BYTES: usize = 20;
const DOING: &str = "reading the footer";

/// Where the parts of a table lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) table: u64,
    pub(crate) filter_offset: u64,
    pub(crate) filter: FilterShape,
    pub(crate) index_offset: u64,
    pub(crate) top: Handle,
    pub(crate) ranges: Handle,
    pub(crate) properties: Handle,
}

impl Footer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(&self.table.to_le_bytes());
        out.extend_from_slice(&self.filter_offset.to_le_bytes());
        out.extend_from_slice(&self.filter.blocks.to_le_bytes());
        out.extend_from_slice(&self.filter.lines.to_le_bytes());
        out.extend_from_slice(&self.index_offset.to_le_bytes());
        for handle in [self.top, self.ranges, self.properties] {
            out.extend_from_slice(&handle.offset.to_le_bytes());
            out.extend_from_slice(&handle.len.to_le_bytes());
        }
        out.extend_from_slice(&(FOOTER_BYTES as u32).to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(MAGIC);
        out
    }

    /// The footer at the end of `tail`, the last bytes of a file of `file_bytes`, which is table `id`.
    pub(crate) fn decode(tail: &[u8], file_bytes: u64, id: u64) -> Result<Self> {
        let corrupt = |detail: &str| {
            let at = file_bytes.saturating_sub(FOOTER_BYTES as u64);
            Error::corrupt(DOING, detail).on(Object::Table(id)).at(at)
        };
        let bytes = checked(tail).map_err(|damage| corrupt(damage.0))?;
        let version = Decoder::new(&bytes[bytes.len() - 16..]).u32().unwrap_or(0);
        if version > VERSION {
            let detail = format!("format version {version}, this engine knows up to {VERSION}");
            return Err(Error::new(ErrorKind::Newer, DOING, detail).on(Object::Table(id)));
        }
        if version != VERSION || bytes.len() != FOOTER_BYTES {
            return Err(corrupt("impossible version or length"));
        }
        let footer = Self::fields(bytes).ok_or_else(|| corrupt("malformed"))?;
        if footer.table != id {
            return Err(corrupt(&format!(
                "it is the footer of table {}",
                footer.table
            )));
        }
        if !footer.is_consistent(file_bytes) {
            return Err(corrupt("its parts do not fill the file"));
        }
        Ok(footer)
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let (table, filter_offset) = (decoder.u64()?, decoder.u64()?);
        let filter = FilterShape::new(decoder.u32()?, decoder.u32()?).ok()?;
        let index_offset = decoder.u64()?;
        let mut handle = || {
            Some(Handle {
                offset: decoder.u64()?,
                len: decoder.u32()?,
            })
        };
        let (top, ranges, properties) = (handle()?, handle()?, handle()?);
        Some(Self {
            table,
            filter_offset,
            filter,
            index_offset,
            top,
            ranges,
            properties,
        })
    }

    fn is_consistent(&self, file_bytes: u64) -> bool {
        let filter_bytes = u64::from(self.filter.blocks) * self.stored_filter_block_bytes();
        self.filter_offset.checked_add(filter_bytes) == Some(self.index_offset)
            && self.index_offset <= self.top.offset
            && self.top.end() == self.ranges.offset
            && self.ranges.end() == self.properties.offset
            && self.properties.end().checked_add(FOOTER_BYTES as u64) == Some(file_bytes)
    }

    fn stored_filter_block_bytes(&self) -> u64 {
        (self.filter.block_bytes() + TRAILER_BYTES) as u64
    }

    /// Where filter block `index` lies.
    pub(crate) fn filter_block(&self, index: u32) -> Handle {
        let len = self.stored_filter_block_bytes();
        Handle {
            offset: self.filter_offset + u64::from(index) * len,
            len: len as u32,
        }
    }

    /// Where data blocks lie.
    pub(crate) fn data(&self) -> Range<u64> {
        0..self.filter_offset
    }

    /// Where index blocks lie.
    pub(crate) fn index(&self) -> Range<u64> {
        self.index_offset..self.top.offset
    }
}

/// The bytes of the footer, of whatever version, with magic and checksum compared.
fn checked(tail: &[u8]) -> Result<&[u8], Damage> {
    let start = tail
        .len()
        .checked_sub(ENDING_BYTES)
        .ok_or(Damage("file too short for a table"))?;
    let mut ending = Decoder::new(&tail[start..]);
    let (len, _version, crc) = (ending.u32(), ending.u32(), ending.u32());
    if ending.rest() != MAGIC {
        return Err(Damage("not a table: the magic bytes are missing"));
    }
    let bytes = len
        .and_then(|len| usize::try_from(len).ok())
        .filter(|&len| len >= ENDING_BYTES)
        .and_then(|len| tail.len().checked_sub(len))
        .map(|start| &tail[start..])
        .ok_or(Damage("impossible length"))?;
    if Some(crc32fast::hash(&bytes[..bytes.len() - 12])) != crc {
        return Err(Damage("checksum differs"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer {
            table: 7,
            filter_offset: 1000,
            filter: FilterShape {
                blocks: 2,
                lines: 3,
            },
            index_offset: 1000 + 2 * 197,
            top: Handle {
                offset: 1400,
                len: 100,
            },
            ranges: Handle {
                offset: 1500,
                len: 0,
            },
            properties: Handle {
                offset: 1500,
                len: 80,
            },
        }
    }
    const FILE_BYTES: u64 = 1580 + FOOTER_BYTES as u64;

    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc_at = bytes.len() - 12;
        let crc = crc32fast::hash(&bytes[..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn a_footer_comes_back_and_its_parts_fill_the_file() {
        let bytes = footer().encode();
        assert_eq!(bytes.len(), FOOTER_BYTES);
        assert_eq!(Footer::decode(&bytes, FILE_BYTES, 7).unwrap(), footer());
        assert!(Footer::decode(&bytes, FILE_BYTES + 1, 7).is_err());
        assert!(Footer::decode(&bytes, FILE_BYTES, 8).is_err());
        assert_eq!(
            footer().filter_block(1),
            Handle {
                offset: 1197,
                len: 197
            }
        );
    }

    #[test]
    fn a_newer_table_is_named_as_such_and_not_as_damaged() {
        let mut bytes = vec![0xab; 30];
        bytes.extend_from_slice(&footer().encode());
        let at = bytes.len() - 20;
        bytes[at..at + 4].copy_from_slice(&(FOOTER_BYTES as u32 + 30).to_le_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&9u32.to_le_bytes());
        let error = Footer::decode(&resealed(bytes), FILE_BYTES, 7).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Newer);
        assert!(error.to_string().contains("version 9"), "{error}");
    }

    #[test]
    fn flipped_bits_and_missing_bytes_are_corruption() {
        let bytes = footer().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = Footer::decode(&bytes, FILE_BYTES, 7).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Footer::decode(&bytes[..len], FILE_BYTES, 7).is_err());
        }
    }
}
