//! The embedded store: a directory of files, called without an async runtime.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use trilith::db::{BatchesOnly, Verified};
use trilith::{Batch, Db, Explanation, Options, Range, Result, Stats};

use crate::{FileStorage, NativeRuntime, block_on, blocking};

/// The engine's store over files and threads; its methods are async and run on any executor.
pub type FileDb = Db<FileStorage, NativeRuntime>;

/// Opens the store in the directory at `path`, or makes one there, with the default [`Options`].
///
/// ```
/// # fn main() -> trilith::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data");
/// let store = trilith_server::open(&path)?;
/// store.put(b"user:1", b"Alex")?;
/// assert_eq!(store.get(b"user:1")?.unwrap(), b"Alex"[..]);
/// store.close()
/// # }
/// ```
///
/// # Errors
/// As [`Db::open`]: `Locked` while another process has it open, `Corrupt`, `Missing`, `Newer`.
pub fn open(path: impl AsRef<Path>) -> Result<Store> {
    open_with(path, Options::default())
}

/// Opens the store in the directory at `path`, or makes one there.
///
/// ```
/// # fn main() -> trilith::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use trilith::{Options, Sync};
/// let options = Options { sync: Sync::Always, memory_bytes: 64 << 20, ..Options::default() };
/// let store = trilith_server::open_with(dir.path().join("data"), options)?;
/// # store.close()
/// # }
/// ```
///
/// # Errors
/// As [`open`].
pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Store> {
    let storage = FileStorage::new(path.as_ref());
    let db = block_on(Db::open(storage, NativeRuntime::new(), options))?;
    Ok(Store { db })
}

/// A store in a directory. Cloning shares it; use it from as many threads as you like.
///
/// Each method blocks the calling thread until it is done. From async code use [`Store::db`], whose
/// methods are the same and await instead.
#[derive(Clone)]
pub struct Store {
    db: FileDb,
}

impl Store {
    /// The same store for async code.
    pub fn db(&self) -> &FileDb {
        &self.db
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        block_on(self.db.put(key, value))
    }

