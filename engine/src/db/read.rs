//! The way of a read: hash table, then memtables, then tables; each layer only where the one above has
//! nothing to say.

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use bytes::Bytes;

use super::applier::IN_MEMTABLE;
use super::core::Core;
use super::explain::DbTrace;
use super::machine::Machine;
use super::snapshot::Brief;
use super::view::View;
use crate::lsm::levels::TableMeta;
use crate::lsm::sstable::{self, Table};
use crate::lsm::values::ValueRef;
use crate::memory::Probe;
use crate::record::{Kind, Record, SEQ_MAX, hash_key};
use crate::{Reader, Result, Runtime, Storage};

/// The version of a key that a reader sees. It may have expired.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// When it expires, in milliseconds since the Unix epoch; 0 for never.
    pub deadline_ms: u64,
    at: ValueAt,
}

#[derive(Clone, Debug)]
enum ValueAt {
    Inline(Bytes),
    Apart(ValueRef),
}

impl Found {
    /// `None` for a tombstone.
    fn new(kind: Kind, deadline_ms: u64, value: Bytes, table: u64) -> Result<Option<Self>> {
        let at = match kind {
            Kind::Delete => return Ok(None),
            Kind::Put => ValueAt::Inline(value),
            Kind::PutApart => ValueAt::Apart(ValueRef::decode_in(&value, table)?),
        };
        Ok(Some(Self { deadline_ms, at }))
    }

    /// The value, if it lies with its key.
    pub(crate) fn inline(&self) -> Option<&Bytes> {
        match &self.at {
            ValueAt::Inline(value) => Some(value),
            ValueAt::Apart(_) => None,
        }
    }

    fn in_memtable(record: Record<'_>) -> Result<Option<Self>> {
        let value = Bytes::copy_from_slice(record.value);
        Self::new(record.kind, record.deadline_ms, value, IN_MEMTABLE)
    }
}

/// What memory alone can say of a key.
pub(crate) enum Known {
    /// It is there; the value was appended to the caller's buffer.
    Here { deadline_ms: u64 },
    /// It is there, and its value lies apart.
    Apart {
        deadline_ms: u64,
        reference: ValueRef,
    },
    /// It is not there.
    Absent,
    /// The version that this reader sees is not the newest: memtables must be asked.
    Older,
    /// Only the tables can tell.
    Cold,
}

impl Known {
    fn into_found(self, value: Vec<u8>) -> Option<Found> {
        match self {
            Self::Here { deadline_ms } => Some(Found {
                deadline_ms,
                at: ValueAt::Inline(value.into()),
            }),
            Self::Apart {
                deadline_ms,
                reference,
            } => Some(Found {
                deadline_ms,
                at: ValueAt::Apart(reference),
            }),
            Self::Absent | Self::Older | Self::Cold => None,
        }
    }
}

/// The state of one read below the hash table: what holds for a memtable holds for every older source.
struct Search<'a> {
    hash: u64,
    key: &'a [u8],
    seq_max: u64,
    /// What is evicted from the hash table later is too new to be filled over.
    read_seq: u64,
    /// Whether range deletes may be in memtables.
    ranges: bool,
    /// The newest range delete over the key.
    hidden_below: u64,
    /// What has expired by then is not filled.
    fill_alive_ms: u64,
}

impl<'a> Search<'a> {
    /// To be called before the view is taken.
    #[inline]
    fn begin<S: Storage, R: Runtime, M: Machine>(
        core: &Core<S, R, M>,
        hash: u64,
        key: &'a [u8],
        seq_max: u64,
    ) -> Self {
        Self {
            hash,
            key,
            seq_max,
            read_seq: core.visible.load(Acquire),
            ranges: core.unflushed_ranges.any(),
            hidden_below: 0,
            fill_alive_ms: 0,
        }
    }

