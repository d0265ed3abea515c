//! Files of large values, kept apart so that compaction moves short references instead.
//!
//! ```text
//! values file = header | value (each) | footer
//! header = magic "TRLVALUE" | version u32: 1 | file id u64 | crc u32 of the bytes before it
//! value  = crc u32 | compression u8 | length u32 of body | body
//!   compression, body   as `sstable::frame` describes them
//!   crc                 CRC-32 of body | compression u8 | file id u64 | offset of the value in the file u64
//! footer = number of values u64 | their bytes u64, uncompressed | file id u64 | version u32: 1
//!        | crc u32 of the bytes before it | magic "TRLVALUE"
//! ```
//!
//! The record in a table holds a reference: file id, offset, stored length (from the crc to the end of the
//! body) and length of the value, each a varint. So one read fetches a value, and its size is known without
//! any. A values file is whole and synced before a table that refers to it is.

use bytes::Bytes;

use super::sstable::Damage;
use super::sstable::frame::{Compression, Packer, STORED_LZ4, STORED_PLAIN, checksum, decompress};
use crate::codec::{Decoder, put_varint};
use crate::record::VALUE_BYTES_MAX;
use crate::storage::{Durability, MaybeSend, Object, Reader, Writer};
use crate::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"TRLVALUE";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const FOOTER_BYTES: usize = 40;
const VALUE_HEAD_BYTES: usize = 9;
const READING: &str = "reading a value";
const WRITING: &str = "writing a value";
const OPENING: &str = "opening a values file";
const VERIFYING: &str = "verifying a values file";

/// Where a value lies: what a [`Kind::PutApart`](crate::record::Kind::PutApart) record holds as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueRef {
    /// The values file.
    pub file: u64,
    /// Where the stored value begins in it.
    pub offset: u64,
    /// Bytes it takes in the file.
    pub stored_len: u64,
    /// Length of the value.
    pub len: u64,
}

impl ValueRef {
    /// Appends the reference as a record holds it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.file, self.offset, self.stored_len, self.len] {
            put_varint(out, number);
        }
    }

    /// The reference that a record of table `table` holds.
    pub fn decode_in(bytes: &[u8], table: u64) -> Result<Self> {
        Self::decode(bytes)
            .map_err(|damage| Error::corrupt(READING, damage.0).on(Object::Table(table)))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        Self::try_decode(bytes).ok_or(Damage("malformed reference to a value"))
    }

    fn try_decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let (file, offset) = (decoder.varint()?, decoder.varint()?);
        let (stored_len, len) = (decoder.varint()?, decoder.varint()?);
        let sane = decoder.is_empty()
            && len <= VALUE_BYTES_MAX as u64
            && stored_len <= (VALUE_BYTES_MAX + VALUE_HEAD_BYTES) as u64
            && stored_len >= VALUE_HEAD_BYTES as u64
            && offset.checked_add(stored_len).is_some();
        sane.then_some(Self {
            file,
            offset,
            stored_len,
            len,
        })
    }
}

/// Writes one values file.
pub struct ValuesWriter<W> {
    writer: W,
    id: u64,
    packer: Packer,
    offset: u64,
    count: u64,
    bytes: u64,
}

