//! What a warm restart gives and takes: gets of keys that were in use, just after the store was opened. Run by hand:
//! `cargo test --release -p trilith-server --test warm_restart -- --ignored --nocapture`.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on has failed"
)]

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use trilith::{Db, Options};
use trilith_server::{FileStorage, NativeRuntime, block_on};

const KEYS: u64 = 2_000_000;
const HOT: u64 = 200_000;
const GETS: usize = 20_000;

type Store = Db<FileStorage, NativeRuntime>;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"user000000000000";
    for (i, digit) in key[4..].iter_mut().rev().enumerate() {
        *digit = b'0' + (n / 10_u64.pow(i as u32) % 10) as u8;
    }
    key
}

/// Keys in use, spread over all.
fn hot(n: u64) -> [u8; 16] {
    key(n % HOT * (KEYS / HOT))
}

fn open(data: &Path, every: Option<Duration>) -> Store {
    let options = Options {
        memory_bytes: 128 << 20,
        warm_restart_every: every,
        ..Options::default()
    };
    block_on(Db::open(
        FileStorage::new(data),
        NativeRuntime::new(),
        options,
    ))
    .unwrap()
}

/// The median and the 99th percentile of gets, in microseconds, and how many memory could not answer.
fn gets(db: &Store, first: u64) -> (f64, f64, u64) {
    let cold = db.stats().cold_reads;
    let mut took: Vec<Duration> = (0..GETS as u64)
        .map(|i| {
            let key = hot((first + i).wrapping_mul(7_919));
            let began = Instant::now();
            assert!(block_on(db.get(&key)).unwrap().is_some());
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |share: usize| took[GETS * share / 100].as_nanos() as f64 / 1000.0;
    (at(50), at(99), db.stats().cold_reads - cold)
}

fn report(what: &str, (p50, p99, cold): (f64, f64, u64)) {
    println!("{what:45} p50 {p50:8.2} us, p99 {p99:8.2} us, {cold:6} of {GETS} from tables");
}

/// Has the kernel let go of the files' pages, as after a restart of the machine.
fn forget_pages(data: &Path) {
    for entry in fs::read_dir(data).unwrap() {
        let file = File::open(entry.unwrap().path()).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

#[test]
#[ignore = "a measurement"]
fn gets_of_keys_in_use_just_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("store");
    let every = Some(Duration::from_secs(300));
    let db = open(&data, every);
    block_on(async {
        for n in 0..KEYS {
            // In no order of keys.
            let n = n.wrapping_mul(982_451_653) % KEYS;
            db.put(&key(n), &[b'v'; 100]).await.unwrap();
        }
        db.flush().await.unwrap();
        db.compact().await.unwrap();
        for n in 0..4 * HOT {
            db.get(&hot(n)).await.unwrap();
        }
    });
    report("before the restart", gets(&db, 0));
    let began = Instant::now();
    block_on(db.close()).unwrap();
    let noted = data.join("archive/warm/hot.keys").metadata().unwrap().len();
    println!(
        "closed in {:?}, with a note of {noted} bytes",
        began.elapsed()
    );
    drop(db);
    for (pages, forget) in [("pages cached", false), ("pages not cached", true)] {
        for (name, every) in [("cold", None), ("warm", every)] {
            if forget {
                forget_pages(&data);
            }
            let db = open(&data, every);
            let began = Instant::now();
            report(&format!("{name}, {pages}, at once"), gets(&db, 0));
            while db.stats().warm.is_loading {
                thread::sleep(Duration::from_millis(1));
            }
            let (took, warm) = (began.elapsed(), db.stats().warm);
            report(&format!("{name}, {pages}, then"), gets(&db, 50_000));
            if every.is_some() {
                println!("{} keys were back after {took:?}", warm.keys_loaded);
            }
            let began = Instant::now();
            block_on(db.close()).unwrap();
            println!("closed in {:?}", began.elapsed());
        }
    }
}