    /// Sets `key` to `value` for `ttl`.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn put_for(&self, key: &[u8], value: &[u8], ttl: Duration) -> Result<()> {
        block_on(self.db.put_for(key, value, ttl))
    }

    /// The value of `key`, or `None`.
    ///
    /// # Errors
    /// As [`Db::get`].
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let mut value = Vec::new();
        if self.get_into(key, &mut value)? {
            return Ok(Some(value.into()));
        }
        Ok(None)
    }

    /// Appends the value of `key` to `out`; `false` if there is none. Spares the allocation that
    /// [`Store::get`] makes.
    ///
    /// ```
    /// # fn main() -> trilith::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let store = trilith_server::open(dir.path().join("data"))?;
    /// store.put(b"k", b"v")?;
    /// let mut value = Vec::new();
    /// assert!(store.get_into(b"k", &mut value)?);
    /// assert_eq!(value, b"v");
    /// # store.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Db::get`].
    #[inline]
    pub fn get_into(&self, key: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let now = {
            // Blocks are read where they are asked for.
            let _allowed = blocking::allow();
            self.db.get_now(key, out)?
        };
        if let Some(found) = now {
            return Ok(found);
        }
        let found = block_on(self.db.get(key))?;
        if let Some(value) = &found {
            out.extend_from_slice(value);
        }
        Ok(found.is_some())
    }

    /// The values of several keys, each as [`Store::get`] would answer, faster than one after the other.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        block_on(self.db.get_many(keys))
    }

    /// Deletes `key`, whether it is there or not.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        block_on(self.db.delete(key))
    }

    /// Deletes every key from `start` on and before `end` (`None`: to the last key).
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn delete_range(&self, start: &[u8], end: Option<&[u8]>) -> Result<()> {
        block_on(self.db.delete_range(start, end))
    }

    /// Writes a batch: all of it or nothing.
    ///
    /// ```
    /// # fn main() -> trilith::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let store = trilith_server::open(dir.path().join("data"))?;
    /// let mut batch = trilith::Batch::new();
    /// batch.put(b"from", b"90").put(b"to", b"110");
    /// store.write(batch)?;
    /// # store.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write(&self, batch: Batch) -> Result<()> {
        block_on(self.db.write(batch))
    }

    /// Sets `key` to `value` (`None`: removes it) if its value is `expected` (`None`: if it is not there), and tells whether
    /// it was so. The new value expires at `deadline_ms`, in milliseconds since the Unix epoch; 0 is never.
    ///
    /// # Errors
    /// As [`Db::compare_and_set`].
    pub fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        deadline_ms: u64,
    ) -> Result<bool> {
        block_on(self.db.compare_and_set(key, expected, value, deadline_ms))
    }

    /// Walks the keys of `range` as they are now.
    ///
    /// ```
    /// # fn main() -> trilith::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let store = trilith_server::open(dir.path().join("data"))?;
    /// use trilith::Range;
    /// store.put(b"user:1", b"Alex")?;
    /// store.put(b"user:2", b"Kim")?;
    /// for pair in store.scan(Range::prefix(b"user:").reversed())? {
    ///     let (key, value) = pair?;
    ///     println!("{key:?} {value:?}");
    /// }
    /// # store.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Db::scan`].
    pub fn scan(&self, range: Range) -> Result<Scan> {
        Ok(Scan {
            scan: self.db.scan(range)?,
        })
    }

    /// The store as it is now, to be read from later.
    ///
    /// ```
    /// # fn main() -> trilith::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let store = trilith_server::open(dir.path().join("data"))?;
    /// store.put(b"k", b"old")?;
    /// let before = store.snapshot();
    /// store.put(b"k", b"new")?;
    /// assert_eq!(before.get(b"k")?.unwrap(), b"old"[..]);
    /// # drop(before);
    /// # store.close()
    /// # }
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            snapshot: self.db.snapshot(),
        }
    }

    /// Writes everything that is in memory to tables.
    ///
    /// # Errors
    /// As [`Db::flush`].
    pub fn flush(&self) -> Result<()> {
        block_on(self.db.flush())
    }

    /// Merges everything into the last level, dropping what is dead.
    ///
    /// # Errors
    /// As [`Db::compact`].
    pub fn compact(&self) -> Result<()> {
        block_on(self.db.compact())
    }

    /// Waits until no flush and no compaction is under way or due.
    ///
    /// # Errors
    /// As [`Db::quiesce`].
    pub fn quiesce(&self) -> Result<()> {
        block_on(self.db.quiesce())
    }

    /// Syncs the log: everything acknowledged so far then survives a power loss.
    ///
    /// # Errors
    /// As [`Db::sync`].
    pub fn sync(&self) -> Result<()> {
        block_on(self.db.sync())
    }

    /// Makes a complete copy of the store in the directory `to`, which must be empty or not be there.
    ///
    /// # Errors
    /// As [`Db::checkpoint`].
    pub fn checkpoint(&self, to: impl Into<PathBuf>) -> Result<()> {
        block_on(self.db.checkpoint(to.into()))
    }

    /// Reads everything and checks every checksum and invariant.
    ///
    /// # Errors
    /// As [`Db::verify`].
    pub fn verify(&self) -> Result<Verified> {
        block_on(self.db.verify())
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Stats {
        self.db.stats()
    }

    /// Reads `key` and tells which way the read took.
    ///
    /// ```
    /// # fn main() -> trilith::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let store = trilith_server::open(dir.path().join("data"))?;
    /// store.put(b"k", b"v")?;
    /// println!("{}", store.explain(b"k")?);
    /// # store.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn explain(&self, key: &[u8]) -> Result<Explanation> {
        block_on(self.db.explain(key))
    }

    /// Ends the store in good order.
    ///
    /// # Errors
    /// As [`Db::close`].
    pub fn close(&self) -> Result<()> {
        block_on(self.db.close())
    }
}

/// A walk over keys. As an iterator it copies each pair; [`Scan::next_pair`] lends them.
pub struct Scan {
    scan: trilith::Scan<FileStorage, NativeRuntime, BatchesOnly>,
}

impl Scan {
    /// The next key and value, where they lie; `None` past the last.
    ///
    /// # Errors
    /// Those of storage.
    pub fn next_pair(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        block_on(self.scan.next())
    }
}

impl Iterator for Scan {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        let copy = |(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        self.next_pair().map(|pair| pair.map(copy)).transpose()
    }
}

/// A store as it was. See [`Store::snapshot`].
#[derive(Clone)]
pub struct Snapshot {
    snapshot: trilith::Snapshot<FileStorage, NativeRuntime, BatchesOnly>,
}

impl Snapshot {
    /// The value of `key` at the time of the snapshot.
    ///
    /// # Errors
    /// Those of storage.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        block_on(self.snapshot.get(key))
    }

    /// Walks the keys of `range` at the time of the snapshot.
    ///
    /// # Errors
    /// Those of storage.
    pub fn scan(&self, range: Range) -> Result<Scan> {
        Ok(Scan {
            scan: self.snapshot.scan(range)?,
        })
    }
}
