//! Bugs that were found by reading, each with the test that would have shown it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use trilith::command::{Command, Parsed, Reply, Store, parse};
use trilith::sim::TestRuntime;
use trilith::storage::faulty::{CrashMode, Fault, OpKind, Plan, When};
use trilith::{Batch, Db, ErrorKind, FaultyStorage, Object, Options, Result, Runtime, Sync};

type Faulty = Db<FaultyStorage, TestRuntime>;

fn small(sync: Sync) -> Options {
    Options {
        sync,
        memory_bytes: 1 << 20,
        memtable_bytes: Some(16 << 10),
        segment_bytes: 64 << 10,
        large_value_bytes: 1024,
        ..Options::default()
    }
}

fn run<F: Future<Output = Result<()>>>(test: impl FnOnce(FaultyStorage, TestRuntime) -> F) {
    let runtime = TestRuntime::new(7);
    runtime
        .block_on(test(FaultyStorage::new(), runtime.clone()))
        .unwrap();
}

async fn open(storage: &FaultyStorage, runtime: &TestRuntime, sync: Sync) -> Result<Faulty> {
    Db::open(storage.clone(), runtime.clone(), small(sync)).await
}

fn key(i: u32) -> Vec<u8> {
    format!("key:{i:06}").into_bytes()
}

fn command(words: &[&[u8]]) -> Command {
    let mut words: Vec<Bytes> = words
        .iter()
        .map(|word| Bytes::copy_from_slice(word))
        .collect();
    match parse(&mut words) {
        Ok(Parsed::Store(command)) => command,
        other => panic!("{other:?}"),
    }
}

/// Every sync of a segment fails from here on, until another plan is set.
fn failing_syncs() -> Plan {
    let of_segment = |op: &trilith::storage::faulty::Op| {
        op.objects
            .iter()
            .any(|object| matches!(object, Object::Segment(_)))
    };
    Plan::new().once(
        When::kind(OpKind::SettleSynced).matching(of_segment),
        Fault::Fail,
    )
}

async fn writable_again(db: &Faulty, runtime: &TestRuntime) -> Result<()> {
    for _ in 0..100 {
        if db.stats().trouble.is_none() {
            return Ok(());
        }
        runtime.sleep(Duration::from_millis(100)).await;
    }
    panic!("still refusing writes: {:?}", db.stats().trouble);
}

#[test]
fn a_pipeline_longer_than_what_may_wait_to_be_applied_goes_through() {
    run(|storage, runtime| async move {
        let store = Store::open(storage, runtime, small(Sync::Always)).await?;
        let value = vec![7; 10_000];
        let batch: Vec<_> = (0..100)
            .map(|i| command(&[b"SET", &key(i), &value]))
            .collect();
        let replies = store.execute(batch).await;
        assert!(
            replies
                .iter()
                .all(|reply| *reply == Reply::Simple("OK".into())),
            "{replies:?}"
        );
        store.close().await
    });
}

#[test]
fn a_batch_that_memory_can_never_hold_is_refused_before_it_is_logged() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime, Sync::Always).await?;
        let mut batch = Batch::new();
        for i in 0..20_000 {
            batch.put(&key(i), b"a value of some length, not a large one");
        }
        assert_eq!(
            db.write(batch).await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
        let mut tiny = Batch::new();
        for i in 0..20_000u32 {
            tiny.delete(&i.to_le_bytes());
        }
        assert_eq!(db.write(tiny).await.unwrap_err().kind(), ErrorKind::Invalid);
        let long = db.put(&[b'k'; 65_535], &[0; 1000]).await;
        assert_eq!(long.unwrap_err().kind(), ErrorKind::Invalid);
        db.put(b"k", b"v").await?;
        db.close().await?;
        drop(db);
        storage.unlock();
        let db = open(&storage, &runtime, Sync::Always).await?;
        assert_eq!(db.get(b"k").await?.unwrap(), b"v"[..]);
        db.close().await
    });
}

#[test]
fn a_failed_sync_that_a_flush_finds_is_repaired() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime, Sync::No).await?;
        for i in 0..10 {
            db.put(&key(i), b"before").await?;
        }
        storage.set_plan(failing_syncs());
        let _ = db.flush().await;
        writable_again(&db, &runtime).await?;
        db.put(b"after", b"1").await?;
        drop(db);
        let storage = storage.restart(CrashMode::ProcessKilled);
        let db = open(&storage, &runtime, Sync::No).await?;
        for i in 0..10 {
            assert_eq!(db.get(&key(i)).await?.unwrap(), b"before"[..]);
        }
        assert_eq!(db.get(b"after").await?.unwrap(), b"1"[..]);
        db.close().await
    });
}

