//! A store in a directory of files.
//!
//! Writes go to the page cache on the thread that settles them: that is memory speed, unless the kernel
//! slows one who has long written faster than the disk takes it. What waits for the disk runs on the storage's own threads, unless the calling thread [may block](crate::blocking):
//! then it waits itself.

mod append;
mod checkpoint;
mod directory;
mod exchange;
mod failure;
mod group_sync;
mod growth;
mod kill_point;
mod lock;
mod names;
mod read;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use trilith::{Contents, Object, Result, Storage};

pub use append::FileWriter;
pub use exchange::{Exchange, go_on};
pub use read::FileReader;

use crate::blocking;
use crate::sys;
use crate::workers::Workers;
use directory::Directory;
pub(crate) use failure::failure;

/// Threads for reads that miss the page cache, and for whatever else waits on the directory.
const JOB_THREADS: usize = 4;

/// The storage in one directory. See [`trilith::Storage`]; clones share it.
///
/// The directory stays locked until the last clone and the last writer are dropped.
///
/// ```
/// use trilith::{Durability::Synced, Object, Storage, Writer};
/// use trilith_server::{FileStorage, block_on};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("store");
/// block_on(async {
///     let storage = FileStorage::new(path);
///     assert_eq!(storage.load().await?.meta, None);
///     let mut writer = storage.create(Object::Segment(1)).await?;
///     let end = writer.append(b"first")?;
///     writer.settle(end, Synced).await
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FileStorage(Arc<Shared>);

struct Shared {
    directory: Arc<Directory>,
    /// Syncs for those who wait without blocking. One thread: syncs of one disk gain nothing side by
    /// side, and none may wait behind a read.
    syncs: Workers,
    jobs: Workers,
}

impl FileStorage {
    /// The storage in the directory `root`, which [`Storage::load`] creates if need be.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Shared {
            directory: Arc::new(Directory::new(root.into())),
            syncs: Workers::new("trilith-sync", 1),
            jobs: Workers::new("trilith-disk", JOB_THREADS),
        }))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.directory.root()
    }

    /// Does what waits for the disk: here if this thread may block, else on a thread of the storage.
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Directory>) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        let directory = self.0.directory.clone();
        let queue = self.0.jobs.queue().clone();
        async move {
            if blocking::is_allowed() {
                return job(&directory);
            }
            queue.run(move || job(&directory)).await
        }
    }
}

impl Storage for FileStorage {
    type Writer = FileWriter;
    type Reader = FileReader;
    type Place = PathBuf;

    fn load(&self) -> impl Future<Output = Result<Contents>> + Send {
        self.run(|directory| directory.load())
    }

    fn commit(&self, meta: Bytes) -> impl Future<Output = Result<()>> + Send {
        self.run(move |directory| directory.commit(&meta))
    }

    fn create(&self, object: Object) -> impl Future<Output = Result<FileWriter>> + Send {
        let syncs = self.0.syncs.queue().clone();
        self.run(move |directory| directory.create(object, syncs))
    }

    fn resume(
        &self,
        object: Object,
        cut_at: u64,
    ) -> impl Future<Output = Result<FileWriter>> + Send {
        let syncs = self.0.syncs.queue().clone();
        self.run(move |directory| directory.resume(object, cut_at, syncs))
    }

    fn open(&self, object: Object) -> impl Future<Output = Result<FileReader>> + Send {
        let reads = self.0.jobs.queue().clone();
        self.run(move |directory| directory.open(object, reads))
    }

    fn replace(&self, from: Object, to: Object) -> impl Future<Output = Result<()>> + Send {
        self.run(move |directory| directory.replace(from, to))
    }

    fn remove(&self, objects: Vec<Object>) -> impl Future<Output = Result<()>> + Send {
        self.run(move |directory| directory.remove(objects))
    }

    fn checkpoint(
        &self,
        to: PathBuf,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> impl Future<Output = Result<()>> + Send {
        self.run(move |directory| checkpoint::make(directory.root(), &to, &objects, &meta))
    }

    fn room(&self) -> impl Future<Output = Result<Option<u64>>> + Send {
        self.run(|directory| {
            sys::room(directory.root()).map_err(|error| failure("asking for free space", &error))
        })
    }
}
