//! Stores that released versions wrote, committed under `tests/fixtures/VERSION/`: each still opens, and
//! holds what it held. A store of a newer format is refused by the name of the file that has it.
//!
//! `cargo test -p trilith-server --test fixtures -- --ignored` writes the fixture of this version; it is
//! never written again once the version is out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use trilith::command::{self, Command, Parsed, Reply};
use trilith::{Batch, ErrorKind, Options, Range, Result};
use trilith_server::{FileStorage, NativeRuntime, Store, block_on, open_with};

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;
type CommandStore = command::Store<FileStorage, NativeRuntime>;

/// The first day of 2200, when this fixture begins to lose keys.
const FAR_MS: u64 = 7_258_118_400_000;

fn options() -> Options {
    Options {
        memory_bytes: 4 << 20,
        memtable_bytes: Some(256 << 10),
        segment_bytes: 1 << 20,
        large_value_bytes: 1024,
        ..Options::default()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn key(i: u32) -> Vec<u8> {
    format!("key:{i:05}").into_bytes()
}

/// One step in the life of the embedded store.
enum Step {
    Put(Vec<u8>, Vec<u8>, u64),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    Flush,
    Compact,
}

/// Its life: tables on two levels with range deletes, files of large values, and a log that no table holds.
fn life() -> Vec<Step> {
    use Step::{Compact, Delete, DeleteRange, Flush, Put};
    let mut steps = Vec::new();
    for i in 0..700 {
        let deadline_ms = if i % 10 == 3 { FAR_MS } else { 0 };
        let value = format!("first value of {i}").into_bytes();
        steps.push(Put(key(i), value, deadline_ms));
    }
    for i in (0..700).step_by(250) {
        steps.push(Put(key(i), vec![i as u8; 3000], 0));
    }
    steps.push(DeleteRange(key(100), key(150)));
    steps.push(Compact);
    for i in (0..700).step_by(7) {
        steps.push(Put(key(i), format!("second value of {i}").into_bytes(), 0));
    }
    steps.push(DeleteRange(key(300), key(310)));
    steps.push(Delete(key(666)));
    steps.push(Put(b"large".to_vec(), vec![7; 2000], 0));
    steps.push(Flush);
    for i in (0..700).step_by(50) {
        steps.push(Put(key(i), format!("third value of {i}").into_bytes(), 0));
    }
    steps.push(DeleteRange(key(600), key(605)));
    steps.push(Delete(key(1)));
    steps
}

fn live(store: &Store) -> Result<()> {
    for step in life() {
        match step {
            Step::Put(key, value, 0) => store.put(&key, &value)?,
            Step::Put(key, value, deadline_ms) => {
                let mut batch = Batch::new();
                batch.put_until(&key, &value, deadline_ms);
                store.write(batch)?;
            }
            Step::Delete(key) => store.delete(&key)?,
            Step::DeleteRange(start, end) => store.delete_range(&start, Some(&end))?,
            Step::Flush => store.flush()?,
            Step::Compact => store.compact()?,
        }
    }
    Ok(())
}

/// What must be there after that life.
fn expected() -> Contents {
    let mut contents = Contents::new();
    for step in life() {
        match step {
            Step::Put(key, value, _) => drop(contents.insert(key, value)),
            Step::Delete(key) => drop(contents.remove(&key)),
            Step::DeleteRange(start, end) => contents.retain(|key, _| *key < start || *key >= end),
            Step::Flush | Step::Compact => {}
        }
    }
    contents
}

/// The life of a store of commands, and the reply to each.
fn session() -> Vec<(String, Reply)> {
    let mut session = Vec::new();
    for i in 0..200 {
        session.push((format!("SET key:{i} value-{i}"), Reply::OK));
    }
    for count in 1..=5 {
        session.push(("INCR counter".into(), Reply::Int(count)));
    }
    session.push(("MSET a 1 b 2 c 3".into(), Reply::OK));
    session.push(("APPEND a 23".into(), Reply::Int(3)));
    session.push((format!("PEXPIREAT b {FAR_MS}"), Reply::Int(1)));
    session.push(("DEL c key:7".into(), Reply::Int(2)));
    session
}

/// Reads, and what they answer after that life.
fn reads() -> Vec<(String, Reply)> {
    let bulk = |text: &str| Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()));
    let mut reads = vec![
        ("DBSIZE".into(), Reply::Int(202)),
        ("GET counter".into(), bulk("5")),
        ("GET a".into(), bulk("123")),
        ("GET b".into(), bulk("2")),
        ("PEXPIRETIME b".into(), Reply::Int(FAR_MS as i64)),
        ("EXISTS c key:7".into(), Reply::Int(0)),
    ];
    for i in (0..200).filter(|i| *i != 7) {
        reads.push((format!("GET key:{i}"), bulk(&format!("value-{i}"))));
    }
    reads
}

fn command(text: &str) -> Command {
    let words = text.split(' ');
    let mut words: Vec<Bytes> = words
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    match command::parse(&mut words) {
        Ok(Parsed::Store(command)) => command,
        _ => panic!("{text} is no command for a store"),
    }
}

fn ask(store: &CommandStore, dialogue: &[(String, Reply)]) {
    for (text, expected) in dialogue {
        let replies = block_on(store.execute(vec![command(text)]));
        assert_eq!(&replies[..], std::slice::from_ref(expected), "{text}");
    }
}

