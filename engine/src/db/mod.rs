//! One store's front door.
//!
//! A [`Db`] is layer 1 over layer 2 over the log, in one keyspace ordered by bytes. Handles are cheap to
//! clone and may be used from as many threads and tasks as there are.

mod admit;
mod anatomy;
mod apart;
mod applier;
mod archive;
mod assumed;
mod batch;
mod changes;
mod checkpoint;
mod commit;
mod compact;
mod conditional;
mod core;
mod explain;
mod flush;
mod health;
mod machine;
mod options;
mod outputs;
mod pressure;
mod ranges;
mod read;
mod recover;
mod repair;
mod scan;
mod segments;
mod snapshot;
mod sources;
mod stats;
mod unflushed;
mod upkeep;
mod verify;
mod view;
pub mod warm;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use bytes::Bytes;

pub use anatomy::{Anatomy, MemtableAnatomy, TableAnatomy};
pub use archive::{Began, Busy};
pub use batch::Batch;
pub use changes::Changes;
pub use explain::{Explanation, Step};
pub use machine::{BatchesOnly, Counts, Entry, Machine};
pub use options::{Options, Sync};
pub use scan::{Range, Scan};
pub use snapshot::Snapshot;
pub use stats::{LevelStats, Stats};
pub use verify::Verified;
pub use warm::WarmStats;

pub(crate) use self::admit::{NEEDS_NO_LOOK_BYTES, Needs};
pub(crate) use self::commit::{ReplySlot, Ticket};
use self::core::Core;
pub(crate) use self::ranges::{
    AMNESIAC, Alone, Applied, AsyncRecords, Found as FoundRange, Hard, Ingested, Logged, Note,
    OfRange, Replacement, Span as RangeSpan, Standing, read_manifest,
};
use self::read::Known;
pub(crate) use self::snapshot::{Brief, Pin};
use crate::record::hash_key;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// A store. See the [module](self).
///
/// ```
/// use trilith::{Db, MemoryStorage, Options, Range, sim::TestRuntime};
///
/// let runtime = TestRuntime::new(1);
/// runtime.block_on(async {
///     let db = Db::open(MemoryStorage::new(), runtime.clone(), Options::default()).await?;
///     db.put(b"user:1", b"Alex").await?;
///     assert_eq!(db.get(b"user:1").await?.unwrap(), b"Alex"[..]);
///     let mut users = db.scan(Range::prefix(b"user:"))?;
///     while let Some((key, value)) = users.next().await? {
///         println!("{key:?} {value:?}");
///     }
///     drop(users);
///     db.close().await
/// }).unwrap();
/// ```
pub struct Db<S: Storage, R: Runtime, M: Machine = BatchesOnly> {
    handle: Arc<Handle<S, R, M>>,
}

impl<S: Storage, R: Runtime, M: Machine> Clone for Db<S, R, M> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

/// The last handle's end asks the background tasks to end.
struct Handle<S: Storage, R: Runtime, M: Machine>(Arc<Core<S, R, M>>);

impl<S: Storage, R: Runtime, M: Machine> Drop for Handle<S, R, M> {
    fn drop(&mut self) {
        self.0.ask_to_stop();
    }
}

impl<S: Storage, R: Runtime> Db<S, R> {
    /// Opens the store that is in `storage`, or makes one there. Replays what the log holds beyond the
    /// tables.
    ///
    /// # Errors
    /// `Locked` if somebody else holds it, `Corrupt` or `Missing` if what is there is not what was
    /// written, `Newer` if a later version wrote it. Nothing is changed in these cases.
    pub async fn open(storage: S, runtime: R, options: Options) -> Result<Self> {
        Self::open_with(storage, runtime, BatchesOnly, options).await
    }
}

