//! The archive of a store: what it holds while the store works, when it is opened again, and when its files fail.
//!
//! What it says is found out without the store, from its files alone, by carrying out on a map what stands in them.

mod crash;
mod files;
mod live;
mod trouble;

use std::time::Duration;

use files::{Archived, Model};

use super::*;
use crate::Runtime;
use crate::archive::{ArchiveOptions, ArchiveStats, Fsync};
use crate::command::Deadline;
use crate::ring::range::Head;
use crate::ring::store::LentEntries;

/// The ranges that are written to.
const RANGES: [RangeId; 3] = [3, 4, 200];

fn archived(sync: Sync) -> Options {
    Options {
        archive: ArchiveOptions {
            aof: true,
            save_every: Some(Duration::from_secs(300)),
            ..ArchiveOptions::default()
        },
        ..options(sync)
    }
}

/// A process whose store is archived, and what it is to hold.
struct Archiving {
    process: Process,
    model: Model,
    /// Entries so far.
    index: [u64; 3],
}

impl Archiving {
    /// A new store, whose archive has begun.
    fn new() -> Self {
        Self::with(archived(Sync::EverySecond))
    }

    fn with(options: Options) -> Self {
        let process = Process::start_with(&FaultyStorage::new(), options).unwrap();
        process
            .do_(process.store.found_all(&RANGES, founder(), &alone()))
            .unwrap();
        let this = Self {
            process,
            model: Model::default(),
            index: [0; 3],
        };
        this.until(|stats| stats.aof.base_bytes > 0);
        this
    }

    fn stats(&self) -> ArchiveStats {
        self.process.store.db().archive()
    }

    fn sleep(&self, time: Duration) {
        self.process.do_(self.process.runtime.sleep(time));
    }

    /// Waits until the archive stands so.
    fn until(&self, holds: impl Fn(&ArchiveStats) -> bool) {
        for _ in 0..40_000 {
            if holds(&self.stats()) {
                return;
            }
            self.sleep(Duration::from_millis(10));
        }
        panic!("it never came to that: {:?}", self.stats());
    }

    /// Waits until everything so far is in files that are synced.
    fn settle(&self) {
        self.sleep(Duration::from_millis(2_100));
    }

    /// Logs and applies a command of the `nth` range, as those are that are lent.
    fn run(&mut self, nth: usize, command: &Command) -> Reply {
        self.index[nth] += 1;
        let lent = LentEntries::default();
        let entry = self.entry(nth, command);
        let ticket = self.process.store.append_lent([entry].into_iter(), &lent);
        self.process
            .do_(self.process.store.finish_lent(ticket.unwrap()))
            .unwrap();
        lent.take_replies().pop().unwrap().unwrap()
    }

    fn entry(&self, nth: usize, command: &Command) -> (RangeId, Head, Bytes) {
        let index = self.index[nth];
        let at = LogId { term: 1, index };
        let time_ms = self.process.runtime.wall_ms();
        let head = Head {
            at,
            time_ms,
            seed: index,
        };
        (RANGES[nth], head, command_payload(command))
    }

    fn set(&mut self, nth: usize, n: u64, value: &[u8]) {
        self.run(nth, &set(RANGES[nth], n, value));
        let key = key(RANGES[nth], n).to_vec();
        self.model.insert(key, (value.to_vec(), 0));
    }

    fn set_until(&mut self, nth: usize, n: u64, value: &[u8], deadline_ms: u64) {
        let expiry = Expiry::Set(Deadline::At(deadline_ms as i64));
        self.run(nth, &set_for(RANGES[nth], n, value, expiry));
        let key = key(RANGES[nth], n).to_vec();
        self.model.insert(key, (value.to_vec(), deadline_ms));
    }

    fn del(&mut self, nth: usize, n: u64) {
        let key = key(RANGES[nth], n);
        self.run(nth, &Command::Del(vec![key.clone()]));
        self.model.remove(&key[..]);
    }

    /// Removes all keys of a range.
    fn clear(&mut self, nth: usize) {
        self.run(nth, &Command::Clear);
        let range = RANGES[nth];
        self.model
            .retain(|key, _| u32::from(arc_of(slot_of(key))) != range);
    }

    fn files(&self) -> Archived {
        files::read(&self.process.storage)
    }

    /// The archive has exactly what the store is to hold.
    #[track_caller]
    fn check(&self) {
        self.settle();
        assert_eq!(self.files().model, self.model);
    }

    fn rewrite(&self) {
        let before = self.stats().aof.rewrites.done;
        self.process.store.db().rewrite_aof().unwrap();
        self.until(|stats| stats.aof.rewrites.done > before);
    }

    /// Ends the process, and what a crash leaves is opened and gone on with, as the owner of its ranges does.
    fn restart(self, mode: CrashMode) -> Self {
        let process = self
            .process
            .restart_with(mode, archived(Sync::EverySecond))
            .unwrap();
        let index = replay(&process);
        Self {
            process,
            model: self.model,
            index,
        }
    }
}

/// Applies what the log holds; the last entry of each range.
fn replay(process: &Process) -> [u64; 3] {
    RANGES.map(|range| {
        let Some(found) = process.found.iter().find(|found| found.range == range) else {
            return 0;
        };
        process
            .do_(process.store.apply(range, &found.entries))
            .unwrap();
        found.applied.index + found.entries.len() as u64
    })
}

/// What the store holds of the ranges that are written to.
fn contents(process: &Process) -> Model {
    let db = process.store.db();
    let scan = async {
        let mut model = Model::default();
        let mut scan = db.scan(crate::Range::all()).unwrap();
        while let Some((place, value, deadline_ms)) = scan.next_until().await.unwrap() {
            if crate::command::place_kind(place) == Some(crate::command::PlaceKind::Key) {
                model.insert(place[3..].to_vec(), (value.to_vec(), deadline_ms));
            }
        }
        model
    };
    process.do_(scan)
}
