//! What applied entries do, and what reads see.

use super::*;
use crate::command::Deadline;
use crate::ring::store::LOST_WRITES;
use crate::storage::faulty::{Fault, OpKind, When};

fn expiring(range: RangeId, index: u64, at_ms: u64) -> Arc<Entry> {
    let expiry = Expiry::Set(Deadline::At(at_ms as i64));
    command(1, index, &set_for(range, index, b"short", expiry))
}

#[test]
fn a_clear_keeps_to_its_range() {
    let process = Process::with(&[3, 4]);
    for range in [3, 4] {
        let entries: Vec<_> = (1..=3).map(|index| put(range, 1, index, b"x")).collect();
        process.commit(range, &entries);
    }
    assert_eq!(process.store.dbsize(), 6);
    process.commit(3, &[command(1, 4, &Command::Clear)]);
    assert_eq!(process.store.dbsize(), 3);
    assert_eq!(process.get(3, 1), None);
    assert_eq!(process.get(4, 1).unwrap(), b"x");
    process.flush();
    let process = process.kill();
    assert_eq!(process.store.dbsize(), 3);
}

#[test]
fn counts_are_exact_after_a_crash_at_any_distance_from_a_flush() {
    let mut process = Process::with(&[3, 4]);
    let mut entries = [Vec::new(), Vec::new()];
    for index in 1..=40 {
        for range in [3, 4] {
            let entry = put(range, 1, index, &[1; 100]);
            process.commit(range, std::slice::from_ref(&entry));
            entries[range as usize - 3].push(entry);
        }
        if index % 9 == 0 {
            process.flush();
        }
        if index % 7 == 0 {
            process = process.kill();
            for range in [3, 4] {
                let applied = process.range(range).applied.index as usize;
                let of_range = &entries[range as usize - 3];
                assert_eq!(process.range(range).entries, of_range[applied..]);
                process.apply(range, &of_range[applied..]);
            }
        }
        assert_eq!(process.store.dbsize(), 2 * index);
    }
}

#[test]
fn time_is_the_readers_and_expired_keys_are_listed_for_removal() {
    let process = Process::with(&[6]);
    process.commit(6, &[expiring(6, 1, NOW_MS + 500), put(6, 1, 2, b"long")]);
    let read = |now_ms| {
        let command = Command::Get(key(6, 1));
        process.do_(process.store.read(&command, now_ms)).unwrap()
    };
    assert_eq!(
        read(NOW_MS + 499),
        Reply::Bulk(Bytes::from_static(b"short"))
    );
    assert_eq!(read(NOW_MS + 500), Reply::Null);
    let expired = |now_ms| process.do_(process.store.expired(6, now_ms)).unwrap();
    assert_eq!(expired(NOW_MS + 499), None);
    let keys = |now_ms| {
        process
            .do_(process.store.keys(6, None, 10, now_ms))
            .unwrap()
    };
    assert_eq!(keys(NOW_MS + 499).len(), 2);
    assert_eq!(keys(NOW_MS + 500), [key(6, 2)]);
    let payload = expired(NOW_MS + 500).unwrap();
    let removal = Arc::new(Entry {
        time_ms: NOW_MS + 500,
        ..(*entry(1, 3, Content::Command(payload))).clone()
    });
    process.commit(6, &[removal]);
    assert_eq!(process.store.dbsize(), 1);
    assert_eq!(expired(NOW_MS + 600), None);
}

#[test]
fn a_command_that_writes_is_not_read() {
    let process = Process::with(&[6]);
    let read = process.do_(process.store.read(&set(6, 1, b"x"), NOW_MS));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn the_state_of_meta_moves_with_its_entries() {
    let process = Process::with(&[META]);
    let add = |index, bytes: &'static [u8]| entry(1, index, Content::Command(bytes.into()));
    let entries = [add(1, b"a"), empty(1, 2), add(3, b"b")];
    let step = |state: Option<Bytes>, entry: &Entry| {
        let Content::Command(payload) = &entry.content else {
            panic!("not a command")
        };
        let state = [&state.unwrap_or_default()[..], payload].concat();
        Ok((state.into(), Reply::Int(entry.index as i64)))
    };
    process.log(META, &as_records(&entries));
    let replies = process
        .do_(process.store.apply_meta(&entries, step))
        .unwrap();
    assert_eq!(replies, [(1, Reply::Int(1)), (3, Reply::Int(3))]);
    let meta = |process: &Process| process.do_(process.store.meta()).unwrap();
    assert_eq!(meta(&process).unwrap(), b"ab"[..]);
    process.flush();
    let process = process.kill();
    assert_eq!(process.range(META).applied.index, 3);
    assert_eq!(meta(&process).unwrap(), b"ab"[..]);
    assert_eq!(process.store.dbsize(), 0);
}

#[test]
fn lost_writes_are_written_down_for_people() {
    let process = Process::with(&[6]);
    let behind = LogId { term: 1, index: 1 };
    let lost = |process: &Process| process.do_(process.store.lost()).unwrap();
    assert!(lost(&process).is_empty());
    let entries = [put(6, 1, 2, b"gone"), empty(1, 3)];
    process
        .do_(process.store.write_lost(6, &entries, behind))
        .unwrap();
    let process = process.restart(CrashMode::PowerLoss);
    process
        .do_(process.store.write_lost(6, &entries[1..], behind))
        .unwrap();
    let lines = lost(&process);
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("range 6 index 2 term 1 time 1700000000002 behind 1@1: "));
    assert!(lines[0].contains("gone"), "{}", lines[0]);
}

#[test]
fn lost_writes_are_written_down_though_the_file_cannot_be_synced_any_more() {
    let process = Process::with(&[6]);
    let behind = LogId { term: 1, index: 1 };
    let write =
        |process: &Process, entry| process.do_(process.store.write_lost(6, &[entry], behind));
    write(&process, put(6, 1, 2, b"first")).unwrap();
    let file = Object::Archive(LOST_WRITES.into());
    let fails = When::kind(OpKind::SettleSynced).of(file);
    process
        .storage
        .set_plan(Plan::new().once(fails, Fault::Fail));
    write(&process, put(6, 1, 3, b"second")).unwrap();
    write(&process, put(6, 1, 4, b"third")).unwrap();
    let process = process.restart(CrashMode::PowerLoss);
    let lines = process.do_(process.store.lost()).unwrap();
    let has = |line: &String, word| line.contains(word);
    assert!(has(&lines[0], "first") && has(&lines[1], "second") && has(&lines[2], "third"));
    assert_eq!(lines.len(), 3);
}
