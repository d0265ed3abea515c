//! What the engine is promised of its storage: see the comments on [`trilith::Storage`].

use bytes::Bytes;
use trilith::Durability::{Synced, Written};
use trilith::{Contents, ErrorKind, Object, Reader, Result, Storage, Writer};
use trilith_web::WebStorage;

use crate::Homes;

/// Every promise, each on a store of its own.
pub(crate) async fn run(homes: &Homes) {
    what_settled_is_found_again(homes).await;
    what_has_not_settled_may_be_lost_but_not_torn(homes).await;
    resuming_cuts_what_lies_behind(homes).await;
    readers_go_on_when_their_object_is_removed_or_replaced(homes).await;
    a_store_has_one_owner(homes).await;
    a_checkpoint_is_a_store_of_its_own(homes).await;
    names_that_no_storage_takes_are_refused(homes).await;
}

async fn loaded(homes: &Homes, name: &str) -> (WebStorage, Contents) {
    let storage = homes.storage(name);
    let contents = storage.load().await.unwrap();
    (storage, contents)
}

async fn put(storage: &WebStorage, object: Object, bytes: &[u8]) {
    let mut writer = storage.create(object).await.unwrap();
    let end = writer.append(bytes).unwrap();
    writer.settle(end, Synced).await.unwrap();
}

async fn content(storage: &WebStorage, object: Object) -> Result<Bytes> {
    let reader = storage.open(object).await?;
    reader.read_at(0, reader.len() as u32).await
}

fn kind_of<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind(),
    }
}

fn archive(name: &str) -> Object {
    Object::Archive(name.into())
}

