//! Reading applied state. Time is the caller's: the log's, not the clock's.

use std::sync::Arc;

use bytes::Bytes;

use super::{RangeStore, invalid, span_of};
use crate::command::split_deadline;
use crate::command::{Command, Commands, Reply, State, Value, apply};
use crate::command::{KEYS_PREFIX_BYTES, deadlines_of, expire_payload, keys_of, place};
use crate::db::{Brief, Db, Range, Scan};
use crate::ring::ids::{Index, META, RangeId};
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
        let mut state = At::new(self.db(), held.seq(), now_ms, now_ms);
        apply(command, &mut state).await
    }

    /// As [`RangeStore::read`], at the time of the range's log, of a range that has applied `at_least`; `wall_ms` is
    /// what the clock says (rule 11). `None` if it has not: the copy is being replaced.
    ///
    /// # Errors
    /// As [`RangeStore::read`]; `Invalid` if the range is not here.
    pub async fn read_in(
        &self,
        range: RangeId,
        command: &Command,
        at_least: Index,
        wall_ms: u64,
    ) -> Result<Option<Seen>> {
        let core = self.db().core();
        let held = Brief::hold(core);
        // Read second: the state may be older than this time, and not newer.
        let (applied, _) = core.ranges.applied(range)?;
        if applied.index < at_least {
            return Ok(None);
        }
        let (log_ms, later_ms) = (applied.time_ms, wall_ms.max(applied.time_ms));
        let mut state = At::new(self.db(), held.seq(), log_ms, later_ms);
        let reply = apply(command, &mut state).await?;
        let (elapses, hits, misses) = (state.elapses, state.hits, state.misses);
        let mut later = None;
        if elapses || (matches!(command, Command::Ttl { .. }) && later_ms > log_ms) {
            // Where the log stands still, a life that is left grows shorter all the same.
            let mut state = At::new(self.db(), held.seq(), later_ms, later_ms);
            later = Some(apply(command, &mut state).await?);
        }
        Ok(Some(Seen {
            reply,
            later,
            elapses,
            hits,
            misses,
        }))
    }

    /// The value of a key, if memory suffices to tell: appended to `out`, and true; false if the key is not there.
    /// `None` if [`RangeStore::read_in`] has to be asked. To whoever asks it is `now_ms`, by both clocks at least.
    ///
    /// # Errors
    /// Those of storage.
    pub fn get_now(&self, key: &[u8], now_ms: u64, out: &mut Vec<u8>) -> Result<Option<bool>> {
        let core = self.db().core();
        // What may have expired by one of the clocks is not decided here.
        let alive = |deadline_ms| is_alive(deadline_ms, now_ms).then_some(true);
        core.get_now(&place(key), out, alive)
    }

    /// How many keys these ranges hold, those that have expired and are yet to be removed included.
    pub fn keys_in(&self, ranges: &[RangeId]) -> u64 {
        let counts = self.db().core().ranges.counts(ranges);
        counts.keys.try_into().unwrap_or(0)
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
        Ok(self.due(range, now_ms).await?.0)
    }

    /// As [`RangeStore::expired`], and when the next key's time comes.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn due(&self, range: RangeId, now_ms: u64) -> Result<(Option<Bytes>, Option<u64>)> {
        let (start, end) = deadlines_of(arc_of_range(range)?);
        let mut found: Vec<(u64, Bytes)> = Vec::new();
        let mut next_ms = None;
        let mut deadlines = self.scan(Range::between(&start, &end))?;
        while let Some((place, _)) = deadlines.next().await? {
            let Some((deadline_ms, key)) = split_deadline(place) else {
                continue;
            };
            if deadline_ms > now_ms || found.len() == EXPIRE_AT_ONCE {
                next_ms = Some(deadline_ms);
                break;
            }
            found.push((deadline_ms, Bytes::copy_from_slice(key)));
        }
        let keys = found
            .iter()
            .map(|(deadline_ms, key)| (*deadline_ms, &key[..]));
        Ok(((!found.is_empty()).then(|| expire_payload(keys)), next_ms))
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

/// What a read has found.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The answer by the log's time.
    pub reply: Reply,
    /// The answer by the clock, where that is ahead and makes a difference.
    pub later: Option<Reply>,
    /// A key's time has come by the clock and not by the log: whoever wants to be sure waits for the log.
    pub elapses: bool,
    /// Keys that were there.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
}

/// The applied state at one moment, to a reader to whom it is `now_ms`.
struct At<'a, S: Storage, R: Runtime> {
    db: &'a Db<S, R, Commands>,
    seq: u64,
    now_ms: u64,
    /// What it may be by another clock.
    later_ms: u64,
    /// Some key is alive now and not later.
    elapses: bool,
    hits: u64,
    misses: u64,
}

impl<'a, S: Storage, R: Runtime> At<'a, S, R> {
    fn new(db: &'a Db<S, R, Commands>, seq: u64, now_ms: u64, later_ms: u64) -> Self {
        Self {
            db,
            seq,
            now_ms,
            later_ms,
            elapses: false,
            hits: 0,
            misses: 0,
        }
    }

    fn sees(&mut self, deadline_ms: Option<u64>) -> bool {
        let alive = deadline_ms.filter(|&deadline_ms| is_alive(deadline_ms, self.now_ms));
        match alive {
            Some(deadline_ms) => {
                self.hits += 1;
                self.elapses |= !is_alive(deadline_ms, self.later_ms);
            }
            None => self.misses += 1,
        }
        alive.is_some()
    }
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
        let is_seen = self.sees(found.as_ref().map(|&(_, deadline_ms)| deadline_ms));
        let alive = found.filter(|_| is_seen);
        Ok(alive.map(|(bytes, deadline_ms)| Value { bytes, deadline_ms }))
    }

    async fn exists(&mut self, key: &[u8]) -> Result<Option<u64>> {
        let core = Arc::clone(self.db.core());
        let found = core.find(&place(key), self.seq, &mut ()).await?;
        let deadline_ms = found.map(|found| found.deadline_ms);
        Ok(deadline_ms.filter(|_| self.sees(deadline_ms)))
    }
}
