//! A store in a map, which forgets everything at the end: what the server is tested against.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use trilith::command::{Command, Encoder, Reply, ScanArgs, State, Value, apply, pattern};
use trilith::ring::driver::Consistency;

use super::backend::{Backend, Stats};

/// A store in memory alone.
#[derive(Clone, Debug, Default)]
pub struct Volatile {
    keys: Arc<Mutex<BTreeMap<Bytes, Value>>>,
}

type Keys = BTreeMap<Bytes, Value>;

/// The map at one moment.
struct At<'a> {
    keys: &'a Volatile,
    now_ms: u64,
}

impl Volatile {
    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(keys: &Keys, now_ms: u64) -> impl Iterator<Item = &Bytes> {
        let alive = move |value: &Value| value.deadline_ms == 0 || value.deadline_ms > now_ms;
        keys.iter()
            .filter(move |(_, value)| alive(value))
            .map(|(key, _)| key)
    }

    fn own(&self, command: &Command, now_ms: u64) -> Option<Reply> {
        let keys = self.lock();
        Some(match command {
            Command::DbSize => Reply::Int(Self::alive(&keys, now_ms).count() as i64),
            Command::Keys(glob) => Reply::Array(
                Self::alive(&keys, now_ms)
                    .filter(|key| pattern::matches(glob, key))
                    .cloned()
                    .map(Reply::Bulk)
                    .collect(),
            ),
            Command::Scan(scan) => Self::scan(scan, &keys, now_ms),
            Command::Explain(_) => Reply::error("ERR there is nothing to explain"),
            _ => return None,
        })
    }

    /// The cursor counts keys in order.
    fn scan(scan: &ScanArgs, keys: &Keys, now_ms: u64) -> Reply {
        let skip = usize::try_from(scan.cursor).unwrap_or(usize::MAX);
        let count = usize::try_from(scan.count).unwrap_or(usize::MAX);
        let seen: Vec<_> = Self::alive(keys, now_ms).skip(skip).take(count).collect();
        let next = if seen.len() < count {
            0
        } else {
            scan.cursor.saturating_add(scan.count)
        };
        let matching = seen
            .into_iter()
            .filter(|key| {
                scan.pattern
                    .as_ref()
                    .is_none_or(|glob| pattern::matches(glob, key))
            })
            .filter(|_| {
                scan.of_type
                    .as_ref()
                    .is_none_or(|of_type| **of_type == *b"string")
            });
        Reply::Array(vec![
            Reply::text(next.to_string()),
            Reply::Array(matching.cloned().map(Reply::Bulk).collect()),
        ])
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}

impl State for At<'_> {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn seed(&self) -> u64 {
        0
    }

    async fn get(&mut self, key: &[u8]) -> trilith::Result<Option<Value>> {
        let value = self.keys.lock().get(key).cloned();
        Ok(value.filter(|value| value.deadline_ms == 0 || value.deadline_ms > self.now_ms))
    }

    async fn exists(&mut self, key: &[u8]) -> trilith::Result<Option<u64>> {
        Ok(self.get(key).await?.map(|value| value.deadline_ms))
    }

    async fn put(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> trilith::Result<()> {
        let bytes = Bytes::copy_from_slice(value);
        self.keys
            .lock()
            .insert(Bytes::copy_from_slice(key), Value { bytes, deadline_ms });
        Ok(())
    }

    async fn delete(&mut self, key: &[u8]) -> trilith::Result<()> {
        self.keys.lock().remove(key);
        Ok(())
    }

    async fn clear(&mut self) -> trilith::Result<()> {
        self.keys.lock().clear();
        Ok(())
    }
}

impl Backend for Volatile {
    type Cluster = Infallible;

    fn cluster(&self) -> Option<&Infallible> {
        None
    }

    async fn execute(&self, batch: Vec<Command>, _: Consistency) -> Vec<Reply> {
        let now_ms = now_ms();
        let mut replies = Vec::with_capacity(batch.len());
        for command in &batch {
            let reply = match self.own(command, now_ms) {
                Some(reply) => reply,
                None => match apply(command, &mut At { keys: self, now_ms }).await {
                    Ok(reply) => reply,
                    Err(error) => Reply::from(&error),
                },
            };
            replies.push(reply);
        }
        replies
    }

    fn execute_now(&self, command: &Command, _: Consistency, out: &mut Encoder<'_>) -> bool {
        let Command::Get(key) = command else {
            return false;
        };
        match self.lock().get(key) {
            Some(value) if value.deadline_ms == 0 || value.deadline_ms > now_ms() => {
                out.bulk(&value.bytes)
            }
            _ => out.null(),
        }
        true
    }

    async fn stats(&self) -> Stats {
        let keys = self.lock();
        Stats {
            keys: keys.len() as u64,
            keys_with_deadline: keys.values().filter(|value| value.deadline_ms != 0).count() as u64,
            ..Stats::default()
        }
    }

    async fn close(&self) -> trilith::Result<()> {
        Ok(())
    }
}
