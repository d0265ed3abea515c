//! Files of the archive that cannot be written or read: the store goes on, says so, and begins them anew when it can.

use super::*;
use crate::archive::aof::{Item, Kind, Line, Reader, names};
use crate::storage::faulty::{Fault, Op, OpKind, When};
use crate::{Storage, storage::Reader as _};

fn is_of_archive(op: &Op) -> bool {
    op.objects
        .iter()
        .any(|object| matches!(object, Object::Archive(_)))
}

fn is_of_increment(op: &Op) -> bool {
    op.objects
        .iter()
        .any(|object| object.to_string().ends_with(".incr.aof"))
}

/// It has been healed, and has everything.
#[track_caller]
fn check_healed(store: &Archiving) {
    store.until(|stats| stats.aof.trouble.is_none() && stats.aof.gap_s.is_none());
    store.check();
    assert!(!store.files().has_gap);
}

#[test]
fn without_room_for_the_archive_the_store_goes_on_and_the_archive_comes_back() {
    let mut store = Archiving::new();
    store.set(0, 1, b"before");
    store.settle();
    let last = store
        .files()
        .manifest
        .increments
        .last()
        .unwrap()
        .name
        .clone();
    let full = Plan::new().always(When::any().matching(is_of_archive), Fault::Full);
    store.process.storage.set_plan(full);
    store.set(0, 2, b"without room");
    store.until(|stats| stats.aof.trouble.is_some());
    for n in 0..50 {
        store.set(n as usize % 3, n, &[7; 900]);
    }
    // Nor is a flush held up.
    store.process.flush();
    assert_eq!(store.stats().aof.waiting_bytes, 0);
    assert!(store.stats().aof.rewrites.failures > 0);
    store.process.storage.set_plan(Plan::new());
    check_healed(&store);
    let ended = Object::Archive(format!("{}/{last}", names::FOLDER).into());
    assert!(
        ends_with_gap(&store.process.storage, &ended),
        "what the files before cover ends there"
    );
    let manifest = store.files().manifest;
    assert!(
        manifest
            .history
            .iter()
            .any(|file| file.name == last && file.kind == Kind::History)
    );
    let store = store.restart(CrashMode::PowerLoss);
    store.settle();
    assert_eq!(store.files().model, contents(&store.process));
}

fn ends_with_gap(storage: &FaultyStorage, object: &Object) -> bool {
    futures_lite::future::block_on(async {
        let storage = storage.survivor(CrashMode::ProcessKilled);
        let reader = storage.open(object.clone()).await.unwrap();
        assert!(!reader.is_empty());
        let mut reader = Reader::new(reader, object.clone());
        let mut has_gap = false;
        while let Some(item) = reader.next().await.unwrap() {
            match item {
                Item::Annotation {
                    line: Line::Gap(_), ..
                } => has_gap = true,
                Item::Command(_) => has_gap = false,
                Item::Annotation { .. } => {}
            }
        }
        has_gap
    })
}

#[test]
fn a_file_whose_sync_has_failed_is_left_and_another_chain_begun() {
    let mut store = Archiving::new();
    store.set(0, 1, b"before");
    store.settle();
    let base = store.files().manifest.base.unwrap();
    let failing = When::kind(OpKind::SettleSynced).matching(is_of_increment);
    store
        .process
        .storage
        .set_plan(Plan::new().once(failing, Fault::Fail));
    store.set(0, 2, b"not synced");
    store.until(|stats| stats.aof.rewrites.done == 2);
    store.set(1, 3, b"meanwhile");
    check_healed(&store);
    let chains = store.files().manifest.chains().unwrap();
    // What comes since does not go on from it.
    assert!(
        chains
            .iter()
            .all(|chain| chain.base.as_ref().unwrap().name != base.name)
    );
}

#[test]
fn a_failure_of_any_operation_on_the_archive_harms_the_store_in_nothing() {
    for fault in [Fault::Fail, Fault::Full] {
        let mut nth = 0;
        loop {
            let mut store = Archiving::new();
            let failing = When::any().matching(is_of_archive).after(nth);
            store
                .process
                .storage
                .set_plan(Plan::new().once(failing, fault.clone()));
            for n in 0..12 {
                store.set(n as usize % 3, n, &[n as u8; 1200]);
            }
            store.sleep(Duration::from_millis(1_200));
            let _busy = store.process.store.db().rewrite_aof();
            store.set(1, 2, b"beside");
            store.process.flush();
            store.clear(2);
            store.until(|stats| stats.aof.rewrites.running_ms.is_none());
            let _failed = store.process.do_(store.process.store.db().save());
            let has_failed = store
                .process
                .storage
                .log()
                .iter()
                .any(|op| op.failed.is_some());
            eprintln!("{fault:?}, {nth}: {:?}", store.stats().aof.trouble);
            check_healed(&store);
            let store = store.restart(CrashMode::PowerLoss);
            store.until(|stats| stats.aof.gap_s.is_none() && stats.aof.trouble.is_none());
            store.settle();
            assert_eq!(store.files().model, contents(&store.process));
            if !has_failed {
                break;
            }
            nth += 1;
        }
        assert!(nth > 20, "{nth} operations");
    }
}