fn open_commands(path: &Path) -> CommandStore {
    let storage = FileStorage::new(path);
    block_on(CommandStore::open(storage, NativeRuntime::new(), options())).unwrap()
}

/// A copy of a committed store, for opening one changes it.
fn copy_of(store: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(store).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, directory.path().join(from.file_name().unwrap())).unwrap();
    }
    directory
}

fn contents_of(store: &Store) -> Contents {
    let pairs = store.scan(Range::all()).unwrap().map(Result::unwrap);
    pairs
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

/// The folders of the released versions.
fn versions() -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures()).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
#[ignore = "writes tests/fixtures, which is done once a version"]
fn make_the_fixture_of_this_version() {
    let version = fixtures().join(env!("CARGO_PKG_VERSION"));
    assert!(!version.exists(), "{} is written", version.display());
    let store = open_with(version.join("embedded"), options()).unwrap();
    live(&store).unwrap();
    store.close().unwrap();
    let store = open_commands(&version.join("commands"));
    let dialogue = session();
    let (first, second) = dialogue.split_at(dialogue.len() / 2);
    ask(&store, first);
    block_on(store.db().flush()).unwrap();
    ask(&store, second);
    block_on(store.close()).unwrap();
}

#[test]
fn every_released_format_opens_with_every_key() {
    for version in versions() {
        let copy = copy_of(&version.join("embedded"));
        for _ in 0..2 {
            let store = open_with(copy.path(), options()).unwrap();
            assert!(contents_of(&store) == expected(), "{}", version.display());
            let verified = store.verify().unwrap();
            assert!(verified.is_sound(), "{:?}", verified.problems);
            // Whatever can be read can also be written anew.
            store.compact().unwrap();
            assert!(contents_of(&store) == expected(), "{}", version.display());
            store.close().unwrap();
        }
    }
}

#[test]
fn every_released_format_of_commands_opens_with_every_key() {
    for version in versions() {
        let copy = copy_of(&version.join("commands"));
        for _ in 0..2 {
            let store = open_commands(copy.path());
            ask(&store, &reads());
            block_on(store.db().compact()).unwrap();
            ask(&store, &reads());
            block_on(store.close()).unwrap();
        }
    }
}

/// Every kind of file, by how it begins or ends.
#[test]
fn a_fixture_has_every_kind_of_file() {
    for version in versions() {
        let mut kinds: Vec<Kind> = files_of(&version.join("embedded"))
            .iter()
            .filter_map(|path| kind_of(path))
            .collect();
        kinds.sort();
        kinds.dedup();
        let all = [Kind::Manifest, Kind::Segment, Kind::Table, Kind::Values];
        assert_eq!(kinds, all, "{}", version.display());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Manifest,
    Segment,
    Table,
    Values,
}

fn files_of(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn kind_of(path: &Path) -> Option<Kind> {
    let bytes = fs::read(path).unwrap();
    if bytes.starts_with(b"TRILMETA") {
        Some(Kind::Manifest)
    } else if bytes.starts_with(b"TRILLOG\n") {
        Some(Kind::Segment)
    } else if bytes.starts_with(b"TRLVALUE") {
        Some(Kind::Values)
    } else {
        bytes.ends_with(b"TRLTABLE").then_some(Kind::Table)
    }
}

/// The file as an engine of format 9 would write it: `at` its version, `crc_at` the checksum of `over`.
fn raise_version(path: &Path, kind: Kind) {
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.len();
    // docs/format.md says where.
    let (at, over, crc_at) = match kind {
        Kind::Manifest => (12, 12..end, 8),
        Kind::Segment => (8, 0..60, 60),
        Kind::Table => (end - 16, end - 88..end - 12, end - 12),
        Kind::Values => (8, 0..20, 20),
    };
    bytes[at..at + 4].copy_from_slice(&9u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes[over]);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

fn number_of(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_newer_format_is_refused_by_name_and_nothing_is_touched() {
    let fixture = versions().pop().unwrap().join("embedded");
    for path in files_of(&fixture) {
        let Some(kind) = kind_of(&path) else { continue };
        let copy = copy_of(&fixture);
        let raised = copy.path().join(path.file_name().unwrap());
        raise_version(&raised, kind);
        let before = everything_in(copy.path());
        let Err(error) = open_only(copy.path()) else {
            panic!("{kind:?} of format 9 was opened");
        };
        assert_eq!(error.kind(), ErrorKind::Newer, "{kind:?}: {error}");
        let text = error.to_string();
        assert!(text.contains('9'), "{kind:?}: {text}");
        let name = match kind {
            Kind::Manifest => "manifest".to_owned(),
            Kind::Segment => format!("segment {}", number_of(&path)),
            Kind::Table | Kind::Values => format!("table {}", number_of(&path)),
        };
        assert!(text.contains(&name), "{kind:?}: {text}");
        assert!(
            everything_in(copy.path()) == before,
            "{kind:?}: it was touched"
        );
    }
}

fn open_only(path: &Path) -> Result<()> {
    open_with(path, options()).map(drop)
}

fn everything_in(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_of(store).into_iter();
    files
        .filter(|path| !path.ends_with("LOCK"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}
