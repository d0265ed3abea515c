//! The state at one moment, written as an RDB file: the base of a new AOF, or a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::core::{Core, ending};
use super::super::machine::{Counts, Machine};
use super::super::repair::ROOM_LEAST_BYTES;
use super::super::scan::{Range, Scan};
use super::super::snapshot::Pin;
use super::job::Kind;
use crate::archive::aof::names;
use crate::archive::rdb::{EncodeOptions, Sizes, Writer, Written};
use crate::archive::{Batch, POSITIONS_FIELD, draft_of};
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage};

/// Keys that are written before others have their turn.
const KEYS_AT_ONCE: u64 = 256;

/// A moment between two entries.
pub(super) struct Start<S: Storage, R: Runtime, M: Machine> {
    pin: Pin<S, R, M>,
    /// The last entry of each range.
    pub at: BTreeMap<u32, u64>,
    counts: Counts,
    /// The newest entry's time.
    pub time_ms: u64,
}

impl<S: Storage, R: Runtime, M: Machine> Start<S, R, M> {
    /// The second of the newest entry.
    pub fn time_s(&self) -> u64 {
        self.time_ms / 1000
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The present moment. The caller holds the right to apply.
    pub(super) fn start(&self) -> Result<Start<S, R, M>> {
        let core = self.myself.upgrade().ok_or_else(ending)?;
        let pin = Pin::unexpired(&core);
        let book = self.ranges.book.lock();
        let (at, time_ms) = book.positions(|range| self.machine.is_archived(range));
        let counts = book.counts();
        drop(book);
        Ok(Start {
            pin,
            at,
            counts,
            // Before its first entry a store has the time of its host.
            time_ms: match time_ms {
                0 => self.runtime.wall_ms(),
                time_ms => time_ms,
            },
        })
    }

    /// Fails if a file as large as the state could leave the store without room.
    pub(super) async fn check_room(&self) -> Result<()> {
        let room = match self.storage.room().await {
            Ok(Some(room)) => room,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "cannot tell how much room there is");
                return Ok(());
            }
        };
        let base_bytes = self.archive.standing.lock().base_bytes;
        let levels = Arc::clone(&self.view().levels);
        let values: u64 = levels.values().values().map(|file| file.bytes).sum();
        let needed = base_bytes.max(levels.total_bytes() + values);
        if room >= needed + ROOM_LEAST_BYTES {
            return Ok(());
        }
        let detail = format!("there is room for {room} bytes, and it may take {needed}");
        Err(Error::new(ErrorKind::Full, "writing a snapshot", detail))
    }

    /// Writes the state at `start` to the file `name`, which is complete and synced when this returns.
    pub(super) async fn write_rdb(
        &self,
        kind: Kind,
        name: &str,
        start: &Start<S, R, M>,
    ) -> Result<Written> {
        let written = self.try_to_write_rdb(kind, name, start).await;
        if written.is_err()
            && let Err(error) = self.storage.remove(vec![draft_of(name)]).await
        {
            tracing::debug!(%error, "could not remove a draft");
        }
        written
    }

    async fn try_to_write_rdb(
        &self,
        kind: Kind,
        name: &str,
        start: &Start<S, R, M>,
    ) -> Result<Written> {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let sizes = Sizes {
            keys: count(start.counts.keys),
            keys_with_deadline: count(start.counts.with_deadline),
        };
        let at = start
            .at
            .iter()
            .map(|(range, index)| format!("{range}={index}"));
        let at = at.collect::<Vec<_>>().join(",");
        let time_s = start.time_s().to_string();
        let aux: [(&str, &[u8]); 4] = [
            ("ctime", time_s.as_bytes()),
            ("aof-base", if kind == Kind::Rewrite { b"1" } else { b"0" }),
            ("trilith-ver", env!("CARGO_PKG_VERSION").as_bytes()),
            (POSITIONS_FIELD, at.as_bytes()),
        ];
        let storage = self.storage.clone();
        let mut writer =
            Writer::create(storage, name, EncodeOptions::default(), &aux, sizes).await?;
        let core = self.myself.upgrade().ok_or_else(ending)?;
        let mut scan = Scan::new(&core, start.pin.clone(), Range::all())?;
        let mut keys = 0_u64;
        while let Some((place, value, deadline_ms)) = scan.next_until().await? {
            if let Some(key) = self.machine.key_of(place) {
                writer.entry(key, value, deadline_ms).await?;
                keys += 1;
            }
            if keys.is_multiple_of(KEYS_AT_ONCE) {
                self.archive.jobs.lock().note_keys(kind, keys, sizes.keys);
                self.check_going_on()?;
                self.runtime.breathe().await;
            }
        }
        drop(scan);
        writer.finish().await
    }

    fn check_going_on(&self) -> Result<()> {
        match self.stopping.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(ending()),
            false => Ok(()),
        }
    }

    /// Begins the AOF anew: with the state as it is at a moment, and what comes since.
    pub(super) async fn rewrite(&self) -> Result<()> {
        self.check_room().await?;
        let archive = &self.archive;
        let breaks = archive.standing.lock().breaks;
        let is_on = archive.feed.is_on();
        let start = {
            let _applying = self.begin_apply().await?;
            let start = self.start()?;
            if is_on {
                archive.feed.cut();
            } else {
                let at = start.at.iter().map(|(&range, &index)| (range, index));
                archive.feed.begin(at, start.time_ms);
            }
            start
        };
        let (first, name, seq) = match self.change_files(&start, is_on).await {
            Ok(changed) => changed,
            Err(error) => {
                self.break_archive(error.clone()).await;
                return Err(error);
            }
        };
        let object = names::in_folder(&name);
        let path = format!("{}/{name}", names::FOLDER);
        let mut done = self.write_rdb(Kind::Rewrite, &path, &start).await;
        if archive.standing.lock().breaks != breaks {
            done = done.and(Err(broken_off()));
        }
        let installed = match done {
            Ok(written) => self.install_base(seq, written.bytes, &start, first).await,
            Err(error) => Err(error),
        };
        if let Err(error) = installed {
            self.give_base_up(object, is_on, breaks, &error).await;
            return Err(error);
        }
        Ok(())
    }

    /// Has what comes from now on go to another file. Its number, and the name and number of the base before it.
    async fn change_files(
        &self,
        start: &Start<S, R, M>,
        is_on: bool,
    ) -> Result<(u64, String, u64)> {
        let mut appender = self.archive.appender.lock().await;
        let appender = appender.as_mut().ok_or_else(broken_off)?;
        if is_on {
            self.write_out(appender, &mut Batch::default()).await?;
        } else {
            appender.begin(start.at.clone(), start.time_s()).await?;
        }
        let first = appender.take_cut().ok_or_else(broken_off)?;
        let (name, seq) = appender.next_base();
        Ok((first, name, seq))
    }

    async fn install_base(
        &self,
        seq: u64,
        bytes: u64,
        start: &Start<S, R, M>,
        first: u64,
    ) -> Result<()> {
        let mut appender = self.archive.appender.lock().await;
        let appender = appender.as_mut().ok_or_else(broken_off)?;
        if !appender.is_open() {
            return Err(broken_off());
        }
        let time_s = start.time_s();
        appender.install_base(seq, bytes, time_s, first).await?;
        self.note_files(appender);
        let mut standing = self.archive.standing.lock();
        standing.rewritten_bytes = standing.bytes;
        standing.trouble = None;
        Ok(())
    }

    /// There is no base: the AOF goes on as it was, if it can.
    async fn give_base_up(&self, base: Object, was_on: bool, breaks: u64, error: &Error) {
        if let Err(error) = self.storage.remove(vec![base]).await {
            tracing::debug!(%error, "could not remove a base that is not used");
        }
        if self.archive.standing.lock().breaks != breaks {
            return;
        }
        if !was_on {
            return self.break_archive(error.clone()).await;
        }
        let went_on = {
            let mut appender = self.archive.appender.lock().await;
            match appender.as_mut().filter(|appender| appender.is_open()) {
                Some(appender) => appender.go_on_without_base().await,
                None => Ok(()),
            }
        };
        if let Err(error) = went_on {
            self.break_archive(error).await;
        }
    }
}

fn broken_off() -> Error {
    let detail = "the AOF could not be written meanwhile";
    Error::new(ErrorKind::Failed, "rewriting the AOF", detail)
}
