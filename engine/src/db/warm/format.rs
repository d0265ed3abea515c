//! The file of keys in use, `warm/hot.keys`: keys in order, shortened by what each shares with the one before, in
//! sections that are checked one by one, so that a reader holds one at a time.
//!
//! ```text
//! file    = magic "TRLHOTKY" | version u32 = 1 | sections, the last of kind 2
//! section = crc u32 | kind u8 | length u32 | body
//!   crc    CRC-32 of kind, length and body, and then of the section's offset in the file u64
//!   kind   1: body is keys, each: shared varint | bytes    (the first of a section shares nothing)
//!          2: body is the number of all keys u64; the file ends here
//! ```

use crate::codec::{Decoder, put_bytes, put_varint};
use crate::record::KEY_BYTES_MAX;
use crate::storage::{Object, Reader};
use crate::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"TRLHOTKY";
const VERSION: u32 = 1;

const HEADER_BYTES: usize = 12;
/// In front of a section's body.
const FRAME_BYTES: usize = 9;
/// A section ends with the key that brings it here.
const SECTION_BYTES: usize = 64 << 10;
/// No section is longer: the last key, its lengths, and what was there before it.
const SECTION_BYTES_MAX: usize = SECTION_BYTES + KEY_BYTES_MAX + 16;

const KEYS: u8 = 1;
const END: u8 = 2;

const READING: &str = "reading the keys in use";

/// The name of the file.
pub(super) const NAME: &str = "warm/hot.keys";

/// The file.
pub(crate) fn object() -> Object {
    Object::Archive(NAME.into())
}

/// Turns keys, which come in order, into the pieces of a file.
pub(crate) struct KeysWriter {
    /// The section that is being filled, with room for its frame.
    section: Vec<u8>,
    last: Vec<u8>,
    keys: u64,
    offset: u64,
}

impl KeysWriter {
    /// A file with nothing in it; its beginning goes to `out`.
    pub(crate) fn begin(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        Self {
            section: vec![0; FRAME_BYTES],
            last: Vec::new(),
            keys: 0,
            offset: HEADER_BYTES as u64,
        }
    }

    /// Adds a key, greater than the one before; a section that it completes goes to `out`.
    pub(crate) fn add(&mut self, key: &[u8], out: &mut Vec<u8>) {
        let pairs = self.last.iter().zip(key);
        let shared = pairs.take_while(|(a, b)| a == b).count();
        put_varint(&mut self.section, shared as u64);
        put_bytes(&mut self.section, &key[shared..]);
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
        self.keys += 1;
        if self.section.len() >= FRAME_BYTES + SECTION_BYTES {
            self.seal(KEYS, out);
        }
    }

    /// The end of the file goes to `out`.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
        if self.section.len() > FRAME_BYTES {
            self.seal(KEYS, out);
        }
        self.section.extend_from_slice(&self.keys.to_le_bytes());
        self.seal(END, out);
    }

    /// Adds a section of any kind and content: what is refused has to be made.
    pub(super) fn push_section(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) {
        self.section.extend_from_slice(body);
        self.seal(kind, out);
    }

    fn seal(&mut self, kind: u8, out: &mut Vec<u8>) {
        // A section is far shorter than 4 GiB.
        let length = (self.section.len() - FRAME_BYTES) as u32;
        self.section[4] = kind;
        self.section[5..FRAME_BYTES].copy_from_slice(&length.to_le_bytes());
        let crc = checksum(&self.section[4..], self.offset);
        self.section[..4].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.section);
        self.offset += self.section.len() as u64;
        self.section.truncate(FRAME_BYTES);
        self.last.clear();
    }
}

fn checksum(section: &[u8], offset: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(section);
    hasher.update(&offset.to_le_bytes());
    hasher.finalize()
}

/// Reads such a file, whatever is in it, a section at a time.
pub(crate) struct KeysReader<R> {
    reader: R,
    offset: u64,
    keys: u64,
}

/// What comes next in a file.
pub(crate) enum Next {
    /// Keys.
    Keys(Section),
    /// Nothing: these many keys were all.
    End(u64),
}

