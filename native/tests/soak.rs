//! The embedded store under many threads: readers never see a counter go back, whatever flushes,
//! compactions and checkpoints go on meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use trilith::{Batch, Options, Range};
use trilith_server::{Store, open_with};

const WRITERS: u64 = 4;
const READERS: u64 = 4;
/// Keys of each writer. Each holds a counter, and its twin always the same one.
const KEYS: u64 = 500;

fn options() -> Options {
    Options {
        memory_bytes: 4 << 20,
        memtable_bytes: Some(256 << 10),
        segment_bytes: 1 << 20,
        ..Options::default()
    }
}

/// What has been acknowledged for each key.
struct Counters(Vec<AtomicU64>);

impl Counters {
    fn of(&self, key: u64) -> u64 {
        self.0[key as usize].load(Ordering::Acquire)
    }
}

fn key_of(key: u64) -> Vec<u8> {
    format!("a:{key:06}").into_bytes()
}

fn twin_of(key: u64) -> Vec<u8> {
    format!("b:{key:06}").into_bytes()
}

/// A counter and some weight, now and then enough to lie apart from its key.
fn value_of(counter: u64) -> Vec<u8> {
    let len = if counter % 97 == 13 { 6000 } else { 40 };
    let mut value = counter.to_le_bytes().to_vec();
    value.resize(8 + len, counter as u8);
    value
}

fn counter_in(value: &[u8]) -> u64 {
    let counter = u64::from_le_bytes(value[..8].try_into().unwrap());
    assert!(value == value_of(counter), "the value is torn");
    counter
}

fn next(dice: &mut u64) -> u64 {
    *dice = dice
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *dice >> 33
}

/// Raises the counters of its own keys, each with its twin in one batch.
fn write(store: &Store, counters: &Counters, writer: u64, done: &AtomicBool) {
    let mut dice = writer + 1;
    while !done.load(Ordering::Relaxed) {
        let key = writer * KEYS + next(&mut dice) % KEYS;
        let counter = counters.of(key) + 1;
        let value = value_of(counter);
        let mut batch = Batch::new();
        batch.put(&key_of(key), &value).put(&twin_of(key), &value);
        store.write(batch).unwrap();
        counters.0[key as usize].store(counter, Ordering::Release);
    }
}

/// What a read finds is at least what was acknowledged before it began, and at least what was read before.
fn read(store: &Store, counters: &Counters, reader: u64, done: &AtomicBool) -> u64 {
    let mut dice = reader + 100;
    let mut seen = vec![0; counters.0.len()];
    let mut reads = 0;
    while !done.load(Ordering::Relaxed) {
        let key = next(&mut dice) % (WRITERS * KEYS);
        let acknowledged = counters.of(key);
        let found = store.get(&key_of(key)).unwrap();
        let found = found.map_or(0, |value| counter_in(&value));
        let least = acknowledged.max(seen[key as usize]);
        assert!(found >= least, "key {key}: read {found} after {least}");
        seen[key as usize] = found;
        reads += 1;
    }
    reads
}

/// In one walk a key and its twin agree, both ways, and so do two walks of one snapshot.
fn scan(store: &Store, counters: &Counters, done: &AtomicBool) -> u64 {
    let mut scans = 0;
    while !done.load(Ordering::Relaxed) {
        let least: Vec<u64> = (0..WRITERS * KEYS).map(|key| counters.of(key)).collect();
        let snapshot = store.snapshot();
        let range = if scans % 2 == 0 {
            Range::all()
        } else {
            Range::all().reversed()
        };
        let mut found = [vec![0; least.len()], vec![0; least.len()]];
        for pair in snapshot.scan(range).unwrap() {
            let (key, value) = pair.unwrap();
            let number: usize = std::str::from_utf8(&key[2..]).unwrap().parse().unwrap();
            found[usize::from(key[0] == b'b')][number] = counter_in(&value);
        }
        assert!(found[0] == found[1], "a batch was seen in part");
        for (key, (found, least)) in found[0].iter().zip(&least).enumerate() {
            assert!(found >= least, "key {key}: walked {found} after {least}");
        }
        scans += 1;
    }
    scans
}

/// Flushes, compacts and copies. Each copy is a sound store, no older than its beginning.
fn upkeep(store: &Store, counters: &Counters, directory: &Path, done: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) {
        store.flush().unwrap();
        if rounds % 3 == 0 {
            store.compact().unwrap();
        }
        let least: Vec<u64> = (0..WRITERS * KEYS).map(|key| counters.of(key)).collect();
        let to = directory.join(format!("copy-{rounds}"));
        store.checkpoint(&to).unwrap();
        let copy = open_with(&to, options()).unwrap();
        for (key, least) in least.iter().enumerate() {
            let found = copy.get(&key_of(key as u64)).unwrap();
            let found = found.map_or(0, |value| counter_in(&value));
            assert!(found >= *least, "key {key}: copied {found} after {least}");
        }
        let verified = copy.verify().unwrap();
        assert!(verified.is_sound(), "{:?}", verified.problems);
        copy.close().unwrap();
        drop(copy);
        std::fs::remove_dir_all(to).unwrap();
        rounds += 1;
    }
    rounds
}

fn soak(time: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = open_with(&path, options()).unwrap();
    let counters = Counters((0..WRITERS * KEYS).map(|_| AtomicU64::new(0)).collect());
    let done = AtomicBool::new(false);
    let (reads, scans, rounds) = thread::scope(|scope| {
        let (store, counters, done) = (&store, &counters, &done);
        let directory = directory.path();
        for writer in 0..WRITERS {
            scope.spawn(move || guarded(done, || write(store, counters, writer, done)));
        }
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                scope.spawn(move || guarded(done, || read(store, counters, reader, done)))
            })
            .collect();
        let scanner = scope.spawn(move || guarded(done, || scan(store, counters, done)));
        let keeper =
            scope.spawn(move || guarded(done, || upkeep(store, counters, directory, done)));
        let start = Instant::now();
        while start.elapsed() < time && !done.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Ordering::Relaxed);
        let reads: u64 = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum();
        (reads, scanner.join().unwrap(), keeper.join().unwrap())
    });
    let stats = store.stats();
    let writes: u64 = (0..WRITERS * KEYS).map(|key| counters.of(key)).sum();
    println!(
        "{writes} writes, {reads} reads, {scans} scans, {rounds} copies, {} flushes, {} compactions",
        stats.flushes, stats.compactions
    );
    assert!(stats.flushes > 0 && stats.compactions > 0 && scans > 0 && rounds > 0);

    store.close().unwrap();
    drop(store);
    let store = open_with(&path, options()).unwrap();
    for key in 0..WRITERS * KEYS {
        let found = store.get(&key_of(key)).unwrap();
        let found = found.map_or(0, |value| counter_in(&value));
        assert_eq!(found, counters.of(key), "key {key}");
    }
    store.close().unwrap();
}

/// Ends everybody when `work` panics, so that the test fails instead of going on.
fn guarded<T>(done: &AtomicBool, work: impl FnOnce() -> T) -> T {
    struct Guard<'a>(&'a AtomicBool);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let _guard = Guard(done);
    work()
}

#[test]
fn no_reader_sees_a_counter_go_back() {
    soak(Duration::from_secs(4));
}

#[test]
#[ignore = "takes minutes"]
fn no_reader_sees_a_counter_go_back_for_minutes() {
    soak(Duration::from_secs(600));
}
