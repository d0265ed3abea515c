//! Commands as entries of a store's log: what is logged, and how it is applied.
//!
//! ```text
//! payload   2 · command                       a command, as it was parsed
//!           3 · (deadline varint · key)*      keys to be removed, if that still is their deadline
//! ```

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use super::keyspace::{PREFIX_BYTES, PlaceKind, deadline_place, place, place_kind};
use super::{Command, Reply, State, Value, apply};
use crate::codec::{Decoder, put_bytes, put_varint};
use crate::db::{Changes, Counts, Entry, Machine};
use crate::slot::ARCS;
use crate::{Error, Result, Runtime, Storage};

const COMMAND: u8 = 2;
const EXPIRE: u8 = 3;

/// Interprets commands, and counts the keys: exactly, as every write knows what it replaces.
#[derive(Debug, Default)]
pub struct Commands {
    keys: AtomicI64,
    with_deadline: AtomicI64,
    expired: AtomicU64,
    /// No key expires before this.
    next_deadline_ms: AtomicU64,
    /// Entries belong to replicated ranges.
    replicated: bool,
}

/// What an entry does to the counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    keys: i64,
    with_deadline: i64,
    expired: u64,
    earliest_deadline_ms: Option<u64>,
}

impl Commands {
    /// Interprets the commands of replicated ranges, each of which keeps to its arc.
    pub(crate) fn replicated() -> Self {
        Self {
            replicated: true,
            ..Self::default()
        }
    }

    /// How many keys there are, those that have expired and are yet to be removed included.
    pub fn keys(&self) -> u64 {
        self.keys.load(Relaxed).try_into().unwrap_or(0)
    }

    /// How many of them expire.
    pub fn keys_with_deadline(&self) -> u64 {
        self.with_deadline.load(Relaxed).try_into().unwrap_or(0)
    }

    /// How many have been removed because their time had come.
    pub fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    /// Whether any key may have expired by `now_ms`.
    pub(crate) fn may_have_expired(&self, now_ms: u64) -> bool {
        self.with_deadline.load(Relaxed) > 0 && self.next_deadline_ms.load(Relaxed) <= now_ms
    }

    /// Called before the deadlines are looked through: writes from now on lower the bound again.
    pub(crate) fn begin_sweep(&self) {
        self.next_deadline_ms.store(u64::MAX, Relaxed);
    }

    /// Takes note of a deadline that is still to come.
    pub(crate) fn note_deadline(&self, deadline_ms: u64) {
        self.next_deadline_ms.fetch_min(deadline_ms, Relaxed);
    }
}

/// The payload of the log entry that runs a command.
pub fn command_payload(command: &Command) -> Bytes {
    let mut payload = vec![COMMAND];
    command.encode(&mut payload);
    payload.into()
}

/// The payload that removes expired keys.
pub(crate) fn expire_payload<'a>(expired: impl Iterator<Item = (u64, &'a [u8])>) -> Bytes {
    let mut payload = vec![EXPIRE];
    for (deadline_ms, key) in expired {
        put_varint(&mut payload, deadline_ms);
        put_bytes(&mut payload, key);
    }
    payload.into()
}

impl Machine for Commands {
    type Reply = Reply;
    type Summary = Tally;

    async fn apply<S: Storage, R: Runtime>(
        &self,
        entry: &Entry,
        changes: &mut Changes<'_, S, R, Self>,
    ) -> Result<Reply> {
        let mut state = Keyspace {
            commands: self,
            seed: entry.seed,
            changes,
        };
        match entry.payload.split_first() {
            Some((&COMMAND, command)) => apply(&Command::decode(command)?, &mut state).await,
            Some((&EXPIRE, list)) => state.expire(list).await,
            _ => Err(Error::corrupt(
                "applying an entry",
                format!("entry {} is neither a command nor a batch", entry.index),
            )),
        }
    }