/// Longer than rows and buffers are.
fn long(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

async fn what_settled_is_found_again(homes: &Homes) {
    let (storage, contents) = loaded(homes, "found").await;
    assert_eq!(contents.meta, None);
    assert!(contents.objects.is_empty());
    let table = long(1_300_000);
    put(&storage, Object::Table(12), &table).await;
    put(&storage, archive("dumps/dump.rdb"), b"archive").await;
    let mut log = storage.create(Object::Segment(1)).await.unwrap();
    let mut expected = Vec::new();
    for at in 0..400 {
        let record = long(17 + at * 3);
        expected.extend_from_slice(&record);
        let end = log.append(&record).unwrap();
        assert_eq!(end, expected.len() as u64);
        let to = if at % 3 == 0 { Synced } else { Written };
        log.settle(end, to).await.unwrap();
        let reader = storage.open(Object::Segment(1)).await.unwrap();
        assert_eq!(reader.len(), end);
        let from = end - record.len() as u64;
        let read = reader.read_at(from, record.len() as u32).await.unwrap();
        assert_eq!(read, record, "record {at}");
    }
    storage.commit(Bytes::from_static(b"old")).await.unwrap();
    storage.commit(Bytes::from_static(b"meta")).await.unwrap();
    drop(log);
    storage.abandon();
    let (storage, contents) = loaded(homes, "found").await;
    assert_eq!(contents.meta.as_deref(), Some(&b"meta"[..]));
    let objects = [
        (Object::Table(12), table.len() as u64),
        (Object::Segment(1), expected.len() as u64),
        (archive("dumps/dump.rdb"), 7),
    ];
    assert_eq!(contents.objects, objects);
    assert_eq!(content(&storage, Object::Table(12)).await.unwrap(), table);
    assert_eq!(
        content(&storage, Object::Segment(1)).await.unwrap(),
        expected
    );
    let reader = storage.open(Object::Table(12)).await.unwrap();
    for (offset, len) in [
        (0, 1),
        (131_071, 2),
        (131_072, 1),
        (262_143, 262_146),
        (1_299_999, 1),
    ] {
        let read = reader.read_at(offset, len).await.unwrap();
        assert_eq!(read, table[offset as usize..][..len as usize]);
        // At hand or not, it is the same.
        if let Some(now) = reader.read_now(offset, len) {
            assert_eq!(now.unwrap(), read);
        }
    }
    for (offset, len) in [(1_299_999, 2), (1_300_001, 0), (u64::MAX, 1)] {
        assert_eq!(
            kind_of(reader.read_at(offset, len).await),
            ErrorKind::Corrupt
        );
    }
    assert_eq!(
        kind_of(storage.open(Object::Table(1)).await.map(drop)),
        ErrorKind::Missing
    );
    storage.abandon();
}

async fn what_has_not_settled_may_be_lost_but_not_torn(homes: &Homes) {
    let (storage, _) = loaded(homes, "unsettled").await;
    let mut log = storage.create(Object::Segment(1)).await.unwrap();
    let settled = log.append(b"settled").unwrap();
    log.settle(settled, Written).await.unwrap();
    log.append(b" and not").unwrap();
    let past = log.settle(settled + 9, Written).await;
    assert_eq!(kind_of(past), ErrorKind::Invalid);
    storage.abandon();
    let (storage, contents) = loaded(homes, "unsettled").await;
    let [(Object::Segment(1), len)] = contents.objects[..] else {
        panic!("{:?}", contents.objects);
    };
    assert!((settled..=settled + 8).contains(&len));
    let found = content(&storage, Object::Segment(1)).await.unwrap();
    assert!(b"settled and not".starts_with(&found));
    storage.abandon();
}

async fn resuming_cuts_what_lies_behind(homes: &Homes) {
    let (storage, _) = loaded(homes, "resumed").await;
    let bytes = long(300_000);
    put(&storage, Object::Segment(1), &bytes).await;
    let mut expected = bytes.len() as u64;
    for cut_at in [300_000, 290_001, 262_144, 131_073, 17, 0] {
        let mut before = storage.resume(Object::Segment(1), expected).await.unwrap();
        let mut log = storage.resume(Object::Segment(1), cut_at).await.unwrap();
        // The one before is not to write any more.
        let outcome = match before.append(b"late") {
            Ok(end) => before.settle(end, Written).await,
            Err(error) => Err(error),
        };
        assert_eq!(kind_of(outcome), ErrorKind::Closed);
        let end = log.append(b"new").unwrap();
        assert_eq!(end, cut_at + 3);
        log.settle(end, Synced).await.unwrap();
        let found = content(&storage, Object::Segment(1)).await.unwrap();
        assert_eq!(found[..cut_at as usize], bytes[..cut_at as usize]);
        assert_eq!(found[cut_at as usize..], b"new"[..]);
        expected = end;
    }
    assert_eq!(
        kind_of(storage.resume(Object::Segment(1), 4).await.map(drop)),
        ErrorKind::Corrupt
    );
    storage.abandon();
    let (storage, contents) = loaded(homes, "resumed").await;
    assert_eq!(contents.objects, [(Object::Segment(1), 3)]);
    storage.abandon();
}

async fn readers_go_on_when_their_object_is_removed_or_replaced(homes: &Homes) {
    let (storage, _) = loaded(homes, "readers").await;
    let (one, two) = (long(200_000), long(150_000));
    put(&storage, Object::Table(1), &one).await;
    put(&storage, archive("draft"), &two).await;
    put(&storage, archive("dump"), b"old").await;
    let removed = storage.open(Object::Table(1)).await.unwrap();
    let replaced = storage.open(archive("dump")).await.unwrap();
    storage
        .remove(vec![Object::Table(1), Object::Table(99)])
        .await
        .unwrap();
    storage
        .replace(archive("draft"), archive("dump"))
        .await
        .unwrap();
    put(&storage, Object::Table(2), b"another").await;
    assert_eq!(removed.read_at(0, 200_000).await.unwrap(), one);
    assert_eq!(replaced.read_at(0, 3).await.unwrap(), "old");
    assert_eq!(content(&storage, archive("dump")).await.unwrap(), two);
    put(&storage, archive("dump"), b"newest").await;
    assert_eq!(content(&storage, archive("dump")).await.unwrap(), "newest");
    let missing = storage.replace(archive("draft"), archive("dump")).await;
    assert_eq!(kind_of(missing), ErrorKind::Missing);
    assert_eq!(
        kind_of(storage.open(Object::Table(1)).await.map(drop)),
        ErrorKind::Missing
    );
    drop((removed, replaced));
    storage.abandon();
    let (storage, contents) = loaded(homes, "readers").await;
    assert_eq!(
        contents.objects,
        [(Object::Table(2), 7), (archive("dump"), 6)]
    );
    storage.abandon();
}

async fn a_store_has_one_owner(homes: &Homes) {
    let (storage, _) = loaded(homes, "owned").await;
    let refused = homes.storage("owned").load().await;
    assert_eq!(kind_of(refused), ErrorKind::Locked);
    put(&storage, Object::Table(1), b"still ours").await;
    storage.abandon();
    let late = storage.create(Object::Table(2)).await.map(drop);
    assert_eq!(kind_of(late), ErrorKind::Closed);
    let (storage, contents) = loaded(homes, "owned").await;
    assert_eq!(contents.objects, [(Object::Table(1), 10)]);
    storage.abandon();
}

async fn a_checkpoint_is_a_store_of_its_own(homes: &Homes) {
    let (storage, _) = loaded(homes, "original").await;
    put(&storage, Object::Table(1), b"table").await;
    let mut log = storage.create(Object::Segment(2)).await.unwrap();
    let len = log.append(&long(140_000)).unwrap();
    let more = log.append(b" and more").unwrap();
    log.settle(more, Written).await.unwrap();
    let objects = vec![(Object::Table(1), 5), (Object::Segment(2), len)];
    let to = homes.name("copied");
    let meta = Bytes::from_static(b"copy");
    storage
        .checkpoint(to.clone(), objects.clone(), meta.clone())
        .await
        .unwrap();
    let again = storage.checkpoint(to, objects.clone(), meta).await;
    assert_eq!(kind_of(again), ErrorKind::Invalid);
    let (copy, contents) = loaded(homes, "copied").await;
    assert_eq!(contents.meta.as_deref(), Some(&b"copy"[..]));
    assert_eq!(contents.objects, objects);
    assert_eq!(
        content(&copy, Object::Segment(2)).await.unwrap(),
        long(140_000)
    );
    put(&copy, Object::Table(1), b"changed in the copy").await;
    assert_eq!(content(&storage, Object::Table(1)).await.unwrap(), "table");
    let wrong = vec![(Object::Table(1), 6)];
    let to = homes.name("not copied");
    let refused = storage.checkpoint(to, wrong, Bytes::new()).await;
    assert_eq!(kind_of(refused), ErrorKind::Corrupt);
    copy.abandon();
    storage.abandon();
}

async fn names_that_no_storage_takes_are_refused(homes: &Homes) {
    let (storage, _) = loaded(homes, "names").await;
    for name in ["", "..", "a/../b", "a.new", "a/b/c/d/e"] {
        let refused = storage.create(archive(name)).await.map(drop);
        assert_eq!(kind_of(refused), ErrorKind::Invalid, "{name:?}");
    }
    storage.abandon();
}