#[test]
fn a_slow_repair_is_not_joined_by_another() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime, Sync::EverySecond).await?;
        for i in 0..10 {
            db.put(&key(i), b"before").await?;
        }
        // The first sync of the second fails for good; the table of the repair takes its time.
        let of_segment =
            |op: &trilith::storage::faulty::Op| op.objects.contains(&Object::Segment(1));
        let of_table = |op: &trilith::storage::faulty::Op| {
            op.objects
                .iter()
                .any(|object| matches!(object, Object::Table(_)))
        };
        storage.set_plan(
            Plan::new()
                .always(
                    When::kind(OpKind::SettleSynced).matching(of_segment),
                    Fault::Fail,
                )
                .once(When::kind(OpKind::Create).matching(of_table), Fault::Hold),
        );
        runtime.sleep(Duration::from_secs(5)).await;
        assert!(db.stats().trouble.is_some());
        storage.release_all();
        writable_again(&db, &runtime).await?;
        for i in 10..20 {
            db.put(&key(i), b"after").await?;
        }
        runtime.sleep(Duration::from_millis(300)).await;
        for i in 20..30 {
            db.put(&key(i), b"after").await?;
        }
        drop(db);
        let storage = storage.restart(CrashMode::ProcessKilled);
        let db = open(&storage, &runtime, Sync::EverySecond).await?;
        for i in 0..30 {
            assert!(db.get(&key(i)).await?.is_some(), "{i} was acknowledged");
        }
        db.close().await
    });
}

#[test]
fn a_crash_in_the_midst_of_a_repair_loses_nothing_that_was_acknowledged() {
    for table in 1..=2 {
        run(|storage, runtime| async move {
            let db = open(&storage, &runtime, Sync::Always).await?;
            let of_table = |op: &trilith::storage::faulty::Op| {
                op.objects
                    .iter()
                    .any(|object| matches!(object, Object::Table(_)))
            };
            // One memtable is full and one is not when the sync fails.
            let mut acknowledged = 0;
            while db.stats().frozen_memtables < 1 || acknowledged % 100 != 50 {
                db.put(&key(acknowledged), b"a value of no particular length")
                    .await?;
                acknowledged += 1;
            }
            // The memtables are flushed one by one; the power goes after the first, or the second.
            let commits = storage.count(OpKind::Commit);
            storage.set_plan(failing_syncs().always(
                When::kind(OpKind::Create).matching(of_table).after(table),
                Fault::Hold,
            ));
            let unknown = db.put(b"x", b"y").await.unwrap_err();
            assert_eq!(unknown.kind(), ErrorKind::Unknown);
            runtime.sleep(Duration::from_secs(3)).await;
            assert!(storage.count(OpKind::Commit) > commits);
            let storage = storage.restart(CrashMode::PowerLoss);
            drop(db);
            let db = open(&storage, &runtime, Sync::Always).await?;
            for i in 0..acknowledged {
                assert!(db.get(&key(i)).await?.is_some(), "{i} of {acknowledged}");
            }
            db.close().await
        });
    }
}

#[test]
fn a_write_that_fails_while_the_store_is_closed_is_not_acknowledged() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime, Sync::Always).await?;
        let of_segment = |op: &trilith::storage::faulty::Op| {
            op.objects
                .iter()
                .any(|object| matches!(object, Object::Segment(_)))
        };
        storage.set_plan(
            Plan::new()
                .always(
                    When::kind(OpKind::SettleSynced).matching(of_segment),
                    Fault::Fail,
                )
                .always(
                    When::kind(OpKind::SettleSynced).matching(of_segment),
                    Fault::Delay {
                        polls: 5..=5,
                        seed: 1,
                    },
                ),
        );
        let (put, closed) = futures_lite::future::zip(db.put(b"k", b"v"), db.close()).await;
        assert!(put.is_err(), "acknowledged, and never synced");
        assert!(closed.is_err());
        Ok(())
    });
}

