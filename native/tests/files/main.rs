//! What the engine is promised of its storage, held against the storage in files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checkpoint;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use trilith::Durability::{Synced, Written};
use trilith::{Contents, ErrorKind, Object, Reader, Result, Storage, Writer};
use trilith_server::{FileStorage, block_on};

/// Waits for a future without letting it block: as a worker of an async runtime would.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park_timeout(Duration::from_secs(20));
    }
}

fn loaded(path: &Path) -> (FileStorage, Contents) {
    let storage = FileStorage::new(path);
    let contents = block_on(storage.load()).unwrap();
    (storage, contents)
}

fn store() -> (TempDir, FileStorage) {
    let directory = tempfile::tempdir().unwrap();
    let (storage, _) = loaded(directory.path());
    (directory, storage)
}

fn put(storage: &FileStorage, object: Object, bytes: &[u8]) {
    let mut writer = block_on(storage.create(object)).unwrap();
    let end = writer.append(bytes).unwrap();
    block_on(writer.settle(end, Synced)).unwrap();
}

fn content(storage: &FileStorage, object: Object) -> Result<Bytes> {
    let reader = block_on(storage.open(object))?;
    block_on(reader.read_at(0, reader.len() as u32))
}

fn archive(name: &str) -> Object {
    Object::Archive(name.into())
}

#[test]
fn what_settled_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/new/store");
    let (storage, contents) = loaded(&path);
    assert_eq!(contents.meta, None);
    assert!(contents.objects.is_empty());
    put(&storage, Object::Segment(1), b"log");
    put(&storage, Object::Table(12), b"table");
    put(&storage, archive("appendonlydir/base.rdb"), b"archive");
    block_on(storage.commit(Bytes::from_static(b"meta"))).unwrap();
    drop(storage);

    let (storage, contents) = loaded(&path);
    assert_eq!(contents.meta.as_deref(), Some(&b"meta"[..]));
    let expected = vec![
        (Object::Table(12), 5),
        (Object::Segment(1), 3),
        (archive("appendonlydir/base.rdb"), 7),
    ];
    assert_eq!(contents.objects, expected);
    assert_eq!(
        content(&storage, archive("appendonlydir/base.rdb")).unwrap(),
        "archive"
    );
    if cfg!(target_os = "linux") {
        assert!(contents.host_epoch.is_some());
    }
}

#[test]
fn everything_works_without_blocking_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(directory.path());
    wait(async {
        storage.load().await?;
        let mut writer = storage.create(Object::Segment(1)).await?;
        for turn in 1..=50_u64 {
            let end = writer.append(b"12345")?;
            assert_eq!(end, 5 * turn);
            writer.settle(end, Synced).await?;
        }
        storage.commit(Bytes::from_static(b"meta")).await?;
        let reader = storage.open(Object::Segment(1)).await?;
        assert_eq!(reader.read_at(245, 5).await?, "12345");
        let error = reader.read_at(246, 5).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.offset()),
            (ErrorKind::Corrupt, Some(246))
        );
        assert!(storage.room().await?.is_none_or(|room| room > 0));
        Ok::<(), trilith::Error>(())
    })
    .unwrap();
}

#[test]
fn a_reader_sees_what_was_written_and_no_space_set_aside() {
    let (_directory, storage) = store();
    let mut writer = block_on(storage.create(Object::Segment(1))).unwrap();
    let end = writer.append(b"settled").unwrap();
    block_on(writer.settle(end, Written)).unwrap();
    writer.append(b"not settled").unwrap();
    assert_eq!(content(&storage, Object::Segment(1)).unwrap(), "settled");
}

#[test]
fn one_settle_writes_for_all() {
    let (directory, storage) = store();
    let mut writer = block_on(storage.create(Object::Table(1))).unwrap();
    let first = writer.append(b"one").unwrap();
    writer.append(b"two").unwrap();
    block_on(writer.settle(first, Written)).unwrap();
    assert_eq!(
        fs::read(directory.path().join("000001.table")).unwrap(),
        b"onetwo"
    );
}

#[test]
fn all_who_wait_are_served_whether_they_block_or_not() {
    type Settle = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;
    let blocking = block_on as fn(Settle) -> Result<()>;
    for waits in [[blocking, blocking], [wait, wait], [blocking, wait]] {
        let (directory, storage) = store();
        let writer = block_on(storage.create(Object::Segment(1))).unwrap();
        let writer = parking_lot::Mutex::new(writer);
        let append_and_wait = |wait: fn(Settle) -> Result<()>| {
            let settle = {
                let mut writer = writer.lock();
                let end = writer.append(b"12345678").unwrap();
                writer.settle(end, Synced)
            };
            wait(Box::pin(settle)).unwrap();
        };
        thread::scope(|scope| {
            for n in 0..8 {
                let append_and_wait = &append_and_wait;
                scope.spawn(move || (0..40).for_each(|_| append_and_wait(waits[n % 2])));
            }
        });
        drop(writer);
        // Its sync thread may be the last to let go of the segment.
        drop(storage);
        let log = fs::read(directory.path().join("000001.segment")).unwrap();
        assert!(log == b"12345678".repeat(320), "{} bytes", log.len());
    }
}

