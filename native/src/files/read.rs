//! Reading one file at offsets, from the page cache if that will do.

use std::fs::File;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use trilith::{Error, Object, Reader, Result};

use super::failure::failure;
use crate::workers::Queue;
use crate::{blocking, sys};

/// Reads one object. See [`trilith::Reader`].
#[derive(Clone)]
pub struct FileReader(Arc<ReadFile>);

struct ReadFile {
    file: File,
    object: Object,
    len: u64,
    /// Cleared when the system has said that it cannot read from the cache alone.
    can_try: AtomicBool,
    reads: Arc<Queue>,
}

impl FileReader {
    pub(super) fn new(file: File, object: Object, len: u64, reads: Arc<Queue>) -> Self {
        Self(Arc::new(ReadFile {
            file,
            object,
            len,
            can_try: AtomicBool::new(true),
            reads,
        }))
    }
}

impl Reader for FileReader {
    fn len(&self) -> u64 {
        self.0.len
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        if blocking::is_allowed() {
            return Some(self.0.read(offset, len));
        }
        self.0.read_cached(offset, len)
    }

    fn read_at(&self, offset: u64, len: u32) -> impl Future<Output = Result<Bytes>> + Send {
        let file = self.0.clone();
        async move {
            if blocking::is_allowed() {
                return file.read(offset, len);
            }
            let reads = file.reads.clone();
            reads.run(move || file.read(offset, len)).await
        }
    }
}

impl ReadFile {
    fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.check(offset, len)?;
        sys::read_exact_at(&self.file, offset, len as usize)
            .map(Bytes::from)
            .map_err(|error| self.fail(offset, &error))
    }

    fn read_cached(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        if let Err(error) = self.check(offset, len) {
            return Some(Err(error));
        }
        if !self.can_try.load(Ordering::Relaxed) {
            return None;
        }
        match sys::read_cached(&self.file, offset, len as usize) {
            Ok(bytes) => bytes.map(|bytes| Ok(Bytes::from(bytes))),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.can_try.store(false, Ordering::Relaxed);
                None
            }
            Err(error) => Some(Err(self.fail(offset, &error))),
        }
    }

    fn check(&self, offset: u64, len: u32) -> Result<()> {
        let end = offset.checked_add(u64::from(len));
        if end.is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let detail = format!(
            "{len} bytes were asked for and the file ends at {}",
            self.len
        );
        Err(Error::corrupt("reading", detail)
            .on(self.object.clone())
            .at(offset))
    }

    fn fail(&self, offset: u64, error: &io::Error) -> Error {
        failure("reading", error).on(self.object.clone()).at(offset)
    }
}
