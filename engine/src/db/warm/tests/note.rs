//! When keys are noted, and which.

use super::*;
use crate::storage::faulty::{OpKind, Plan};

#[test]
fn keys_are_noted_now_and_then_and_a_killed_process_comes_back_warm() {
    let process = Process::filled(options());
    process.read(0..100);
    process.wait(EVERY + Duration::from_secs(1));
    assert_eq!(process.db.stats().warm.keys_noted, 100);
    process.read(100..200);
    process.wait(EVERY + Duration::from_secs(1));
    // Too late for the note.
    process.read(200..300);
    let process = Process::start(&process.kill()).warmed();
    assert_eq!(process.in_memory(0..200), 200);
    assert_eq!(process.in_memory(200..300), 0);
}

#[test]
fn a_store_that_is_dropped_is_let_go_of_without_a_note() {
    let process = Process::filled(options());
    process.read(0..100);
    let runtime = process.runtime.clone();
    let storage = process.storage.clone();
    drop(process);
    runtime.advance(Duration::from_secs(2));
    assert_eq!(runtime.tasks(), 0);
    assert!(noted(&storage).is_none());
}

#[test]
fn nothing_is_written_while_the_same_keys_are_in_use() {
    let process = Process::filled(options());
    process.wait(2 * EVERY + EVERY / 2);
    assert!(noted(&process.storage).is_none(), "nothing is in use yet");
    process.read(0..100);
    process.wait(EVERY);
    let made = process.storage.count(OpKind::Create);
    process.read(0..100);
    process.wait(5 * EVERY);
    assert_eq!(process.storage.count(OpKind::Create), made);
    process.read(100..101);
    process.wait(EVERY);
    assert_eq!(process.storage.count(OpKind::Create), made + 1);
}

#[test]
fn a_note_is_not_synced() {
    let process = Process::filled(options());
    process.wait(Duration::from_secs(10));
    process.read(0..100);
    let before = process.storage.syncs();
    process.wait(EVERY);
    assert!(noted(&process.storage).is_some());
    assert_eq!(process.storage.syncs(), before);
}

#[test]
fn tombstones_large_values_and_expired_keys_are_not_noted() {
    let process = Process::filled(options());
    process.do_(async {
        let db = &process.db;
        db.delete(&key(0)).await.unwrap();
        db.put(&key(1), &vec![1; 20_000]).await.unwrap();
        db.put_for(&key(2), b"short", Duration::from_millis(5))
            .await
            .unwrap();
        db.put_for(&key(3), b"long", Duration::from_secs(3600))
            .await
            .unwrap();
        for n in 0..4 {
            db.get(&key(n)).await.unwrap();
        }
    });
    let storage = process.close_after(Duration::from_millis(10));
    assert_eq!(noted(&storage).unwrap().unwrap(), all(3..4));
}

#[test]
fn as_much_is_noted_as_is_read_back() {
    let small = Options {
        memory_bytes: 1 << 20,
        ..options()
    };
    let process = Process::filled(small.clone());
    process.read(0..KEYS);
    process.read(0..KEYS);
    let storage = process.close();
    let noted = noted(&storage).unwrap().unwrap().len();
    let process = Process::start_with(&storage, small).warmed();
    let loaded = process.db.stats().warm.keys_loaded as usize;
    assert!(noted > 1000, "{noted}");
    assert!(loaded * 10 >= noted * 9, "{loaded} of {noted}");
    assert_eq!(process.db.stats().memory.evicted, 0);
}

#[test]
fn where_there_is_no_room_the_note_before_stays() {
    let process = Process::filled(options());
    process.read(0..100);
    process.wait(EVERY + EVERY / 2);
    process.read(100..200);
    let objects = process.storage.objects().into_iter();
    let taken: u64 = objects.map(|(_, bytes)| bytes).sum();
    process.storage.set_capacity(Some(taken + (100 << 10)));
    process.wait(2 * EVERY);
    assert_eq!(noted(&process.storage).unwrap().unwrap(), all(0..100));
    process.storage.set_capacity(None);
    process.wait(EVERY);
    assert_eq!(noted(&process.storage).unwrap().unwrap(), all(0..200));
}

#[test]
fn a_close_waits_a_moment_for_its_note_and_then_does_without() {
    let process = Process::filled(options());
    process.read(0..100);
    process.wait(EVERY);
    process.read(100..KEYS);
    // Each operation is pending for many polls, at each of which a slow disk takes its time.
    process.storage.set_plan(Plan::slow(1, 5));
    let before = process.runtime.monotonic();
    process.do_(process.db.close()).unwrap();
    assert!(process.runtime.monotonic() - before < Duration::from_secs(2));
    let storage = process.end();
    let found = noted(&storage).unwrap().unwrap();
    assert!(found == all(0..100) || found == all(0..KEYS));
}

impl Process {
    fn close_after(self, time: Duration) -> FaultyStorage {
        self.wait(time);
        self.close()
    }
}
