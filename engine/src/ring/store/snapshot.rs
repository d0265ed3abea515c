//! Snapshots of a range: read in parts at the master, laid aside and installed at the follower.
//!
//! ```text
//! part      record (each), in ascending order of place
//! record    place bytes, without the arc · deadline varint · value bytes
//! ```
//!
//! Parts that are laid aside lie in an object that no manifest names: what a crash leaves of them is removed
//! when the store is opened.

use bytes::Bytes;
use parking_lot::Mutex;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64_with_seed};

use super::{RangeStore, encode, invalid, span_of};
use crate::codec::{Decoder, put_bytes, put_varint};
use crate::command::{Commands, PlaceKind, place_kind};
use crate::db::{Applied, AsyncRecords, Counts, Ingested, Pin, Range, Replacement, Scan};
use crate::ring::effect::HardState;
use crate::ring::ids::{LogId, RangeId};
use crate::ring::message::SnapshotHead;
use crate::storage::{Durability, Reader as _, Writer as _};
use crate::{Error, Object, Result, Runtime, Storage};

/// Bytes of the arc in front of a place.
const ARC_BYTES: usize = 2;

/// A range's applied state, pinned.
pub struct RangeSnapshot<S: Storage, R: Runtime> {
    range: RangeId,
    pin: Pin<S, R, Commands>,
    at: LogId,
    time_ms: u64,
    /// Where each part begins that has been reached.
    starts: Mutex<Vec<Bytes>>,
}

impl<S: Storage, R: Runtime> RangeSnapshot<S, R> {
    /// The last entry that is in it.
    pub fn at(&self) -> LogId {
        self.at
    }

    /// That entry's time.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

impl<S: Storage, R: Runtime> RangeStore<S, R> {
    /// Pins a range's applied state, to be read from while entries go on being applied.
    ///
    /// # Errors
    /// `Invalid` if the range is not here.
    pub async fn snapshot_open(&self, range: RangeId) -> Result<RangeSnapshot<S, R>> {
        let span = span_of(range)?;
        let core = self.db().core();
        // While this is held nothing is applied, so state and index belong together.
        let applying = core.begin_apply().await?;
        let (applied, _) = core.ranges.applied(range)?;
        let pin = Pin::unexpired(core);
        drop(applying);
        Ok(RangeSnapshot {
            range,
            pin,
            at: LogId {
                term: applied.term,
                index: applied.index,
            },
            time_ms: applied.time_ms,
            starts: Mutex::new(vec![span.start]),
        })
    }

    /// Reads a part of about `bytes_most`, and tells whether it is the last. A part may be read again, with
    /// the same `bytes_most`; one that has not been reached yet may not be skipped to.
    ///
    /// # Errors
    /// `Invalid` for a part that is not next; those of storage.
    pub async fn snapshot_read(
        &self,
        snapshot: &RangeSnapshot<S, R>,
        number: u64,
        bytes_most: usize,
    ) -> Result<(Bytes, bool)> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let start = snapshot.starts.lock().get(number).cloned();
        let start = start.ok_or_else(|| invalid("this part of the snapshot is not next"))?;
        let bounds = Range {
            start: Some(start),
            end: span_of(snapshot.range)?.end,
            reverse: false,
        };
        let mut scan = Scan::new(self.db().core(), snapshot.pin.clone(), bounds)?;
        let mut part = Vec::new();
        let mut next = None;
        while let Some((place, value)) = scan.next().await? {
            if !part.is_empty() && part.len() + place.len() + value.len() > bytes_most {
                next = Some(Bytes::copy_from_slice(place));
                break;
            }
            let (rest, value) = (place[ARC_BYTES..].to_vec(), Bytes::copy_from_slice(value));
            put_bytes(&mut part, &rest);
            put_varint(&mut part, scan.deadline_ms());
            put_bytes(&mut part, &value);
        }
        let last = next.is_none();
        if let Some(next) = next {
            let mut starts = snapshot.starts.lock();
            if starts.len() == number + 1 {
                starts.push(next);
            }
        }
        Ok((part.into(), last))
    }