impl<W: Writer> ValuesWriter<W> {
    /// Begins values file `id` in an empty object.
    pub fn new(mut writer: W, id: u64, compression: Compression) -> Result<Self> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&id.to_le_bytes());
        let crc = crc32fast::hash(&header);
        header.extend_from_slice(&crc.to_le_bytes());
        let offset = writer.append(&header)?;
        Ok(Self {
            writer,
            id,
            packer: Packer::new(compression),
            offset,
            count: 0,
            bytes: 0,
        })
    }

    /// Appends a value and answers where it lies.
    pub fn add(&mut self, value: &[u8]) -> Result<ValueRef> {
        if value.len() > VALUE_BYTES_MAX {
            let error = Error::new(ErrorKind::Invalid, WRITING, "it is too long");
            return Err(error.on(Object::Table(self.id)));
        }
        let (body, compression) = match self.packer.pack(value, VALUE_BYTES_MAX) {
            Some(packed) => (packed.as_slice(), STORED_LZ4),
            None => (value, STORED_PLAIN),
        };
        let crc = checksum(body, compression, self.id, self.offset);
        let mut head = [0; VALUE_HEAD_BYTES];
        head[..4].copy_from_slice(&crc.to_le_bytes());
        head[4] = compression;
        head[5..].copy_from_slice(&(body.len() as u32).to_le_bytes());
        self.writer.append(&head)?;
        let end = self.writer.append(body)?;
        let reference = ValueRef {
            file: self.id,
            offset: self.offset,
            stored_len: end - self.offset,
            len: value.len() as u64,
        };
        self.offset = end;
        self.count += 1;
        self.bytes += reference.len;
        Ok(reference)
    }

    /// Bytes appended so far.
    pub fn appended_bytes(&self) -> u64 {
        self.offset
    }

    /// Bytes that the values added so far take up: what [`ValueRef::stored_len`] adds up to.
    pub fn stored_bytes(&self) -> u64 {
        self.offset - HEADER_BYTES as u64
    }

    /// Number of values added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Ready when what was appended so far has been handed to the host.
    pub fn settle_written(&self) -> impl Future<Output = Result<()>> + MaybeSend + use<W> {
        self.writer.settle(self.offset, Durability::Written)
    }

    /// Completes and syncs the file; answers its length.
    pub async fn finish(mut self) -> Result<u64> {
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&self.count.to_le_bytes());
        footer.extend_from_slice(&self.bytes.to_le_bytes());
        footer.extend_from_slice(&self.id.to_le_bytes());
        footer.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc32fast::hash(&footer);
        footer.extend_from_slice(&crc.to_le_bytes());
        footer.extend_from_slice(MAGIC);
        let file_bytes = self.writer.append(&footer)?;
        self.writer.settle(file_bytes, Durability::Synced).await?;
        Ok(file_bytes)
    }
}

/// An open values file.
#[derive(Clone, Debug)]
pub struct ValuesReader<R> {
    reader: R,
    id: u64,
    count: u64,
    bytes: u64,
}

impl<R: Reader> ValuesReader<R> {
    /// Opens values file `id`, checking its header and footer.
    pub async fn open(reader: R, id: u64) -> Result<Self> {
        let file_bytes = reader.len();
        if file_bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(corrupt(OPENING, "too short for a values file", id, 0));
        }
        let header = read(&reader, id, OPENING, 0, HEADER_BYTES as u32).await?;
        check_header(&header, id)?;
        let at = file_bytes - FOOTER_BYTES as u64;
        let footer = read(&reader, id, OPENING, at, FOOTER_BYTES as u32).await?;
        let (count, bytes) = check_footer(&footer, id, at)?;
        Ok(Self {
            reader,
            id,
            count,
            bytes,
        })
    }

    /// The file's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Number of values in the file.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of its values, uncompressed.
    pub fn value_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.reader.len()
    }

    /// The value that a reference points to, its checksum compared.
    pub async fn get(&self, reference: &ValueRef) -> Result<Bytes> {
        match self.get_now(reference) {
            Some(value) => value,
            None => {
                let len = self.check(reference)?;
                let stored = self.reader.read_at(reference.offset, len).await;
                let stored = stored
                    .map_err(|error| error.on(Object::Table(self.id)).at(reference.offset))?;
                self.open_value(reference, &stored)
            }
        }
    }

    /// [`Self::get`] without waiting: `None` if that would take reading from a disk.
    pub fn get_now(&self, reference: &ValueRef) -> Option<Result<Bytes>> {
        let len = match self.check(reference) {
            Ok(len) => len,
            Err(error) => return Some(Err(error)),
        };
        let stored = self.reader.read_now(reference.offset, len)?;
        let stored = stored.map_err(|error| error.on(Object::Table(self.id)).at(reference.offset));
        Some(stored.and_then(|stored| self.open_value(reference, &stored)))
    }

    /// That a reference points into this file; the length to read.
    fn check(&self, reference: &ValueRef) -> Result<u32> {
        let end = reference.offset.checked_add(reference.stored_len);
        let data_end = self.reader.len() - FOOTER_BYTES as u64;
        let inside =
            reference.offset >= HEADER_BYTES as u64 && end.is_some_and(|end| end <= data_end);
        match u32::try_from(reference.stored_len) {
            Ok(len) if inside && reference.file == self.id => Ok(len),
            _ => Err(corrupt(
                READING,
                "reference points out of its file",
                self.id,
                reference.offset,
            )),
        }
    }

    fn open_value(&self, reference: &ValueRef, stored: &Bytes) -> Result<Bytes> {
        let value = open_stored(stored, self.id, reference.offset);
        let value = value.and_then(|value| {
            let same = value.len() as u64 == reference.len;
            same.then_some(value)
                .ok_or(Damage("value of another length than its reference says"))
        });
        value.map_err(|damage| corrupt(READING, damage.0, self.id, reference.offset))
    }

    /// Reads the whole file and checks every value, the footer's counts and that nothing lies between.
    /// Answers all problems found.
    pub async fn verify(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        if let Err(error) = Self::open(self.reader.clone(), self.id).await {
            problems.push(error);
        }
        let data_end = self.reader.len() - FOOTER_BYTES as u64;
        let (mut at, mut count, mut bytes) = (HEADER_BYTES as u64, 0, 0);
        while at < data_end {
            match self.verify_value(at, data_end).await {
                Ok((end, len)) => {
                    at = end;
                    count += 1;
                    // A value that is wrong has been reported; its length is unknown.
                    bytes += len.unwrap_or_else(|error| {
                        problems.push(error);
                        0
                    });
                }
                Err(error) => {
                    problems.push(error);
                    return problems;
                }
            }
        }
        if problems.is_empty() && (count, bytes) != (self.count, self.bytes) {
            let detail = format!(
                "footer tells of {} values of {} bytes, there are {count} of {bytes}",
                self.count, self.bytes
            );
            problems.push(corrupt(VERIFYING, &detail, self.id, data_end));
        }
        problems
    }

    /// Where the value at `at` ends and its length, or what is wrong with it; an error if what follows it
    /// cannot be found.
    async fn verify_value(&self, at: u64, data_end: u64) -> Result<(u64, Result<u64>)> {
        let room = data_end - at;
        if room < VALUE_HEAD_BYTES as u64 {
            return Err(corrupt(
                VERIFYING,
                "bytes that belong to no value",
                self.id,
                at,
            ));
        }
        let head = read(
            &self.reader,
            self.id,
            VERIFYING,
            at,
            VALUE_HEAD_BYTES as u32,
        )
        .await?;
        let body_len = Decoder::new(&head[5..]).u32().map_or(u64::MAX, u64::from);
        let stored_len = body_len.saturating_add(VALUE_HEAD_BYTES as u64);
        let len = u32::try_from(stored_len)
            .ok()
            .filter(|_| stored_len <= room);
        let Some(len) = len else {
            return Err(corrupt(
                VERIFYING,
                "a value runs out of the file",
                self.id,
                at,
            ));
        };
        let stored = read(&self.reader, self.id, VERIFYING, at, len).await;
        let value = stored.and_then(|stored| {
            open_stored(&stored, self.id, at)
                .map(|value| value.len() as u64)
                .map_err(|damage| corrupt(VERIFYING, damage.0, self.id, at))
        });
        Ok((at + stored_len, value))
    }
}

