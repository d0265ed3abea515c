//! A stretch of the file in memory, that moves forward.

use super::read::READING;
use crate::archive::crc64;
use crate::storage::{Object, Reader};
use crate::{Error, ErrorKind, Result};

/// What is read at once.
pub(super) const READ_BYTES: usize = 256 << 10;

/// The part of the file that is being looked at. What is before it is counted in the checksum and forgotten.
pub(super) struct Window<R> {
    reader: R,
    object: Object,
    buffer: Vec<u8>,
    /// What of the buffer has been taken.
    taken: usize,
    /// What of the buffer is in the checksum.
    summed: usize,
    crc: u64,
    /// Where the buffer begins in the file.
    base: u64,
    read_bytes: usize,
}

impl<R: Reader> Window<R> {
    /// One at the beginning of the file, which reads so many bytes at once.
    pub(super) fn new(reader: R, object: Object, read_bytes: usize) -> Self {
        Self {
            reader,
            object,
            buffer: Vec::new(),
            taken: 0,
            summed: 0,
            crc: 0,
            base: 0,
            read_bytes,
        }
    }

    /// What is in memory and not taken.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Bytes of `buffer`, by where they are in [`rest`](Self::rest) before the last [`take`](Self::take) of `taken`
    /// bytes.
    #[inline]
    pub(super) fn before(&self, taken: usize) -> &[u8] {
        &self.buffer[self.taken - taken..self.taken]
    }

    /// Takes bytes that are in memory.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.rest().len());
        self.taken += bytes;
    }

    /// Where in the file the next byte is.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.taken as u64
    }

    /// Bytes from here to the end of the file.
    pub(super) fn left(&self) -> u64 {
        self.reader.len() - self.offset()
    }

    /// Reads on until this many bytes are in memory. They have to be in the file.
    pub(super) async fn fill(&mut self, bytes: usize) -> Result<()> {
        if bytes as u64 > self.left() {
            return Err(self.corrupt("the file ends too early"));
        }
        self.forget();
        while self.buffer.len() < bytes {
            let offset = self.base + self.buffer.len() as u64;
            let piece = (self.reader.len() - offset).min(self.read_bytes as u64) as u32;
            let read = match self.reader.read_now(offset, piece) {
                Some(read) => read?,
                None => self.reader.read_at(offset, piece).await?,
            };
            if read.is_empty() {
                return Err(self.corrupt("the file ends too early"));
            }
            self.buffer.extend_from_slice(&read);
        }
        Ok(())
    }

    /// Passes over bytes, in memory or not.
    pub(super) async fn skip(&mut self, mut bytes: u64) -> Result<()> {
        if bytes > self.left() {
            return Err(self.corrupt("the file ends too early"));
        }
        loop {
            let here = (self.rest().len() as u64).min(bytes);
            self.take(here as usize);
            bytes -= here;
            if bytes == 0 {
                return Ok(());
            }
            self.fill(1).await?;
        }
    }

    /// The checksum over all that was taken.
    pub(super) fn checksum(&mut self) -> u64 {
        self.crc = crc64::update(self.crc, &self.buffer[self.summed..self.taken]);
        self.summed = self.taken;
        self.crc
    }

    /// Gives the memory of what was taken to what comes next.
    fn forget(&mut self) {
        self.checksum();
        self.base += self.taken as u64;
        self.buffer.drain(..self.taken);
        // After a long string.
        self.buffer.shrink_to(4 * self.read_bytes);
        (self.taken, self.summed) = (0, 0);
    }

    /// The error that what is here is not what should be.
    #[cold]
    pub(super) fn corrupt(&self, detail: impl Into<String>) -> Error {
        self.error(ErrorKind::Corrupt, detail)
    }

    /// An error at this place.
    #[cold]
    pub(super) fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> Error {
        Error::new(kind, READING, detail)
            .on(self.object.clone())
            .at(self.offset())
    }
}
