//! Reading applied state. Time is the caller's: the log's, not the clock's.

use std::sync::Arc;

use bytes::Bytes;

use super::{RangeStore, invalid, span_of};
use crate::command::split_deadline;
use crate::command::{Command, Commands, Reply, State, Value, apply};
use crate::command::{KEYS_PREFIX_BYTES, deadlines_of, expire_payload, keys_of, place};
use crate::db::{Brief, Db, Range, Scan};
use crate::ring::ids::{META, RangeId};
use crate::{Result, Runtime, Storage};

/// The most keys that one entry removes because their time has come.
const EXPIRE_AT_ONCE: usize = 512;

impl<S: Storage, R: Runtime> RangeStore<S, R> {
    /// What a command that only reads finds in the applied state, all of its keys at one moment.
    ///
    /// # Errors
    /// Those of storage; `Invalid` for a command that writes.
    pub async fn read(&self, command: &Command, now_ms: u64) -> Result<Reply> {
        if let Command::DbSize = command {
            return Ok(Reply::Int(self.dbsize() as i64));
        }
        let held = Brief::hold(self.db().core());
        let mut state = At {
            db: self.db(),
            seq: held.seq(),
            now_ms,
        };
        apply(command, &mut state).await
    }

    /// How many keys there are in all ranges, those that have expired and are yet to be removed included.
    pub fn dbsize(&self) -> u64 {
        self.db().machine().keys()
    }

    /// Live keys of a range in order, at most `most` of them, behind `behind`.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn keys(
        &self,
        range: RangeId,
        behind: Option<&[u8]>,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<Bytes>> {
        let pairs = self.pairs(range, behind, most, now_ms).await?;
        Ok(pairs.into_iter().map(|(key, _)| key).collect())
    }

    /// As [`RangeStore::keys`], with the values; all as they were at one moment.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn pairs(
        &self,
        range: RangeId,
        behind: Option<&[u8]>,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let (start, end) = keys_of(arc_of_range(range)?);
        let mut bounds = Range::between(&start, &end);
        if let Some(key) = behind {
            bounds.start = Some([&start, key, &[0]].concat().into());
        }
        let mut found = Vec::new();
        let mut keys = self.scan(bounds)?;
        while found.len() < most
            && let Some((place, value)) = keys.next().await?
        {
            let key = Bytes::copy_from_slice(&place[KEYS_PREFIX_BYTES..]);
            let value = Bytes::copy_from_slice(value);
            if is_alive(keys.deadline_ms(), now_ms) {
                found.push((key, value));
            }
        }
        Ok(found)
    }

    /// The command that removes keys of a range whose time has come, if there are any. Its master proposes
    /// it.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn expired(&self, range: RangeId, now_ms: u64) -> Result<Option<Bytes>> {
        let (start, end) = deadlines_of(arc_of_range(range)?);
        let mut found: Vec<(u64, Bytes)> = Vec::new();
        let mut deadlines = self.scan(Range::between(&start, &end))?;
        while found.len() < EXPIRE_AT_ONCE
            && let Some((place, _)) = deadlines.next().await?
        {
            match split_deadline(place) {
                Some((deadline_ms, key)) if deadline_ms <= now_ms => {
                    found.push((deadline_ms, Bytes::copy_from_slice(key)));
                }
                _ => break,
            }
        }
        let keys = found
            .iter()
            .map(|(deadline_ms, key)| (*deadline_ms, &key[..]));
        Ok((!found.is_empty()).then(|| expire_payload(keys)))
    }

    /// Walks everything, what has expired included.
    pub(super) fn scan(&self, range: Range) -> Result<Scan<S, R, Commands>> {
        let core = self.db().core();
        Scan::new(core, crate::db::Pin::unexpired(core), range)
    }
}

fn arc_of_range(range: RangeId) -> Result<u16> {
    span_of(range)?;
    match u16::try_from(range) {
        Ok(arc) if range != META => Ok(arc),
        _ => Err(invalid("this range has no keys")),
    }
}

fn is_alive(deadline_ms: u64, now_ms: u64) -> bool {
    deadline_ms == 0 || deadline_ms > now_ms
}

/// The applied state at one moment, to a reader to whom it is `now_ms`.
struct At<'a, S: Storage, R: Runtime> {
    db: &'a Db<S, R, Commands>,
    seq: u64,
    now_ms: u64,
}

impl<S: Storage, R: Runtime> State for At<'_, S, R> {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn seed(&self) -> u64 {
        0
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Value>> {
        let found = self.db.core().get(&place(key), self.seq, &mut ()).await?;
        let alive = found.filter(|&(_, deadline_ms)| is_alive(deadline_ms, self.now_ms));
        Ok(alive.map(|(bytes, deadline_ms)| Value { bytes, deadline_ms }))
    }

    async fn exists(&mut self, key: &[u8]) -> Result<Option<u64>> {
        let core = Arc::clone(self.db.core());
        let found = core.find(&place(key), self.seq, &mut ()).await?;
        let deadline = found.map(|found| found.deadline_ms);
        Ok(deadline.filter(|&deadline_ms| is_alive(deadline_ms, self.now_ms)))
    }
}
