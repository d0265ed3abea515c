//! A file gets its name when it is complete and synced, and not before.

use super::super::Writer;
use super::*;
use crate::ErrorKind;
use crate::storage::FaultyStorage;
use crate::storage::faulty::{CrashMode, OpKind, Plan};

const VALUE_BYTES: usize = 100_000;

fn value(generation: u8, number: usize) -> Vec<u8> {
    (0..VALUE_BYTES)
        .map(|i| (i * (number + 3)) as u8 ^ generation)
        .collect()
}

async fn write<S: Storage>(storage: &S, generation: u8, keys: usize) -> Result<()> {
    let mut file = begin(storage).await?;
    for number in 0..keys {
        let key = number.to_string();
        let value = value(generation, number);
        file.entry(key.as_bytes(), &value, 0).await?;
    }
    let bytes = file.bytes();
    let written = file.finish().await?;
    assert_eq!(written.keys, keys as u64);
    // The end and the checksum.
    assert_eq!(written.bytes, bytes + 9);
    Ok(())
}

async fn begin<S: Storage>(storage: &S) -> Result<Writer<S>> {
    let options = EncodeOptions {
        version: 10,
        compress: false,
    };
    Writer::create(storage.clone(), "dump.rdb", options, &[], Sizes::default()).await
}

/// How many keys the file has, and of which generation they are.
fn generation_of(bytes: &[u8]) -> (u8, usize) {
    let content = read_in(bytes, READ_BYTES).unwrap();
    assert!(content.ending.checked);
    let generation = content.entries[0].1[0];
    for (number, (key, found, _)) in content.entries.iter().enumerate() {
        assert_eq!(*key, number.to_string().as_bytes());
        assert!(*found == value(generation, number), "key {number}");
    }
    (generation, content.entries.len())
}

#[test]
fn after_a_crash_at_any_operation_the_file_is_the_old_one_or_the_new_one() {
    let both = async |storage: FaultyStorage| {
        storage.load().await?;
        write(&storage, 1, 3).await?;
        write(&storage, 2, 25).await
    };
    let calm = FaultyStorage::new();
    block_on(both(calm.clone())).unwrap();
    assert!(calm.count(OpKind::SettleWritten) > 2);
    let mut seen = [0; 3];
    for point in Plan::every_crash(calm.operations()) {
        let storage = FaultyStorage::with_plan(point.plan());
        block_on(both(storage.clone())).unwrap_err();
        let old_is_there = storage
            .log()
            .iter()
            .any(|op| op.kind == OpKind::Replace && op.failed.is_none());
        for mode in CrashMode::all(0..4) {
            let found = storage.restart(mode).bytes_of(&dump());
            match found.map(|bytes| generation_of(&bytes)) {
                Some((1, 3)) => seen[1] += 1,
                Some((2, 25)) => seen[2] += 1,
                None if !old_is_there => seen[0] += 1,
                other => panic!("{point:?}, {mode:?}: {other:?}"),
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn long_files_are_synced_as_they_grow() {
    let storage = FaultyStorage::new();
    block_on(write(&storage, 1, 400)).unwrap();
    assert_eq!(storage.count(OpKind::SettleSynced), 3);
    let log = storage.log();
    let appends = log.iter().filter(|op| op.kind == OpKind::Append);
    let largest = appends.map(|op| op.bytes).max().unwrap();
    assert!(largest <= 1 << 20, "{largest}");
    let bytes = storage.bytes_of(&dump()).unwrap();
    assert_eq!(generation_of(&bytes), (1, 400));
}

#[test]
fn a_file_that_is_given_up_leaves_nothing() {
    let storage = FaultyStorage::new();
    block_on(async {
        write(&storage, 1, 2).await?;
        let mut file = begin(&storage).await?;
        file.entry(b"0", &[2], 0).await?;
        file.abandon().await
    })
    .unwrap();
    let names: Vec<Object> = storage
        .objects()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, [dump()]);
    assert_eq!(generation_of(&storage.bytes_of(&dump()).unwrap()), (1, 2));
}

#[test]
fn a_version_that_is_not_written_touches_nothing() {
    let storage = FaultyStorage::new();
    let options = EncodeOptions {
        version: 12,
        compress: true,
    };
    let writer = Writer::create(storage.clone(), "dump.rdb", options, &[], Sizes::default());
    let error = block_on(writer).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(storage.operations(), 0);
}
