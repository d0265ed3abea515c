//! Opening a store: the manifest, the tables it names, and the log since.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::Mutex;

use super::apart::apart;
use super::applier::Applier;
use super::archive::Archive;
use super::commit::Commit;
use super::core::Core;
use super::machine::{Entry, Machine};
use super::options::Options;
use super::ranges::Ranges;
use super::segments::Segments;
use super::view::{IdMap, Present, View};
use crate::archive::DUMP;
use crate::archive::aof::names;
use crate::log::{Beginning, Log, LogKind, Replayed, SegmentEnd, is_unbegun};
use crate::lsm::cache::BlockCache;
use crate::lsm::manifest::Manifest;
use crate::lsm::memtable::Memtable;
use crate::lsm::sstable::Table;
use crate::lsm::values::ValuesReader;
use crate::memory::Memory;
use crate::storage::{Contents, Durability};
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage, Work};

/// Memtables that may wait to be flushed while the log is replayed.
const FROZEN_MOST: usize = 2;
/// An arena from which on huge pages are asked for. In less, translating addresses takes little of a random read, and
/// a store stays as small as what it holds: a huge page is resident for the sake of any record on it.
const HUGE_FROM_BYTES: usize = 64 << 20;

/// An opening that is dropped midway asks the tasks it has started to end: they hold the store, and with it
/// the lock.
struct Opening<'a, S: Storage, R: Runtime, M: Machine>(Option<&'a Arc<Core<S, R, M>>>);

