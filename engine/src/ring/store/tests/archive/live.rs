//! What the archive holds while the store works, and when it is opened again.

use super::*;
use crate::archive::aof::{Kind, names};
use crate::db::{Began, Busy};

#[test]
fn the_archive_has_what_the_store_has() {
    let mut store = Archiving::new();
    for n in 0..50 {
        store.set(n as usize % 3, n, &[n as u8; 30]);
    }
    store.del(0, 3);
    store.del(1, 777);
    store.set_until(2, 5, b"for a while", NOW_MS * 2);
    store.set(0, 6, b"again");
    store.check();
    let files = store.files();
    assert_eq!(files.model, contents(&store.process));
    // What changed nothing stands in no file.
    assert_eq!(files.commands.len(), 53);
}

#[test]
fn values_of_any_length_and_any_bytes_are_archived() {
    let mut store = Archiving::new();
    for (n, len) in [0, 1, 4095, 4096, 5000, 100_000, 400_000]
        .into_iter()
        .enumerate()
    {
        let value: Vec<u8> = (0..len).map(|n: usize| (n * 7 + n / 251) as u8).collect();
        store.set(n % 3, n as u64, &value);
    }
    store.set(1, 99, b"\r\n#CRC:00000000\r\n#ATALL:1;4=9\r\n#CRC:0\r\n#GAP:7\r\n#TS:99\r\n*1\r\n$8\r\nFLUSHALL\r\n");
    store.check();
    let store = store.restart(CrashMode::ProcessKilled);
    assert!(!store.files().has_gap);
    store.check();
}

#[test]
fn times_only_grow_and_are_those_of_the_entries() {
    let mut store = Archiving::new();
    for n in 0..10 {
        store.set(0, n, b"v");
        store.sleep(Duration::from_millis(700));
    }
    store.settle();
    let times = store.files().times;
    assert!(times.is_sorted_by(|a, b| a <= b), "{times:?}");
    assert!(times.len() >= 7, "{times:?}");
    assert!(*times.last().unwrap() * 1000 <= store.process.runtime.wall_ms());
}

#[test]
fn commands_that_compute_are_archived_as_what_they_came_to() {
    let mut store = Archiving::new();
    let counter = key(RANGES[0], 1);
    for by in [5, -2] {
        store.run(
            0,
            &Command::IncrBy {
                key: counter.clone(),
                by,
            },
        );
    }
    let appended = Command::Append {
        key: counter.clone(),
        value: "!".into(),
    };
    store.run(0, &appended);
    store.model.insert(counter.to_vec(), (b"3!".to_vec(), 0));
    store.run(0, &Command::Get(counter));
    store.check();
    assert_eq!(store.files().commands.len(), 3);
}

#[test]
fn expired_keys_are_deleted_in_the_archive() {
    let mut store = Archiving::new();
    let soon_ms = store.process.runtime.wall_ms() + 500;
    store.set_until(0, 1, b"soon gone", soon_ms);
    store.set(0, 2, b"stays");
    store.sleep(Duration::from_millis(600));
    let now_ms = store.process.runtime.wall_ms();
    let due = store
        .process
        .do_(store.process.store.due(RANGES[0], now_ms));
    let (payload, _) = due.unwrap();
    store.index[0] += 1;
    let (range, head, _) = store.entry(0, &Command::DbSize);
    let lent = LentEntries::default();
    let entries = [(range, head, payload.unwrap())].into_iter();
    let ticket = store.process.store.append_lent(entries, &lent).unwrap();
    store
        .process
        .do_(store.process.store.finish_lent(ticket))
        .unwrap();
    store.model.remove(&key(RANGES[0], 1)[..]);
    store.check();
    let deleted = [b"DEL".to_vec(), key(RANGES[0], 1).to_vec()];
    assert_eq!(store.files().commands.last().unwrap(), &deleted);
}

#[test]
fn where_no_key_is_left_a_flush_is_one_command() {
    let mut store = Archiving::new();
    for n in 0..30 {
        store.set(n as usize % 3, n, b"v");
    }
    // Entries of one batch, as a client's FLUSHALL makes them.
    let lent = LentEntries::default();
    let mut entries = Vec::new();
    for nth in 0..3 {
        store.index[nth] += 1;
        entries.push(store.entry(nth, &Command::Clear));
    }
    let ticket = store
        .process
        .store
        .append_lent(entries.into_iter(), &lent)
        .unwrap();
    store
        .process
        .do_(store.process.store.finish_lent(ticket))
        .unwrap();
    store.model.clear();
    store.set(1, 5, b"after");
    store.check();
    let commands = store.files().commands;
    assert_eq!(commands.len(), 32);
    assert_eq!(commands[30], [b"FLUSHALL"]);
    let store = store.restart(CrashMode::ProcessKilled);
    store.check();
}