/// Checks and decompresses a stored value.
fn open_stored(stored: &Bytes, id: u64, offset: u64) -> Result<Bytes, Damage> {
    let mut head = Decoder::new(stored);
    let parts = (|| Some((head.u32()?, head.u8()?, head.u32()?)))();
    let (crc, compression, len) = parts.ok_or(Damage("shorter than its head"))?;
    let body = head.rest();
    if body.len() != len as usize {
        return Err(Damage("value of another length than its head says"));
    }
    if checksum(body, compression, id, offset) != crc {
        return Err(Damage("checksum differs"));
    }
    match compression {
        STORED_PLAIN => Ok(stored.slice(VALUE_HEAD_BYTES..)),
        STORED_LZ4 => decompress(body, VALUE_BYTES_MAX),
        _ => Err(Damage("unknown compression")),
    }
}

fn check_header(header: &[u8], id: u64) -> Result<()> {
    let (fields, crc) = header.split_at(HEADER_BYTES - 4);
    if !fields.starts_with(MAGIC) {
        return Err(corrupt(
            OPENING,
            "not a values file: the magic bytes are missing",
            id,
            0,
        ));
    }
    if crc32fast::hash(fields).to_le_bytes() != crc {
        return Err(corrupt(OPENING, "checksum of the header differs", id, 0));
    }
    let mut decoder = Decoder::new(&fields[8..]);
    check_version(decoder.u32(), id)?;
    if decoder.u64() != Some(id) {
        return Err(corrupt(OPENING, "it is another file's header", id, 0));
    }
    Ok(())
}

