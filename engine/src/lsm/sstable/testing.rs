//! The least storage that the tests of this layer need: bytes in memory, with or without having to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::storage::{Durability, MaybeSend, Reader, Writer};
use crate::{Error, Result};

#[derive(Clone, Default)]
pub(crate) struct MemWriter(Arc<Mutex<Vec<u8>>>);

impl MemWriter {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().clone()
    }
}

impl Writer for MemWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let mut file = self.0.lock();
        file.extend_from_slice(bytes);
        Ok(file.len() as u64)
    }

    fn settle(
        &self,
        upto: u64,
        _: Durability,
    ) -> impl Future<Output = Result<()>> + MaybeSend + use<> {
        assert!(upto <= self.0.lock().len() as u64);
        std::future::ready(Ok(()))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct MemReader {
    bytes: Bytes,
    waits: bool,
    reads: Arc<AtomicUsize>,
}

impl MemReader {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(bytes),
            waits: false,
            reads: Arc::default(),
        }
    }

    /// One that has nothing at hand: every read waits.
    pub(crate) fn waiting(bytes: &[u8]) -> Self {
        Self {
            waits: true,
            ..Self::new(bytes)
        }
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let end = offset + u64::from(len);
        if end > self.bytes.len() as u64 {
            return Err(Error::corrupt("reading", "past the end").at(offset));
        }
        Ok(self.bytes.slice(offset as usize..end as usize))
    }
}

impl Reader for MemReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        (!self.waits).then(|| self.read(offset, len))
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        if self.waits {
            futures_lite::future::yield_now().await;
        }
        self.read(offset, len)
    }
}