    /// A sum of the range's applied state, equal where the states are: every key that is alive by the log, with its
    /// value and deadline. Nothing of the range may be applied meanwhile.
    ///
    /// # Errors
    /// `Invalid` if the range is not here; those of storage, damage included.
    pub async fn digest(&self, range: RangeId) -> Result<u64> {
        let snapshot = self.snapshot_open(range).await?;
        let span = span_of(range)?;
        let bounds = Range {
            start: Some(span.start),
            end: span.end,
            reverse: false,
        };
        let mut scan = Scan::new(self.db().core(), snapshot.pin.clone(), bounds)?;
        let mut sum = Xxh3Default::new();
        while let Some((place, value)) = scan.next().await? {
            // A deadline's place follows from its key; when it is removed is each copy's affair.
            if matches!(place_kind(place), Some(PlaceKind::Deadline)) {
                continue;
            }
            let (key_len, value_len) = (place.len() as u64, value.len() as u64);
            let key_sum = xxh3_64_with_seed(place, key_len);
            let value_sum = xxh3_64_with_seed(value, value_len);
            let deadline_ms = scan.deadline_ms();
            if deadline_ms == 0 || deadline_ms > snapshot.time_ms {
                for part in [key_sum, value_sum, deadline_ms] {
                    sum.update(&part.to_le_bytes());
                }
            }
        }
        Ok(sum.digest())
    }

    /// Lays a part of a master's snapshot aside. Part 0 begins anew; a part that is there already is passed
    /// over.
    ///
    /// # Errors
    /// `Invalid` for a part that does not follow; those of storage.
    pub async fn chunk_store(
        &self,
        range: RangeId,
        id: u64,
        number: u64,
        bytes: Bytes,
    ) -> Result<()> {
        self.with_room(|| self.try_to_store_chunk(range, id, number, &bytes))
            .await
    }

    async fn try_to_store_chunk(
        &self,
        range: RangeId,
        id: u64,
        number: u64,
        bytes: &[u8],
    ) -> Result<()> {
        span_of(range)?;
        // Taken out while it is written to: one part at a time is stored.
        let there = self.inner.aside.lock().remove(&range);
        let mut aside = match there {
            Some(aside) if aside.id == id && number > 0 => aside,
            there => {
                if number > 0 {
                    self.put_back(range, there);
                    return Err(invalid("this part of a snapshot does not follow"));
                }
                if let Some(old) = there {
                    self.db().core().discard(vec![old.object]).await?;
                }
                self.begin_aside(id).await?
            }
        };
        let stored = aside.store(&self.inner.storage, number, bytes).await;
        self.put_back(range, Some(aside));
        stored
    }

    fn put_back(&self, range: RangeId, aside: Option<Aside<S>>) {
        if let Some(aside) = aside {
            self.inner.aside.lock().insert(range, aside);
        }
    }

    async fn begin_aside(&self, id: u64) -> Result<Aside<S>> {
        let object = Object::Table(self.db().core().new_id());
        let writer = self.inner.storage.create(object.clone()).await?;
        Ok(Aside {
            id,
            object,
            writer,
            is_broken: false,
            parts: Vec::new(),
        })
    }

    /// Drops what has been laid aside for a range.
    pub(super) async fn discard_aside(&self, range: RangeId) -> Result<()> {
        let old = self.inner.aside.lock().remove(&range);
        match old {
            Some(old) => self.db().core().discard(vec![old.object]).await,
            None => Ok(()),
        }
    }

    /// Replaces a range's state by the parts laid aside, its hard state by `state`, and its log by nothing: all
    /// in one commit. Durable on return. Nothing of the range may be applied meanwhile.
    ///
    /// # Errors
    /// `Invalid` unless the parts of this very snapshot were laid aside; those of storage: then nothing
    /// has changed.
    pub async fn snapshot_install(
        &self,
        range: RangeId,
        head: &SnapshotHead,
        state: HardState,
    ) -> Result<()> {
        self.with_room(|| self.try_to_install(range, head, state))
            .await
    }

    async fn try_to_install(
        &self,
        range: RangeId,
        head: &SnapshotHead,
        state: HardState,
    ) -> Result<()> {
        let span = span_of(range)?;
        let core = self.db().core();
        let found = core.ranges.found().into_iter();
        let mut live = found.filter(|found| found.range == range && !found.destroyed);
        let found = live
            .next()
            .ok_or_else(|| invalid(format!("range {range} is not here")))?;
        let aside = self.inner.aside.lock().remove(&range);
        let aside = match aside {
            Some(aside) if aside.id == head.id => aside,
            there => {
                self.put_back(range, there);
                return Err(invalid("the parts of this snapshot are not here"));
            }
        };
        let mut records = match aside.records(&self.inner.storage, range).await {
            Ok(records) => records,
            Err(error) => {
                self.put_back(range, Some(aside));
                return Err(error);
            }
        };
        let new = Replacement {
            range,
            node: found.node,
            incarnation: found.incarnation,
            destroyed: false,
            hard: encode::hard(&state),
            configured: (
                head.configured_at,
                encode::configuration(&head.configuration)?,
            ),
            applied: Applied {
                term: head.at.term,
                index: head.at.index,
                time_ms: head.time_ms,
            },
            counts: Counts::default(),
        };
        let replaced = core.replace_range(new, &span, &mut records).await;
        if let Err(error) = replaced {
            // It is tried again where there may be room later.
            self.put_back(range, Some(aside));
            return Err(error);
        }
        if let Err(error) = core.discard(vec![aside.object]).await {
            // It is removed when the store is opened next.
            tracing::warn!(%error, "could not remove the parts of a snapshot");
        }
        Ok(())
    }
}

