//! A store that runs commands: what a server, a page or a test talks to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::cursors::Cursors;
use super::keyspace::{
    DEADLINE_PREFIX_BYTES, PREFIX_BYTES, arcs, deadlines_of, keys_of, place, split_deadline,
};
use super::machine::{Commands, command_payload, expire_payload};
use super::{Command, Encoder, Reply, ScanArgs, State, Value, apply, pattern};
use crate::db::{Db, NEEDS_NO_LOOK_BYTES, Needs, Options, Range, Scan, Stats, Submitted};
use crate::slot::{ARCS, arc_of, position_of, slot_of};
use crate::{Result, Runtime, Storage, Work};

/// How often to look for keys whose time has come.
const EXPIRE_EVERY: Duration = Duration::from_millis(100);
/// The most keys that one entry removes.
const EXPIRE_AT_ONCE: usize = 512;

/// The most keys that one SCAN looks at, whatever COUNT says.
const SCAN_COUNT_MOST: usize = 100_000;

/// Numbers of a store of commands.
#[derive(Clone, Debug, Default)]
pub struct StoreStats {
    /// How many keys there are; for a while after opening, how many at most.
    pub keys: u64,
    /// How many of them expire.
    pub keys_with_deadline: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that found no key.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// The store underneath.
    pub db: Stats,
}

/// See the module. Cloning shares it.
pub struct Store<S: Storage, R: Runtime> {
    inner: Arc<Inner<S, R>>,
}

impl<S: Storage, R: Runtime> Clone for Store<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<S: Storage, R: Runtime> {
    db: Db<S, R, Commands>,
    cursors: Mutex<Cursors>,
    hits: AtomicU64,
    misses: AtomicU64,
    closed: AtomicBool,
}

impl<S: Storage, R: Runtime> Store<S, R> {
    /// Opens the store that is in `storage`, or makes one there.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub async fn open(storage: S, runtime: R, options: Options) -> Result<Self> {
        let db = Db::open_with(storage, runtime.clone(), Commands::default(), options).await?;
        let inner = Arc::new(Inner {
            db,
            cursors: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        runtime.spawn(
            Work::Upkeep,
            expire_forever(Arc::downgrade(&inner), runtime.clone()),
        );
        Ok(Self { inner })
    }

    /// The store underneath: the same keys, each with its arc in front.
    pub fn db(&self) -> &Db<S, R, Commands> {
        &self.inner.db
    }

    /// Runs commands in order and answers each. A read sees the writes before it in the same batch; writes
    /// that follow each other share one settle. What fails is answered with an error.
    pub async fn execute(&self, batch: Vec<Command>) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(batch.len());
        let mut pending = Vec::new();
        for command in &batch {
            if command.is_write() {
                match self.submit(command).await {
                    Ok(submitted) => pending.push(submitted),
                    Err(error) => {
                        finish(&mut pending, &mut replies).await;
                        replies.push(Reply::from(&error));
                    }
                }
            } else {
                finish(&mut pending, &mut replies).await;
                let read = self.read(command).await;
                replies.push(read.unwrap_or_else(|error| Reply::from(&error)));
            }
        }
        finish(&mut pending, &mut replies).await;
        replies
    }

    /// Answers a read at once if memory suffices. False, and nothing written, if it does not.
    pub fn execute_now(&self, command: &Command, out: &mut Encoder<'_>) -> bool {
        let Command::Get(key) = command else {
            return false;
        };
        let mut value = Vec::new();
        let Ok(Some(found)) = self.inner.db.get_now(&place(key), &mut value) else {
            return false;
        };
        if found {
            out.bulk(&value);
        } else {
            out.null();
        }
        self.count(found);
        true
    }

    /// Numbers about the store.
    pub fn stats(&self) -> StoreStats {
        let commands = self.inner.db.machine();
        StoreStats {
            keys: commands.keys(),
            keys_with_deadline: commands.keys_with_deadline(),
            hits: self.inner.hits.load(Relaxed),
            misses: self.inner.misses.load(Relaxed),
            expired: commands.expired(),
            db: self.inner.db.stats(),
        }
    }

    /// Ends the store in good order.
    ///
    /// # Errors
    /// As [`Db::close`].
    pub async fn close(&self) -> Result<()> {
        self.inner.closed.store(true, Relaxed);
        self.inner.db.close().await
    }

    async fn submit(&self, command: &Command) -> Result<Submitted<S, R, Commands>> {
        let payload = command_payload(command);
        let db = &self.inner.db;
        check_needs(db, command, &payload)?;
        warm(db, command).await?;
        db.admit(payload.len()).await?;
        db.submit(payload, db.runtime().seed())
    }