#[test]
fn a_range_that_is_cleared_alone_loses_its_keys_one_by_one() {
    let mut store = Archiving::new();
    for n in 0..1000 {
        store.set(n as usize % 2, n, b"v");
    }
    store.clear(0);
    // It waits until it is known which keys these were.
    store.set(0, 4, b"after");
    store.set(1, 7, b"beside");
    store.clear(2);
    store.check();
    let commands = store.files().commands;
    let deletes = commands.iter().filter(|words| words[0] == b"DEL").count();
    assert_eq!(deletes, 500);
    assert!(commands.iter().all(|words| words[0] != b"FLUSHALL"));
}

#[test]
fn a_cleared_range_is_in_the_archive_before_its_log_may_go() {
    let mut store = Archiving::new();
    store.set(0, 1, b"gone");
    store.set(1, 2, b"stays");
    store.settle();
    store.clear(0);
    store.process.flush();
    let (files, model) = (store.files().model, store.model.clone());
    assert_eq!(files, model);
    let store = store.restart(CrashMode::PowerLoss);
    assert!(!store.files().has_gap);
    store.check();
}

#[test]
fn what_is_flushed_is_synced_in_the_archive() {
    let mut store = Archiving::new();
    for n in 0..20 {
        store.set(n as usize % 3, n, b"flushed at once");
    }
    store.process.flush();
    let durable = store.process.storage.survivor(CrashMode::PowerLoss);
    assert_eq!(files::read(&durable).model, store.model);
}

#[test]
fn what_the_log_has_and_the_archive_has_not_is_added_when_the_store_is_opened() {
    let mut store = Archiving::new();
    for n in 0..10 {
        store.set(0, n, b"before");
    }
    store.settle();
    let before = store.files().commands;
    for n in 10..20 {
        store.set(n as usize % 3, n, b"behind");
    }
    assert_eq!(store.files().commands.len(), before.len());
    let store = store.restart(CrashMode::ProcessKilled);
    store.check();
    let files = store.files();
    assert_eq!(
        files.commands.len(),
        20,
        "none is missing and none is there twice"
    );
    assert!(!files.has_gap);
    assert_eq!(store.stats().aof.rewrites.done, 0);
}

#[test]
fn a_torn_tail_is_cut_and_written_again() {
    let mut store = Archiving::new();
    for n in 0..10 {
        store.set(0, n, b"whole");
    }
    store.settle();
    store.set(0, 77, b"torn");
    store.set(1, 78, b"torn as well");
    store.sleep(Duration::from_millis(1_100));
    let object = {
        let manifest = store.files().manifest;
        names::in_folder(&manifest.increments.last().unwrap().name)
    };
    let len = store.process.storage.bytes_of(&object).unwrap().len();
    for cut in [1, 6, 9, 20, 40] {
        store
            .process
            .storage
            .tamper(&object, |bytes| bytes.truncate(len - cut));
        store = store.restart(CrashMode::ProcessKilled);
        store.check();
        let files = store.files();
        assert_eq!(files.commands.len(), 12, "cut off {cut}");
        assert!(!files.has_gap);
        assert_eq!(store.process.storage.bytes_of(&object).unwrap().len(), len);
    }
}

#[test]
fn a_store_that_stops_in_good_order_has_everything_in_the_archive() {
    let mut store = Archiving::new();
    for n in 0..10 {
        store.set(n as usize % 3, n, b"v");
    }
    store.process.do_(store.process.store.close()).unwrap();
    let durable = store.process.storage.survivor(CrashMode::PowerLoss);
    assert_eq!(files::read(&durable).model, store.model);
}

#[test]
fn a_rewrite_replaces_the_files_and_keeps_them_as_history() {
    let mut store = Archiving::new();
    for round in 0..3 {
        for n in 0..40 {
            store.set(n as usize % 3, n, &[round; 100]);
        }
        store.rewrite();
        store.set(0, 100 + u64::from(round), b"behind the base");
    }
    store.check();
    let manifest = store.files().manifest;
    let history = |file: &&crate::archive::aof::File| file.kind == Kind::History;
    assert_eq!(
        manifest
            .files()
            .filter(history)
            .filter(|file| file.is_base())
            .count(),
        3
    );
    let first = manifest.base.as_ref().unwrap().incr.unwrap();
    for (seq, file) in (first..).zip(&manifest.increments) {
        assert_eq!(file.seq, seq);
    }
    assert_eq!(store.stats().aof.rewrites.done, 3 + 1);
    let store = store.restart(CrashMode::ProcessKilled);
    store.check();
}

