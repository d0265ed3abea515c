//! redb as a target: a copy-on-write B-tree, one transaction an operation.
//!
//! It has no level between nothing and a synced commit: unsynced, a commit is not in the file until a
//! later synced one, which is less than what the others promise for a written one.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use trilith_server::bench::{Sync, Target, TargetOptions};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

/// An open redb database.
pub struct Redb {
    database: Database,
    durability: Durability,
}

impl Redb {
    pub fn open(path: &Path, options: &TargetOptions) -> Result<Self, String> {
        let database = Database::builder()
            .set_cache_size(usize::try_from(options.memory_bytes).unwrap_or(usize::MAX))
            .create(path.join("bench.redb"))
            .map_err(describe)?;
        let target = Self {
            database,
            durability: if options.sync == Sync::Always {
                Durability::Immediate
            } else {
                Durability::None
            },
        };
        target.write(Durability::Immediate, |_| Ok(()))?;
        Ok(target)
    }

    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), redb::StorageError>,
    ) -> Result<(), String> {
        let mut transaction = self.database.begin_write().map_err(describe)?;
        transaction.set_durability(durability).map_err(describe)?;
        change(&mut transaction.open_table(TABLE).map_err(describe)?).map_err(describe)?;
        transaction.commit().map_err(describe)
    }

    fn table(&self) -> Result<redb::ReadOnlyTable<&'static [u8], &'static [u8]>, String> {
        let transaction = self.database.begin_read().map_err(describe)?;
        transaction.open_table(TABLE).map_err(describe)
    }
}

fn describe(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Target for Redb {
    fn name(&self) -> &str {
        "redb"
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.write(self.durability, |table| table.insert(key, value).map(drop))
    }

    fn get(&self, key: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        let value = self.table()?.get(key).map_err(describe)?;
        if let Some(value) = &value {
            each(value.value());
        }
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.write(self.durability, |table| table.remove(key).map(drop))
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        limit: u64,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, String> {
        let table = self.table()?;
        let pairs = table.range(from.unwrap_or_default()..).map_err(describe)?;
        let mut count = 0;
        for pair in pairs.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = pair.map_err(describe)?;
            each(key.value(), value.value());
            count += 1;
        }
        Ok(count)
    }

    fn settle(&self) -> Result<(), String> {
        self.write(Durability::Immediate, |_| Ok(()))
    }
}
