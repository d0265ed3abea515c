//! Failed operations, full disks and rotten bits.

use super::*;

#[test]
fn an_error_once_passes_and_an_error_from_then_on_stays() {
    let storage = FaultyStorage::with_plan(
        Plan::new()
            .once(When::kind(OpKind::Commit), Fault::Fail)
            .always(
                When::kind(OpKind::Create).of(Table(3)).after(1),
                Fault::Full,
            ),
    );
    assert_eq!(
        kind_of(block_on(storage.commit("a".into()))),
        ErrorKind::Failed
    );
    assert_eq!(storage.meta(), None);
    block_on(storage.commit("b".into())).unwrap();
    block_on(storage.create(Table(3))).unwrap();
    for _ in 0..2 {
        assert_eq!(kind_of(block_on(storage.create(Table(3)))), ErrorKind::Full);
    }
    block_on(storage.create(Table(4))).unwrap();
    assert_eq!(storage.log()[0].failed, Some(ErrorKind::Failed));
    storage.set_plan(Plan::new());
    block_on(storage.create(Table(3))).unwrap();
}

#[test]
fn an_error_names_operation_and_object() {
    let plan = Plan::new().once(When::kind(OpKind::Open), Fault::Fail);
    let (storage, _writer) = segment(b"sync", b"", b"");
    storage.set_plan(plan);
    let error = block_on(storage.open(Segment(1))).err().unwrap();
    assert_eq!(error.object(), Some(&Segment(1)));
    assert!(
        error
            .to_string()
            .starts_with("opening an object of segment 1")
    );
}

#[test]
fn a_rule_can_look_at_the_operation() {
    let big = When::kind(OpKind::Append).matching(|op| op.bytes > 2);
    let storage = FaultyStorage::with_plan(Plan::new().always(big, Fault::Fail));
    let mut writer = block_on(storage.create(Segment(1))).unwrap();
    assert_eq!(writer.append(b"ab").unwrap(), 2);
    assert_eq!(kind_of(writer.append(b"abc")), ErrorKind::Failed);
    assert_eq!(writer.append(b"c").unwrap(), 3);
}

#[test]
fn a_failed_write_leaves_a_prefix_and_a_writer_of_no_use() {
    for (fault, kind) in [
        (Fault::Fail, ErrorKind::Failed),
        (Fault::Full, ErrorKind::Full),
    ] {
        let (storage, mut writer) = segment(b"sync", b"", b"");
        storage.set_plan(Plan::new().once(When::kind(OpKind::SettleWritten), fault));
        assert_eq!(kind_of(settle(&mut writer, b"more", Written)), kind);
        assert_eq!(log_of(&storage).unwrap(), b"syncmo");
        assert_eq!(kind_of(block_on(writer.settle(8, Written))), kind);
        assert_eq!(kind_of(writer.append(b"x")), kind);
        block_on(writer.settle(6, Written)).unwrap();

        let mut writer = block_on(storage.resume(Segment(1), 4)).unwrap();
        settle(&mut writer, b"again", Synced).unwrap();
        assert_eq!(storage.durable_bytes_of(&Segment(1)).unwrap(), b"syncagain");
    }
}

#[test]
fn a_failed_sync_leaves_bytes_written_and_the_object_unsyncable() {
    let (storage, mut writer) = segment(b"sync", b"", b"");
    let fail = Plan::new().once(When::kind(OpKind::SettleSynced), Fault::Fail);
    storage.set_plan(fail);
    assert_eq!(
        kind_of(settle(&mut writer, b"more", Synced)),
        ErrorKind::Failed
    );
    assert_eq!(log_of(&storage).unwrap(), b"syncmore");
    block_on(writer.settle(4, Synced)).unwrap();
    for upto in [5, 8] {
        let later = block_on(writer.settle(upto, Synced));
        assert_eq!(kind_of(later), ErrorKind::Failed);
    }
    settle(&mut writer, b"x", Written).unwrap();
    assert_eq!(
        log_of(&storage.restart(CrashMode::PowerLoss)).unwrap(),
        b"sync"
    );

    let killed = storage.restart(CrashMode::ProcessKilled);
    let mut writer = block_on(killed.resume(Segment(1), 4)).unwrap();
    assert_eq!(
        kind_of(settle(&mut writer, b"y", Synced)),
        ErrorKind::Failed
    );
    let mut writer = block_on(killed.create(Segment(1))).unwrap();
    settle(&mut writer, b"y", Synced).unwrap();
}

#[test]
fn a_sync_that_finds_no_space_is_a_failed_write() {
    let (storage, mut writer) = segment(b"sync", b"", b"");
    storage.set_capacity(Some(6));
    assert_eq!(
        kind_of(settle(&mut writer, b"more", Synced)),
        ErrorKind::Full
    );
    assert_eq!(log_of(&storage).unwrap(), b"syncmo");
    storage.set_capacity(None);
    let mut writer = block_on(storage.resume(Segment(1), 4)).unwrap();
    settle(&mut writer, b"more", Synced).unwrap();
}

