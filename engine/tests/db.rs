//! What a store does, one behaviour a test, over storage in memory and in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use trilith::db::Step;
use trilith::sim::TestRuntime;
use trilith::{Batch, Db, MemoryStorage, Options, Range, Result, Sync};

type Store = Db<MemoryStorage, TestRuntime>;

fn small() -> Options {
    Options {
        sync: Sync::Always,
        memory_bytes: 1 << 20,
        memtable_bytes: Some(16 << 10),
        segment_bytes: 64 << 10,
        large_value_bytes: 1024,
        ..Options::default()
    }
}

async fn open(storage: &MemoryStorage, runtime: &TestRuntime) -> Result<Store> {
    Db::open(storage.clone(), runtime.clone(), small()).await
}

fn run<F: Future<Output = Result<()>>>(test: impl FnOnce(MemoryStorage, TestRuntime) -> F) {
    let runtime = TestRuntime::new(7);
    runtime
        .block_on(test(MemoryStorage::new(), runtime.clone()))
        .unwrap();
}

async fn collect(db: &Store, range: Range) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut scan = db.scan(range)?;
    let mut found = Vec::new();
    while let Some((key, value)) = scan.next().await? {
        found.push((key.to_vec(), value.to_vec()));
    }
    Ok(found)
}

fn key(i: u64) -> Vec<u8> {
    format!("key:{:06}", i * 7919 % 10_000).into_bytes()
}

#[test]
fn what_is_put_is_got_until_it_is_deleted() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        assert_eq!(db.get(b"a").await?, None);
        db.put(b"a", b"1").await?;
        db.put(b"", b"empty key").await?;
        db.put(b"b", b"").await?;
        assert_eq!(db.get(b"a").await?.unwrap(), b"1"[..]);
        assert_eq!(db.get(b"").await?.unwrap(), b"empty key"[..]);
        assert_eq!(db.get(b"b").await?.unwrap(), b""[..]);
        db.put(b"a", b"2").await?;
        assert_eq!(db.get(b"a").await?.unwrap(), b"2"[..]);
        db.delete(b"a").await?;
        assert_eq!(db.get(b"a").await?, None);
        db.close().await
    });
}

#[test]
fn everything_is_there_after_flushes_compactions_and_reopening() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        for i in 0..10_000 {
            db.put(&key(i), format!("value {i}").as_bytes()).await?;
        }
        let stats = db.stats();
        assert!(stats.flushes > 3 && stats.compactions > 0, "{stats:?}");
        db.close().await?;
        drop(db);
        storage.unlock();
        let db = open(&storage, &runtime).await?;
        for i in 0..10_000 {
            assert_eq!(
                db.get(&key(i)).await?.unwrap(),
                format!("value {i}").as_bytes(),
                "{i}"
            );
        }
        assert_eq!(collect(&db, Range::all()).await?.len(), 10_000);
        assert_eq!(
            db.verify().await?.problems.first().map(ToString::to_string),
            None
        );
        db.compact().await?;
        for i in 0..10_000 {
            assert_eq!(
                db.get(&key(i)).await?.unwrap(),
                format!("value {i}").as_bytes(),
                "{i}"
            );
        }
        db.close().await
    });
}

#[test]
fn what_was_not_flushed_comes_back_from_the_log() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        db.put(b"k", b"v").await?;
        drop(db);
        runtime.run_until_idle();
        storage.unlock();
        let db = open(&storage, &runtime).await?;
        assert_eq!(db.get(b"k").await?.unwrap(), b"v"[..]);
        db.close().await
    });
}

#[test]
fn a_scan_sees_the_moment_it_began_in_both_directions() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        for i in 0..3000 {
            db.put(&key(i), b"old").await?;
        }
        let mut forward = db.scan(Range::all())?;
        let mut backward = db.scan(Range::all().reversed())?;
        for i in 0..6000 {
            db.put(&key(i), b"new").await?;
        }
        db.flush().await?;
        let (mut keys, mut reverse) = (Vec::new(), Vec::new());
        while let Some((key, value)) = forward.next().await? {
            assert_eq!(value, b"old");
            keys.push(key.to_vec());
        }
        while let Some((key, value)) = backward.next().await? {
            assert_eq!(value, b"old");
            reverse.push(key.to_vec());
        }
        reverse.reverse();
        assert_eq!(keys.len(), 3000);
        assert!(keys.is_sorted());
        assert_eq!(keys, reverse);
        drop((forward, backward));
        db.close().await
    });
}

