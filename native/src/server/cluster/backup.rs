//! RING BACKUP: a range at one index, read part by part over the connection that has asked for it.
//!
//! What is being read stays pinned in the store, so it must not be forgotten: it ends with its connection, and when
//! nothing of it was asked for during a minute. All of a node's together are read no faster than the map lets copies
//! be made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use trilith::command::Reply;
use trilith::ring::RangeId;
use trilith::ring::store::{Position, RangeBackup};
use trilith::{Error, ErrorKind, Result};

use super::operate::{range, refused};
use super::{Cluster, Stance};
use crate::{FileStorage, NativeRuntime};

/// Ranges that are read on a node at a time, at most.
const OPEN_MOST: usize = 16;
/// How long one waits to be asked for more.
const IDLE: Duration = Duration::from_secs(60);
/// How long one waits for the next part, however large the last one was: who has asked must not give up.
const WAIT_MOST: Duration = Duration::from_secs(10);
/// A part's keys and values, about.
const PART_BYTES: usize = 256 << 10;

/// The backups that are read on a node. Cloning shares it.
#[derive(Clone)]
pub struct Backups {
    open: Arc<Semaphore>,
    /// When the next part may be read.
    next: Arc<Mutex<Instant>>,
    idle: Duration,
}

impl Default for Backups {
    fn default() -> Self {
        Self {
            open: Arc::new(Semaphore::new(OPEN_MOST)),
            next: Arc::new(Mutex::new(Instant::now())),
            idle: IDLE,
        }
    }
}

impl Backups {
    /// Leave to read one more.
    ///
    /// # Errors
    /// There are too many.
    pub fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.open).try_acquire_owned();
        permit.map_err(|_| {
            let detail = format!("{OPEN_MOST} are being read here, which is the most");
            Error::new(ErrorKind::Failed, "backing a range up", detail)
        })
    }

    /// One that is read from now on.
    pub fn open(
        &self,
        permit: OwnedSemaphorePermit,
        range: RangeId,
        backup: RangeBackup<FileStorage, NativeRuntime>,
    ) -> OpenBackup {
        OpenBackup {
            range,
            backup,
            next: Arc::clone(&self.next),
            idle: self.idle,
            until: Instant::now() + self.idle,
            _permit: permit,
        }
    }
}

/// A range that a connection reads.
pub struct OpenBackup {
    range: RangeId,
    backup: RangeBackup<FileStorage, NativeRuntime>,
    next: Arc<Mutex<Instant>>,
    idle: Duration,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for OpenBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBackup")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// What OPEN answers.
#[derive(Serialize)]
struct Head {
    range: RangeId,
    term: u64,
    index: u64,
    time_ms: u64,
    changed: Changed,
    keys: u64,
    keys_with_deadline: u64,
}

/// The last entry that changed the keys.
#[derive(Serialize)]
struct Changed {
    term: u64,
    index: u64,
    time_ms: u64,
}

impl OpenBackup {
    /// Ready when nobody goes on with it.
    pub async fn lapsed(&self) {
        sleep_until(self.until).await;
    }

    fn head(&self) -> Reply {
        let Position { at, time_ms } = self.backup.position();
        let changed = self.backup.changed();
        let (keys, keys_with_deadline) = self.backup.keys();
        let head = Head {
            range: self.range,
            term: at.term,
            index: at.index,
            time_ms,
            changed: Changed {
                term: changed.at.term,
                index: changed.at.index,
                time_ms: changed.time_ms,
            },
            keys,
            keys_with_deadline,
        };
        // Numbers under names: nothing in it can fail.
        Reply::text(serde_json::to_string(&head).unwrap_or_default())
    }