#[test]
fn a_dropped_wait_strands_nobody() {
    let (_directory, storage) = store();
    let mut writer = block_on(storage.create(Object::Segment(1))).unwrap();
    for _ in 0..20 {
        let end = writer.append(b"x").unwrap();
        let noop = std::task::Waker::noop();
        {
            let mut dropped = pin!(writer.settle(end, Synced));
            let _ = dropped.as_mut().poll(&mut Context::from_waker(noop));
        }
        wait(writer.settle(end, Synced)).unwrap();
    }
}

#[test]
fn a_segment_grows_ahead_and_is_trimmed_when_it_is_let_go() {
    let (directory, storage) = store();
    let path = directory.path().join("000001.segment");
    let mut writer = block_on(storage.create(Object::Segment(1))).unwrap();
    let end = writer.append(b"log").unwrap();
    block_on(writer.settle(end, Synced)).unwrap();
    let ahead = fs::read(&path).unwrap();
    assert!(ahead.starts_with(b"log"));
    assert!(ahead[3..].iter().all(|byte| *byte == 0));
    let big = vec![7; 6 << 20];
    let end = writer.append(&big).unwrap();
    block_on(writer.settle(end, Written)).unwrap();
    drop(writer);
    assert_eq!(fs::metadata(&path).unwrap().len(), end);
}

#[test]
fn a_table_goes_to_the_page_cache_while_it_is_appended_to() {
    let (directory, storage) = store();
    let path = directory.path().join("000001.table");
    let mut writer = block_on(storage.create(Object::Table(1))).unwrap();
    let piece = [7; 64 << 10];
    let mut end = 0;
    while end < 20 << 20 {
        end = writer.append(&piece).unwrap();
    }
    let ahead_of_settling = fs::metadata(&path).unwrap().len();
    assert!(end - ahead_of_settling <= 1 << 20, "{ahead_of_settling}");
    let end = writer.append(b"end").unwrap();
    block_on(writer.settle(end, Synced)).unwrap();
    let table = fs::read(&path).unwrap();
    assert!(table.len() as u64 == end && table.ends_with(b"\x07end"));
}

#[test]
fn resume_cuts_and_goes_on_behind_the_cut() {
    let (directory, storage) = store();
    let path = directory.path().join("000001.segment");
    put(&storage, Object::Segment(1), b"whole torn");
    let mut writer = block_on(storage.resume(Object::Segment(1), 6)).unwrap();
    let kept = fs::read(&path).unwrap();
    assert!(kept.starts_with(b"whole ") && kept[6..].iter().all(|byte| *byte == 0));
    block_on(writer.settle(6, Synced)).unwrap();
    let end = writer.append(b"again").unwrap();
    assert_eq!(end, 11);
    block_on(writer.settle(end, Synced)).unwrap();
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), b"whole again");
}