#[test]
fn a_snapshot_keeps_what_it_saw_through_a_compaction() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        db.put(b"a", b"1").await?;
        db.put(b"gone", b"1").await?;
        let before = db.snapshot();
        db.put(b"a", b"2").await?;
        db.delete(b"gone").await?;
        db.delete_range(b"", None).await?;
        db.compact().await?;
        assert_eq!(before.get(b"a").await?.unwrap(), b"1"[..]);
        assert_eq!(before.get(b"gone").await?.unwrap(), b"1"[..]);
        assert_eq!(db.get(b"a").await?, None);
        drop(before);
        db.compact().await?;
        assert_eq!(collect(&db, Range::all()).await?.len(), 0);
        db.close().await
    });
}

#[test]
fn a_range_delete_hides_what_was_before_and_not_what_comes_after() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        for i in 0..1000 {
            db.put(&key(i), b"1").await?;
            if i == 500 {
                db.flush().await?;
            }
        }
        db.delete_range(b"key:002000", Some(b"key:004000")).await?;
        db.put(b"key:003000", b"again").await?;
        let check = async |db: &Store| -> Result<()> {
            assert_eq!(db.get(b"key:003000").await?.unwrap(), b"again"[..]);
            let found = collect(db, Range::between(b"key:002000", b"key:004000")).await?;
            assert_eq!(found.len(), 1);
            Ok(())
        };
        check(&db).await?;
        db.flush().await?;
        check(&db).await?;
        db.compact().await?;
        check(&db).await?;
        db.close().await
    });
}

#[test]
fn large_values_lie_apart_and_come_back() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        let value = |i: u64| vec![i as u8; 2000 + i as usize];
        for i in 0..200 {
            db.put(&key(i), &value(i)).await?;
        }
        for i in 0..200 {
            assert_eq!(db.get(&key(i)).await?.unwrap(), value(i));
        }
        db.flush().await?;
        assert!(db.stats().values_bytes > 0);
        for i in 0..150 {
            db.put(&key(i), b"small").await?;
        }
        db.compact().await?;
        for i in 150..200 {
            assert_eq!(db.get(&key(i)).await?.unwrap(), value(i));
        }
        let all = collect(&db, Range::all()).await?;
        assert_eq!(
            all.iter().filter(|(_, value)| value.len() > 1000).count(),
            50
        );
        assert_eq!(
            db.verify().await?.problems.first().map(ToString::to_string),
            None
        );
        db.close().await
    });
}

#[test]
fn what_expires_is_gone_and_compaction_takes_it_away() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        db.put_for(b"soon", b"v", Duration::from_millis(500))
            .await?;
        db.put(b"never", b"v").await?;
        assert!(db.get(b"soon").await?.is_some());
        trilith::Runtime::sleep(&runtime, Duration::from_secs(5)).await;
        assert_eq!(db.get(b"soon").await?, None);
        assert_eq!(collect(&db, Range::all()).await?.len(), 1);
        db.compact().await?;
        assert_eq!(db.stats().records_estimate, 1);
        db.close().await
    });
}

#[test]
fn a_batch_is_one_write() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        db.put(b"b", b"old").await?;
        let mut batch = Batch::new();
        batch
            .put(b"a", b"1")
            .put(b"b", b"2")
            .delete(b"b")
            .delete_range(b"a", Some(b"b"))
            .put(b"c", b"3");
        db.write(batch).await?;
        assert_eq!(
            collect(&db, Range::all()).await?,
            [(b"c".to_vec(), b"3".to_vec())]
        );
        db.close().await
    });
}

#[test]
fn explain_tells_the_layers_apart() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        db.put(b"k", b"v").await?;
        let explained = db.explain(b"k").await?;
        assert_eq!(explained.steps, [Step::HashTable { answer: "hit" }]);
        db.flush().await?;
        let explained = db.explain(b"missing").await?;
        assert_eq!(explained.steps[0], Step::HashTable { answer: "miss" });
        assert!(!explained.found);
        db.close().await
    });
}

#[test]
fn a_checkpoint_is_a_store_of_its_own() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        for i in 0..3000 {
            db.put(&key(i), b"1").await?;
        }
        let copy = MemoryStorage::new();
        db.checkpoint(copy.clone()).await?;
        db.delete_range(b"", None).await?;
        let other = open(&copy, &runtime).await?;
        assert_eq!(collect(&other, Range::all()).await?.len(), 3000);
        assert_eq!(
            other
                .verify()
                .await?
                .problems
                .first()
                .map(ToString::to_string),
            None
        );
        other.close().await?;
        db.close().await
    });
}

#[test]
fn after_close_a_handle_says_so() {
    run(|storage, runtime| async move {
        let db = open(&storage, &runtime).await?;
        db.close().await?;
        let error = db.put(b"k", b"v").await.unwrap_err();
        assert_eq!(error.kind(), trilith::ErrorKind::Closed);
        Ok(())
    });
}
