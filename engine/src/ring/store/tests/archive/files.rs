//! What the files of an archive say, read without the store.

use std::collections::BTreeMap;

use futures_lite::future::block_on;

use crate::archive::aof::{Item, Line, Manifest, Reader, names};
use crate::archive::rdb;
use crate::storage::faulty::CrashMode;
use crate::{FaultyStorage, Object, Storage};

/// Keys, their values and deadlines.
pub type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// What was read.
#[derive(Debug, Default)]
pub struct Archived {
    /// What it comes to.
    pub model: Model,
    /// The commands of the incremental files.
    pub commands: Vec<Vec<Vec<u8>>>,
    /// The seconds that the files tell, in order.
    pub times: Vec<u64>,
    /// Something is missing, they say.
    pub has_gap: bool,
    /// There was no manifest.
    pub is_missing: bool,
    pub manifest: Manifest,
}

/// Reads the AOF that is there now, all of it sound but for the end of the last file.
pub fn read(storage: &FaultyStorage) -> Archived {
    read_files(storage, false)
}

/// Reads the AOF that is there now, as far as there are commands.
pub fn read_torn(storage: &FaultyStorage) -> Archived {
    read_files(storage, true)
}

fn read_files(storage: &FaultyStorage, may_be_torn: bool) -> Archived {
    // What a process that is killed now would leave; reading it disturbs nobody.
    let storage = storage.survivor(CrashMode::ProcessKilled);
    let Some(text) = storage.bytes_of(&names::manifest()) else {
        return Archived {
            is_missing: true,
            ..Archived::default()
        };
    };
    let manifest = Manifest::decode(&text).unwrap();
    let mut archived = Archived::default();
    if let Some(base) = &manifest.base {
        archived.model = snapshot(&storage, &names::in_folder(&base.name));
    }
    let last = manifest.increments.last().map(|file| file.seq);
    for file in &manifest.increments {
        let is_last = Some(file.seq) == last;
        let may_be_torn = may_be_torn && is_last;
        archived.read_commands(&storage, &names::in_folder(&file.name), may_be_torn);
    }
    archived.manifest = manifest;
    archived
}

/// What a snapshot holds.
pub fn snapshot(storage: &FaultyStorage, object: &Object) -> Model {
    block_on(async {
        let reader = storage.open(object.clone()).await.unwrap();
        let mut reader = rdb::Reader::open(reader, object.clone()).await.unwrap();
        let mut model = Model::default();
        while let Some(item) = reader.next().await.unwrap() {
            if let rdb::Item::Entry {
                key,
                value,
                deadline_ms,
                ..
            } = item
            {
                let before = model.insert(key.to_vec(), (value.to_vec(), deadline_ms));
                assert_eq!(before, None, "a key twice");
            }
        }
        model
    })
}

impl Archived {
    fn read_commands(&mut self, storage: &FaultyStorage, object: &Object, may_be_torn: bool) {
        let reader = block_on(storage.open(object.clone())).unwrap();
        let mut reader = Reader::new(reader, object.clone());
        loop {
            let item = match block_on(reader.next()) {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(_) if may_be_torn => return,
                Err(error) => panic!("{error}"),
            };
            match item {
                Item::Command(command) => {
                    let words = command.args.iter().map(|word| word.to_vec()).collect();
                    self.run(words);
                }
                Item::Annotation { line, .. } => match line {
                    Line::Timestamp(second) => self.times.push(second),
                    Line::Gap(_) => self.has_gap = true,
                    _ => {}
                },
            }
        }
        let is_torn = reader.ending().tear.is_some();
        assert!(may_be_torn || !is_torn, "{object} is torn");
    }

    fn run(&mut self, words: Vec<Vec<u8>>) {
        let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
        match (&words[0][..], &words[1..]) {
            (b"SET", [key, value]) => {
                self.model.insert(key.clone(), (value.clone(), 0));
            }
            (b"SET", [key, value, word, deadline_ms]) if word == b"PXAT" => {
                let deadline_ms = text(deadline_ms).parse().unwrap();
                self.model.insert(key.clone(), (value.clone(), deadline_ms));
            }
            (b"DEL", [key]) => {
                self.model.remove(key);
            }
            (b"FLUSHALL", []) => self.model.clear(),
            _ => panic!("{words:?}"),
        }
        self.commands.push(words);
    }
}
