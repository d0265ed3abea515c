//! What is read back, and what is not.

use super::*;
use crate::Object;
use crate::storage::faulty::{Fault, OpKind, Plan, When};

#[test]
fn keys_that_were_in_use_are_in_memory_after_a_restart_and_no_others() {
    let process = Process::filled(options());
    process.read(500..700);
    let process = Process::start(&process.close()).warmed();
    let stats = process.db.stats();
    assert_eq!((stats.warm.keys_noted, stats.warm.keys_loaded), (200, 200));
    // Nobody has asked for anything yet.
    assert_eq!(stats.cold_reads, 0);
    assert_eq!(process.in_memory(500..700), 200);
    assert_eq!(process.in_memory(0..200), 0);
}

#[test]
fn without_a_note_a_store_comes_back_cold() {
    let off = Options {
        warm_restart_every: None,
        ..options()
    };
    let process = Process::filled(off.clone());
    process.read(500..700);
    let storage = process.close();
    assert!(noted(&storage).is_none());
    let process = Process::start(&storage).warmed();
    assert_eq!(process.in_memory(500..700), 0);
    // What is read once from tables is not yet what is in use.
    process.read(500..700);
    let storage = process.close();
    assert_eq!(noted(&storage).unwrap().unwrap(), all(500..700));
    // A note is of no interest to who does not want it.
    let process = Process::start_with(&storage, off);
    process.wait(EVERY);
    assert_eq!(process.in_memory(500..700), 0);
}

#[test]
fn what_was_read_back_is_in_use_also_for_the_next_restart() {
    let process = Process::filled(options());
    process.read(0..100);
    let process = Process::start(&process.close()).warmed();
    let process = Process::start(&process.close()).warmed();
    assert_eq!(process.in_memory(0..100), 100);
}

#[test]
fn what_has_changed_since_it_was_noted_is_answered_as_it_is() {
    let process = Process::filled(options());
    process.read(0..500);
    let process = Process::start(&process.close()).warmed();
    process.do_(async {
        let db = &process.db;
        db.delete(&key(1)).await.unwrap();
        db.delete_range(&key(100), Some(&key(200))).await.unwrap();
        db.put(&key(2), b"new").await.unwrap();
        db.put_for(&key(3), b"short", Duration::from_millis(5))
            .await
            .unwrap();
        db.put_for(&key(4), b"long", Duration::from_secs(3600))
            .await
            .unwrap();
        db.flush().await.unwrap();
    });
    let storage = process.kill();
    assert_eq!(noted(&storage).unwrap().unwrap(), all(0..500));

    let process = Process::start_later(&storage, options(), 10_000).unwrap();
    let process = process.warmed();
    let get = |n: usize| process.do_(process.db.get(&key(n))).unwrap();
    assert_eq!((get(1), get(150), get(3)), (None, None, None));
    assert_eq!(get(2).as_deref(), Some(&b"new"[..]));
    assert_eq!(get(4).as_deref(), Some(&b"long"[..]));
    process.read(5..100);
    process.read(200..KEYS);
    // Key 0, 2, 4 to 99 and 200 to 499; what lies in tables above a range delete may be left to its first reader.
    let loaded = process.db.stats().warm.keys_loaded;
    assert_eq!(loaded, 398);
}

#[test]
fn a_write_that_comes_while_keys_are_read_back_is_what_is_read() {
    let process = Process::filled(options());
    process.read(0..KEYS);
    let process = Process::start(&process.close());
    let mut n = 0;
    while process.db.stats().warm.is_loading {
        process.wait(Duration::from_micros(300));
        process
            .do_(process.db.put(&key(KEYS - 1 - n), b"written meanwhile"))
            .unwrap();
        n += 1;
    }
    assert!(n > 10, "{n} writes came meanwhile");
    for n in KEYS - n..KEYS {
        let found = process.do_(process.db.get(&key(n))).unwrap();
        assert_eq!(found.as_deref(), Some(&b"written meanwhile"[..]));
    }
    process.read(0..KEYS - n);
}

