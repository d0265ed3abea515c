//! The way of a read: hash table, then memtables, then tables; each layer only where the one above has
//! nothing to say.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::Arc;

use bytes::Bytes;

use super::applier::IN_MEMTABLE;
use super::core::Core;
use super::explain::DbTrace;
use super::machine::Machine;
use super::view::View;
use crate::lsm::values::ValueRef;
use crate::memory::Probe;
use crate::record::{Kind, Record, hash_key};
use crate::{Result, Runtime, Storage};

/// The version of a key that a reader sees. It may have expired.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its sequence number.
    pub seq: u64,
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
    fn new(seq: u64, kind: Kind, deadline_ms: u64, value: Bytes) -> Result<Option<Self>> {
        let at = match kind {
            Kind::Delete => return Ok(None),
            Kind::Put => ValueAt::Inline(value),
            Kind::PutApart => ValueAt::Apart(ValueRef::decode(&value)?),
        };
        Ok(Some(Self { seq, deadline_ms, at }))
    }

    fn of(record: Record<'_>) -> Result<Option<Self>> {
        Self::new(record.seq, record.kind, record.deadline_ms, Bytes::copy_from_slice(record.value))
    }

}

/// What memory alone can say of a key.
pub(crate) enum Known {
    /// It is there; the value was appended to the caller's buffer.
    Here { seq: u64, deadline_ms: u64 },
    /// It is there, and its value lies apart.
    Apart { seq: u64, deadline_ms: u64, reference: ValueRef },
    /// It is not there.
    Absent,
    /// The version that this reader sees is not the newest: memtables must be asked.
    Older,
    /// Only the tables can tell.
    Cold,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Asks the hash table. Takes about as long as two cache misses; never waits.
    #[inline]
    pub(crate) fn known(&self, hash: u64, key: &[u8], seq_max: u64, out: &mut Vec<u8>) -> Result<Known> {
        let before = out.len();
        Ok(match self.memory.probe(hash, key, seq_max, out) {
            Probe::Hit(hit) if self.unflushed_ranges.hide(key, hit.seq, seq_max) => {
                out.truncate(before);
                Known::Absent
            }
            Probe::Hit(hit) => match hit.kind {
                Kind::Put => Known::Here { seq: hit.seq, deadline_ms: hit.deadline_ms },
                Kind::Delete => Known::Absent,
                Kind::PutApart => {
                    let reference = ValueRef::decode(&out[before..])?;
                    out.truncate(before);
                    Known::Apart { seq: hit.seq, deadline_ms: hit.deadline_ms, reference }
                }
            },
            Probe::Newer => Known::Older,
            Probe::Missing => Known::Cold,
        })
    }

    /// The newest version of `key` that a reader at `seq_max` sees.
    pub(crate) async fn find<T: DbTrace>(&self, key: &[u8], seq_max: u64, trace: &mut T) -> Result<Option<Found>> {
        let hash = hash_key(key);
        let mut value = Vec::new();
        let known = self.known(hash, key, seq_max, &mut value)?;
        trace.memory_asked(&known);
        match known {
            Known::Here { seq, deadline_ms } => {
                Ok(Some(Found { seq, deadline_ms, at: ValueAt::Inline(value.into()) }))
            }
            Known::Apart { seq, deadline_ms, reference } => {
                Ok(Some(Found { seq, deadline_ms, at: ValueAt::Apart(reference) }))
            }
            Known::Absent => Ok(None),
            Known::Older => self.find_below(hash, key, seq_max, true, trace).await,
            Known::Cold => self.find_below(hash, key, seq_max, false, trace).await,
        }
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
        let view = self.view();
        let mut hidden_below = 0;
        for memtable in view.memtables() {
            hidden_below = hidden_below.max(memtable.range_deletes().covering_seq(key, seq_max));
            if !memtables {
                continue;
            }
            let record = memtable.get(key, seq_max);
            trace.memtable_asked(memtable.id, record.is_some());
            if let Some(record) = record {
                return if record.seq < hidden_below { Ok(None) } else { Found::of(record) };
            }
        }
        self.find_in_tables(&view, hash, key, seq_max, read_seq, hidden_below, trace).await
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one read, split where the layers change")]
    async fn find_in_tables<T: DbTrace>(
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
            return Found::new(found.seq, found.kind, found.deadline_ms, found.value);
        }
        Ok(None)
    }

    /// The value and the deadline of `key` as a reader at `seq_max` sees it. It may have expired.
    pub(crate) async fn get<T: DbTrace>(&self, key: &[u8], seq_max: u64, trace: &mut T) -> Result<Option<(Bytes, u64)>> {
        loop {
            let Some(found) = self.find(key, seq_max, trace).await? else {
                return Ok(None);
            };
            let value = match found.at {
                ValueAt::Inline(value) => Some(value),
                ValueAt::Apart(reference) => self.apart(&self.view(), &reference).await?,
            };
            if let Some(value) = value {
                return Ok(Some((value, found.deadline_ms)));
            }
            // The value has moved (a flush, a compaction) since it was found: so has its reference.
            self.runtime.breathe().await;
        }
    }

    /// Fetches a large value; `None` if it is not in this view (any more).
    pub(crate) async fn apart(&self, view: &Arc<View<S>>, reference: &ValueRef) -> Result<Option<Bytes>> {
        if reference.file == IN_MEMTABLE {
            let (memtable, place) = (reference.offset >> 32, reference.offset & u64::from(u32::MAX));
            let holder = view.memtables().find(|candidate| candidate.id == memtable);
            return Ok(holder.and_then(|memtable| memtable.large(place)));
        }
        match view.values.get(&reference.file) {
            Some(values) => values.get(reference).await.map(Some),
            None => Ok(None),
        }
    }
}
