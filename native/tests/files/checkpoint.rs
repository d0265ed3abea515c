//! Checkpoints: a second store beside the first.

use super::*;

#[test]
fn a_checkpoint_is_a_store_of_its_own() {
    let (directory, storage) = store();
    put(&storage, Object::Table(1), b"table");
    put(&storage, archive("dumps/dump.rdb"), b"dump");
    let mut log = block_on(storage.create(Object::Segment(2))).unwrap();
    let len = log.append(b"log").unwrap();
    let more = log.append(b" and more").unwrap();
    block_on(log.settle(more, Written)).unwrap();

    let to = directory.path().join("copies/first");
    let objects = vec![
        (Object::Table(1), 5),
        (Object::Segment(2), len),
        (archive("dumps/dump.rdb"), 2),
    ];
    fs::create_dir_all(&to).unwrap();
    block_on(storage.checkpoint(to.clone(), objects.clone(), Bytes::from_static(b"copy"))).unwrap();

    let end = log.append(b" again").unwrap();
    block_on(log.settle(end, Written)).unwrap();
    let (copy, contents) = loaded(&to);
    assert_eq!(contents.meta.as_deref(), Some(&b"copy"[..]));
    assert_eq!(contents.objects, objects);
    assert_eq!(content(&copy, Object::Table(1)).unwrap(), "table");
    assert_eq!(content(&copy, Object::Segment(2)).unwrap(), "log");
    put(&copy, Object::Table(1), b"changed in the copy");
    assert_eq!(content(&storage, Object::Table(1)).unwrap(), "table");
}

#[test]
fn a_checkpoint_overwrites_nothing() {
    let (directory, storage) = store();
    let to = directory.path().join("copy");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("precious"), b"x").unwrap();
    let make = |to: &Path| block_on(storage.checkpoint(to.to_owned(), Vec::new(), Bytes::new()));
    assert_eq!(make(&to).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(
        make(&to.join("precious")).unwrap_err().kind(),
        ErrorKind::Invalid
    );

    let half_built = directory.path().join("next.new");
    fs::create_dir(&half_built).unwrap();
    fs::write(half_built.join("000001.table"), b"left by a crash").unwrap();
    make(&directory.path().join("next")).unwrap();
    assert!(!half_built.exists());

    let of_others = directory.path().join("third.new");
    fs::create_dir(&of_others).unwrap();
    fs::write(of_others.join("precious"), b"x").unwrap();
    let error = make(&directory.path().join("third")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(of_others.join("precious").exists());
}

#[test]
fn a_checkpoint_of_what_is_not_there_leaves_nothing() {
    let (directory, storage) = store();
    put(&storage, Object::Table(1), b"table");
    let to = directory.path().join("copy");
    let objects = vec![(Object::Table(1), 6)];
    let error = block_on(storage.checkpoint(to.clone(), objects, Bytes::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!to.exists() && !directory.path().join("copy.new").exists());
}