    async fn read(&self, command: &Command) -> Result<Reply> {
        match command {
            Command::DbSize => {
                self.inner.db.await_counts().await?;
                Ok(Reply::Int(self.inner.db.machine().keys() as i64))
            }
            Command::Scan(scan) => self.scan(scan).await,
            Command::Keys(glob) => self.keys(glob).await,
            Command::Explain(command) => self.explain(command).await,
            _ => apply(command, &mut Latest { store: self }).await,
        }
    }

    fn count(&self, hit: bool) {
        let counter = if hit {
            &self.inner.hits
        } else {
            &self.inner.misses
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Some keys, and a cursor behind them.
    async fn scan(&self, scan: &ScanArgs) -> Result<Reply> {
        let (mut arc, mut behind) = match scan.cursor {
            0 => (0, None),
            cursor => self.inner.cursors.lock().recall(cursor),
        };
        let wanted = usize::try_from(scan.count)
            .unwrap_or(usize::MAX)
            .min(SCAN_COUNT_MOST);
        let mut found = Vec::new();
        let mut looked_at = 0;
        let mut next = 0;
        let of_strings = scan
            .of_type
            .as_ref()
            .is_none_or(|of_type| **of_type == *b"string");
        while arc < ARCS {
            let mut keys = self.keys_behind(arc, behind.take().as_deref())?;
            while let Some((place, _)) = keys.next().await? {
                let key = &place[PREFIX_BYTES..];
                looked_at += 1;
                if of_strings
                    && scan
                        .pattern
                        .as_ref()
                        .is_none_or(|glob| pattern::matches(glob, key))
                {
                    found.push(Reply::Bulk(Bytes::copy_from_slice(key)));
                }
                if looked_at >= wanted {
                    let key = Bytes::copy_from_slice(key);
                    next = self.inner.cursors.lock().remember(arc, Some(key));
                    break;
                }
            }
            if next != 0 {
                break;
            }
            arc += 1;
        }
        Ok(Reply::Array(vec![
            Reply::text(next.to_string()),
            Reply::Array(found),
        ]))
    }

    async fn keys(&self, glob: &[u8]) -> Result<Reply> {
        let mut found = Vec::new();
        for arc in arcs() {
            let mut keys = self.keys_behind(arc, None)?;
            while let Some((place, _)) = keys.next().await? {
                let key = &place[PREFIX_BYTES..];
                if pattern::matches(glob, key) {
                    found.push(Reply::Bulk(Bytes::copy_from_slice(key)));
                }
            }
        }
        Ok(Reply::Array(found))
    }

    fn keys_behind(&self, arc: u16, key: Option<&[u8]>) -> Result<Scan<S, R, Commands>> {
        let (start, end) = keys_of(arc);
        let mut range = Range::between(&start, &end);
        if let Some(key) = key {
            let behind = [&start, key, &[0]].concat();
            range.start = Some(behind.into());
        }
        self.inner.db.scan(range)
    }

    /// The path that a command's keys take.
    async fn explain(&self, command: &Command) -> Result<Reply> {
        let mut lines = Vec::new();
        for key in command.keys() {
            let slot = slot_of(key);
            lines.push(format!(
                "key {}: slot {slot}, ring position {}, arc {}",
                String::from_utf8_lossy(key),
                position_of(slot),
                arc_of(slot)
            ));
            if command.is_write() {
                lines.push(
                    "written to the log, settled, then applied to memtable and hash table".into(),
                );
            }
            let explanation = self.inner.db.explain(&place(key)).await?;
            lines.extend(explanation.to_string().lines().map(Into::into));
        }
        Ok(Reply::Array(lines.into_iter().map(Reply::text).collect()))
    }
}

/// Refuses what would not fit into memory when it is applied.
pub(crate) fn check_needs<S: Storage, R: Runtime>(
    db: &Db<S, R, Commands>,
    command: &Command,
    payload: &[u8],
) -> Result<()> {
    if payload.len() < NEEDS_NO_LOOK_BYTES {
        return Ok(());
    }
    let mut needs = Needs::default();
    let mut values = match command {
        Command::MSet(pairs) => Some(pairs.iter().skip(1).step_by(2)),
        _ => None,
    };
    for key in command.keys() {
        let inline = values
            .as_mut()
            .and_then(Iterator::next)
            .map_or(db.large_value_bytes(), |value| {
                value.len().min(db.large_value_bytes())
            });
        let place = DEADLINE_PREFIX_BYTES + key.len();
        // The record itself; where there is a deadline, the old one's tombstone and the new one.
        match command {
            Command::Del(_) => needs.add(place),
            _ => needs.add(place + inline),
        }
        needs.add(place);
    }
    db.check_needs(payload.len(), &needs)
}

/// Brings what apply will read into memory, so that it does not hold everybody up.
pub(crate) async fn warm<S: Storage, R: Runtime>(
    db: &Db<S, R, Commands>,
    command: &Command,
) -> Result<()> {
    if !db.outgrows_cache() {
        return Ok(());
    }
    for key in command.keys() {
        db.deadline(&place(key)).await?;
    }
    Ok(())
}

/// The newest state, for commands that only read.
struct Latest<'a, S: Storage, R: Runtime> {
    store: &'a Store<S, R>,
}

impl<S: Storage, R: Runtime> State for Latest<'_, S, R> {
    fn now_ms(&self) -> u64 {
        self.store.inner.db.runtime().wall_ms()
    }

