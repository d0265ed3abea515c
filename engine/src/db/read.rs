//! The way of a read: hash table, then memtables, then tables; each layer only where the one above has
//! nothing to say.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use bytes::Bytes;

use super::applier::IN_MEMTABLE;
use super::core::Core;
use super::explain::DbTrace;
use super::machine::Machine;
use super::snapshot::Brief;
use super::view::View;
use crate::lsm::values::ValueRef;
use crate::memory::Probe;
use crate::record::{Kind, Record, SEQ_MAX, hash_key};
use crate::{Result, Runtime, Storage};

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
        self.counters.cold_reads.fetch_add(1, Relaxed);
        // Taken before the view: what is evicted from the hash table later is too new to be filled over.
        let read_seq = self.visible.load(Acquire);
        let ranges = self.unflushed_ranges.any();
        let view = self.view();
        // Unlike a table, a memtable may hold a part of an entry that is still being applied.
        let ranges_upto = seq_max.min(read_seq);
        let mut hidden_below = 0;
        for memtable in view.memtables().filter(|_| memtables || ranges) {
            if ranges {
                let covering = memtable.range_deletes().covering_seq(key, ranges_upto);
                hidden_below = hidden_below.max(covering);
            }
            if !memtables {
                continue;
            }
            let record = memtable.get(key, seq_max);
            trace.memtable_asked(memtable.id, record.is_some());
            if let Some(record) = record {
                return if record.seq < hidden_below {
                    Ok(None)
                } else {
                    Found::in_memtable(record)
                };
            }
        }
        self.find_in_tables(&view, hash, key, seq_max, read_seq, hidden_below, trace)
            .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one read, split where the layers change"
    )]
    pub(super) async fn find_in_tables<T: DbTrace>(
        &self,
        view: &View<S>,
        hash: u64,
        key: &[u8],
        seq_max: u64,
        read_seq: u64,
        mut hidden_below: u64,
        trace: &mut T,
    ) -> Result<Option<Found>> {
        for (level, meta) in view.levels.holding(key) {
            // Tables are asked from the newest to the oldest: nothing further down can be visible.
            if hidden_below > meta.largest_seq && level > 0 {
                return Ok(None);
            }
            let table = view.table(meta.id)?;
            for range in table.range_deletes() {
                if range.seq <= seq_max && range.covers(key) {
                    hidden_below = hidden_below.max(range.seq);
                }
            }
            trace.table_asked(meta.id, level);
            let Some(found) = table.get(hash, key, seq_max, trace).await? else {
                continue;
            };
            if found.seq < hidden_below {
                return Ok(None);
            }
            if found.kind == Kind::Put && hidden_below == 0 {
                let record = Record {
                    key,
                    seq: found.seq,
                    kind: found.kind,
                    deadline_ms: found.deadline_ms,
                    value: &found.value,
                };
                if seq_max >= read_seq {
                    self.memory.fill(hash, &record, read_seq);
                }
            }
            return Found::new(found.kind, found.deadline_ms, found.value, meta.id);
        }
        Ok(None)
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