impl<S: Storage, R: Runtime, M: Machine> Db<S, R, M> {
    /// Opens a store whose log also carries entries for `machine`.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub async fn open_with(storage: S, runtime: R, machine: M, options: Options) -> Result<Self> {
        let core = Core::open(storage, runtime, machine, options).await?;
        Ok(Self {
            handle: Arc::new(Handle(core)),
        })
    }

    pub(crate) fn core(&self) -> &Arc<Core<S, R, M>> {
        &self.handle.0
    }

    /// Sets `key` to `value`. When this returns, the write is as durable as [`Options::sync`] says.
    ///
    /// # Errors
    /// `Invalid` for a key over 64 KiB or a value over 512 MiB; `Full`, `ReadOnly` and `Closed` when nothing
    /// was written; `Unknown` when it may have been.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let payload = batch::put_payload(key, value, 0)?;
        self.core()
            .submit_batch(payload, key.len() + value.len())
            .await
    }

    /// Sets `key` to `value` for `ttl`; then it is gone. At least a millisecond.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub async fn put_for(&self, key: &[u8], value: &[u8], ttl: Duration) -> Result<()> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let deadline_ms = self.core().runtime.wall_ms().saturating_add(ttl_ms);
        let payload = batch::put_payload(key, value, deadline_ms)?;
        self.core()
            .submit_batch(payload, key.len() + value.len())
            .await
    }

    /// Deletes `key`, whether it is there or not.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub async fn delete(&self, key: &[u8]) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(key);
        self.write(batch).await
    }

    /// Deletes every key from `start` on and before `end` (`None`: to the last key). Costs one write however
    /// many keys there are.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub async fn delete_range(&self, start: &[u8], end: Option<&[u8]>) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete_range(start, end);
        self.write(batch).await
    }

    /// Writes a batch: all of it or nothing, also through a crash.
    ///
    /// # Errors
    /// As [`Db::put`]; `Invalid` also for a batch that the memory budget can never hold.
    pub async fn write(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = batch.bytes();
        self.core().submit_batch(batch.into_payload()?, bytes).await
    }

    /// The value of `key`, or `None`.
    ///
    /// # Errors
    /// Those of storage: `Failed`, `Corrupt`, `Lost`.
    #[inline]
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let mut value = Vec::new();
        if let Some(found) = self.get_now(key, &mut value)? {
            return Ok(found.then(|| value.into()));
        }
        let core = self.core();
        let found = core.get_latest(key, &mut ()).await?;
        Ok(found
            .filter(|&(_, deadline_ms)| core.is_alive(deadline_ms))
            .map(|(value, _)| value))
    }

    /// The value of `key` and when it expires (milliseconds since the Unix epoch; 0 for never), or `None`.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn get_with_deadline(&self, key: &[u8]) -> Result<Option<(Bytes, u64)>> {
        let core = self.core();
        let found = core.get_latest(key, &mut ()).await?;
        Ok(found.filter(|&(_, deadline_ms)| core.is_alive(deadline_ms)))
    }

    /// When `key` expires (milliseconds since the Unix epoch; 0 for never), or `None` if it is not there.
    /// Does not fetch a large value.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn deadline(&self, key: &[u8]) -> Result<Option<u64>> {
        let core = self.core();
        let found = core.find_latest(key, &mut ()).await?;
        Ok(found
            .map(|found| found.deadline_ms)
            .filter(|&deadline_ms| core.is_alive(deadline_ms)))
    }

    /// Whether the tables are larger than the memory that caches their blocks, so that a read of them may
    /// have to wait for the disk.
    pub fn outgrows_cache(&self) -> bool {
        let core = self.core();
        core.view().levels.total_bytes() > core.budget.cache_bytes as u64
    }

    /// What can be told without waiting: `Some(true)` with the value appended to `out`, `Some(false)` if the
    /// key is not there, `None` if [`Db::get`] must be awaited. Takes about as long as two cache misses if
    /// the hash table knows the key, and otherwise asks the tables as far as their blocks are at hand.
    ///
    /// # Errors
    /// As [`Db::get`].
    #[inline]
    pub fn get_now(&self, key: &[u8], out: &mut Vec<u8>) -> Result<Option<bool>> {
        let core = self.core();
        core.get_now(key, out, |deadline_ms| Some(core.is_alive(deadline_ms)))
    }

    /// The values of several keys, each as [`Db::get`] would answer. Faster than one after the other, as
    /// their cache misses overlap. They are not of one moment: for that, take a [`Db::snapshot`].
    ///
    /// ```
    /// # use trilith::{Db, MemoryStorage, Options, sim::TestRuntime};
    /// # let runtime = TestRuntime::new(1);
    /// # runtime.block_on(async {
    /// # let db = Db::open(MemoryStorage::new(), runtime.clone(), Options::default()).await?;
    /// db.put(b"a", b"1").await?;
    /// db.put(b"c", b"3").await?;
    /// let values = db.get_many(&["a", "b", "c"]).await?;
    /// assert_eq!(values, [Some("1".into()), None, Some("3".into())]);
    /// # db.close().await
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        let core = self.core();
        let mut values = vec![None; keys.len()];
        let mut known = vec![false; keys.len()];
        {
            let keys = keys.iter().map(AsRef::as_ref);
            let hashed: Vec<_> = keys.map(|key| (hash_key(key), key)).collect();
            core.known_of_batch(&hashed, |i, found| {
                known[i] = true;
                values[i] = found
                    .filter(|&(_, deadline_ms)| core.is_alive(deadline_ms))
                    .map(|(value, _)| value);
            });
        }
        for (i, key) in keys.iter().enumerate() {
            if !known[i] {
                values[i] = self.get(key.as_ref()).await?;
            }
        }
        Ok(values)
    }

    /// Walks the keys of `range` as they are now.
    ///
    /// # Errors
    /// Those of storage.
    pub fn scan(&self, range: Range) -> Result<Scan<S, R, M>> {
        Scan::new(self.core(), snapshot::Pin::new(self.core()), range)
    }

    /// The store as it is now, to be read from later.
    pub fn snapshot(&self) -> Snapshot<S, R, M> {
        Snapshot::new(self.core())
    }

    /// Writes everything that is in memory to tables, and waits for it.
    ///
    /// # Errors
    /// What keeps the flush from succeeding; nothing is lost.
    pub async fn flush(&self) -> Result<()> {
        self.core().flush_all().await
    }

    /// Merges everything that is in tables into the last level, dropping what is dead, and waits for it.
    ///
    /// # Errors
    /// What keeps a compaction from succeeding; nothing is lost.
    pub async fn compact(&self) -> Result<()> {
        self.core().flush_all().await?;
        self.core().compact_all().await
    }

    /// Waits until no flush and no compaction is under way or due.
    ///
    /// # Errors
    /// What keeps background work from going on.
    pub async fn quiesce(&self) -> Result<()> {
        self.core().quiesce().await
    }

    /// Syncs the log: everything acknowledged so far then survives a power loss.
    ///
    /// # Errors
    /// `Unknown` if the sync failed.
    pub async fn sync(&self) -> Result<()> {
        self.core().sync_all().await
    }

    /// Makes a complete copy of the store at `to`, as it is at this moment, without stopping writers.
    /// Tables are linked where the host can.
    ///
    /// # Errors
    /// `Invalid` if something is at `to`, and those of storage.
    pub async fn checkpoint(&self, to: S::Place) -> Result<()> {
        self.core().checkpoint(to).await
    }

    /// Reads everything and checks every checksum and invariant.
    ///
    /// # Errors
    /// Only if the store is closed; what is wrong with the data is in the answer.
    pub async fn verify(&self) -> Result<Verified> {
        self.core().verify().await
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// What the store is made of at this moment, part by part.
    pub fn anatomy(&self) -> Anatomy {
        self.core().anatomy()
    }

    /// Reads `key` and tells which way the read took.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn explain(&self, key: &[u8]) -> Result<Explanation> {
        let core = self.core();
        let mut explanation = Explanation::default();
        let before = core.runtime.monotonic();
        let found = core.get_latest(key, &mut explanation).await?;
        explanation.took_ns = (core.runtime.monotonic() - before).as_nanos() as u64;
        let alive = found.filter(|&(_, deadline_ms)| core.is_alive(deadline_ms));
        explanation.found = alive.is_some();
        explanation.value_bytes = alive.map_or(0, |(value, _)| value.len());
        Ok(explanation)
    }

    /// Ends the store in good order: syncs the log, notes that the end was clean, ends the background work.
    /// Other handles get `Closed` from now on.
    ///
    /// # Errors
    /// If the last sync fails. The store is closed all the same.
    pub async fn close(&self) -> Result<()> {
        self.core().close().await
    }

    /// Appends an entry for the machine. Its place in the order of all writes is fixed when this returns;
    /// await the answer to hear what it did. Dropping it does not take the entry back.
    ///
    /// # Errors
    /// As [`Db::put`], before anything is written.
    pub fn submit(&self, payload: Bytes, seed: u64) -> Result<Submitted<S, R, M>> {
        let core = Arc::clone(self.core());
        core.check_size(payload.len(), &Needs::default())?;
        let reply = commit::Replies::<M>::default();
        let slot = commit::ReplySlot {
            replies: Arc::clone(&reply),
            place: 0,
        };
        let ticket = core.append(payload, seed, Some(slot))?;
        Ok(Submitted {
            core,
            ticket,
            reply,
        })
    }

    /// Waits until the machine's counts are exact: for a while after opening they may rest on keys that were
    /// taken to be absent while the log was replayed.
    ///
    /// # Errors
    /// What keeps those keys from being looked up.
    pub async fn await_counts(&self) -> Result<()> {
        self.core().await_resolved().await
    }

    /// Waits, if it must, until writers are let in: call it before [`Db::submit`].
    ///
    /// # Errors
    /// `Full`, `ReadOnly` and `Closed` if no write is taken at present.
    pub async fn admit(&self, bytes: usize) -> Result<()> {
        self.core().admit(bytes).await
    }

    /// Fails if an entry that writes this could never be applied. For machines whose entries write more
    /// records than a few: call it before [`Db::submit`].
    pub(crate) fn check_needs(&self, payload_bytes: usize, needs: &Needs) -> Result<()> {
        self.core().check_size(payload_bytes, needs)
    }

    /// Values from this length on are kept apart from the keys.
    pub(crate) fn large_value_bytes(&self) -> usize {
        self.core().options.large_value_bytes
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.core().machine
    }

    /// The host.
    pub fn runtime(&self) -> &R {
        &self.core().runtime
    }
}