/// Number and bytes of the values.
fn check_footer(footer: &[u8], id: u64, at: u64) -> Result<(u64, u64)> {
    let (fields, ending) = footer.split_at(FOOTER_BYTES - 12);
    if !ending.ends_with(MAGIC) {
        return Err(corrupt(
            OPENING,
            "the file is not complete: its footer is missing",
            id,
            at,
        ));
    }
    if crc32fast::hash(fields).to_le_bytes() != ending[..4] {
        return Err(corrupt(OPENING, "checksum of the footer differs", id, at));
    }
    let mut decoder = Decoder::new(fields);
    let counts = decoder.u64().zip(decoder.u64());
    let file = decoder.u64();
    check_version(decoder.u32(), id)?;
    counts
        .filter(|_| file == Some(id))
        .ok_or_else(|| corrupt(OPENING, "it is another file's footer", id, at))
}

fn check_version(version: Option<u32>, id: u64) -> Result<()> {
    match version {
        Some(VERSION) => Ok(()),
        Some(version) if version > VERSION => {
            let detail = format!("format version {version}, this engine knows up to {VERSION}");
            Err(Error::new(ErrorKind::Newer, OPENING, detail).on(Object::Table(id)))
        }
        _ => Err(corrupt(OPENING, "impossible version", id, 8)),
    }
}

fn corrupt(doing: &'static str, detail: &str, id: u64, offset: u64) -> Error {
    Error::corrupt(doing, detail)
        .on(Object::Table(id))
        .at(offset)
}

async fn read<R: Reader>(
    reader: &R,
    id: u64,
    doing: &'static str,
    offset: u64,
    len: u32,
) -> Result<Bytes> {
    let bytes = reader.read_at(offset, len).await;
    let bytes = bytes.map_err(|error| error.on(Object::Table(id)).at(offset))?;
    if bytes.len() != len as usize {
        return Err(corrupt(
            doing,
            "the storage returned too few bytes",
            id,
            offset,
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::sstable::testing::{MemReader, MemWriter};
    use futures_lite::future::block_on;
    use proptest::prelude::*;

    fn written(values: &[Vec<u8>], compression: Compression) -> (Vec<u8>, Vec<ValueRef>) {
        let file = MemWriter::default();
        let mut writer = ValuesWriter::new(file.clone(), 7, compression).unwrap();
        let references = values
            .iter()
            .map(|value| writer.add(value).unwrap())
            .collect();
        block_on(writer.finish()).unwrap();
        (file.bytes(), references)
    }

    fn open(bytes: &[u8]) -> Result<ValuesReader<MemReader>> {
        block_on(ValuesReader::open(MemReader::new(bytes), 7))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn values_come_back(
            values in prop::collection::vec(prop::collection::vec(0u8..5, 0..3000), 0..8),
            packed: bool,
        ) {
            let compression = if packed { Compression::Lz4 } else { Compression::None };
            let (bytes, references) = written(&values, compression);
            let reader = open(&bytes).unwrap();
            prop_assert_eq!(reader.count(), values.len() as u64);
            for (value, reference) in values.iter().zip(&references) {
                let mut encoded = Vec::new();
                reference.encode(&mut encoded);
                let reference = ValueRef::decode(&encoded).unwrap();
                prop_assert_eq!(&block_on(reader.get(&reference)).unwrap(), value);
            }
            prop_assert!(block_on(reader.verify()).is_empty());
        }

        #[test]
        fn a_reference_is_never_followed_out_of_its_file(
            file in 6u64..8, offset in 0u64..200, stored_len in 0u64..200, len in 0u64..100,
        ) {
            let (bytes, references) = written(&[b"abc".to_vec(), vec![1; 50]], Compression::None);
            let reader = open(&bytes).unwrap();
            let reference = ValueRef { file, offset, stored_len, len };
            let found = block_on(reader.get(&reference));
            prop_assert_eq!(found.is_ok(), references.contains(&reference));
        }
    }

    #[test]
    fn every_flipped_bit_is_reported_and_never_served() {
        let values = [b"first".to_vec(), vec![9; 300], vec![]];
        for compression in [Compression::None, Compression::Lz4] {
            let (bytes, references) = written(&values, compression);
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(reader) = open(&bytes) else { continue };
                assert!(!block_on(reader.verify()).is_empty(), "bit {bit}");
                for (value, reference) in values.iter().zip(&references) {
                    if let Ok(found) = block_on(reader.get(reference)) {
                        assert_eq!(found, value, "bit {bit}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_cut_short_does_not_open() {
        let (bytes, _) = written(&[b"value".to_vec()], Compression::None);
        for len in 0..bytes.len() {
            assert_eq!(open(&bytes[..len]).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_newer_file_is_named_as_such() {
        let (mut bytes, _) = written(&[], Compression::None);
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(open(&bytes).unwrap_err().kind(), ErrorKind::Newer);
    }
}