#[test]
fn a_checkpoint_of_what_was_synced_by_somebody_else_opens() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime, Sync::EverySecond).await?;
        db.put(b"a", b"1").await?;
        db.flush().await?;
        {
            // Appended, and then its caller loses interest.
            storage.set_plan(Plan::new().always(When::kind(OpKind::SettleWritten), Fault::Hold));
            let mut put = std::pin::pin!(db.put(b"b", b"2"));
            assert!(
                futures_lite::future::poll_once(put.as_mut())
                    .await
                    .is_none()
            );
        }
        storage.set_plan(Plan::new());
        storage.release_all();
        db.sync().await?;
        db.compact().await?;
        db.flush().await?;
        let copy = FaultyStorage::new();
        db.checkpoint(copy.clone()).await?;
        let of_copy = open(&copy, &runtime, Sync::EverySecond).await?;
        assert_eq!(of_copy.get(b"a").await?.unwrap(), b"1"[..]);
        of_copy.close().await?;
        db.close().await
    });
}

#[test]
fn a_scan_of_one_key_at_a_time_passes_the_empty_key() {
    run(|storage, runtime| async move {
        let store = Store::open(storage, runtime, small(Sync::No)).await?;
        store.execute(vec![command(&[b"SET", b"", b"v"])]).await;
        let mut cursor = "0".to_owned();
        for _ in 0..10 {
            let replies = store
                .execute(vec![command(&[b"SCAN", cursor.as_bytes(), b"COUNT", b"1"])])
                .await;
            let Some(Reply::Array(parts)) = replies.into_iter().next() else {
                panic!("not an array")
            };
            cursor = match &parts[0] {
                Reply::Bulk(next) => String::from_utf8_lossy(next).into_owned(),
                other => format!("{other:?}"),
            };
            if cursor == "0" {
                return store.close().await;
            }
        }
        panic!("the scan does not end");
    });
}

#[test]
fn a_command_of_very_many_keys_takes_time_in_proportion() {
    run(|storage, runtime| async move {
        let options = Options {
            memory_bytes: 64 << 20,
            ..Options::default()
        };
        let store = Store::open(storage, runtime, options).await?;
        let keys: Vec<_> = (0..20_000).map(key).collect();
        let mut words: Vec<&[u8]> = vec![b"MSET"];
        for key in &keys {
            words.extend([&key[..], b"v"]);
        }
        assert_eq!(
            store.execute(vec![command(&words)]).await,
            [Reply::Simple("OK".into())]
        );
        assert_eq!(store.stats().keys, 20_000);
        store.close().await
    });
}

#[test]
fn idle_scans_that_hold_all_memory_make_writes_fail_and_not_the_store() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime, Sync::Always).await?;
        let mut scans = Vec::new();
        let mut refused = None;
        for i in 0..20_000 {
            if let Err(error) = db.put(&key(i), &[7; 200]).await {
                refused = Some(error);
                break;
            }
            if i % 100 == 0 {
                let mut scan = db.scan(trilith::Range::all())?;
                scan.next().await?;
                scans.push(scan);
            }
        }
        assert_eq!(
            refused.expect("memory is not endless").kind(),
            ErrorKind::Full
        );
        drop(scans);
        for i in 0..1000 {
            db.put(&key(i), b"again").await?;
        }
        assert_eq!(db.get(&key(999)).await?.unwrap(), b"again"[..]);
        db.close().await
    });
}

/// A table that was mostly expired was merged into itself without end: it was chosen for what only an entry of the
/// log may remove. The simulator found it by its memory.
#[test]
fn what_only_the_log_may_expire_is_no_reason_to_compact() {
    run(|storage, runtime| async move {
        let store = Store::open(storage.clone(), runtime.clone(), small(Sync::Always)).await?;
        let sets: Vec<_> = (0..10)
            .map(|i| command(&[b"SET", &key(i), b"v", b"PX", b"3600000"]))
            .collect();
        store.execute(sets).await;
        store.db().compact().await?;
        store.db().quiesce().await?;
        // No time for the store to remove them itself.
        runtime.skew_wall(7_200_000);
        let compactions = store.db().stats().compactions;
        store.db().compact().await?;
        store.db().quiesce().await?;
        assert_eq!(store.db().stats().compactions, compactions);
        runtime.sleep(Duration::from_secs(5)).await;
        assert_eq!(store.stats().keys, 0);
        store.close().await
    });
}