    /// Asks the memtables: for the key (if the hash table said that they know more) and for range deletes.
    /// `Some` if they decide.
    #[inline]
    fn ask_memtables<S: Storage, T: DbTrace>(
        &mut self,
        view: &View<S>,
        for_key: bool,
        trace: &mut T,
    ) -> Result<Option<Option<Found>>> {
        if !for_key && !self.ranges {
            return Ok(None);
        }
        // Unlike a table, a memtable may hold a part of an entry that is still being applied.
        let ranges_upto = self.seq_max.min(self.read_seq);
        for memtable in view.memtables() {
            if self.ranges {
                let covering = memtable.range_deletes().covering_seq(self.key, ranges_upto);
                self.hidden_below = self.hidden_below.max(covering);
            }
            if !for_key {
                continue;
            }
            let record = memtable.get(self.key, self.seq_max);
            trace.memtable_asked(memtable.id, record.is_some());
            if let Some(record) = record {
                return if record.seq < self.hidden_below {
                    Ok(Some(None))
                } else {
                    Found::in_memtable(record).map(Some)
                };
            }
        }
        Ok(None)
    }

    /// Whether `table` is to be asked. Tables come from the newest to the oldest; `false` means that
    /// nothing further down can be visible.
    #[inline]
    fn enter<R: Reader, T: DbTrace>(
        &mut self,
        table: &Table<R>,
        meta: &TableMeta,
        level: usize,
        trace: &mut T,
    ) -> bool {
        if self.hidden_below > meta.largest_seq && level > 0 {
            return false;
        }
        for range in table.range_deletes() {
            if range.seq <= self.seq_max && range.covers(self.key) {
                self.hidden_below = self.hidden_below.max(range.seq);
            }
        }
        trace.table_asked(meta.id, level);
        true
    }

    /// What the version that a table had means; fills it into the hash table if that may have it.
    fn end<S: Storage, R: Runtime, M: Machine>(
        &self,
        core: &Core<S, R, M>,
        found: sstable::Found,
        table: u64,
    ) -> Result<Option<Found>> {
        if found.seq < self.hidden_below {
            return Ok(None);
        }
        let is_alive = found.deadline_ms == 0 || found.deadline_ms > self.fill_alive_ms;
        if found.kind == Kind::Put
            && self.hidden_below == 0
            && self.seq_max >= self.read_seq
            && is_alive
        {
            let record = Record {
                key: self.key,
                seq: found.seq,
                kind: found.kind,
                deadline_ms: found.deadline_ms,
                value: &found.value,
            };
            core.memory.fill(self.hash, &record, self.read_seq);
        }
        Found::new(found.kind, found.deadline_ms, found.value, table)
    }

