//! What the ring costs a node that is alone, beside the plain store. Run by hand:
//! `cargo test --release -p trilith-server --test ring_speed -- --ignored --nocapture`.

use std::thread;
use std::time::Instant;

use bytes::Bytes;
use trilith::Options;
use trilith::command::{Command, Condition, Expiry, Reply, Set, Store};
use trilith::ring::Quorum;
use trilith::ring::driver::{Consistency, Driver, DriverOptions, Start, Transport};
use trilith::ring::meta::Map;
use trilith::ring::node::Packet;
use trilith_server::{FileStorage, NativeRuntime, block_on};

#[derive(Clone)]
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _packet: Packet) {}
    fn learn(&self, _map: &Map) {}
}

const OPERATIONS: usize = 200_000;

fn key(n: usize) -> Bytes {
    format!("key:{:08}", n.wrapping_mul(2_654_435_761) % 100_000).into()
}

fn set(n: usize) -> Command {
    Command::Set(Set {
        key: key(n),
        value: Bytes::from_static(&[b'v'; 64]),
        expiry: Expiry::Clear,
        condition: Condition::Always,
        get: false,
    })
}

fn get(n: usize) -> Command {
    Command::Get(key(n))
}

/// Operations in a second.
fn measure(
    threads: usize,
    depth: usize,
    make: fn(usize) -> Command,
    execute: impl Fn(Vec<Command>) -> Vec<Reply> + Sync,
) -> f64 {
    let began = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let execute = &execute;
            scope.spawn(move || {
                for batch in 0..OPERATIONS / threads / depth {
                    let first = (thread * OPERATIONS + batch) * depth;
                    let replies = execute((first..first + depth).map(make).collect());
                    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
                }
            });
        }
    });
    OPERATIONS as f64 / began.elapsed().as_secs_f64()
}

fn report(name: &str, execute: impl Fn(Vec<Command>) -> Vec<Reply> + Sync) {
    for (threads, depth) in [(1, 1), (1, 16), (4, 1), (4, 16)] {
        let sets = measure(threads, depth, set, &execute);
        let gets = measure(threads, depth, get, &execute);
        println!(
            "{name:12} {threads} threads, {depth:2} deep: {:7.0} SET/s {:7.0} GET/s",
            sets, gets
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn a_cluster_of_one_beside_a_plain_store() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path().join("store"));
    let store = block_on(Store::open(
        storage,
        NativeRuntime::new(),
        Options::default(),
    ))
    .unwrap();
    report("store", |batch| block_on(store.execute(batch)));
    block_on(store.close()).unwrap();
    for shards in [1, 2] {
        let storage = FileStorage::new(folder.path().join(format!("ring{shards}")));
        let start = Start::Found {
            quorum: Quorum::ALONE,
        };
        let options = DriverOptions {
            shards,
            ..DriverOptions::new("127.0.0.1:7000", start)
        };
        let opening = Driver::open(storage, NativeRuntime::new(), Nowhere, options);
        let driver = block_on(opening).unwrap();
        let how = Consistency::default();
        report(&format!("ring, {shards}"), |batch| {
            block_on(driver.execute(batch, how))
        });
        block_on(driver.close()).unwrap();
    }
}