    fn applied(&self, tally: Tally) {
        self.keys.fetch_add(tally.keys, Relaxed);
        self.with_deadline.fetch_add(tally.with_deadline, Relaxed);
        self.expired.fetch_add(tally.expired, Relaxed);
        if let Some(deadline_ms) = tally.earliest_deadline_ms {
            self.note_deadline(deadline_ms);
        }
    }

    fn save(&self) -> Vec<u8> {
        let count = |count: &AtomicI64| count.load(Relaxed) as u64;
        encode_counts(count(&self.keys), count(&self.with_deadline))
    }

    fn restore(&self, saved: &[u8]) -> Result<()> {
        if saved.is_empty() {
            return Ok(());
        }
        let mut saved = Decoder::new(saved);
        let (Some(keys), Some(with_deadline)) = (saved.u64(), saved.u64()) else {
            return Err(Error::corrupt(
                "opening the store",
                "the key counts are damaged",
            ));
        };
        self.keys.store(keys as i64, Relaxed);
        self.with_deadline.store(with_deadline as i64, Relaxed);
        Ok(())
    }

    fn is_replicated(&self) -> bool {
        self.replicated
    }

    fn counted(tally: &Tally) -> Counts {
        Counts {
            keys: tally.keys,
            with_deadline: tally.with_deadline,
        }
    }

    fn recount(&self, change: Counts) {
        self.keys.fetch_add(change.keys, Relaxed);
        self.with_deadline.fetch_add(change.with_deadline, Relaxed);
        // What came may expire at any time.
        self.note_deadline(0);
    }

    fn is_archived(&self, range: u32) -> bool {
        range < u32::from(ARCS)
    }

    fn key_of<'a>(&self, place: &'a [u8]) -> Option<&'a [u8]> {
        match place_kind(place) {
            Some(PlaceKind::Key) => place.get(PREFIX_BYTES..),
            Some(PlaceKind::Deadline) | None => None,
        }
    }

    fn counts(&self) -> bool {
        true
    }

    fn correct(&self, tally: &mut Tally, deadline_ms: u64) {
        tally.keys -= 1;
        tally.with_deadline -= i64::from(deadline_ms != 0);
    }

    fn amend(&self, saved: &mut Vec<u8>, tally: &Tally) {
        let mut counts = Decoder::new(saved);
        if let (Some(keys), Some(with_deadline)) = (counts.u64(), counts.u64()) {
            *saved = encode_counts(
                keys.wrapping_add_signed(tally.keys),
                with_deadline.wrapping_add_signed(tally.with_deadline),
            );
        }
    }

    fn tidy(&self, keys: &[(Bytes, u64)]) -> Option<Bytes> {
        let listed = keys
            .iter()
            .map(|(place, deadline_ms)| (*deadline_ms, &place[PREFIX_BYTES..]));
        Some(expire_payload(listed))
    }

    fn expires_in_compaction(&self) -> bool {
        // A key leaves through an entry, or the counts would be wrong.
        false
    }
}

fn encode_counts(keys: u64, with_deadline: u64) -> Vec<u8> {
    [keys.to_le_bytes(), with_deadline.to_le_bytes()].concat()
}

/// The state as a command sees it, over the store's keys and deadlines.
struct Keyspace<'a, 'b, S: Storage, R: Runtime> {
    commands: &'a Commands,
    seed: u64,
    changes: &'a mut Changes<'b, S, R, Commands>,
}

impl<S: Storage, R: Runtime> Keyspace<'_, '_, S, R> {
    fn is_alive(&self, deadline_ms: u64) -> bool {
        deadline_ms == 0 || deadline_ms > self.changes.now_ms()
    }

    /// Takes a key's deadline out of the order and the counts.
    fn forget_deadline(&mut self, key: &[u8], deadline_ms: u64) {
        if deadline_ms != 0 {
            self.changes.delete(&deadline_place(key, deadline_ms));
            self.changes.summary().with_deadline -= 1;
        }
    }

