//! The fault model, statement by statement.

mod crashes;
mod errors;
mod pending;

use futures_lite::future::block_on;

use super::*;
use crate::storage::{Durability, Reader, Storage, Writer};

pub(super) use Durability::{Synced, Written};
pub(super) use Object::{Segment, Table};

/// A storage with segment 1, some bytes of it appended, written and synced.
pub(super) fn segment(
    synced: &[u8],
    written: &[u8],
    appended: &[u8],
) -> (FaultyStorage, FaultyWriter) {
    let storage = FaultyStorage::new();
    let mut writer = block_on(storage.create(Segment(1))).unwrap();
    if !synced.is_empty() {
        settle(&mut writer, synced, Synced).unwrap();
    }
    if !written.is_empty() {
        settle(&mut writer, written, Written).unwrap();
    }
    writer.append(appended).unwrap();
    (storage, writer)
}

pub(super) fn settle(writer: &mut FaultyWriter, bytes: &[u8], to: Durability) -> Result<()> {
    let upto = writer.append(bytes)?;
    block_on(writer.settle(upto, to))
}

pub(super) fn kind_of<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind(),
    }
}

pub(super) fn log_of(storage: &FaultyStorage) -> Option<Vec<u8>> {
    storage.bytes_of(&Segment(1))
}

#[test]
fn every_operation_is_counted_in_order() {
    block_on(async {
        let storage = FaultyStorage::new();
        storage.load().await.unwrap();
        let mut writer = storage.create(Table(1)).await.unwrap();
        let upto = writer.append(b"four").unwrap();
        writer.settle(upto, Written).await.unwrap();
        writer.settle(upto, Synced).await.unwrap();
        let reader = storage.open(Table(1)).await.unwrap();
        reader.read_now(0, 2).unwrap().unwrap();
        reader.read_at(0, 3).await.unwrap();
        storage.commit("meta".into()).await.unwrap();
        storage.resume(Table(1), 4).await.unwrap();
        storage.replace(Table(1), Table(2)).await.unwrap();
        let place = FaultyStorage::new();
        storage
            .checkpoint(place, vec![(Table(2), 4)], "m".into())
            .await
            .unwrap();
        storage.remove(vec![Table(2)]).await.unwrap();
        storage.room().await.unwrap();

        use OpKind::*;
        let log = storage.log();
        let kinds: Vec<OpKind> = log.iter().map(|op| op.kind).collect();
        let expected = [
            Load,
            Create,
            Append,
            SettleWritten,
            SettleSynced,
            Open,
            Read,
            Read,
            Commit,
            Resume,
            Replace,
            Checkpoint,
            Remove,
            Room,
        ];
        assert_eq!(kinds, expected);
        assert!(
            log.iter()
                .zip(0..)
                .all(|(op, at)| op.index == at && op.failed.is_none())
        );
        let bytes: Vec<u64> = log.iter().map(|op| op.bytes).collect();
        assert_eq!(bytes, [0, 0, 4, 4, 4, 0, 2, 3, 4, 0, 0, 4, 0, 0]);
        assert_eq!(storage.operations(), expected.len() as u64);
        assert_eq!(storage.count(Read), 2);
        assert_eq!(storage.syncs(), 1);
    });
}

#[test]
fn a_settle_moves_no_byte_more_than_it_was_asked_for() {
    let (storage, mut writer) = segment(b"", b"", b"aa");
    writer.append(b"bb").unwrap();
    block_on(writer.settle(2, Written)).unwrap();
    assert_eq!(log_of(&storage).unwrap(), b"aa");
    block_on(writer.settle(1, Synced)).unwrap();
    assert_eq!(storage.durable_bytes_of(&Segment(1)).unwrap(), b"a");
}

#[test]
fn a_settle_past_the_end_is_invalid() {
    let (_storage, writer) = segment(b"", b"", b"aa");
    assert_eq!(
        kind_of(block_on(writer.settle(3, Written))),
        ErrorKind::Invalid
    );
}

#[test]
fn a_reader_sees_what_was_written_and_goes_on_reading_what_was_removed() {
    block_on(async {
        let (storage, _writer) = segment(b"sync", b"writ", b"append");
        let reader = storage.open(Segment(1)).await.unwrap();
        assert_eq!(reader.len(), 8);
        storage.remove(vec![Segment(1), Table(9)]).await.unwrap();
        storage.commit("meta".into()).await.unwrap();
        assert_eq!(reader.read_at(2, 4).await.unwrap(), "ncwr");
        assert_eq!(kind_of(reader.read_at(6, 3).await), ErrorKind::Corrupt);
        assert_eq!(kind_of(storage.open(Segment(1)).await), ErrorKind::Missing);
    });
}

#[test]
fn files_that_nothing_leads_to_are_forgotten() {
    let (storage, writer) = segment(b"sync", b"", b"");
    block_on(storage.remove(vec![Segment(1)])).unwrap();
    block_on(storage.commit("meta".into())).unwrap();
    assert_eq!(storage.core.state.lock().disk.files.len(), 1);
    drop(writer);
    assert_eq!(storage.core.state.lock().disk.files.len(), 0);
}

#[test]
fn a_writer_that_was_superseded_is_refused() {
    let (storage, mut old) = segment(b"sync", b"", b"");
    let mut new = block_on(storage.resume(Segment(1), 2)).unwrap();
    assert_eq!(kind_of(old.append(b"x")), ErrorKind::Invalid);
    assert_eq!(
        kind_of(block_on(old.settle(2, Written))),
        ErrorKind::Invalid
    );
    settle(&mut new, b"new", Written).unwrap();
    assert_eq!(log_of(&storage).unwrap(), b"synew");
}

#[test]
fn a_checkpoint_is_complete_and_synced() {
    block_on(async {
        let (storage, _writer) = segment(b"sync", b"writ", b"");
        let place = FaultyStorage::new();
        let objects = vec![(Segment(1), 6)];
        storage
            .checkpoint(place.clone(), objects.clone(), "m".into())
            .await
            .unwrap();
        let again = storage.checkpoint(place.clone(), objects, "m".into()).await;
        assert_eq!(kind_of(again), ErrorKind::Invalid);
        let survivor = place.restart(CrashMode::PowerLoss);
        assert_eq!(log_of(&survivor).unwrap(), b"syncwr");
        assert_eq!(survivor.meta().unwrap(), "m");
    });
}

#[test]
fn a_second_load_finds_the_store_locked_until_the_first_is_dropped() {
    let kept = FaultyStorage::new();
    let open = kept.clone();
    block_on(open.load()).unwrap();
    let shared = open.clone();
    drop(open);
    assert_eq!(kind_of(block_on(kept.clone().load())), ErrorKind::Locked);
    drop(shared);
    let open = kept.clone();
    block_on(open.load()).unwrap();
    kept.unlock();
    let other = kept.clone();
    block_on(other.load()).unwrap();
    drop(open);
    assert_eq!(kind_of(block_on(kept.clone().load())), ErrorKind::Locked);
    block_on(kept.restart(CrashMode::ProcessKilled).load()).unwrap();
}