/// Parts of a snapshot, laid aside.
pub(super) struct Aside<S: Storage> {
    id: u64,
    object: Object,
    writer: S::Writer,
    /// The writer has failed and can do no more.
    is_broken: bool,
    /// Where each part ends, and its checksum.
    parts: Vec<(u64, u32)>,
}

impl<S: Storage> Aside<S> {
    async fn store(&mut self, storage: &S, number: u64, bytes: &[u8]) -> Result<()> {
        let next = self.parts.len() as u64;
        if number != next {
            let follows = number < next;
            return if follows {
                Ok(())
            } else {
                Err(invalid("this part of a snapshot does not follow"))
            };
        }
        let before = self.parts.last().map_or(0, |&(end, _)| end);
        if self.is_broken {
            self.writer = storage.resume(self.object.clone(), before).await?;
        }
        // Unless it ends well, here or because nobody waits for it any more.
        self.is_broken = true;
        let end = if bytes.is_empty() {
            before
        } else {
            self.writer.append(bytes)?
        };
        self.writer.settle(end, Durability::Written).await?;
        self.is_broken = false;
        self.parts.push((end, crc32fast::hash(bytes)));
        Ok(())
    }

    async fn records(&self, storage: &S, range: RangeId) -> Result<Parts<S>> {
        Ok(Parts {
            reader: storage.open(self.object.clone()).await?,
            object: self.object.clone(),
            arc: u16::try_from(range).unwrap_or(u16::MAX).to_be_bytes(),
            parts: self.parts.clone(),
            next: 0,
            part: Bytes::new(),
            counts: Counts::default(),
        })
    }
}

/// Reads back what was laid aside.
struct Parts<S: Storage> {
    reader: S::Reader,
    object: Object,
    arc: [u8; ARC_BYTES],
    parts: Vec<(u64, u32)>,
    next: usize,
    /// The rest of the present part.
    part: Bytes,
    counts: Counts,
}

impl<S: Storage> Parts<S> {
    fn damaged(&self, detail: &str) -> Error {
        Error::corrupt("installing a snapshot", detail).on(self.object.clone())
    }

    /// Makes the next part the present one; false behind the last.
    async fn load(&mut self) -> Result<bool> {
        let Some(&(end, sum)) = self.parts.get(self.next) else {
            return Ok(false);
        };
        let start = match self.next {
            0 => 0,
            next => self.parts[next - 1].0,
        };
        self.next += 1;
        let len = u32::try_from(end - start).map_err(|_| self.damaged("a part is too long"))?;
        self.part = match len {
            0 => Bytes::new(),
            len => self.reader.read_at(start, len).await?,
        };
        if crc32fast::hash(&self.part) != sum {
            return Err(self
                .damaged("a part does not read back as it was written")
                .at(start));
        }
        Ok(true)
    }
}

impl<S: Storage> AsyncRecords for Parts<S> {
    async fn next(&mut self) -> Result<Option<Ingested>> {
        while self.part.is_empty() {
            if !self.load().await? {
                return Ok(None);
            }
        }
        let mut input = Decoder::new(&self.part);
        let (Some(rest), Some(deadline_ms), Some(value)) =
            (input.bytes(), input.varint(), input.bytes())
        else {
            return Err(self.damaged("a part is malformed"));
        };
        let key = [&self.arc, rest].concat();
        match place_kind(&key) {
            Some(PlaceKind::Key) => self.counts.keys += 1,
            Some(PlaceKind::Deadline) => self.counts.with_deadline += 1,
            None => {}
        }
        let value = self.part.slice_ref(value);
        self.part = self.part.slice_ref(input.rest());
        Ok(Some(Ingested {
            key,
            value,
            deadline_ms,
        }))
    }

    fn counts(&self) -> Counts {
        self.counts
    }
}
