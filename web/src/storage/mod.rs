//! Where a store lies, chosen when it is opened.
//!
//! One type for all of them: the engine is compiled once for each storage that it is used with, and a module that a page
//! loads holds it once.

mod files;
mod indexed_db;
mod table;

use std::pin::Pin;

use bytes::Bytes;
use trilith::storage::{MemoryReader, MemoryWriter};
use trilith::{Contents, Durability, MemoryStorage, Object, Reader, Result, Storage, Writer};

pub use files::{FileHost, HostFiles};
pub use indexed_db::IndexedDb;
pub(crate) use indexed_db::doing;

/// A storage of this host. See [`trilith::Storage`]; clones share it.
#[derive(Clone)]
pub enum WebStorage {
    /// Gone with the instance.
    Memory(MemoryStorage),
    /// A database of the browser's.
    IndexedDb(IndexedDb),
    /// Files: of Node, or of the origin (OPFS).
    Files(HostFiles),
}

impl WebStorage {
    /// Lets go of everything as if the process had ended: what is under way fails, nothing more is written.
    pub fn abandon(&self) {
        match self {
            Self::Memory(memory) => memory.unlock(),
            Self::IndexedDb(database) => database.abandon(),
            Self::Files(files) => files.abandon(),
        }
    }
}

/// Appends to an object of a [`WebStorage`].
pub enum WebWriter {
    /// In memory.
    Memory(MemoryWriter),
    /// In a database.
    IndexedDb(indexed_db::RowWriter),
    /// In a file.
    Files(files::HostWriter),
}

/// Reads an object of a [`WebStorage`].
#[derive(Clone)]
pub enum WebReader {
    /// In memory.
    Memory(MemoryReader),
    /// In a database.
    IndexedDb(indexed_db::RowReader),
    /// In a file.
    Files(files::HostReader),
}

impl Storage for WebStorage {
    type Writer = WebWriter;
    type Reader = WebReader;
    /// The name of another database or directory. Checkpoints of stores in memory have nowhere to go.
    type Place = String;

    async fn load(&self) -> Result<Contents> {
        match self {
            Self::Memory(memory) => memory.load().await,
            Self::IndexedDb(database) => database.load().await,
            Self::Files(files) => files.load().await,
        }
    }

    async fn commit(&self, meta: Bytes) -> Result<()> {
        match self {
            Self::Memory(memory) => memory.commit(meta).await,
            Self::IndexedDb(database) => database.commit(meta).await,
            Self::Files(files) => files.commit(meta).await,
        }
    }

    async fn create(&self, object: Object) -> Result<WebWriter> {
        Ok(match self {
            Self::Memory(memory) => WebWriter::Memory(memory.create(object).await?),
            Self::IndexedDb(database) => WebWriter::IndexedDb(database.create(object).await?),
            Self::Files(files) => WebWriter::Files(files.create(object).await?),
        })
    }

    async fn resume(&self, object: Object, cut_at: u64) -> Result<WebWriter> {
        Ok(match self {
            Self::Memory(memory) => WebWriter::Memory(memory.resume(object, cut_at).await?),
            Self::IndexedDb(database) => {
                WebWriter::IndexedDb(database.resume(object, cut_at).await?)
            }
            Self::Files(files) => WebWriter::Files(files.resume(object, cut_at).await?),
        })
    }

    async fn open(&self, object: Object) -> Result<WebReader> {
        Ok(match self {
            Self::Memory(memory) => WebReader::Memory(memory.open(object).await?),
            Self::IndexedDb(database) => WebReader::IndexedDb(database.open(&object)?),
            Self::Files(files) => WebReader::Files(files.open(&object).await?),
        })
    }

    async fn replace(&self, from: Object, to: Object) -> Result<()> {
        match self {
            Self::Memory(memory) => memory.replace(from, to).await,
            Self::IndexedDb(database) => database.replace(from, to).await,
            Self::Files(files) => files.replace(from, to).await,
        }
    }

    async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        match self {
            Self::Memory(memory) => memory.remove(objects).await,
            Self::IndexedDb(database) => database.remove(objects).await,
            Self::Files(files) => files.remove(objects).await,
        }
    }

    async fn checkpoint(&self, to: String, objects: Vec<(Object, u64)>, meta: Bytes) -> Result<()> {
        match self {
            Self::Memory(_) => Err(trilith::Error::new(
                trilith::ErrorKind::Invalid,
                "making a checkpoint",
                "a store in memory has no other place to go to: export it",
            )),
            Self::IndexedDb(database) => database.checkpoint(to, objects, meta).await,
            Self::Files(files) => files.checkpoint(to, objects, meta).await,
        }
    }

    async fn room(&self) -> Result<Option<u64>> {
        match self {
            Self::Memory(memory) => memory.room().await,
            Self::IndexedDb(database) => database.room().await,
            Self::Files(files) => files.room().await,
        }
    }
}

impl Writer for WebWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        match self {
            Self::Memory(writer) => writer.append(bytes),
            Self::IndexedDb(writer) => writer.append(bytes),
            Self::Files(writer) => writer.append(bytes),
        }
    }

    fn settle(&self, upto: u64, to: Durability) -> impl Future<Output = Result<()>> + use<> {
        enum Settle {
            Ready(Option<Result<()>>),
            IndexedDb(indexed_db::Settle),
            Files(files::Settle),
        }
        impl Future for Settle {
            type Output = Result<()>;
            fn poll(
                mut self: Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<()>> {
                match &mut *self {
                    Self::Ready(result) => std::task::Poll::Ready(result.take().unwrap_or(Ok(()))),
                    Self::IndexedDb(settle) => Pin::new(settle).poll(context),
                    Self::Files(settle) => Pin::new(settle).poll(context),
                }
            }
        }
        match self {
            Self::Memory(writer) => {
                // Ready at once, always.
                let mut settle = std::pin::pin!(writer.settle(upto, to));
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                Settle::Ready(match settle.as_mut().poll(&mut context) {
                    std::task::Poll::Ready(result) => Some(result),
                    std::task::Poll::Pending => None,
                })
            }
            Self::IndexedDb(writer) => Settle::IndexedDb(writer.settle(upto, to)),
            Self::Files(writer) => Settle::Files(writer.settle(upto, to)),
        }
    }
}

impl Reader for WebReader {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(reader) => reader.len(),
            Self::IndexedDb(reader) => reader.len(),
            Self::Files(reader) => reader.len(),
        }
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        match self {
            Self::Memory(reader) => reader.read_now(offset, len),
            Self::IndexedDb(reader) => reader.read_now(offset, len),
            // A file that is open is read by a call, not by a wait.
            Self::Files(reader) => Some(reader.read(offset, len)),
        }
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        match self {
            Self::Memory(reader) => reader.read_at(offset, len).await,
            Self::IndexedDb(reader) => reader.read_at(offset, len).await,
            Self::Files(reader) => reader.read(offset, len),
        }
    }
}
