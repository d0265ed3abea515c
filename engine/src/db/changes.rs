//! What a machine's entry reads and writes while it is applied.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hashbrown::HashMap;

use super::batch::Batch;
use super::core::Core;
use super::machine::{Counts, Machine};
use super::read::Known;
use crate::record::hash_key;
use crate::{Result, Runtime, Storage};

/// From so many writes on they are looked up in a map.
const MANY: usize = 32;

/// The part of the keys that a replicated range's entry keeps to, and what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub start: Bytes,
    /// The first key behind it.
    pub end: Option<Bytes>,
    pub counts: Counts,
}

/// The state as of the entry before, with the entry's own writes over it.
pub struct Changes<'a, S: Storage, R: Runtime, M: Machine> {
    core: &'a Core<S, R, M>,
    now_ms: u64,
    seq: u64,
    batch: Batch,
    /// Every write, in order. Mostly few, and then a list is faster than a map.
    written: Vec<(Bytes, Option<(Bytes, u64)>)>,
    /// Where the last write to each key is in `written`, once they are many.
    places: HashMap<Bytes, usize, foldhash::fast::FixedState>,
    /// Everything in a range is gone, as far as this entry is concerned.
    cleared: Vec<(Bytes, Option<Bytes>)>,
    summary: M::Summary,
    scope: Option<Scope>,
    /// The key that was last taken to be absent.
    assumed: Option<Bytes>,
    /// The operations that rest on such keys, by their place in the batch.
    resting: Vec<u64>,
}

impl<'a, S: Storage, R: Runtime, M: Machine> Changes<'a, S, R, M> {
    pub(crate) fn new(core: &'a Core<S, R, M>, now_ms: u64, seq: u64) -> Self {
        Self {
            core,
            now_ms,
            seq,
            batch: Batch::new(),
            written: Vec::new(),
            places: HashMap::default(),
            cleared: Vec::new(),
            summary: M::Summary::default(),
            scope: None,
            assumed: None,
            resting: Vec::new(),
        }
    }

    /// The same, for an entry that keeps to a part of the keys.
    pub(crate) fn within(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// The part of the keys that the entry keeps to; `None`: all.
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The entry's time, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The value and the deadline (0 for never) of `key`, expired or not; `None` if it is not there.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<(Bytes, u64)>> {
        if let Some(written) = self.written(key) {
            return Ok(written);
        }
        self.core.counters.apply_reads.fetch_add(1, Relaxed);
        self.core.get(key, self.seq, &mut ()).await
    }

    /// The deadline (0 for never) of `key`, expired or not, without fetching a large value; `None` if it
    /// is not there.
    pub async fn deadline(&mut self, key: &[u8]) -> Result<Option<u64>> {
        if let Some(written) = self.written(key) {
            return Ok(written.map(|(_, deadline_ms)| deadline_ms));
        }
        self.core.counters.apply_reads.fetch_add(1, Relaxed);
        let found = self.core.find(key, self.seq, &mut ()).await?;
        Ok(found.map(|found| found.deadline_ms))
    }

    /// As [`Self::deadline`], for a machine that is about to write or delete `key` and needs the answer for its
    /// counts only. While the log is replayed a key that memory does not know is taken to be absent;
    /// [`Machine::correct`] hears of those that were not.
    pub async fn deadline_to_count(&mut self, key: &[u8]) -> Result<Option<u64>> {
        if let Some(written) = self.written(key) {
            return Ok(written.map(|(_, deadline_ms)| deadline_ms));
        }
        let core = self.core;
        if core.replaying.load(Relaxed) && core.assumed.is_open() && !core.unflushed_ranges.any() {
            let known = core.known(hash_key(key), key, self.seq, &mut Vec::new())?;
            match known {
                Known::Here { deadline_ms } | Known::Apart { deadline_ms, .. } => {
                    return Ok(Some(deadline_ms));
                }
                Known::Absent => return Ok(None),
                Known::Cold => {
                    self.assumed = Some(Bytes::copy_from_slice(key));
                    return Ok(None);
                }
                Known::Older => {}
            }
        }
        self.deadline(key).await
    }

    /// Whether [`Self::deadline_to_count`] has just taken `key` to be absent without knowing.
    pub fn is_assumed(&self, key: &[u8]) -> bool {
        self.assumed.as_ref().is_some_and(|assumed| assumed == key)
    }

    /// Has everything that was assumed before this entry corrected in the machine.
    pub async fn correct_all(&mut self) -> Result<()> {
        self.core.resolve_while_applying().await
    }

    /// What this entry has already done to `key`, if anything.
    fn written(&self, key: &[u8]) -> Option<Option<(Bytes, u64)>> {
        let last = if self.places.is_empty() {
            self.written.iter().rev().find(|(other, _)| other == key)
        } else {
            self.places.get(key).map(|&place| &self.written[place])
        };
        if let Some((_, value)) = last {
            return Some(value.clone());
        }
        let cleared = |(start, end): &(Bytes, Option<Bytes>)| {
            key >= &start[..] && end.as_ref().is_none_or(|end| key < &end[..])
        };
        self.cleared.iter().any(cleared).then_some(None)
    }

    /// Sets `key`.
    pub fn put(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) {
        self.note_assumed(key);
        self.batch.put_until(key, value, deadline_ms);
        let written = (Bytes::copy_from_slice(value), deadline_ms);
        self.note(key, Some(written));
    }

    fn note_assumed(&mut self, key: &[u8]) {
        if self.assumed.take_if(|assumed| assumed == key).is_some() {
            self.resting.push(self.batch.len());
        }
    }

    fn note(&mut self, key: &[u8], value: Option<(Bytes, u64)>) {
        self.written.push((Bytes::copy_from_slice(key), value));
        if self.written.len() < MANY {
            return;
        }
        let known = if self.places.is_empty() {
            0
        } else {
            self.written.len() - 1
        };
        for (place, (key, _)) in self.written.iter().enumerate().skip(known) {
            self.places.insert(key.clone(), place);
        }
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: &[u8]) {
        self.note_assumed(key);
        self.batch.delete(key);
        self.note(key, None);
    }

    /// Removes every key from `start` on and before `end`.
    pub fn delete_range(&mut self, start: &[u8], end: Option<&[u8]>) {
        self.batch.delete_range(start, end);
        let covers = |key: &Bytes| key >= start && end.is_none_or(|end| &key[..] < end);
        self.written.retain(|(key, _)| !covers(key));
        // The places have moved; the next write notes them anew.
        self.places.clear();
        self.cleared.push((
            Bytes::copy_from_slice(start),
            end.map(Bytes::copy_from_slice),
        ));
    }

    /// Whether the entry removes all keys of a range.
    pub(crate) fn clears(&self) -> bool {
        !self.cleared.is_empty()
    }

    /// What [`Machine::applied`] hears when the entry has taken effect.
    pub fn summary(&mut self) -> &mut M::Summary {
        &mut self.summary
    }

    /// The writes, what the machine hears, and which of the writes rest on assumptions.
    pub(crate) fn into_parts(self) -> (Batch, M::Summary, Vec<u64>) {
        (self.batch, self.summary, self.resting)
    }
}
