//! The memtable: records that are in the log but in no table yet.
//!
//! Records lie in the arena, where the hash table finds them by key: a write adds no other index. Order is
//! made when somebody asks for it. The addresses of new records collect in a tail; a scan (or the flush)
//! sorts the tail into a run and merges runs of like size, so that a store which is only written to sorts
//! once, in the background, and one which is scanned while it is written pays a few comparisons a write.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::cursor::{Cursor, Direction, Position};
use super::range_deletes::RangeDeletes;
use crate::Result;
use crate::memory::{Addr, Chunks};
use crate::record::{RangeDelete, Record};

/// A run is merged into its elder when the elder is not this many times larger.
const RUN_RATIO: usize = 4;

/// What an entry costs beside its record: its address in the tail and its place in a run.
const ENTRY_BYTES: usize = 24;

/// See the module.
pub(crate) struct Memtable {
    /// Counts up; part of the references to large values.
    pub id: u64,
    chunks: Arc<Chunks>,
    /// Addresses in the order of writing, not sorted yet. Writers hold this lock for a push only.
    tail: Mutex<Vec<Vec<Addr>>>,
    /// What has been sorted, the largest run first. Held while sorting, so only scans wait for scans.
    runs: Mutex<Vec<Arc<[Entry]>>>,
    /// Values too long for the arena; records refer to them by their place here.
    large: RwLock<Vec<Bytes>>,
    range_deletes: RwLock<Arc<RangeDeletes>>,
    bytes: AtomicUsize,
    entries: AtomicU64,
}

/// A sorted address; the first bytes of the key spare most comparisons the way to the record.
#[derive(Clone, Copy)]
struct Entry {
    prefix: u64,
    addr: Addr,
}

const TAIL_BLOCK: usize = 4096;

impl Memtable {
    pub(crate) fn new(id: u64, chunks: Arc<Chunks>) -> Self {
        Self {
            id,
            chunks,
            tail: Mutex::default(),
            runs: Mutex::default(),
            large: RwLock::default(),
            range_deletes: RwLock::default(),
            bytes: AtomicUsize::new(0),
            entries: AtomicU64::new(0),
        }
    }

    /// Adds a record that was written to this memtable's chunks. Called in the order of writing.
    pub(crate) fn push(&self, addr: Addr, record_bytes: usize) {
        let mut tail = self.tail.lock();
        match tail.last_mut() {
            Some(block) if block.len() < TAIL_BLOCK => block.push(addr),
            _ => {
                let mut block = Vec::with_capacity(TAIL_BLOCK);
                block.push(addr);
                tail.push(block);
            }
        }
        drop(tail);
        self.bytes.fetch_add(record_bytes + ENTRY_BYTES, Relaxed);
        self.entries.fetch_add(1, Relaxed);
    }

    /// Keeps a large value and returns its place.
    pub(crate) fn push_large(&self, value: Bytes) -> u64 {
        let mut large = self.large.write();
        self.bytes.fetch_add(value.len(), Relaxed);
        large.push(value);
        large.len() as u64 - 1
    }

    /// The large value at `place`.
    pub(crate) fn large(&self, place: u64) -> Option<Bytes> {
        self.large.read().get(usize::try_from(place).ok()?).cloned()
    }

    /// Adds a range delete.
    pub(crate) fn push_range_delete(&self, range: RangeDelete) {
        let mut ranges = self.range_deletes.write();
        self.bytes.fetch_add(
            range.start.len() + range.end.as_ref().map_or(0, |end| end.len()) + 64,
            Relaxed,
        );
        Arc::make_mut(&mut *ranges).add(&range.start, range.end.as_deref(), range.seq);
        self.entries.fetch_add(1, Relaxed);
    }

    /// The range deletes so far.
    pub(crate) fn range_deletes(&self) -> Arc<RangeDeletes> {
        Arc::clone(&self.range_deletes.read())
    }