#[test]
fn a_rewrite_goes_on_beside_writes() {
    let mut store = Archiving::new();
    for n in 0..300 {
        store.set(n as usize % 3, n, &[1; 200]);
    }
    // Every operation takes its time, so that they overlap.
    store.process.storage.set_plan(Plan::slow(7, 4));
    let before = store.stats().aof.rewrites.done;
    store.process.store.db().rewrite_aof().unwrap();
    let mut n = 0;
    while store.stats().aof.rewrites.done == before {
        store.set(n as usize % 3, n % 320, format!("beside {n}").as_bytes());
        n += 1;
    }
    assert!(n > 10, "{n}");
    store.check();
}

#[test]
fn history_goes_when_it_is_old_or_too_much() {
    let mut options = archived(Sync::EverySecond);
    options.archive.retain = Duration::from_secs(100);
    options.archive.retain_bytes = 20 << 10;
    let mut store = Archiving::with(options);
    let bytes = |store: &Archiving| store.stats().aof.history_bytes;
    for round in 0..6 {
        for n in 0..40 {
            store.set(0, n, &[round; 100]);
        }
        store.rewrite();
        store.settle();
        assert!(
            bytes(&store) > 0 && bytes(&store) <= 20 << 10,
            "{}",
            bytes(&store)
        );
    }
    let here = |store: &Archiving| {
        let objects = store.process.storage.objects().into_iter();
        objects
            .filter(|(object, _)| matches!(object, Object::Archive(_)))
            .count()
    };
    assert_eq!(here(&store), store.files().manifest.files().count() + 1);
    store.sleep(Duration::from_secs(102));
    assert_eq!(bytes(&store), 0);
    assert_eq!(here(&store), store.files().manifest.files().count() + 1);
    store.check();
}

#[test]
fn the_aof_is_rewritten_when_it_has_grown() {
    let mut options = archived(Sync::EverySecond);
    options.archive.rewrite_least_bytes = 20 << 10;
    let mut store = Archiving::with(options);
    let mut rewrites = Vec::new();
    for n in 0..400 {
        store.set(0, n % 20, &[n as u8; 400]);
        store.sleep(Duration::from_millis(50));
        rewrites.push(store.stats().aof.rewrites.done);
    }
    assert!(rewrites.last().unwrap() > &3, "{:?}", store.stats());
    store.check();
}

#[test]
fn a_snapshot_has_the_state_of_one_moment() {
    let mut store = Archiving::new();
    for n in 0..50 {
        store.set(n as usize % 3, n, &[n as u8; 5000]);
    }
    let model = store.model.clone();
    assert_eq!(store.stats().rdb.changes, 50);
    store.process.storage.set_plan(Plan::slow(3, 4));
    assert_eq!(
        store.process.store.db().save_in_background(false),
        Ok(Began::Now)
    );
    assert_eq!(
        store.process.store.db().save_in_background(true),
        Err(Busy::Saving)
    );
    assert_eq!(
        store
            .process
            .do_(store.process.store.db().save())
            .unwrap_err(),
        Busy::Saving
    );
    assert_eq!(store.process.store.db().rewrite_aof(), Ok(Began::Later));
    // The moment is when it gets the right to apply.
    store.sleep(Duration::from_millis(1));
    store.set(0, 3, b"later");
    store.until(|stats| stats.rdb.saves.done == 1);
    let saved = files::snapshot(&store.process.storage, &Object::Archive("dump.rdb".into()));
    assert!(saved == model || saved == store.model);
    store.until(|stats| stats.aof.rewrites.done == 2);
    store
        .process
        .do_(store.process.store.db().save())
        .unwrap()
        .unwrap();
    let saved = files::snapshot(&store.process.storage, &Object::Archive("dump.rdb".into()));
    assert_eq!(saved, store.model);
    assert_eq!(store.stats().rdb.changes, 0);
}

#[test]
fn snapshots_are_written_every_five_minutes_if_something_has_changed() {
    let mut store = Archiving::new();
    store.sleep(Duration::from_secs(400));
    assert_eq!(store.stats().rdb.saves.done, 0);
    store.set(0, 1, b"v");
    store.sleep(Duration::from_secs(2));
    assert_eq!(store.stats().rdb.saves.done, 1, "the time had come before");
    store.set(0, 1, b"w");
    store.sleep(Duration::from_secs(290));
    assert_eq!(store.stats().rdb.saves.done, 1);
    store.sleep(Duration::from_secs(15));
    assert_eq!(store.stats().rdb.saves.done, 2);
    store.sleep(Duration::from_secs(700));
    assert_eq!(store.stats().rdb.saves.done, 2);
}