    fn seed(&self) -> u64 {
        0
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Value>> {
        let found = self.store.inner.db.get_with_deadline(&place(key)).await?;
        self.store.count(found.is_some());
        Ok(found.map(|(bytes, deadline_ms)| Value { bytes, deadline_ms }))
    }

    async fn exists(&mut self, key: &[u8]) -> Result<Option<u64>> {
        self.store.inner.db.deadline(&place(key)).await
    }
}

async fn finish<S: Storage, R: Runtime>(
    pending: &mut Vec<Submitted<S, R, Commands>>,
    replies: &mut Vec<Reply>,
) {
    // The last one settles, and applies, all that came before it.
    let Some(last) = pending.pop() else { return };
    let last = last.reply().await;
    for submitted in pending.drain(..) {
        replies.push(
            submitted
                .reply()
                .await
                .unwrap_or_else(|error| Reply::from(&error)),
        );
    }
    replies.push(last.unwrap_or_else(|error| Reply::from(&error)));
}

/// Removes keys whose time has come, for as long as the store is open.
async fn expire_forever<S: Storage, R: Runtime>(store: Weak<Inner<S, R>>, runtime: R) {
    loop {
        runtime.sleep(EXPIRE_EVERY).await;
        let Some(inner) = store.upgrade() else { return };
        let store = Store { inner };
        if store.inner.closed.load(Relaxed) {
            return;
        }
        if let Err(error) = store.expire().await {
            tracing::warn!(%error, "could not remove expired keys");
        }
    }
}

impl<S: Storage, R: Runtime> Store<S, R> {
    async fn expire(&self) -> Result<()> {
        let (db, now_ms) = (&self.inner.db, self.inner.db.runtime().wall_ms());
        let commands = db.machine();
        if !commands.may_have_expired(now_ms) {
            return Ok(());
        }
        commands.begin_sweep();
        for arc in arcs() {
            let mut found = Ok(EXPIRE_AT_ONCE);
            while let Ok(EXPIRE_AT_ONCE) = found {
                found = self.expire_in(arc, now_ms).await;
            }
            if found.is_err() {
                // What was not reached is due all the same.
                commands.note_deadline(0);
            }
            found?;
        }
        Ok(())
    }

    /// Removes some expired keys of an arc; tells how many it found.
    async fn expire_in(&self, arc: u16, now_ms: u64) -> Result<usize> {
        let db = &self.inner.db;
        let (start, end) = deadlines_of(arc);
        let mut expired: Vec<(u64, Bytes)> = Vec::new();
        let mut deadlines = db.scan(Range::between(&start, &end))?;
        while let Some((place, _)) = deadlines.next().await? {
            let Some((deadline_ms, key)) = split_deadline(place) else {
                continue;
            };
            if deadline_ms > now_ms || expired.len() == EXPIRE_AT_ONCE {
                db.machine().note_deadline(deadline_ms);
                break;
            }
            expired.push((deadline_ms, Bytes::copy_from_slice(key)));
        }
        drop(deadlines);
        if !expired.is_empty() {
            let payload = expire_payload(
                expired
                    .iter()
                    .map(|(deadline_ms, key)| (*deadline_ms, &key[..])),
            );
            db.admit(payload.len()).await?;
            if db.submit(payload, 0)?.reply().await? == Reply::Int(0) {
                // By the log's clock their time has not come: later, rather than again and again.
                db.machine().note_deadline(now_ms);
                return Ok(0);
            }
        }
        Ok(expired.len())
    }
}