    /// Memory that the memtable takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Records and range deletes.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// The newest version of `key` that a reader at `seq_max` sees, range deletes left aside.
    pub(crate) fn get(&self, key: &[u8], seq_max: u64) -> Option<Record<'_>> {
        let prefix = prefix_of(key);
        let sought = (prefix, key, Reverse(seq_max));
        self.sorted()
            .iter()
            .filter_map(|run| {
                let at = run.partition_point(|entry| self.compare(entry, sought) == Ordering::Less);
                let record = self.chunks.record(run.get(at)?.addr);
                (record.key == key).then_some(record)
            })
            .max_by_key(|record| record.seq)
    }

    /// Cursors over everything written before the call; merged, they give the memtable in order.
    pub(crate) fn cursors(self: &Arc<Self>, direction: Direction) -> Vec<RunCursor> {
        self.sorted()
            .into_iter()
            .map(|run| RunCursor {
                memtable: Arc::clone(self),
                run,
                direction,
                at: 0,
            })
            .collect()
    }

    /// Sorts the whole memtable into one run. For the flush, when nothing is written any more.
    pub(crate) fn sort(self: &Arc<Self>) -> RunCursor {
        let mut runs = self.runs.lock();
        self.take_tail(&mut runs);
        while runs.len() > 1 {
            self.merge_last_two(&mut runs);
        }
        RunCursor {
            memtable: Arc::clone(self),
            run: runs.first().cloned().unwrap_or_else(|| Arc::from([])),
            direction: Direction::Forward,
            at: 0,
        }
    }

    /// Shows every record whose value lies apart, in no particular order.
    pub(crate) fn for_each_large(&self, mut visit: impl FnMut(Addr, Record<'_>)) {
        for run in self.sorted() {
            for entry in run.iter() {
                let record = self.chunks.record(entry.addr);
                if record.kind == crate::record::Kind::PutApart {
                    visit(entry.addr, record);
                }
            }
        }
    }

    /// Whether any value lies apart.
    pub(crate) fn has_large(&self) -> bool {
        !self.large.read().is_empty()
    }

    fn sorted(&self) -> Vec<Arc<[Entry]>> {
        let mut runs = self.runs.lock();
        self.take_tail(&mut runs);
        while let [.., elder, last] = &runs[..]
            && elder.len() < RUN_RATIO * last.len()
        {
            self.merge_last_two(&mut runs);
        }
        runs.clone()
    }

    /// Moves the tail into a run of its own.
    fn take_tail(&self, runs: &mut Vec<Arc<[Entry]>>) {
        let tail = std::mem::take(&mut *self.tail.lock());
        if tail.is_empty() {
            return;
        }
        let mut run: Vec<Entry> = tail
            .iter()
            .flatten()
            .map(|&addr| Entry {
                prefix: prefix_of(self.chunks.record(addr).key),
                addr,
            })
            .collect();
        run.sort_unstable_by(|a, b| self.compare_entries(a, b));
        runs.push(run.into());
    }

    fn merge_last_two(&self, runs: &mut Vec<Arc<[Entry]>>) {
        let (Some(right), Some(left)) = (runs.pop(), runs.pop()) else {
            return;
        };
        let mut merged = Vec::with_capacity(left.len() + right.len());
        let (mut left, mut right) = (&left[..], &right[..]);
        while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
            if self.compare_entries(a, b) == Ordering::Greater {
                merged.push(*b);
                right = right_rest;
            } else {
                merged.push(*a);
                left = left_rest;
            }
        }
        merged.extend_from_slice(left);
        merged.extend_from_slice(right);
        runs.push(merged.into());
    }

    fn compare_entries(&self, a: &Entry, b: &Entry) -> Ordering {
        a.prefix.cmp(&b.prefix).then_with(|| {
            let (a, b) = (self.chunks.record(a.addr), self.chunks.record(b.addr));
            a.position().cmp(&b.position())
        })
    }

    fn compare(&self, entry: &Entry, (prefix, key, seq): (u64, &[u8], Reverse<u64>)) -> Ordering {
        entry.prefix.cmp(&prefix).then_with(|| {
            let record = self.chunks.record(entry.addr);
            record.position().cmp(&(key, seq))
        })
    }
}

/// The first eight bytes of a key, so that prefixes order as keys do (ties are decided by the keys).
fn prefix_of(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

/// Walks one sorted run. Never lacks bytes.
pub(crate) struct RunCursor {
    memtable: Arc<Memtable>,
    run: Arc<[Entry]>,
    direction: Direction,
    /// Index of the current entry; past the last one is the end, whatever the direction.
    at: usize,
}

impl RunCursor {
    fn position(&self) -> Position {
        if self.at < self.run.len() {
            Position::Record
        } else {
            Position::End
        }
    }
}

impl Cursor for RunCursor {
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position> {
        // The first entry at or after the key: all its versions, the newest first, come from there.
        let bound = key.map(|key| {
            let sought = (prefix_of(key), key, Reverse(u64::MAX));
            self.run
                .partition_point(|entry| self.memtable.compare(entry, sought) == Ordering::Less)
        });
        self.at = match self.direction {
            Direction::Forward => bound.unwrap_or(0),
            Direction::Backward => bound.unwrap_or(self.run.len()).wrapping_sub(1),
        };
        Ok(self.position())
    }

    fn step(&mut self) -> Result<Position> {
        self.at = match self.direction {
            Direction::Forward => self.at + 1,
            Direction::Backward => self.at.wrapping_sub(1),
        };
        Ok(self.position())
    }

    async fn refill(&mut self) -> Result<Position> {
        Ok(self.position())
    }

    fn record(&self) -> Record<'_> {
        self.memtable.chunks.record(self.run[self.at].addr)
    }
}