#[test]
fn a_store_that_is_closed_while_keys_are_read_back_keeps_its_note() {
    let process = Process::filled(options());
    process.read(0..KEYS);
    let storage = process.close();
    let process = Process::start(&storage);
    let before = process.runtime.monotonic();
    assert!(process.db.stats().warm.is_loading);
    let runtime = process.runtime.clone();
    let storage = process.close();
    assert!(runtime.monotonic() - before < Duration::from_secs(1));
    assert_eq!(noted(&storage).unwrap().unwrap(), all(0..KEYS));
    let process = Process::start(&storage).warmed();
    assert_eq!(process.in_memory(0..KEYS), KEYS);
}

#[test]
fn with_a_smaller_budget_a_part_comes_back_and_nothing_is_evicted_for_it() {
    let process = Process::filled(Options {
        memory_bytes: 32 << 20,
        ..options()
    });
    process.fill(KEYS..20_000);
    process.read(0..20_000);
    let small = Options {
        memory_bytes: 1 << 20,
        ..options()
    };
    let process = Process::start_with(&process.close(), small).warmed();
    let stats = process.db.stats();
    assert!((500..10_000).contains(&stats.warm.keys_loaded), "{stats:?}");
    assert_eq!(stats.memory.evicted, 0);
    assert!(stats.memory.free_chunks >= stats.memory.chunks / 4);
    assert_eq!(process.in_memory(0..500), 500);
    process.read(0..20_000);
}

#[test]
fn a_note_that_is_damaged_anywhere_is_no_obstacle() {
    let process = Process::filled(options());
    process.read(0..300);
    let storage = process.close();
    let bytes = storage.bytes_of(&format::object()).unwrap();
    for place in (0..bytes.len()).step_by(31).chain([0, 8, 12, 16, 17]) {
        let process = Process::start(&storage.restart(CrashMode::ProcessKilled));
        let storage = process.close();
        assert!(storage.flip(&format::object(), place as u64, 3));
        let process = Process::start(&storage).warmed();
        let loaded = process.db.stats().warm.keys_loaded;
        // All of it is one section.
        assert!(loaded == 0 || place > bytes.len() - 20, "{place}: {loaded}");
        process.read(0..KEYS);
        process.read(0..KEYS);
        // The next one is sound again.
        let storage = process.close();
        assert_eq!(noted(&storage).unwrap().unwrap(), all(0..KEYS));
    }
}

#[test]
fn a_note_that_is_empty_cut_or_of_another_version_is_no_obstacle() {
    let process = Process::filled(options());
    process.read(0..300);
    let storage = process.close();
    let changes: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes[8] = 9,
        |bytes| bytes.fill(0),
    ];
    for change in changes {
        let storage = storage.restart(CrashMode::ProcessKilled);
        assert!(storage.tamper(&format::object(), change));
        let process = Process::start(&storage).warmed();
        assert_eq!(process.db.stats().warm.keys_loaded, 0);
        assert_eq!(process.in_memory(0..300), 0);
        assert!(process.db.stats().background_errors.is_empty());
    }
}

#[test]
fn a_table_that_cannot_be_read_is_no_obstacle() {
    let process = Process::filled(options());
    process.read(0..300);
    let storage = process.close();
    storage.set_cold_reads(true);
    let of_table = |op: &crate::storage::faulty::Op| matches!(op.objects[..], [Object::Table(_)]);
    // The table's own footer, index and filter are read when it is opened.
    let opened = {
        let storage = storage.survivor(CrashMode::ProcessKilled);
        let off = Options {
            warm_restart_every: None,
            ..options()
        };
        drop(Process::start_with(&storage, off));
        let reads = storage.log().into_iter();
        reads
            .filter(|op| op.kind == OpKind::Read && of_table(op))
            .count()
    };
    let when = When::kind(OpKind::Read)
        .matching(of_table)
        .after(opened as u64);
    storage.set_plan(Plan::new().once(when, Fault::Fail));
    let process = Process::start(&storage).warmed();
    assert_eq!(process.db.stats().warm.keys_loaded, 0);
    process.read(0..300);
}