    async fn remove(&mut self, key: &[u8]) -> Result<bool> {
        let place = place(key);
        let Some(deadline_ms) = self.changes.deadline_to_count(&place).await? else {
            if self.changes.is_assumed(&place) {
                self.changes.delete(&place);
            }
            return Ok(false);
        };
        self.remove_known(key, &place, deadline_ms);
        Ok(true)
    }

    fn remove_known(&mut self, key: &[u8], place: &[u8], deadline_ms: u64) {
        self.forget_deadline(key, deadline_ms);
        self.changes.delete(place);
        self.changes.summary().keys -= 1;
    }

    /// Removes the keys listed, but for those that have another deadline by now: of these, only what is left
    /// of the deadline listed.
    async fn expire(&mut self, list: &[u8]) -> Result<Reply> {
        let damaged = || Error::corrupt("applying an entry", "a list of expired keys is damaged");
        let mut list = Decoder::new(list);
        let mut removed = 0;
        while !list.is_empty() {
            let deadline_ms = list.varint().ok_or_else(damaged)?;
            let key = list.bytes().ok_or_else(damaged)?;
            let place = place(key);
            let present = self.changes.deadline(&place).await?;
            if present != Some(deadline_ms) {
                self.changes.delete(&deadline_place(key, deadline_ms));
            } else if !self.is_alive(deadline_ms) {
                self.remove_known(key, &place, deadline_ms);
                removed += 1;
            }
        }
        self.changes.summary().expired += removed;
        Ok(Reply::Int(removed as i64))
    }
}

impl<S: Storage, R: Runtime> State for Keyspace<'_, '_, S, R> {
    fn now_ms(&self) -> u64 {
        self.changes.now_ms()
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Value>> {
        let found = self.changes.get(&place(key)).await?;
        let alive = found.filter(|&(_, deadline_ms)| self.is_alive(deadline_ms));
        Ok(alive.map(|(bytes, deadline_ms)| Value { bytes, deadline_ms }))
    }

    async fn exists(&mut self, key: &[u8]) -> Result<Option<u64>> {
        let deadline_ms = self.changes.deadline(&place(key)).await?;
        Ok(deadline_ms.filter(|&deadline_ms| self.is_alive(deadline_ms)))
    }

    async fn put(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> Result<()> {
        let place = place(key);
        match self.changes.deadline_to_count(&place).await? {
            None => self.changes.summary().keys += 1,
            Some(before_ms) if before_ms == deadline_ms => {
                self.changes.put(&place, value, deadline_ms);
                return Ok(());
            }
            Some(before_ms) => self.forget_deadline(key, before_ms),
        }
        if deadline_ms != 0 {
            self.changes.put(&deadline_place(key, deadline_ms), b"", 0);
            let tally = self.changes.summary();
            tally.with_deadline += 1;
            let earliest_ms = tally.earliest_deadline_ms.unwrap_or(u64::MAX);
            tally.earliest_deadline_ms = Some(earliest_ms.min(deadline_ms));
        }
        self.changes.put(&place, value, deadline_ms);
        Ok(())
    }

    async fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.remove(key).await.map(drop)
    }

    async fn clear(&mut self) -> Result<()> {
        // What is removed has to be known exactly, as counts that are still to be corrected would be twice.
        self.changes.correct_all().await?;
        let there = match self.changes.scope().cloned() {
            Some(scope) => {
                self.changes
                    .delete_range(&scope.start, scope.end.as_deref());
                scope.counts
            }
            None => {
                self.changes.delete_range(b"", None);
                Counts {
                    keys: self.commands.keys.load(Relaxed),
                    with_deadline: self.commands.with_deadline.load(Relaxed),
                }
            }
        };
        let tally = self.changes.summary();
        (tally.keys, tally.with_deadline) = (-there.keys, -there.with_deadline);
        Ok(())
    }
}