    /// The next keys, with their values and deadlines; an empty list behind the last.
    async fn part(&mut self, bytes_per_second: u64) -> Result<(Reply, bool)> {
        let may_begin = *self.next.lock();
        sleep_until(may_begin).await;
        let part = self.backup.next(PART_BYTES).await?;
        let bytes: usize = part
            .iter()
            .map(|entry| entry.key.len() + entry.value.len())
            .sum();
        let takes_ms = (bytes as u64).saturating_mul(1000) / bytes_per_second.max(1);
        let takes = Duration::from_millis(takes_ms).min(WAIT_MOST);
        {
            let mut next = self.next.lock();
            let now = Instant::now();
            *next = ((*next).max(now) + takes).min(now + WAIT_MOST);
        }
        self.until = Instant::now() + self.idle;
        let is_last = part.is_empty();
        let mut words = Vec::with_capacity(3 * part.len());
        for entry in part {
            let deadline_ms = i64::try_from(entry.deadline_ms).unwrap_or(i64::MAX);
            words.push(Reply::Bulk(entry.key));
            words.push(Reply::Bulk(entry.value));
            words.push(Reply::Int(deadline_ms));
        }
        Ok((Reply::Array(words), is_last))
    }
}

/// Answers RING BACKUP; `words` are what follows.
pub async fn answer(words: &[Bytes], stance: &mut Stance, cluster: &impl Cluster) -> Reply {
    match words {
        [word, name] if word.eq_ignore_ascii_case(b"open") => {
            stance.backup = None;
            let range = match range(name) {
                Ok(range) => range,
                Err(reply) => return reply,
            };
            match cluster.backup(range).await {
                Ok(open) => stance.backup.insert(open).head(),
                Err(error) => refused(format!(
                    "range {range} cannot be read here ({error}): ask another node that has a copy, RING RANGES says which"
                )),
            }
        }
        [word] if word.eq_ignore_ascii_case(b"next") => {
            let view = cluster.view();
            let moving = view.map.as_ref().map(|map| map.moving);
            let rate = moving.map_or(u64::MAX, |moving| moving.bytes_per_second);
            let Some(open) = &mut stance.backup else {
                return refused(
                    "this connection reads no range: begin with RING BACKUP OPEN range, and ask for more within a minute",
                );
            };
            let part = open.part(rate).await;
            match part {
                Ok((reply, false)) => reply,
                Ok((reply, true)) => {
                    stance.backup = None;
                    reply
                }
                Err(error) => {
                    stance.backup = None;
                    refused(format!("the range cannot be read on: {error}"))
                }
            }
        }
        [word] if word.eq_ignore_ascii_case(b"close") => {
            stance.backup = None;
            Reply::OK
        }
        _ => Reply::SYNTAX,
    }
}

#[cfg(test)]
mod tests {
    use trilith::restore::Solitude;
    use trilith::ring::Quorum;
    use trilith::ring::driver::{Driver, DriverOptions, Start};

    use super::super::testing::{Puppet, interleaved};
    use super::*;

    #[tokio::test]
    async fn what_nobody_goes_on_with_ends_and_makes_room_for_others() {
        let root = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(root.path().join("data"));
        let quorum = Quorum::new(3, 2, 2).unwrap();
        let options = DriverOptions::new("127.0.0.1:6379", Start::Found { quorum });
        let driver = Driver::open(storage, NativeRuntime::new(), Solitude, options);
        let driver = driver.await.unwrap();
        driver.catch_up().await;
        let backups = Backups {
            idle: Duration::from_millis(10),
            ..Backups::default()
        };
        let mut stances = Vec::new();
        for range in 0..OPEN_MOST as u32 {
            let permit = backups.permit().unwrap();
            let backup = driver.backup(range).await.unwrap();
            stances.push(Stance {
                backup: Some(backups.open(permit, range, backup)),
                ..Stance::default()
            });
        }
        let refused = backups.permit().unwrap_err();
        assert!(
            refused.to_string().contains("16 are being read"),
            "{refused}"
        );
        stances[0].lapse().await;
        assert!(stances[0].backup.is_none());
        assert!(backups.permit().is_ok());
        driver.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_asked_wrongly_is_refused_with_what_to_do() {
        let puppet = Puppet::new(interleaved());
        let next = puppet.refused("RING BACKUP NEXT").await;
        assert!(next.contains("RING BACKUP OPEN range"), "{next}");
        let elsewhere = puppet.refused("RING BACKUP OPEN 1").await;
        assert!(elsewhere.contains("ask another node"), "{elsewhere}");
        let wrong = puppet.refused("RING BACKUP OPEN 256").await;
        assert!(wrong.contains("a range is a number"), "{wrong}");
        for line in ["RING BACKUP OPEN", "RING BACKUP NEXT 1", "RING BACKUP all"] {
            assert_eq!(puppet.ask(line).await, Reply::SYNTAX, "{line}");
        }
        assert_eq!(puppet.ask("RING BACKUP CLOSE").await, Reply::OK);
    }
}
