//! Whole stores that are closed, killed and opened again, on storage that fails and in virtual time.

mod crash;
mod load;
mod note;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use futures_lite::future::block_on;

use super::format::{self, KeysReader, Next};
use crate::sim::TestRuntime;
use crate::storage::faulty::CrashMode;
use crate::{Db, FaultyStorage, Options, Result, Runtime, Storage};

const EVERY: Duration = Duration::from_secs(60);
const KEYS: usize = 2000;

/// One process that holds a store.
struct Process {
    storage: FaultyStorage,
    runtime: TestRuntime,
    db: Db<FaultyStorage, TestRuntime>,
}

fn options() -> Options {
    Options {
        memory_bytes: 8 << 20,
        warm_restart_every: Some(EVERY),
        ..Options::default()
    }
}

fn key(n: usize) -> Vec<u8> {
    format!("key/{n:05}").into_bytes()
}

fn number(key: &[u8]) -> usize {
    std::str::from_utf8(&key[4..]).unwrap().parse().unwrap()
}

fn value(n: usize) -> Vec<u8> {
    format!("{n:0100}").into_bytes()
}

impl Process {
    fn start(storage: &FaultyStorage) -> Self {
        Self::start_with(storage, options())
    }

    fn start_with(storage: &FaultyStorage, options: Options) -> Self {
        Self::try_to_start(storage, options).unwrap()
    }

    fn try_to_start(storage: &FaultyStorage, options: Options) -> Result<Self> {
        Self::start_later(storage, options, 0)
    }

    /// So much later by the clock.
    fn start_later(storage: &FaultyStorage, options: Options, later_ms: i64) -> Result<Self> {
        let runtime = TestRuntime::new(3);
        runtime.skew_wall(later_ms);
        let opened = Db::open(storage.clone(), runtime.clone(), options);
        let db = runtime.block_on(opened)?;
        Ok(Self {
            storage: storage.clone(),
            runtime,
            db,
        })
    }

    /// A store whose keys are all in tables.
    fn filled(options: Options) -> Self {
        let this = Self::start_with(&FaultyStorage::new(), options);
        this.fill(0..KEYS);
        this
    }

    fn fill(&self, keys: Range<usize>) {
        self.do_(async {
            for n in keys {
                self.db.put(&key(n), &value(n)).await?;
            }
            self.db.flush().await
        })
        .unwrap();
    }

    fn do_<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    fn wait(&self, time: Duration) {
        self.do_(self.runtime.sleep(time));
    }

    /// Until what was noted is back.
    fn warmed(self) -> Self {
        while self.db.stats().warm.is_loading {
            self.wait(Duration::from_millis(1));
        }
        self
    }

    fn close(self) -> FaultyStorage {
        self.do_(self.db.close()).unwrap();
        self.end()
    }

    /// Ends the process without a close.
    fn kill(self) -> FaultyStorage {
        self.runtime.kill_all();
        self.storage.restart(CrashMode::ProcessKilled)
    }

    fn end(self) -> FaultyStorage {
        let storage = self.storage.clone();
        drop(self.db);
        self.runtime.kill_all();
        storage.unlock();
        storage
    }

    /// Reads keys, and finds what `fill` has written.
    fn read(&self, keys: Range<usize>) {
        for n in keys {
            let found = self.do_(self.db.get(&key(n))).unwrap();
            assert_eq!(found.as_deref(), Some(&value(n)[..]), "key {n}");
        }
    }

    /// How many of these keys memory answers.
    fn in_memory(&self, keys: Range<usize>) -> usize {
        let count = keys.len();
        let before = self.db.stats().cold_reads;
        self.read(keys);
        count - (self.db.stats().cold_reads - before) as usize
    }
}

/// The numbers of the keys that a store has noted; `None` if there is no note.
fn noted(storage: &FaultyStorage) -> Option<Result<BTreeSet<usize>>> {
    let has_note = |(object, _): &(crate::Object, u64)| *object == format::object();
    storage.objects().iter().any(has_note).then(|| {
        block_on(async {
            let mut file = KeysReader::open(storage.open(format::object()).await?).await?;
            let mut keys = BTreeSet::new();
            loop {
                match file.next().await? {
                    Next::Keys(mut section) => {
                        while let Some(key) = section.next() {
                            keys.insert(number(key));
                        }
                    }
                    Next::End(count) => {
                        assert_eq!(count, keys.len() as u64);
                        return Ok(keys);
                    }
                }
            }
        })
    })
}

/// The same of these keys.
fn all(keys: Range<usize>) -> BTreeSet<usize> {
    keys.collect()
}
