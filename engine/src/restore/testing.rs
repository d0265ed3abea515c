//! Sinks and files for tests.

use std::collections::BTreeMap;

use futures_lite::future::block_on;

use super::log::{Depth, Log};
use super::{Options, Report, Sink};
use crate::archive::aof::{Manifest, names};
use crate::command::testing::Store;
use crate::command::{Command, Reply, Value, apply};
use crate::storage::{MemoryStorage, Object, Storage, Writer};
use crate::{Error, Result};

/// Keys, values and deadlines.
pub(super) type Pairs = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// A keyspace in a map, at a moment.
pub(super) struct MapSink {
    pub(super) store: Store,
    pub(super) commands: usize,
}

impl MapSink {
    pub(super) fn at(now_ms: u64) -> Self {
        let keys = BTreeMap::new();
        Self {
            store: Store { now_ms, keys },
            commands: 0,
        }
    }

    /// What it holds that is alive.
    pub(super) fn pairs(&self) -> Pairs {
        let alive = |value: &Value| value.deadline_ms == 0 || value.deadline_ms > self.store.now_ms;
        let keys = self.store.keys.iter().filter(|(_, value)| alive(value));
        keys.map(|(key, value)| (key.clone(), (value.bytes.to_vec(), value.deadline_ms)))
            .collect()
    }
}

impl Sink for MapSink {
    async fn run(&mut self, batch: Vec<Command>) -> Result<Vec<Reply>> {
        let mut replies = Vec::new();
        self.commands += batch.len();
        for command in batch {
            replies.push(apply(&command, &mut self.store).await?);
        }
        Ok(replies)
    }
}

/// Puts a file into a storage.
pub(super) fn store(storage: &MemoryStorage, object: Object, bytes: &[u8]) {
    block_on(async {
        let mut writer = storage.create(object).await.unwrap();
        writer.append(bytes).unwrap();
    });
}

/// A folder of these files and their manifest.
pub(super) fn folder(manifest: &Manifest, files: &[(&str, &[u8])]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    store(&storage, names::manifest(), &manifest.encode());
    for (name, bytes) in files {
        store(&storage, names::in_folder(name), bytes);
    }
    storage
}

/// Loads a folder's state of a second, or the newest, at `now_ms`.
pub(super) fn load(
    storage: &MemoryStorage,
    to: Option<u64>,
    now_ms: u64,
) -> Result<(Pairs, Report)> {
    block_on(async {
        let log = Log::open(storage.clone(), names::manifest()).await?;
        let depth = to.map_or(Depth::Newest, |_| Depth::Times);
        let survey = log.survey(depth, to, |_| {}).await?;
        let options = Options {
            to,
            now_ms,
            skip_unsupported: false,
        };
        let mut sink = MapSink::at(now_ms);
        let report = log.load(&survey, options, &mut sink, |_| {}).await?;
        Ok((sink.pairs(), report))
    })
}

/// Loads one file of commands at `now_ms`.
pub(super) fn load_file(
    bytes: &[u8],
    skip_unsupported: bool,
    now_ms: u64,
) -> Result<(Pairs, Report)> {
    let storage = MemoryStorage::new();
    let object = Object::Archive("file.aof".into());
    store(&storage, object.clone(), bytes);
    block_on(async {
        let reader = storage.open(object.clone()).await?;
        let options = Options {
            to: None,
            now_ms,
            skip_unsupported,
        };
        let mut sink = MapSink::at(now_ms);
        let report = super::load_aof(reader, object, options, &mut sink, |_| {}).await?;
        Ok((sink.pairs(), report))
    })
}

/// The error of a result.
pub(super) fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error,
    }
}
