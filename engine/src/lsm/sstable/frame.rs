//! How a block is stored: compressed where that pays, and behind it five bytes that tell how, and whether
//! what was read is what was written, here.
//!
//! ```text
//! stored block = body | compression u8 | crc u32
//!   compression  0: body is the block
//!                1: body is the block's length u32, then the block in LZ4's block format
//!   crc          CRC-32 (IEEE) of body | compression u8 | table id u64 | offset of body in the file u64
//! ```
//!
//! The table id and the offset are not stored: they make a block that is served from a wrong place or a
//! wrong file fail its checksum. A block is never trusted before its checksum was compared.

use bytes::Bytes;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::Damage;

/// Bytes behind the body of every stored block.
pub(crate) const TRAILER_BYTES: usize = 5;

/// Larger blocks (of range deletes, if any) are stored plain: what a reader would decompress has a limit. Data blocks exceed their target only for a record larger than it.
pub(crate) const BLOCK_BYTES_MAX: usize = 64 << 20;

/// How the blocks of a table are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4, for each block where it saves an eighth or more.
    #[default]
    Lz4,
}

/// The body is the block.
pub(crate) const STORED_PLAIN: u8 = 0;
/// The body is a length, then LZ4.
pub(crate) const STORED_LZ4: u8 = 1;

/// Compresses what is worth it; keeps the compressor's tables and buffer from one call to the next.
pub(crate) struct Packer {
    compression: Compression,
    table: CompressTable,
    scratch: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            table: CompressTable::default(),
            scratch: Vec::new(),
        }
    }

    /// The compressed body, if compressing is wanted, possible, and saves an eighth or more.
    pub(crate) fn pack(&mut self, block: &[u8], bytes_max: usize) -> Option<&mut Vec<u8>> {
        if self.compression == Compression::None || block.len() > bytes_max {
            return None;
        }
        let len = u32::try_from(block.len()).ok()?;
        self.scratch
            .resize(4 + get_maximum_output_size(block.len()), 0);
        self.scratch[..4].copy_from_slice(&len.to_le_bytes());
        let out = &mut self.scratch[4..];
        let written = compress_into_with_table(block, out, &mut self.table).ok()?;
        self.scratch.truncate(4 + written);
        (self.scratch.len() <= block.len() - block.len() / 8).then_some(&mut self.scratch)
    }
}

/// Turns blocks into stored blocks.
pub(crate) struct Sealer(Packer);

impl Sealer {
    pub(crate) fn new(compression: Compression) -> Self {
        Self(Packer::new(compression))
    }

    /// The stored form of `block`, which is about to be written at `offset` of table `id`. May append
    /// to `block`.
    pub(crate) fn seal<'a>(&'a mut self, block: &'a mut Vec<u8>, id: u64, offset: u64) -> &'a [u8] {
        let (body, compression) = match self.0.pack(block, BLOCK_BYTES_MAX) {
            Some(packed) => (packed, STORED_LZ4),
            None => (block, STORED_PLAIN),
        };
        push_trailer(body, compression, id, offset);
        body
    }
}

fn push_trailer(body: &mut Vec<u8>, compression: u8, id: u64, offset: u64) {
    let crc = checksum(body, compression, id, offset);
    body.push(compression);
    body.extend_from_slice(&crc.to_le_bytes());
}

pub(crate) fn checksum(body: &[u8], compression: u8, id: u64, offset: u64) -> u32 {
    let mut place = [0; 17];
    place[0] = compression;
    place[1..9].copy_from_slice(&id.to_le_bytes());
    place[9..].copy_from_slice(&offset.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(&place);
    hasher.finalize()
}

/// Checks and undoes [`Sealer::seal`]. A compressed block comes in a buffer of its own and exact size;
/// one that is stored plain is a slice of `stored`.
pub(crate) fn unseal(stored: &Bytes, id: u64, offset: u64) -> Result<Bytes, Damage> {
    let body_len = stored
        .len()
        .checked_sub(TRAILER_BYTES)
        .ok_or(Damage("shorter than its trailer"))?;
    let (body, trailer) = stored.split_at(body_len);
    let (compression, crc) = (trailer[0], &trailer[1..]);
    if checksum(body, compression, id, offset).to_le_bytes() != crc {
        return Err(Damage("checksum differs"));
    }
    match compression {
        STORED_PLAIN => Ok(stored.slice(..body_len)),
        STORED_LZ4 => decompress(body, BLOCK_BYTES_MAX),
        _ => Err(Damage("unknown compression")),
    }
}

/// A length in front, then LZ4. The length is believed only as far as LZ4 can expand.
pub(crate) fn decompress(body: &[u8], bytes_max: usize) -> Result<Bytes, Damage> {
    let (len, packed) = body
        .split_first_chunk::<4>()
        .ok_or(Damage("compressed block without a length"))?;
    let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
    if len > bytes_max || len / 255 > packed.len() {
        return Err(Damage("compressed block claims an impossible length"));
    }
    let mut block = vec![0; len];
    match lz4_flex::block::decompress_into(packed, &mut block) {
        Ok(written) if written == len => Ok(block.into()),
        _ => Err(Damage("compressed block does not decompress to its length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(block: &[u8], compression: Compression) -> Bytes {
        let mut block = block.to_vec();
        Bytes::copy_from_slice(Sealer::new(compression).seal(&mut block, 7, 4096))
    }

    #[test]
    fn blocks_come_back_as_they_were_whichever_way_they_are_stored() {
        let noise: Vec<u8> = (0..5000u64)
            .map(|i| (crate::record::hash_key(&i.to_le_bytes()) >> 32) as u8)
            .collect();
        for block in [&b""[..], b"a", &[9; 100_000], &noise] {
            for compression in [Compression::None, Compression::Lz4] {
                let stored = sealed(block, compression);
                assert_eq!(unseal(&stored, 7, 4096).unwrap(), block);
            }
        }
        assert!(sealed(&[9; 4096], Compression::Lz4).len() < 200);
        assert_eq!(
            sealed(&noise, Compression::Lz4).len(),
            noise.len() + TRAILER_BYTES
        );
    }

    #[test]
    fn a_block_from_a_wrong_place_or_table_is_detected() {
        let stored = sealed(b"some block", Compression::None);
        assert!(unseal(&stored, 7, 4097).is_err());
        assert!(unseal(&stored, 8, 4096).is_err());
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        for compression in [Compression::None, Compression::Lz4] {
            let stored = sealed(&[b'x'; 64], compression);
            for bit in 0..stored.len() * 8 {
                let mut bytes = stored.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(unseal(&bytes.into(), 7, 4096).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_claimed_length_is_not_allocated_before_it_is_plausible() {
        let mut body = u32::MAX.to_le_bytes().to_vec();
        body.extend_from_slice(&[0; 100]);
        assert!(decompress(&body, usize::MAX).is_err());
        body[..4].copy_from_slice(&26_000u32.to_le_bytes());
        assert!(decompress(&body, usize::MAX).is_err());
    }
}