#[test]
fn resuming_takes_the_object_from_its_writer() {
    let (directory, storage) = store();
    let mut old = block_on(storage.create(Object::Segment(1))).unwrap();
    let end = old.append(b"old").unwrap();
    block_on(old.settle(end, Written)).unwrap();
    let unsettled = old.append(b" lost").unwrap();
    let mut new = block_on(storage.resume(Object::Segment(1), 3)).unwrap();
    let error = block_on(old.settle(unsettled, Written)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let end = new.append(b" and new").unwrap();
    block_on(new.settle(end, Written)).unwrap();
    drop(old);
    drop(new);
    let log = fs::read(directory.path().join("000001.segment")).unwrap();
    assert_eq!(log, b"old and new");
}

#[test]
fn resuming_what_is_too_short_or_missing_fails() {
    let (_directory, storage) = store();
    put(&storage, Object::Segment(1), b"short");
    let error = block_on(storage.resume(Object::Segment(1), 9))
        .err()
        .unwrap();
    assert_eq!(
        (error.kind(), error.offset()),
        (ErrorKind::Corrupt, Some(5))
    );
    let error = block_on(storage.resume(Object::Segment(2), 0))
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert_eq!(error.object(), Some(&Object::Segment(2)));
}

#[test]
fn creating_replaces_and_open_readers_keep_the_old() {
    let (_directory, storage) = store();
    put(&storage, Object::Table(1), b"old");
    let reader = block_on(storage.open(Object::Table(1))).unwrap();
    put(&storage, Object::Table(1), b"newer");
    assert_eq!(content(&storage, Object::Table(1)).unwrap(), "newer");
    assert_eq!(block_on(reader.read_at(0, 3)).unwrap(), "old");
    block_on(storage.remove(vec![Object::Table(1), Object::Table(2)])).unwrap();
    assert_eq!(block_on(reader.read_at(0, 3)).unwrap(), "old");
    let error = content(&storage, Object::Table(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
}

#[test]
fn replacing_renames_over_what_is_there() {
    let (_directory, storage) = store();
    put(&storage, archive("temp.rdb"), b"new");
    put(&storage, archive("dumps/dump.rdb"), b"old");
    block_on(storage.replace(archive("temp.rdb"), archive("dumps/dump.rdb"))).unwrap();
    assert_eq!(content(&storage, archive("dumps/dump.rdb")).unwrap(), "new");
    let error = content(&storage, archive("temp.rdb")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
}

#[test]
fn files_of_others_are_left_alone_and_our_leftovers_removed() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "notes.txt",
        "12.table",
        "backup.new",
        "META.new",
        "000003.table.new",
    ] {
        fs::write(directory.path().join(name), name).unwrap();
    }
    let (_storage, contents) = loaded(directory.path());
    assert!(contents.objects.is_empty());
    let names = fs::read_dir(directory.path()).unwrap();
    let names: BTreeSet<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    let expected = ["LOCK", "notes.txt", "12.table", "backup.new"];
    assert_eq!(names, expected.map(Into::into).into());
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let (directory, storage) = store();
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), b"precious").unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("000001.table")).unwrap();
    assert!(content(&storage, Object::Table(1)).is_err());
    assert!(block_on(storage.resume(Object::Table(1), 0)).is_err());
    put(&storage, Object::Table(1), b"our own");
    assert_eq!(fs::read(outside.path()).unwrap(), b"precious");
}