impl<S: Storage, R: Runtime, M: Machine> Drop for Opening<'_, S, R, M> {
    fn drop(&mut self) {
        if let Some(core) = self.0 {
            core.ask_to_stop();
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Opens the store, or makes one where there is nothing.
    pub(crate) async fn open(
        storage: S,
        runtime: R,
        machine: M,
        options: Options,
    ) -> Result<Arc<Self>> {
        let contents = storage.load().await?;
        if M::HAS_RANGES && machine.is_replicated() {
            return apart(Self::open_ranges(
                storage, runtime, machine, options, contents,
            ))
            .await;
        }
        let mut manifest = match &contents.meta {
            Some(meta) => Manifest::decode(meta)?,
            None => new_store(&contents, &runtime)?,
        };
        super::ranges::refuse_replicated(&manifest)?;
        manifest.clean = false;
        manifest.host_epoch = contents.host_epoch;
        note_objects(&contents, &mut manifest);
        let segments = segments_of(&storage, &contents, &manifest).await?;
        let orphans = orphans(&contents, &manifest, &segments);
        let meta = manifest.encode();
        machine.restore(&manifest.settings)?;

        let core = Self::new(storage, runtime, machine, options, manifest, &segments)?;
        // What cannot be opened is left as it is.
        core.open_tables().await?;
        // A crash from here on is not a clean end.
        core.storage.commit(meta).await?;
        core.storage.remove(orphans).await?;
        core.assume_from(core.visible.load(Acquire));
        let mut opening = Opening(Some(&core));
        core.spawn(Work::Flush, Self::flush_forever);
        let recovered = core.replay(&segments).await;
        if let Err(error) = recovered {
            core.stop().await;
            return Err(error);
        }
        if core.assumed.is_open() {
            // Where it holds up compactions and nothing else.
            core.spawn(Work::Compaction, |core| async move {
                core.resolve_at_last().await
            });
        }
        core.spawn(Work::Compaction, Self::compact_forever);
        core.spawn(Work::Upkeep, Self::sync_forever);
        core.open_warm(&contents);
        opening.0 = None;
        drop(opening);
        Ok(core)
    }

    pub(super) fn new(
        storage: S,
        runtime: R,
        machine: M,
        mut options: Options,
        manifest: Manifest,
        segments: &[u64],
    ) -> Result<Arc<Self>> {
        let budget = options.budget();
        let is_large = budget.arena_bytes >= HUGE_FROM_BYTES;
        let memory = Memory::new(budget.table_bytes, budget.arena_bytes, |start, bytes| {
            if is_large {
                runtime.advise_huge(start, bytes);
            }
        })?;
        // A value that lies with its key has to fit where records lie.
        options.large_value_bytes = options.large_value_bytes.min(memory.chunk_bytes() / 2);
        let chunks = memory.chunk_set();
        let active = Arc::new(Memtable::new(1, Arc::clone(chunks.chunks())));
        let mut compaction = options.compaction();
        // What has expired makes a merge worth its while only if the merge may drop it: chosen for what it
        // must keep, a table would be rewritten for ever.
        compaction.expire &= machine.expires_in_compaction();
        let mut applier = Applier::new(Arc::clone(&active), chunks);
        applier.seq = manifest.applied_seq;
        let complete_upto = applier.leave_out_below(&machine);
        if let Some(range) = manifest.ranges.first() {
            (applier.index, applier.time_ms) = (range.applied_index, range.applied_time_ms);
        }
        let view = View {
            generation: 0,
            active,
            frozen: Vec::new(),
            levels: Arc::new(manifest.levels.clone()),
            tables: Arc::new(IdMap::default()),
            values: Arc::new(IdMap::default()),
        };
        Ok(Arc::new_cyclic(|myself| Self {
            myself: myself.clone(),
            store_id: manifest.store_id,
            storage,
            runtime,
            machine,
            budget,
            compaction,
            memory,
            cache: Arc::new(BlockCache::new(budget.cache_bytes as u64)),
            view: Present::new(view),
            visible: AtomicU64::new(applier.seq),
            complete_upto: AtomicU64::new(complete_upto),
            unflushed_ranges: Default::default(),
            snapshots: Default::default(),
            commit: Mutex::new(Commit::replaying(
                segments.last().copied().unwrap_or(0),
                &applier,
            )),
            applier: Mutex::new(Some(applier)),
            applied: AtomicU64::new(0),
            pending_bytes: AtomicUsize::new(0),
            apply_turns: Default::default(),
            frozen: Mutex::default(),
            flush_without_log: AtomicBool::new(false),
            replaying: AtomicBool::new(true),
            next_id: AtomicU64::new(manifest.next_object),
            archive: Archive::new(options.archive.clone(), options.memory_bytes),
            warm: Default::default(),
            manifest: async_lock::Mutex::new(manifest),
            memtables_made: AtomicU64::new(1),
            doomed: Mutex::default(),
            checkpoints: AtomicUsize::new(0),
            pressure: Default::default(),
            health: Default::default(),
            counters: Default::default(),
            ranges: Ranges::default(),
            assumed: Default::default(),
            cuts: Mutex::default(),
            changed: Default::default(),
            flush_wanted: Default::default(),
            compaction_wanted: Default::default(),
            tasks: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            compacting: Mutex::default(),
            manual: Mutex::default(),
            compaction_idle: AtomicBool::new(false),
            options,
        }))
    }

    pub(super) async fn open_tables(&self) -> Result<()> {
        let levels = Arc::clone(&self.view().levels);
        let mut tables: IdMap<Table<S::Reader>> = IdMap::default();
        for (_, meta) in levels.all() {
            tables.insert(meta.id, self.open_table(meta.id).await?);
        }
        let mut values: IdMap<ValuesReader<S::Reader>> = IdMap::default();
        for &id in levels.values().keys() {
            values.insert(id, self.open_values(id).await?);
        }
        self.change_view(|view| {
            view.tables = Arc::new(tables);
            view.values = Arc::new(values);
        });
        Ok(())
    }

    /// Applies what the log holds beyond the tables, then opens the log to append to.
    async fn replay(&self, segments: &[u64]) -> Result<()> {
        let taken = self.applier.lock().take();
        let mut applier = taken
            .ok_or_else(|| Error::new(ErrorKind::Closed, "opening", "nobody else may apply"))?;
        let replayed = self.replay_segments(segments, &mut applier).await;
        let (index, time_ms) = (applier.index, applier.time_ms);
        *self.applier.lock() = Some(applier);
        let log = match replayed? {
            Some((segment, end)) => match self.resume_log(segment, &end).await {
                Err(error) if error.kind() == ErrorKind::Failed => {
                    self.leave_log(&error, end.position, time_ms).await?
                }
                resumed => resumed?,
            },
            None => self.begin_log(self.new_id(), 0, time_ms).await?,
        };
        let mut commit = self.commit.lock();
        if commit
            .segments
            .back()
            .is_none_or(|&(segment, _)| segment != log.segment())
        {
            commit.segments.push_back((log.segment(), log.start()));
        }
        commit.settled = log.end();
        commit.opened_at = log.end();
        commit.next_index = index + 1;
        commit.last_time_ms = time_ms;
        self.applied.store(log.end(), Release);
        commit.log = log;
        self.replaying.store(false, SeqCst);
        Ok(())
    }

    async fn replay_segments(
        &self,
        segments: &[u64],
        applier: &mut Applier<S>,
    ) -> Result<Option<(u64, SegmentEnd)>> {
        let mut log = Segments::new(self, segments).await;
        while let Some((_, replayed)) = log.next().await? {
            self.replay_record(applier, replayed).await?;
        }
        Ok(log.end())
    }

    async fn replay_record(&self, applier: &mut Applier<S>, replayed: Replayed) -> Result<()> {
        let fail = |kind, detail: String| Err(Error::new(kind, "replaying the log", detail));
        if replayed.kind != LogKind::Entry || replayed.range != 0 {
            return fail(
                ErrorKind::Newer,
                format!(
                    "a {:?} record of range {}: this store is a ring's",
                    replayed.kind, replayed.range
                ),
            );
        }
        if replayed.index <= applier.index {
            // The tables have it.
            return Ok(());
        }
        if replayed.index != applier.index + 1 {
            return fail(
                ErrorKind::Corrupt,
                format!("entry {} follows entry {}", replayed.index, applier.index),
            );
        }
        let entry = Entry {
            index: replayed.index,
            time_ms: replayed.time_ms,
            seed: replayed.seed,
            payload: replayed.payload,
        };
        applier.apply(self, &entry).await?;
        applier.position = replayed.position;
        self.applied.store(replayed.position, Release);
        applier.freeze_if_full(self);
        if self.frozen.lock().len() >= FROZEN_MOST {
            self.resolve_while_applying().await?;
            self.await_flush().await?;
            // What was flushed may be evicted, but is in the tables.
            self.assume_from(applier.seq);
        }
        Ok(())
    }

    async fn await_flush(&self) -> Result<()> {
        self.changed
            .wait(|| {
                if self.frozen.lock().len() < FROZEN_MOST {
                    return Some(Ok(()));
                }
                self.counters.flush_error().map(Err)
            })
            .await
    }

    pub(super) async fn resume_log(
        &self,
        segment: u64,
        end: &SegmentEnd,
    ) -> Result<Log<S::Writer>> {
        let writer = self
            .storage
            .resume(Object::Segment(segment), end.bytes)
            .await?;
        let mut log = Log::resume(writer, segment, end);
        // What was only written before the restart has now been served from; make it last.
        log.settle(log.end(), Durability::Synced).await?;
        log.note_synced(log.end());
        Ok(log)
    }

    /// The last segment can no longer be synced, but what it holds is served from now on: that goes to
    /// tables, and the log begins anew.
    async fn leave_log(
        &self,
        error: &Error,
        position: u64,
        base_time_ms: u64,
    ) -> Result<Log<S::Writer>> {
        tracing::warn!(%error, "the log cannot be synced; what it holds is flushed and it begins anew");
        let segment = self.new_id();
        self.resolve_while_applying().await?;
        self.flush_all_for(segment).await?;
        let log = self.begin_log(segment, position, base_time_ms).await?;
        let left = std::mem::take(&mut self.commit.lock().segments);
        let left = left
            .into_iter()
            .map(|(segment, _)| Object::Segment(segment));
        self.remove(left.collect()).await?;
        Ok(log)
    }

    /// Begins a segment that has no predecessor.
    pub(crate) async fn begin_log(
        &self,
        segment: u64,
        start: u64,
        base_time_ms: u64,
    ) -> Result<Log<S::Writer>> {
        let writer = self.storage.create(Object::Segment(segment)).await?;
        let beginning = Beginning {
            segment,
            start,
            base_time_ms,
            store: self.store_id,
            synced_upto: start,
        };
        let mut log = Log::begin(writer, beginning)?;
        log.settle(log.end(), Durability::Synced).await?;
        log.note_synced(log.end());
        log.release()?;
        Ok(log)
    }

    /// Asks the background tasks to end.
    pub(crate) fn ask_to_stop(&self) {
        self.stopping.store(true, SeqCst);
        for signal in [&self.flush_wanted, &self.compaction_wanted, &self.changed] {
            signal.notify();
        }
        if M::HAS_RANGES {
            self.archive.wake();
        }
        self.warm.wake();
    }

    /// Ends the background tasks and waits for them.
    pub(crate) async fn stop(&self) {
        self.ask_to_stop();
        self.changed
            .wait(|| (self.tasks.load(Acquire) == 0).then_some(()))
            .await;
    }
}

impl<S: Storage, M: Machine> Commit<S, M> {
    /// As it stands before the log has been replayed.
    fn replaying(last_segment: u64, applier: &Applier<S>) -> Self {
        Self {
            log: Log::unopened(last_segment),
            previous: None,
            segments: VecDeque::new(),
            pending: VecDeque::new(),
            next_index: applier.index + 1,
            last_time_ms: applier.time_ms,
            settled: 0,
            epoch: 0,
            ended: None,
            rotating: false,
            repairing: false,
            broken: None,
            behind: Default::default(),
            opened_at: 0,
        }
    }
}

/// The manifest of a store that is yet to be.
pub(super) fn new_store<R: Runtime>(contents: &Contents, runtime: &R) -> Result<Manifest> {
    let ours = |object: &&(Object, u64)| !matches!(object.0, Object::Archive(_));
    if let Some((object, _)) = contents.objects.iter().find(ours) {
        return Err(Error::new(
            ErrorKind::Missing,
            "opening the store",
            "its manifest is missing, but there is data: restore the manifest, or recover from an archive",
        )
        .on(object.clone()));
    }
    let archive = [names::manifest(), Object::Archive(DUMP.into())];
    let archived = |object: &&(Object, u64)| archive.contains(&object.0);
    if let Some((object, _)) = contents.objects.iter().find(archived) {
        return Err(Error::new(
            ErrorKind::Missing,
            "opening the store",
            "its manifest is missing, but there is an archive: recover from that",
        )
        .on(object.clone()));
    }
    Ok(Manifest {
        store_id: u128::from(runtime.seed()) << 64 | u128::from(runtime.seed()),
        next_object: 1,
        ..Manifest::default()
    })
}

/// Gives no object's number out again.
pub(super) fn note_objects(contents: &Contents, manifest: &mut Manifest) {
    let objects = contents.objects.iter().map(|(object, _)| number_of(object));
    manifest.next_object = objects
        .max()
        .unwrap_or(0)
        .max(manifest.next_object.saturating_sub(1))
        + 1;
}

/// The segments to replay, in order. Those that were never begun are not among them.
pub(super) async fn segments_of<S: Storage>(
    storage: &S,
    contents: &Contents,
    manifest: &Manifest,
) -> Result<Vec<u64>> {
    let mut segments: Vec<u64> = contents
        .objects
        .iter()
        .filter_map(|(object, _)| match object {
            Object::Segment(id) if *id >= manifest.log_start => Some(*id),
            _ => None,
        })
        .collect();
    segments.sort_unstable();
    if let Some(&first) = segments.first()
        && first != manifest.log_start
        && manifest.ranges.iter().any(|range| range.applied_index > 0)
        && manifest.log_synced.segment == manifest.log_start
    {
        return Err(Error::new(
            ErrorKind::Missing,
            "opening the store",
            "a segment of the log is missing",
        )
        .on(Object::Segment(manifest.log_start)));
    }
    // A crash may bring back what the last opening removed, so they need not be at the end. Should one of
    // them have held records after all, positions and indexes will not follow each other.
    let mut begun = Vec::with_capacity(segments.len());
    for segment in segments {
        let reader = storage.open(Object::Segment(segment)).await?;
        if !is_unbegun(&reader, segment, manifest.store_id).await? {
            begun.push(segment);
        }
    }
    let segments = begun;
    if segments.is_empty()
        && manifest.log_synced.segment >= manifest.log_start
        && manifest.log_synced.offset > 0
    {
        return Err(Error::new(
            ErrorKind::Missing,
            "opening the store",
            "the log is missing",
        )
        .on(Object::Segment(manifest.log_synced.segment)));
    }
    Ok(segments)
}

/// What the manifest and the log do not need: leftovers of work that a crash cut short.
pub(super) fn orphans(contents: &Contents, manifest: &Manifest, segments: &[u64]) -> Vec<Object> {
    let tables: BTreeSet<u64> = manifest
        .levels
        .all()
        .map(|(_, meta)| meta.id)
        .chain(manifest.levels.values().keys().copied())
        .collect();
    contents
        .objects
        .iter()
        .map(|(object, _)| object)
        .filter(|object| match object {
            Object::Table(id) => !tables.contains(id),
            Object::Segment(id) => !segments.contains(id),
            Object::Archive(_) => false,
        })
        .cloned()
        .collect()
}

fn number_of(object: &Object) -> u64 {
    match object {
        Object::Table(id) | Object::Segment(id) => *id,
        Object::Archive(_) => 0,
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Brings the parts of a manifest that are not about tables up to date.
    pub(crate) fn note_watermark(&self, manifest: &mut Manifest) {
        manifest.next_object = self.next_id.load(Relaxed);
        let commit = self.commit.lock();
        if commit.log.synced_upto() > commit.log.start() {
            manifest.log_synced.segment = commit.log.segment();
            manifest.log_synced.offset = commit.log.synced_upto() - commit.log.start();
        }
    }
}