    /// Asks the tables for a key that no memtable has, without waiting: `None` if a block is not at hand.
    #[inline]
    fn tables_now<S: Storage, R: Runtime, M: Machine>(
        &mut self,
        core: &Core<S, R, M>,
        view: &View<S>,
    ) -> Option<Result<Option<Found>>> {
        if let Err(error) = self.ask_memtables(view, false, &mut ()) {
            return Some(Err(error));
        }
        for (level, meta) in view.levels.holding(self.key) {
            let table = match view.table(meta.id) {
                Ok(table) => table,
                Err(error) => return Some(Err(error)),
            };
            if !self.enter(table, meta, level, &mut ()) {
                break;
            }
            match table.get_now(self.hash, self.key, self.seq_max, &mut ())? {
                Ok(Some(found)) => return Some(self.end(core, found, meta.id)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(None))
    }
}

/// How often a reader looks again at a key of an entry that is just being applied before it makes do with
/// the version before. Most entries take less time than one look.
const LOOKS_AT_UNFINISHED_ENTRY: usize = 100;

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Asks the hash table. Takes about as long as two cache misses; never waits.
    #[inline]
    pub(crate) fn known(
        &self,
        hash: u64,
        key: &[u8],
        seq_max: u64,
        out: &mut Vec<u8>,
    ) -> Result<Known> {
        let start = out.len();
        loop {
            let before = self.unflushed_ranges.before();
            let (seq, kind, deadline_ms) = match self.memory.probe(hash, key, seq_max, out) {
                Probe::Hit {
                    seq,
                    kind,
                    deadline_ms,
                    ..
                } => (seq, kind, deadline_ms),
                Probe::Newer => return Ok(Known::Older),
                Probe::Missing => return Ok(Known::Cold),
            };
            match self.unflushed_ranges.hide(before, key, seq, seq_max) {
                Some(false) if kind == Kind::Put => return Ok(Known::Here { deadline_ms }),
                Some(false) if kind == Kind::PutApart => {
                    let reference = ValueRef::decode_in(&out[start..], IN_MEMTABLE)?;
                    out.truncate(start);
                    return Ok(Known::Apart {
                        deadline_ms,
                        reference,
                    });
                }
                Some(_) => {
                    out.truncate(start);
                    return Ok(Known::Absent);
                }
                None => out.truncate(start),
            }
        }
    }

    /// Asks the hash table for several keys at once, so that their cache misses overlap. Hands each key's
    /// number, value and deadline to `each` where it is there and memory alone can tell, `None` where it
    /// surely is not; says nothing of a key that must be asked for by itself.
    pub(crate) fn known_of_batch(
        &self,
        keys: &[(u64, &[u8])],
        mut each: impl FnMut(usize, Option<(Bytes, u64)>),
    ) {
        let seq_max = self.visible.load(Acquire);
        let before = self.unflushed_ranges.before();
        self.memory.probe_batch(keys, seq_max, |i, probe, value| {
            let Probe::Hit {
                seq,
                kind,
                deadline_ms,
                ..
            } = probe
            else {
                return;
            };
            match self.unflushed_ranges.hide(before, keys[i].1, seq, seq_max) {
                Some(false) if kind == Kind::Put => {
                    each(i, Some((std::mem::take(value).into(), deadline_ms)));
                }
                Some(false) if kind == Kind::PutApart => {}
                Some(_) => each(i, None),
                None => {}
            }
        });
    }

    /// The newest version of `key` that a reader at `seq_max` sees. The reader holds that sequence number,
    /// or there is no newer one, or else what it would see may be gone.
    pub(crate) async fn find<T: DbTrace>(
        &self,
        key: &[u8],
        seq_max: u64,
        trace: &mut T,
    ) -> Result<Option<Found>> {
        let hash = hash_key(key);
        let mut value = Vec::new();
        let known = self.known(hash, key, seq_max, &mut value)?;
        trace.memory_asked(&known);
        match known {
            Known::Older => self.find_below(hash, key, seq_max, true, trace).await,
            Known::Cold => self.find_below(hash, key, seq_max, false, trace).await,
            known => Ok(known.into_found(value)),
        }
    }

    /// The newest visible version of `key`.
    pub(crate) async fn find_latest<T: DbTrace>(
        &self,
        key: &[u8],
        trace: &mut T,
    ) -> Result<Option<Found>> {
        let hash = hash_key(key);
        let mut value = Vec::new();
        for _ in 0..LOOKS_AT_UNFINISHED_ENTRY {
            let known = self.known(hash, key, self.visible.load(Acquire), &mut value)?;
            match known {
                // The entry that wrote it is being applied at this moment.
                Known::Older => std::hint::spin_loop(),
                Known::Cold => {
                    trace.memory_asked(&known);
                    // What is in a table is visible; what is newer than this moment is as good an answer.
                    return self.find_below(hash, key, SEQ_MAX, false, trace).await;
                }
                known => {
                    trace.memory_asked(&known);
                    return Ok(known.into_found(value));
                }
            }
        }
        let held = Brief::hold(self);
        self.find(key, held.seq(), trace).await
    }

    /// Asks memtables (if the hash table said that they know more) and tables.
    async fn find_below<T: DbTrace>(
        &self,
        hash: u64,
        key: &[u8],
        seq_max: u64,
        memtables: bool,
        trace: &mut T,
    ) -> Result<Option<Found>> {
        self.counters.cold_reads.count();
        let mut search = Search::begin(self, hash, key, seq_max);
        let view = self.view();
        if let Some(found) = search.ask_memtables(&view, memtables, trace)? {
            return Ok(found);
        }
        self.find_in_tables(&view, &mut search, trace).await
    }

    /// The version of `key` that the tables have for a reader at `seq_max`, whatever the memtables say. Fills
    /// nothing into the hash table.
    pub(super) async fn find_flushed(
        &self,
        view: &View<S>,
        key: &[u8],
        seq_max: u64,
    ) -> Result<Option<Found>> {
        let mut search = Search {
            read_seq: SEQ_MAX,
            ranges: false,
            ..Search::begin(self, hash_key(key), key, seq_max)
        };
        self.find_in_tables(view, &mut search, &mut ()).await
    }

    /// Has the newest version of a key read into the hash table, as a read of it would, if it is there and has not
    /// expired. False if nothing was read in. `value` is overwritten.
    pub(super) async fn read_ahead(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let hash = hash_key(key);
        value.clear();
        if self.memory.probe(hash, key, SEQ_MAX, value) != Probe::Missing {
            return Ok(false);
        }
        let mut search = Search::begin(self, hash, key, SEQ_MAX);
        search.fill_alive_ms = self.runtime.wall_ms();
        let view = self.view();
        if search.ask_memtables(&view, false, &mut ())?.is_some() {
            return Ok(false);
        }
        self.find_in_tables(&view, &mut search, &mut ()).await?;
        // Which marks it as used, as it was before.
        value.clear();
        let probe = self.memory.probe(hash, key, SEQ_MAX, value);
        Ok(probe != Probe::Missing)
    }

    async fn find_in_tables<T: DbTrace>(
        &self,
        view: &View<S>,
        search: &mut Search<'_>,
        trace: &mut T,
    ) -> Result<Option<Found>> {
        let (hash, key, seq_max) = (search.hash, search.key, search.seq_max);
        for (level, meta) in view.levels.holding(key) {
            let table = view.table(meta.id)?;
            if !search.enter(table, meta, level, trace) {
                break;
            }
            if let Some(found) = table.get(hash, key, seq_max, trace).await? {
                return search.end(self, found, meta.id);
            }
        }
        Ok(None)
    }

    /// The newest version of a key that the hash table does not know, unless that takes waiting for a
    /// block: then `None`, and [`Core::find_latest`] is to be awaited.
    #[inline]
    pub(crate) fn find_cold_now(&self, hash: u64, key: &[u8]) -> Option<Result<Option<Found>>> {
        let mut search = Search::begin(self, hash, key, SEQ_MAX);
        let view = self.view.borrow();
        let found = search.tables_now(self, &view);
        if found.is_some() {
            self.counters.cold_reads.count();
        }
        found
    }

    /// The value and the deadline of `key` as a reader who holds `seq_max` sees it. It may have expired.
    pub(crate) async fn get<T: DbTrace>(
        &self,
        key: &[u8],
        seq_max: u64,
        trace: &mut T,
    ) -> Result<Option<(Bytes, u64)>> {
        loop {
            let Some(found) = self.find(key, seq_max, trace).await? else {
                return Ok(None);
            };
            if let Some(value) = self.value(found).await? {
                return Ok(Some(value));
            }
        }
    }

    /// The newest visible value and the deadline of `key`. It may have expired.
    pub(crate) async fn get_latest<T: DbTrace>(
        &self,
        key: &[u8],
        trace: &mut T,
    ) -> Result<Option<(Bytes, u64)>> {
        loop {
            let Some(found) = self.find_latest(key, trace).await? else {
                return Ok(None);
            };
            if let Some(value) = self.value(found).await? {
                return Ok(Some(value));
            }
        }
    }

    /// The value of what was found; `None` if it has moved since (a flush, a compaction): then its reference
    /// has, too, and finding it again tells where.
    async fn value(&self, found: Found) -> Result<Option<(Bytes, u64)>> {
        let value = match found.at {
            ValueAt::Inline(value) => Some(value),
            ValueAt::Apart(reference) => self.apart(&self.view(), &reference).await?,
        };
        if value.is_none() {
            self.runtime.breathe().await;
        }
        Ok(value.map(|value| (value, found.deadline_ms)))
    }

    /// Fetches a large value; `None` if it is not in this view (any more).
    pub(crate) async fn apart(
        &self,
        view: &Arc<View<S>>,
        reference: &ValueRef,
    ) -> Result<Option<Bytes>> {
        if reference.file == IN_MEMTABLE {
            let (memtable, place) = (
                reference.offset >> 32,
                reference.offset & u64::from(u32::MAX),
            );
            let holder = view.memtables().find(|candidate| candidate.id == memtable);
            return Ok(holder.and_then(|memtable| memtable.large(place)));
        }
        match view.values.get(&reference.file) {
            Some(values) => values.get(reference).await.map(Some),
            None => Ok(None),
        }
    }
}
