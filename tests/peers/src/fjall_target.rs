//! fjall as a target, with its own defaults but for the budget. It has no working limit on all memtables
//! together; the cache is set so that three of them fit beside it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use trilith_server::bench::{Sync, Target, TargetOptions};

const MEMTABLE_BYTES: u64 = 64 << 20;
const MEMTABLES: u64 = 3;

/// An open fjall database with one keyspace.
pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    sync: Sync,
}

impl Fjall {
    pub fn open(path: &Path, options: &TargetOptions) -> Result<Self, String> {
        let memtable = MEMTABLE_BYTES.min(options.memory_bytes / 8);
        let cache = options.memory_bytes.saturating_sub(memtable * MEMTABLES);
        let database = Database::builder(path)
            .cache_size(cache)
            .manual_journal_persist(options.sync == Sync::No)
            .open()
            .map_err(describe)?;
        let keyspace = database
            .keyspace("bench", || {
                KeyspaceCreateOptions::default().max_memtable_size(memtable)
            })
            .map_err(describe)?;
        Ok(Self {
            database,
            keyspace,
            sync: options.sync,
        })
    }

    /// Without manual persistence a write goes to the kernel by itself; RocksDB's sync is fdatasync too.
    fn persist(&self) -> Result<(), String> {
        if self.sync == Sync::Always {
            self.database
                .persist(PersistMode::SyncData)
                .map_err(describe)?;
        }
        Ok(())
    }
}

fn describe(error: fjall::Error) -> String {
    error.to_string()
}

impl Target for Fjall {
    fn name(&self) -> &str {
        "fjall"
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.keyspace.insert(key, value).map_err(describe)?;
        self.persist()
    }

    fn get(&self, key: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        let value = self.keyspace.get(key).map_err(describe)?;
        if let Some(value) = &value {
            each(value);
        }
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.keyspace.remove(key).map_err(describe)?;
        self.persist()
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        limit: u64,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, String> {
        let pairs = match from {
            Some(key) => self.keyspace.range(key..),
            None => self.keyspace.iter(),
        };
        let mut count = 0;
        for pair in pairs.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = pair.into_inner().map_err(describe)?;
            each(&key, &value);
            count += 1;
        }
        Ok(count)
    }

    fn settle(&self) -> Result<(), String> {
        self.keyspace.rotate_memtable_and_wait().map_err(describe)?;
        // fjall does not say what is pending, so it counts as settled once nothing has moved for a while.
        let mut last = (0, 0);
        let mut quiet = 0;
        while quiet < 20 {
            let now = (
                self.database.compactions_completed(),
                self.keyspace.table_count(),
            );
            let busy = self.database.outstanding_flushes() > 0
                || self.keyspace.sealed_memtable_count() > 0
                || self.database.active_compactions() > 0;
            quiet = if busy || now != last { 0 } else { quiet + 1 };
            last = now;
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
