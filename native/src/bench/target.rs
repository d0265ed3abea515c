//! What a store has to offer to be measured.

use std::path::Path;

/// When a write counts as done.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// It survives a power loss: synced before the call returns.
    Always,
    /// It survives the death of the process: handed to the kernel before the call returns.
    Written,
    /// It may still be in the process's memory.
    No,
}

/// How a target is opened: the same for every store of one run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct TargetOptions {
    /// When a write counts as done.
    pub sync: Sync,
    /// What the store may use for caches, memtables, filters and indexes together.
    pub memory_bytes: u64,
    /// Counts log and table bytes apart even where that slows the store down.
    pub detailed_statistics: bool,
    /// Caps what background work writes, for the test of stalls.
    pub compaction_bytes_per_second: Option<u64>,
}

/// Bytes written since the target was opened, by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WriteStats {
    /// To the write-ahead log.
    pub log_bytes: u64,
    /// To tables, by flushes and compactions.
    pub table_bytes: u64,
}

/// A store under measurement. One value is shared by all threads.
pub trait Target: Send + std::marker::Sync {
    /// The store's name, as tables print it.
    fn name(&self) -> &str;

    /// Stores a pair; when that counts as done was said when the target was opened.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String>;

    /// Hands the value to `each`, without a copy where the store can do that, and says whether there was one.
    fn get(&self, key: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<bool, String>;

    /// Deletes a key, whether it is there or not.
    fn delete(&self, key: &[u8]) -> Result<(), String>;

    /// Walks forward over at most `limit` pairs, from the first key at or after `from`, and counts them.
    fn scan(
        &self,
        from: Option<&[u8]>,
        limit: u64,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, String>;

    /// Flushes what is in memory and waits until background work has nothing left to do.
    fn settle(&self) -> Result<(), String>;

    /// Bytes written by purpose, if the store counts them.
    fn write_stats(&self) -> Option<WriteStats> {
        None
    }
}

/// Opens a store in a directory, made if it is not there.
pub type Open<'a> = dyn Fn(&Path, &TargetOptions) -> Result<Box<dyn Target>, String> + 'a;