#[test]
fn an_opened_store_knows_whether_its_snapshot_is_out_of_date() {
    let mut store = Archiving::new();
    store.set(0, 1, b"v");
    store.settle();
    store
        .process
        .do_(store.process.store.db().save())
        .unwrap()
        .unwrap();
    let mut store = store.restart(CrashMode::ProcessKilled);
    assert_eq!(store.stats().rdb.changes, 0);
    store.set(0, 2, b"v");
    let store = store.restart(CrashMode::ProcessKilled);
    assert!(store.stats().rdb.changes > 0);
}

#[test]
fn ranges_that_come_and_go_leave_a_gap_until_the_aof_is_rewritten() {
    let mut store = Archiving::new();
    for n in 0..20 {
        store.set(n as usize % 3, n, b"v");
    }
    store.settle();
    store
        .process
        .do_(store.process.store.destroy(RANGES[1]))
        .unwrap();
    store
        .model
        .retain(|key, _| u32::from(arc_of(slot_of(key))) != RANGES[1]);
    let durable = store.process.storage.survivor(CrashMode::PowerLoss);
    assert!(
        files::read(&durable).has_gap,
        "it is known before the range is gone"
    );
    store.until(|stats| stats.aof.gap_s.is_none());
    store.check();
    assert!(!store.files().has_gap);
    // Not again at once: what comes next is put off.
    let rewrites = store.stats().aof.rewrites.done;
    store
        .process
        .do_(store.process.store.destroy(RANGES[2]))
        .unwrap();
    store
        .model
        .retain(|key, _| u32::from(arc_of(slot_of(key))) != RANGES[2]);
    store.sleep(Duration::from_secs(30));
    assert_eq!(store.stats().aof.rewrites.done, rewrites);
    assert!(store.stats().aof.gap_s.is_some());
    store.sleep(Duration::from_secs(32));
    assert_eq!(store.stats().aof.rewrites.done, rewrites + 1);
    store.check();
}

#[test]
fn an_installed_range_is_archived_with_the_next_base() {
    let mut store = Archiving::new();
    for n in 0..9 {
        store.set(n as usize % 3, n, b"v");
    }
    let process = &store.process;
    let snapshot = process.do_(process.store.snapshot_open(RANGES[0])).unwrap();
    let (part, last) = process
        .do_(process.store.snapshot_read(&snapshot, 0, 1 << 20))
        .unwrap();
    assert!(last);
    // Places come without their arc.
    store.clear(0);
    let process = &store.process;
    process
        .do_(process.store.chunk_store(RANGES[1], 5, 0, part))
        .unwrap();
    let head = SnapshotHead {
        id: 5,
        at: LogId { term: 8, index: 50 },
        time_ms: NOW_MS,
        configuration: alone(),
        configured_at: 0,
    };
    process
        .do_(
            process
                .store
                .snapshot_install(RANGES[1], &head, state(9, None)),
        )
        .unwrap();
    store.until(|stats| stats.aof.gap_s.is_none());
    store.settle();
    assert_eq!(store.files().model, contents(&store.process));
    let store = store.restart(CrashMode::ProcessKilled);
    assert!(!store.files().has_gap);
    store.settle();
    assert_eq!(store.files().model, contents(&store.process));
}

#[test]
fn an_aof_that_is_switched_on_later_begins_with_what_is_there() {
    let mut off = archived(Sync::EverySecond);
    off.archive.aof = false;
    let process = Process::start_with(&FaultyStorage::new(), off.clone()).unwrap();
    process
        .do_(process.store.found_all(&RANGES, founder(), &alone()))
        .unwrap();
    let mut store = Archiving {
        process,
        model: Model::default(),
        index: [0; 3],
    };
    for n in 0..20 {
        store.set(n as usize % 3, n, b"v");
    }
    store.process.flush();
    store.set(0, 100, b"in the log");
    assert!(store.files().is_missing);
    let mut store = store.restart(CrashMode::ProcessKilled);
    store.until(|stats| stats.aof.base_bytes > 0);
    store.check();
    // Off and on again: what came in between is missing, and a new base has it.
    store.set(1, 50, b"v");
    store.settle();
    let process = store
        .process
        .restart_with(CrashMode::ProcessKilled, off)
        .unwrap();
    store.index = replay(&process);
    store.process = process;
    store.set(1, 51, b"without the AOF");
    store.process.flush();
    let store = store.restart(CrashMode::ProcessKilled);
    store.until(|stats| stats.aof.rewrites.done > 0);
    store.check();
    assert!(!store.files().has_gap);
}

#[test]
fn always_means_at_once() {
    let mut options = archived(Sync::Always);
    options.archive.fsync = Fsync::Always;
    let mut store = Archiving::with(options);
    store.sleep(Duration::from_millis(100));
    for n in 0..5 {
        store.set(0, n, b"v");
        store.sleep(Duration::from_millis(1));
        let durable = store.process.storage.survivor(CrashMode::PowerLoss);
        assert_eq!(files::read(&durable).model, store.model);
    }
}
