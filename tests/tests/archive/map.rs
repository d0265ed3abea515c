//! A keyspace in a map, and loading into it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use trilith::archive::aof::names;
use trilith::command::{Command, Reply, State, Value, apply};
use trilith::restore::{Depth, Log, Options, Report, Sink};
use trilith::sim::TestRuntime;
use trilith::{MemoryStorage, Object, Result, Storage, Writer};

use crate::keys::Pairs;

/// Keys at a moment at which nothing has expired.
#[derive(Default)]
pub struct Map(BTreeMap<Vec<u8>, Value>);

impl Map {
    fn pairs(self) -> Pairs {
        let pair =
            |(key, value): (Vec<u8>, Value)| (key, (value.bytes.to_vec(), value.deadline_ms));
        self.0.into_iter().map(pair).collect()
    }
}

impl Sink for Map {
    async fn run(&mut self, batch: Vec<Command>) -> Result<Vec<Reply>> {
        let mut replies = Vec::new();
        for command in batch {
            replies.push(apply(&command, self).await?);
        }
        Ok(replies)
    }
}

impl State for Map {
    fn now_ms(&self) -> u64 {
        0
    }

    fn seed(&self) -> u64 {
        0
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.0.get(key).cloned())
    }

    async fn exists(&mut self, key: &[u8]) -> Result<Option<u64>> {
        Ok(self.0.get(key).map(|value| value.deadline_ms))
    }

    async fn put(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> Result<()> {
        let bytes = value.to_vec().into();
        self.0.insert(key.to_vec(), Value { bytes, deadline_ms });
        Ok(())
    }

    async fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.0.remove(key);
        Ok(())
    }

    async fn clear(&mut self) -> Result<()> {
        self.0.clear();
        Ok(())
    }
}

/// Loads the append-only files of a folder, up to a second.
pub fn load(folder: &Path, to: Option<u64>) -> io::Result<(Pairs, Report)> {
    let storage = MemoryStorage::new();
    let runtime = TestRuntime::new(1);
    let files: Vec<(Object, Vec<u8>)> = std::fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok((names::in_folder(&name), std::fs::read(&path)?))
        })
        .collect::<io::Result<_>>()?;
    let loaded = runtime.block_on(async move {
        for (object, bytes) in files {
            storage.create(object).await?.append(&bytes)?;
        }
        let log = Log::open(storage, names::manifest()).await?;
        let survey = log.survey(Depth::Times, to, |_| {}).await?;
        let options = Options {
            to,
            ..Options::default()
        };
        let mut map = Map::default();
        let report = log.load(&survey, options, &mut map, |_| {}).await?;
        Ok::<_, trilith::Error>((map.pairs(), report))
    });
    loaded.map_err(io::Error::other)
}
