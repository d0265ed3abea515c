//! A range's keys at one index, read from the first to the last while entries go on being applied: what a backup is
//! made of.

use bytes::Bytes;

use super::{RangeStore, span_of};
use crate::command::{Commands, KEYS_PREFIX_BYTES, keys_of};
use crate::db::{Applied, Pin, Range, Scan, Standing};
use crate::ring::ids::{LogId, RangeId};
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// A place in a range's log, and when it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The entry.
    pub at: LogId,
    /// Its time in milliseconds, by the log's clock.
    pub time_ms: u64,
}

/// A key as it is backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// When it expires, in milliseconds since 1970; 0 is never.
    pub deadline_ms: u64,
}

/// A range's keys at one index, pinned until this is dropped: until then compaction keeps what is seen here.
pub struct RangeBackup<S: Storage, R: Runtime> {
    store: RangeStore<S, R>,
    range: RangeId,
    pin: Pin<S, R, Commands>,
    standing: Standing,
    /// Where the next part begins; `None` behind the last.
    next: Option<Bytes>,
    end: Bytes,
}

impl<S: Storage, R: Runtime> RangeStore<S, R> {
    /// Pins a range's keys as they are.
    ///
    /// # Errors
    /// `Invalid` if the range is not here, or has no keys.
    pub async fn backup(&self, range: RangeId) -> Result<RangeBackup<S, R>> {
        span_of(range)?;
        let no_keys = || Error::new(ErrorKind::Invalid, "backing a range up", "it has no keys");
        let (start, end) = keys_of(u16::try_from(range).map_err(|_| no_keys())?);
        let core = self.db().core();
        // While this is held nothing is applied, so state and index belong together.
        let applying = core.begin_apply().await?;
        let standing = core.ranges.standing(range)?;
        let pin = Pin::unexpired(core);
        drop(applying);
        Ok(RangeBackup {
            store: self.clone(),
            range,
            pin,
            standing,
            next: Some(Bytes::copy_from_slice(&start)),
            end: Bytes::copy_from_slice(&end),
        })
    }
}

impl<S: Storage, R: Runtime> RangeBackup<S, R> {
    /// The last entry that is in it.
    pub fn position(&self) -> Position {
        position(self.standing.applied)
    }

    /// The last entry that changed the keys, or one behind it, where that is not known. Two backups of a range for which
    /// it is equal hold the same keys, but for those that have expired meanwhile.
    pub fn changed(&self) -> Position {
        position(self.standing.changed)
    }

    /// How many keys there are, and how many of them expire: those included whose time has come and that are yet to be
    /// removed.
    pub fn keys(&self) -> (u64, u64) {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let counts = self.standing.counts;
        (count(counts.keys), count(counts.with_deadline))
    }

    /// The next keys in order: about `bytes_most`, and at least one; none behind the last. Those that had expired by the
    /// log's time are left out.
    ///
    /// # Errors
    /// `Invalid` once the copy has gone or was replaced; those of storage, damage included.
    pub async fn next(&mut self, bytes_most: usize) -> Result<Vec<BackedUp>> {
        let mut part = Vec::new();
        let Some(start) = self.next.take() else {
            return Ok(part);
        };
        let bounds = Range {
            start: Some(start.clone()),
            end: Some(self.end.clone()),
            reverse: false,
        };
        // Unless it is read to its end.
        self.next = Some(start);
        let now_ms = self.standing.applied.time_ms;
        let mut scan = Scan::new(self.store.db().core(), self.pin.clone(), bounds)?;
        let (mut bytes, mut next) = (0, None);
        while let Some((place, value)) = scan.next().await? {
            if !part.is_empty() && bytes + place.len() + value.len() > bytes_most {
                next = Some(Bytes::copy_from_slice(place));
                break;
            }
            let key = Bytes::copy_from_slice(&place[KEYS_PREFIX_BYTES..]);
            let value = Bytes::copy_from_slice(value);
            let deadline_ms = scan.deadline_ms();
            if deadline_ms == 0 || deadline_ms > now_ms {
                bytes += key.len() + value.len();
                part.push(BackedUp {
                    key,
                    value,
                    deadline_ms,
                });
            }
        }
        let generation = self
            .store
            .db()
            .core()
            .ranges
            .standing(self.range)?
            .generation;
        if generation != self.standing.generation {
            let detail = "the copy was replaced meanwhile";
            return Err(Error::new(ErrorKind::Invalid, "backing a range up", detail));
        }
        self.next = next;
        Ok(part)
    }
}

fn position(applied: Applied) -> Position {
    Position {
        at: LogId {
            term: applied.term,
            index: applied.index,
        },
        time_ms: applied.time_ms,
    }
}
