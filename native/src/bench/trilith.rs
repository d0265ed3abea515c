//! Trilith as a target.

use std::cell::RefCell;
use std::path::Path;

use trilith::{Options, Range};

use super::target::{Sync, Target, TargetOptions, WriteStats};
use crate::{Store, open_with};

struct Trilith(Store);

thread_local! {
    /// Where gets put what they find, so that they need not allocate.
    static VALUE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Opens the store to be measured.
pub fn open(directory: &Path, options: &TargetOptions) -> Result<Box<dyn Target>, String> {
    let options = Options {
        sync: match options.sync {
            Sync::Always => trilith::Sync::Always,
            Sync::Written => trilith::Sync::EverySecond,
            Sync::No => trilith::Sync::No,
        },
        memory_bytes: usize::try_from(options.memory_bytes).unwrap_or(usize::MAX),
        compaction_bytes_per_second: options.compaction_bytes_per_second,
        ..Options::default()
    };
    match open_with(directory, options) {
        Ok(store) => Ok(Box::new(Trilith(store))),
        Err(error) => Err(describe(error)),
    }
}

fn describe(error: trilith::Error) -> String {
    error.to_string()
}

impl Target for Trilith {
    fn name(&self) -> &str {
        "trilith"
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.0.put(key, value).map_err(describe)
    }

    fn get(&self, key: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        VALUE.with_borrow_mut(|value| {
            value.clear();
            let found = self.0.get_into(key, value).map_err(describe)?;
            if found {
                each(value);
            }
            Ok(found)
        })
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.0.delete(key).map_err(describe)
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        limit: u64,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, String> {
        let range = from.map_or_else(Range::all, Range::from);
        let mut pairs = self.0.scan(range).map_err(describe)?;
        let mut count = 0;
        while count < limit
            && let Some((key, value)) = pairs.next_pair().map_err(describe)?
        {
            each(key, value);
            count += 1;
        }
        Ok(count)
    }

    fn settle(&self) -> Result<(), String> {
        self.0.flush().map_err(describe)?;
        self.0.quiesce().map_err(describe)
    }

    fn write_stats(&self) -> Option<WriteStats> {
        let stats = self.0.stats();
        Some(WriteStats {
            log_bytes: stats.log_bytes,
            table_bytes: stats.flush_bytes + stats.compaction_write_bytes,
        })
    }
}
