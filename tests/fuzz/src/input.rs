//! Fuzz input as what the engine reads.

use bytes::Bytes;
use trilith::{Error, Reader, Result};

/// Bytes as a file of the store.
#[derive(Clone, Debug)]
pub(crate) struct SliceReader(Bytes);

impl SliceReader {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        let range = usize::try_from(offset)
            .ok()
            .and_then(|start| Some(start..start.checked_add(len as usize)?))
            .filter(|range| range.end <= self.0.len());
        match range {
            Some(range) => Ok(self.0.slice(range)),
            None => Err(Error::corrupt("reading", "past the end").at(offset)),
        }
    }
}

impl Reader for SliceReader {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        Some(self.read(offset, len))
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.read(offset, len)
    }
}

/// The first byte, which steers the target, and the rest. No byte counts as 0.
pub(crate) fn split_first_byte(data: &[u8]) -> (u8, &[u8]) {
    data.split_first()
        .map_or((0, data), |(&first, rest)| (first, rest))
}