#[test]
fn a_disk_that_is_full_for_all_is_waited_for() {
    let mut store = Archiving::new();
    for n in 0..10 {
        store.set(0, n, &[1; 500]);
    }
    store.process.storage.set_full(true);
    store.sleep(Duration::from_secs(5));
    let lent = LentEntries::default();
    store.index[0] += 1;
    let entry = store.entry(0, &set(RANGES[0], 50, b"waits"));
    let _ticket = store
        .process
        .store
        .append_lent([entry].into_iter(), &lent)
        .unwrap();
    store.sleep(Duration::from_secs(5));
    store.process.storage.set_full(false);
    store.sleep(Duration::from_secs(5));
    store
        .model
        .insert(key(RANGES[0], 50).to_vec(), (b"waits".to_vec(), 0));
    store.set(1, 1, b"after");
    check_healed(&store);
}

#[test]
fn what_cannot_be_read_is_laid_aside_and_begun_anew() {
    type Harm = fn(&FaultyStorage, &crate::archive::aof::Manifest);
    let harms: [Harm; 4] = [
        |storage, _| {
            storage.tamper(&names::manifest(), |bytes| bytes.truncate(7));
        },
        |storage, manifest| {
            let object = names::in_folder(&manifest.increments[0].name);
            storage.tamper(&object, |bytes| bytes[3] = b'!');
        },
        |storage, manifest| {
            let object = names::in_folder(&manifest.base.as_ref().unwrap().name);
            futures_lite::future::block_on(storage.remove(vec![object])).unwrap();
            futures_lite::future::block_on(storage.commit(storage.meta().unwrap())).unwrap();
        },
        |storage, manifest| {
            let object = names::in_folder(&manifest.increments[0].name);
            storage.tamper(&object, Vec::clear);
        },
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let mut store = Archiving::new();
        for n in 0..9 {
            store.set(n as usize % 3, n, b"v");
        }
        store.process.flush();
        store.process.do_(store.process.store.close()).unwrap();
        let manifest = store.files().manifest;
        let before = store.process.storage.objects().len();
        harm(&store.process.storage, &manifest);
        let mut store = store.restart(CrashMode::ProcessKilled);
        store.set(0, 70, b"goes on");
        eprintln!("{number}");
        check_healed(&store);
        assert!(store.process.storage.objects().len() > before - 2);
        // And again, as a store that never had any trouble.
        let store = store.restart(CrashMode::ProcessKilled);
        store.check();
        assert_eq!(store.stats().aof.rewrites.done, 0);
    }
}

#[test]
fn damage_behind_which_more_follows_is_cut_off_with_it() {
    let mut store = Archiving::new();
    for n in 0..4 {
        store.set(0, n, b"some value");
        store.sleep(Duration::from_millis(1_100));
    }
    let object = names::in_folder(&store.files().manifest.increments[0].name);
    // A bit of a value, which nothing but a checksum tells.
    let text = store.process.storage.bytes_of(&object).unwrap();
    let at = text
        .windows(10)
        .position(|window| window == b"some value")
        .unwrap();
    store.process.storage.flip(&object, at as u64, 1);
    let store = store.restart(CrashMode::ProcessKilled);
    store.check();
    assert!(!store.files().has_gap);
}

#[test]
fn a_snapshot_that_fails_leaves_the_one_before() {
    let mut store = Archiving::new();
    store.set(0, 1, b"v");
    store
        .process
        .do_(store.process.store.db().save())
        .unwrap()
        .unwrap();
    let before = store.model.clone();
    store.set(0, 2, b"v");
    let is_dump = |op: &Op| {
        op.objects
            .iter()
            .any(|object| object.to_string().contains("dump.rdb"))
    };
    let full = Plan::new().always(When::any().matching(is_dump), Fault::Full);
    store.process.storage.set_plan(full);
    let failed = store.process.do_(store.process.store.db().save()).unwrap();
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Full);
    assert!(store.stats().rdb.saves.error.is_some());
    assert_eq!(store.stats().rdb.changes, 1);
    let saved = |store: &Archiving| {
        files::snapshot(
            &store.process.storage.survivor(CrashMode::ProcessKilled),
            &Object::Archive("dump.rdb".into()),
        )
    };
    assert_eq!(saved(&store), before);
    store.process.storage.set_plan(Plan::new());
    // It is tried again by itself.
    store.until(|stats| stats.rdb.saves.error.is_none());
    assert_eq!(saved(&store), store.model);
}

#[test]
fn a_snapshot_is_not_begun_where_it_would_take_the_room_that_writes_need() {
    let mut store = Archiving::new();
    let mut random = crate::random::Random::new(1);
    for n in 0..40 {
        let value: Vec<u8> = (0..4000).map(|_| random.next() as u8).collect();
        store.set(0, n, &value);
    }
    store.process.flush();
    let used: u64 = store
        .process
        .storage
        .objects()
        .iter()
        .map(|(_, bytes)| bytes)
        .sum();
    store.process.storage.set_capacity(Some(used + (300 << 10)));
    let failed = store.process.do_(store.process.store.db().save()).unwrap();
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Full);
    store.set(0, 50, b"there is room for this");
    store.process.storage.set_capacity(None);
    store
        .process
        .do_(store.process.store.db().save())
        .unwrap()
        .unwrap();
    store.check();
}