#[test]
fn a_storage_that_was_not_loaded_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(directory.path());
    let error = block_on(storage.create(Object::Table(1))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = block_on(storage.commit(Bytes::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn one_store_is_open_once_in_a_process() {
    let (directory, storage) = store();
    let error = block_on(FileStorage::new(directory.path()).load()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let error = block_on(storage.load()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let writer = block_on(storage.create(Object::Segment(1))).unwrap();
    drop(storage);
    let error = block_on(FileStorage::new(directory.path()).load()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "its writer still lives");
    drop(writer);
    block_on(FileStorage::new(directory.path()).load()).unwrap();
}

/// Where a test that runs again in a process of its own finds its store.
const CHILD: &str = "TRILITH_TEST_CHILD";

fn this_test_again(name: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, path);
    command
}

#[test]
fn another_process_is_told_who_holds_the_store() {
    if let Some(path) = std::env::var_os(CHILD) {
        let error = block_on(FileStorage::new(path).load()).unwrap_err();
        println!("{error}");
        return;
    }
    let (directory, _storage) = store();
    let name = "another_process_is_told_who_holds_the_store";
    let output = this_test_again(name, directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = if cfg!(windows) {
        "is open in another process".to_owned()
    } else {
        format!("is open in process {}", std::process::id())
    };
    assert!(
        said.contains("locked") && said.contains(&expected),
        "{said}"
    );
}

#[test]
fn a_killed_process_leaves_what_was_written_and_no_lock() {
    if let Some(path) = std::env::var_os(CHILD) {
        let (storage, _) = loaded(Path::new(&path));
        let mut writer = block_on(storage.create(Object::Segment(1))).unwrap();
        let end = writer.append(b"written").unwrap();
        block_on(writer.settle(end, Written)).unwrap();
        println!("\nsettled");
        loop {
            thread::park();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let name = "a_killed_process_leaves_what_was_written_and_no_lock";
    let mut command = this_test_again(name, directory.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(
        lines
            .map_while(std::io::Result::ok)
            .any(|line| line == "settled")
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let (storage, contents) = loaded(directory.path());
    assert_eq!(contents.objects[0].0, Object::Segment(1));
    let found = content(&storage, Object::Segment(1)).unwrap();
    assert!(found.starts_with(b"written") && found[7..].iter().all(|byte| *byte == 0));
}

#[cfg(target_os = "linux")]
#[test]
fn without_room_a_write_is_cut_back_and_goes_on_when_there_is_room() {
    const LIMIT: u64 = 1 << 20;
    let Some(path) = std::env::var_os(CHILD) else {
        let directory = tempfile::tempdir().unwrap();
        let name = "without_room_a_write_is_cut_back_and_goes_on_when_there_is_room";
        let status = this_test_again(name, directory.path()).status().unwrap();
        assert!(status.success());
        return;
    };
    let (storage, _) = loaded(Path::new(&path));
    limit_file_size(LIMIT);
    let mut writer = block_on(storage.create(Object::Segment(1))).unwrap();
    let settled = writer.append(&vec![1; 1_000_000]).unwrap();
    block_on(writer.settle(settled, Written)).unwrap();
    let end = writer.append(&vec![2; 100_000]).unwrap();
    let error = block_on(writer.settle(end, Written)).unwrap_err();
    assert_eq!(
        (error.kind(), error.offset()),
        (ErrorKind::Full, Some(settled))
    );
    let file = Path::new(&path).join("000001.segment");
    assert_eq!(fs::metadata(file).unwrap().len(), settled);
    block_on(writer.settle(settled, Synced)).unwrap();
    assert!(writer.append(b"x").is_err());

    limit_file_size(LIMIT * 2);
    let mut writer = block_on(storage.resume(Object::Segment(1), settled)).unwrap();
    let end = writer.append(&vec![2; 100_000]).unwrap();
    block_on(writer.settle(end, Synced)).unwrap();
}

/// Stands in for a small disk. The signal that comes with it is ignored, for the error to be seen.
#[cfg(target_os = "linux")]
fn limit_file_size(bytes: u64) {
    // SAFETY: an ignored signal runs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let limit = libc::rlimit64 {
        rlim_cur: bytes,
        rlim_max: u64::MAX,
    };
    // SAFETY: reads the limit that it is given.
    let set = unsafe { libc::setrlimit64(libc::RLIMIT_FSIZE, &raw const limit) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn reading_now_gives_the_bytes_or_declines() {
    let (_directory, storage) = store();
    put(&storage, Object::Table(1), b"0123456789");
    let reader = block_on(storage.open(Object::Table(1))).unwrap();
    // Just written, so cached; a file system that cannot tell declines.
    if let Some(bytes) = reader.read_now(2, 3) {
        assert_eq!(bytes.unwrap(), "234");
    }
    assert_eq!(
        reader
            .read_now(10, 0)
            .map(Result::unwrap)
            .unwrap_or_default(),
        ""
    );
    let past = reader.read_now(8, 3).unwrap().unwrap_err();
    assert_eq!((past.kind(), past.offset()), (ErrorKind::Corrupt, Some(8)));
    let far = reader.read_now(u64::MAX, 3).unwrap().unwrap_err();
    assert_eq!(far.kind(), ErrorKind::Corrupt);
    // A thread that may block always gets an answer.
    let bytes = block_on(async { reader.read_now(2, 3) });
    assert_eq!(bytes.unwrap().unwrap(), "234");
}

#[test]
fn a_file_that_was_cut_under_its_reader_is_corrupt() {
    let (directory, storage) = store();
    put(&storage, Object::Table(1), b"0123456789");
    let reader = block_on(storage.open(Object::Table(1))).unwrap();
    let file = File::options()
        .write(true)
        .open(directory.path().join("000001.table"));
    file.unwrap().set_len(4).unwrap();
    assert!(reader.read_now(2, 6).is_none());
    let error = wait(reader.read_at(2, 6)).unwrap_err();
    assert_eq!(
        (error.kind(), error.offset()),
        (ErrorKind::Corrupt, Some(2))
    );
    assert_eq!(error.object(), Some(&Object::Table(1)));
}

#[test]
fn handles_that_outlive_the_storage_go_on() {
    let (_directory, storage) = store();
    let mut writer = block_on(storage.create(Object::Segment(1))).unwrap();
    let end = writer.append(b"log").unwrap();
    block_on(writer.settle(end, Written)).unwrap();
    let reader = block_on(storage.open(Object::Segment(1))).unwrap();
    drop(storage);
    wait(writer.settle(end, Synced)).unwrap();
    assert_eq!(wait(reader.read_at(0, 3)).unwrap(), "log");
}

#[test]
fn a_storage_may_be_dropped_by_a_waker_it_calls() {
    struct Last(parking_lot::Mutex<Option<FileStorage>>, mpsc::Sender<()>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {
            self.0.lock().take();
            self.1.send(()).unwrap();
        }
    }
    let (_directory, storage) = store();
    let mut writer = block_on(storage.create(Object::Segment(1))).unwrap();
    let end = writer.append(b"log").unwrap();
    let (send, receive) = mpsc::channel();
    let waker = Arc::new(Last(Some(storage).into(), send)).into();
    let mut settle = pin!(writer.settle(end, Synced));
    if settle
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        receive.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