/// An entry on its way.
pub struct Submitted<S: Storage, R: Runtime, M: Machine> {
    core: Arc<Core<S, R, M>>,
    ticket: commit::Ticket,
    reply: commit::Replies<M>,
}

impl<S: Storage, R: Runtime, M: Machine> Submitted<S, R, M> {
    /// What the entry did, once it has settled and has been applied.
    ///
    /// # Errors
    /// `Full` if it was taken back because there is no room; `Unknown` if it may or may not survive.
    pub async fn reply(self) -> Result<M::Reply> {
        self.core.finish(self.ticket).await?;
        self.reply.lock().pop().flatten().ok_or_else(|| {
            Error::new(
                ErrorKind::Unknown,
                "waiting for a reply",
                "the entry was applied while the log was repaired",
            )
        })
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    async fn submit_batch(&self, payload: Bytes, user_bytes: usize) -> Result<()> {
        self.check_size(payload.len(), &self.needs_of(&payload)?)?;
        self.admit(payload.len()).await?;
        self.counters
            .user_bytes
            .fetch_add(user_bytes as u64, Relaxed);
        let ticket = self.append(payload, 0, None)?;
        self.finish(ticket).await
    }

    /// Whether what expires at `deadline_ms` is still there.
    #[inline]
    fn is_alive(&self, deadline_ms: u64) -> bool {
        deadline_ms == 0 || deadline_ms > self.runtime.wall_ms()
    }

    /// See [`Db::get_now`]. `is_alive` judges a deadline, or leaves it to whoever may wait.
    #[inline]
    pub(crate) fn get_now(
        &self,
        key: &[u8],
        out: &mut Vec<u8>,
        is_alive: impl Fn(u64) -> Option<bool>,
    ) -> Result<Option<bool>> {
        let before = out.len();
        let hash = hash_key(key);
        let found = match self.known(hash, key, self.visible.load(Acquire), out)? {
            Known::Here { deadline_ms, .. } => is_alive(deadline_ms),
            Known::Absent => Some(false),
            Known::Apart { .. } | Known::Older => None,
            Known::Cold => return self.get_cold_now(hash, key, out, is_alive),
        };
        if found != Some(true) {
            out.truncate(before);
        }
        Ok(found)
    }

    /// The same for a key that the hash table does not know.
    #[inline]
    fn get_cold_now(
        &self,
        hash: u64,
        key: &[u8],
        out: &mut Vec<u8>,
        is_alive: impl Fn(u64) -> Option<bool>,
    ) -> Result<Option<bool>> {
        let Some(found) = self.find_cold_now(hash, key) else {
            return Ok(None);
        };
        let Some(found) = found? else {
            return Ok(Some(false));
        };
        Ok(match is_alive(found.deadline_ms) {
            Some(true) => found.inline().map(|value| {
                out.extend_from_slice(value);
                true
            }),
            dead => dead,
        })
    }

    fn stats(&self) -> Stats {
        let view = self.view();
        let levels = (0..crate::lsm::levels::LEVELS).map(|level| LevelStats {
            tables: view.levels.tables(level).len(),
            bytes: view.levels.bytes(level),
        });
        let records = |entries: u64, deletes: u64| entries.saturating_sub(2 * deletes);
        let in_tables = view
            .levels
            .all()
            .map(|(_, meta)| records(meta.entries, meta.deletes));
        let in_memory = view.memtables().map(|memtable| memtable.entries());
        let mut stats = Stats {
            records_estimate: in_tables.sum::<u64>() + in_memory.sum::<u64>(),
            seq: self.visible.load(Acquire),
            levels: levels.collect(),
            values_bytes: view.levels.values().values().map(|file| file.bytes).sum(),
            memtable_bytes: view.active.bytes(),
            frozen_memtables: view.frozen.len(),
            segments: self.commit.lock().segments.len(),
            pressure: self.pressure.get(),
            memory: self.memory.stats(),
            cache: self.cache.stats(),
            trouble: self.health.trouble(),
            cuts: self.cuts.lock().clone(),
            warm: self.warm.stats(),
            ..Stats::default()
        };
        self.counters.fill(&mut stats);
        stats
    }

    async fn close(&self) -> Result<()> {
        if self.health.is_closed() {
            return Ok(());
        }
        // No entry is appended from here on; those that are on their way finish.
        let synced = match self.health.trouble() {
            None => {
                self.health.close();
                self.sync_all().await
            }
            Some(error) => {
                self.health.close();
                Err(error)
            }
        };
        self.stop().await;
        synced?;
        let mut manifest = self.manifest.lock().await;
        let mut next = manifest.clone();
        next.clean = true;
        self.note_watermark(&mut next);
        self.storage.commit(next.encode()).await?;
        *manifest = next;
        Ok(())
    }
}