impl<R: Reader> KeysReader<R> {
    /// Fails with `Newer` if a later version wrote it, and with `Corrupt` if it is no such file.
    pub(crate) async fn open(reader: R) -> Result<Self> {
        let mut this = Self {
            reader,
            offset: 0,
            keys: 0,
        };
        let header = this.take(HEADER_BYTES).await?;
        let (magic, version) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(corrupt("it does not begin as such a file does", 0));
        }
        if version != VERSION.to_le_bytes() {
            let version = Decoder::new(version).u32().unwrap_or_default();
            let detail = format!("its version is {version}, and this engine knows {VERSION}");
            let kind = match version {
                0 => ErrorKind::Corrupt,
                _ => ErrorKind::Newer,
            };
            return Err(Error::new(kind, READING, detail).on(object()));
        }
        Ok(this)
    }

    /// What comes next; nothing more is to be asked for after the end.
    pub(crate) async fn next(&mut self) -> Result<Next> {
        let start = self.offset;
        let frame = self.take(FRAME_BYTES).await?;
        let mut fields = Decoder::new(&frame);
        let (Some(crc), Some(kind), Some(length)) = (fields.u32(), fields.u8(), fields.u32())
        else {
            return Err(corrupt("a section is torn", start));
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > SECTION_BYTES_MAX {
            return Err(corrupt("a section is too long", start));
        }
        let body = self.take(length).await?;
        let section = [&frame[4..], &body].concat();
        if checksum(&section, start) != crc {
            return Err(corrupt("the checksum of a section differs", start));
        }
        match kind {
            KEYS => {
                let section = Section::new(body);
                self.keys += section.count().map_err(|detail| corrupt(detail, start))?;
                Ok(Next::Keys(section))
            }
            END if Decoder::new(&body).u64() == Some(self.keys) && length == 8 => {
                Ok(Next::End(self.keys))
            }
            _ => Err(corrupt("a section is not what it should be", start)),
        }
    }

    /// Bytes that are there.
    async fn take(&mut self, len: usize) -> Result<bytes::Bytes> {
        let left = self.reader.len().saturating_sub(self.offset);
        if left < len as u64 {
            return Err(corrupt("it ends too early", self.offset));
        }
        if len == 0 {
            return Ok(bytes::Bytes::new());
        }
        // Less than 4 GiB: a section or a header.
        let taken = self.reader.read_at(self.offset, len as u32).await?;
        self.offset += len as u64;
        Ok(taken)
    }
}

fn corrupt(detail: &'static str, offset: u64) -> Error {
    Error::corrupt(READING, detail).on(object()).at(offset)
}

/// Keys in order.
pub(crate) struct Section {
    body: bytes::Bytes,
    /// Up to where keys have been given out.
    at: usize,
    key: Vec<u8>,
}

impl Section {
    fn new(body: bytes::Bytes) -> Self {
        Self {
            body,
            at: 0,
            key: Vec::new(),
        }
    }

    /// How many keys there are, or why there are none.
    fn count(&self) -> Result<u64, &'static str> {
        let mut keys = Self::new(self.body.clone());
        let mut count = 0;
        while keys.advance()? {
            count += 1;
        }
        Ok(count)
    }

    /// The next key.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        // All of them were looked at before.
        let is_there = self.advance().unwrap_or(false);
        is_there.then_some(&self.key)
    }

    fn advance(&mut self) -> Result<bool, &'static str> {
        let mut rest = Decoder::new(self.body.get(self.at..).unwrap_or_default());
        if rest.is_empty() {
            return Ok(false);
        }
        let is_first = self.at == 0;
        let (Some(shared), Some(own)) = (rest.varint(), rest.bytes()) else {
            return Err("a key is torn");
        };
        let shared = usize::try_from(shared).unwrap_or(usize::MAX);
        if shared > self.key.len() || shared.saturating_add(own.len()) > KEY_BYTES_MAX {
            return Err("a key has an impossible length");
        }
        if !is_first && own <= &self.key[shared..] {
            return Err("keys are not in order");
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(own);
        self.at = self.body.len() - rest.rest().len();
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