#[test]
fn capacity_counts_live_bytes_and_meta() {
    let (storage, _writer) = segment(b"sync", b"", b"not written");
    assert_eq!(block_on(storage.room()).unwrap(), None);
    storage.set_capacity(Some(10));
    assert_eq!(block_on(storage.room()).unwrap(), Some(6));
    block_on(storage.commit("12345".into())).unwrap();
    assert_eq!(block_on(storage.room()).unwrap(), Some(1));
    assert_eq!(
        kind_of(block_on(storage.commit("1234567".into()))),
        ErrorKind::Full
    );
    assert_eq!(storage.meta().unwrap(), "12345");
    block_on(storage.commit("123456".into())).unwrap();
    block_on(storage.remove(vec![Segment(1)])).unwrap();
    assert_eq!(block_on(storage.room()).unwrap(), Some(4));
    let survivor = storage.restart(CrashMode::ProcessKilled);
    assert_eq!(block_on(survivor.room()).unwrap(), Some(4));
}

#[test]
fn a_full_disk_takes_nothing_until_there_is_space() {
    let (storage, mut writer) = segment(b"sync", b"", b"");
    storage.set_full(true);
    assert_eq!(block_on(storage.room()).unwrap(), Some(0));
    assert_eq!(kind_of(block_on(storage.create(Table(1)))), ErrorKind::Full);
    assert_eq!(
        kind_of(block_on(storage.commit("m".into()))),
        ErrorKind::Full
    );
    assert_eq!(
        kind_of(settle(&mut writer, b"more", Written)),
        ErrorKind::Full
    );
    assert_eq!(log_of(&storage).unwrap(), b"sync");
    storage.set_full(false);
    let mut writer = block_on(storage.resume(Segment(1), 4)).unwrap();
    settle(&mut writer, b"more", Written).unwrap();
    block_on(storage.commit("m".into())).unwrap();
}

#[test]
fn a_full_place_is_left_empty() {
    let (storage, _writer) = segment(b"sync", b"", b"");
    let place = FaultyStorage::new();
    place.set_capacity(Some(4));
    let objects = vec![(Segment(1), 4)];
    let made = block_on(storage.checkpoint(place.clone(), objects, "m".into()));
    assert_eq!(kind_of(made), ErrorKind::Full);
    assert!(place.objects().is_empty());
}

#[test]
fn bits_flip_at_rest() {
    let (storage, _writer) = segment(b"sync", b"", b"");
    assert!(storage.flip(&Segment(1), 1, 0));
    assert!(!storage.flip(&Segment(1), 4, 0));
    assert!(!storage.flip(&Table(1), 0, 0));
    assert_eq!(log_of(&storage).unwrap(), b"sxnc");
    assert_eq!(
        log_of(&storage.restart(CrashMode::PowerLoss)).unwrap(),
        b"sxnc"
    );

    let storage = FaultyStorage::new();
    assert!(!storage.flip_meta(0, 0));
    block_on(storage.commit("meta".into())).unwrap();
    assert!(storage.flip_meta(3, 1));
    assert_eq!(storage.meta().unwrap(), "metc");
}

#[test]
fn bits_flip_on_one_read_and_are_whole_on_the_next() {
    let (storage, _writer) = segment(b"sync", b"", b"");
    block_on(storage.commit("meta".into())).unwrap();
    storage.set_plan(
        Plan::new()
            .once(When::kind(OpKind::Read), Fault::FlipRead(9))
            .once(When::kind(OpKind::Load), Fault::FlipRead(32)),
    );
    let reader = block_on(storage.open(Segment(1))).unwrap();
    assert_eq!(block_on(reader.read_at(0, 4)).unwrap(), "s{nc");
    assert_eq!(block_on(reader.read_at(0, 4)).unwrap(), "sync");
    let loaded = block_on(storage.load()).unwrap();
    assert_eq!(loaded.meta.unwrap(), "leta");
}

#[test]
fn an_object_can_be_cut_short_at_rest() {
    let (storage, _writer) = segment(b"sync", b"", b"");
    assert!(storage.tamper(&Segment(1), |bytes| bytes.truncate(2)));
    assert_eq!(storage.durable_objects(), [(Segment(1), 2)]);
}

#[test]
fn reads_fail_as_planned() {
    let (storage, _writer) = segment(b"sync", b"", b"");
    let reader = block_on(storage.open(Segment(1))).unwrap();
    storage.set_plan(Plan::new().always(When::kind(OpKind::Read), Fault::Fail));
    assert_eq!(kind_of(reader.read_now(0, 1).unwrap()), ErrorKind::Failed);
    assert_eq!(kind_of(block_on(reader.read_at(0, 1))), ErrorKind::Failed);
    storage.set_cold_reads(true);
    assert!(reader.read_now(0, 1).is_none());
}
