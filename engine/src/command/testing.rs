//! A store in a map, to test commands against.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_lite::future::block_on;

use super::{Command, Parsed, Reply, State, Value, apply, table};
use crate::Result;

/// Every command, with every option.
pub(super) const LINES: &[&str] = &[
    "GET k",
    "SET k v",
    "SET k v NX GET PX 77",
    "SET k v XX KEEPTTL",
    "SET k v EXAT 99999999999",
    "SETNX k v",
    "GETSET k v",
    "GETDEL k",
    "GETEX k",
    "GETEX k PERSIST",
    "GETEX k EX 4",
    "APPEND k v",
    "STRLEN k",
    "INCRBY k -9223372036854775808",
    "INCRBY k 9223372036854775807",
    "DECR k",
    "MGET a b c",
    "MSET a 1 b 2",
    "DEL a b",
    "EXISTS a",
    "TYPE k",
    "EXPIRE k -5 XX GT",
    "PEXPIREAT k 12345 NX",
    "PERSIST k",
    "TTL k",
    "PTTL k",
    "EXPIRETIME k",
    "PEXPIRETIME k",
    "FLUSHALL",
    "SCAN 5 MATCH a* COUNT 3 TYPE string",
    "SCAN 0",
    "KEYS *",
    "DBSIZE",
    "EXPLAIN SET k v EX 5",
];

/// Keys with their values and deadlines, at a moment.
pub(crate) struct Store {
    pub(crate) now_ms: u64,
    pub(crate) keys: BTreeMap<Vec<u8>, Value>,
}

pub(crate) fn words(line: &str) -> Vec<Bytes> {
    line.split_whitespace()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

pub(super) fn parse(line: &str) -> Result<Command, Reply> {
    match table::parse(&mut words(line))? {
        Parsed::Store(command) => Ok(command),
        Parsed::Session(session) => panic!("{session:?} is for the connection"),
    }
}

impl Store {
    pub(super) fn at(now_ms: u64) -> Self {
        Self {
            now_ms,
            keys: BTreeMap::new(),
        }
    }

    /// Runs a line, by way of its encoding, and shows the reply: `+status`, `-error`, `:1`, `$bulk`,
    /// `$-1`, `[a b]`.
    pub(super) fn run(&mut self, line: &str) -> String {
        let command = match parse(line) {
            Ok(command) => command,
            Err(reply) => return show(&reply),
        };
        let mut encoded = Vec::new();
        command.encode(&mut encoded);
        let decoded = Command::decode(&encoded).unwrap();
        assert_eq!(decoded, command, "{line} does not survive its encoding");
        show(&block_on(apply(&decoded, self)).unwrap())
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => format!("+{text}"),
        Reply::Error(text) => format!("-{text}"),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(bytes) => format!("${}", String::from_utf8_lossy(bytes)),
        Reply::Null | Reply::NullArray => "$-1".to_owned(),
        Reply::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Reply::Map(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(key, value)| format!("{}={}", show(key), show(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
    }
}

impl State for Store {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn seed(&self) -> u64 {
        7
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Value>> {
        let value = self.keys.get(key).cloned();
        Ok(value.filter(|value| value.deadline_ms == 0 || value.deadline_ms > self.now_ms))
    }

    async fn exists(&mut self, key: &[u8]) -> Result<Option<u64>> {
        Ok(self.get(key).await?.map(|value| value.deadline_ms))
    }

    async fn put(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> Result<()> {
        let bytes = Bytes::copy_from_slice(value);
        self.keys.insert(key.to_vec(), Value { bytes, deadline_ms });
        Ok(())
    }

    async fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.keys.remove(key);
        Ok(())
    }

    async fn clear(&mut self) -> Result<()> {
        self.keys.clear();
        Ok(())
    }
}
