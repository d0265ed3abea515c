//! The short way of a write, while everything else that may happen to a range happens too.

use super::*;
use crate::storage::faulty::{CrashMode, Plan};

const KEYS: usize = 8;
const WRITERS: usize = 6;
const ROUNDS: usize = 120;

/// What the writers have heard, by key.
#[derive(Clone, Copy, Default)]
struct Heard {
    acknowledged: i64,
    unknown: i64,
}

type Ledger = Arc<Mutex<Vec<Heard>>>;

/// Counts keys up at a node, from several clients at once, in batches that have a key that expires among them.
fn write(cluster: &Cluster, ledger: &Ledger) {
    for writer in 0..WRITERS {
        let (node, ledger) = (cluster.node(0).clone(), Arc::clone(ledger));
        let runtime = cluster.runtime.clone();
        cluster.runtime.spawn(Work::Ring, async move {
            for round in 0..ROUNDS {
                let keys = [writer % KEYS, (writer + round) % KEYS];
                let mut batch: Vec<Command> =
                    keys.map(|key| command(&format!("INCR key{key}"))).into();
                batch.push(command(&format!("SET gone{writer} {round} PX 15")));
                let replies = node.execute(batch, Consistency::default()).await;
                for (key, reply) in keys.into_iter().zip(replies) {
                    let heard = &mut ledger.lock()[key];
                    match reply {
                        Reply::Int(_) => heard.acknowledged += 1,
                        Reply::Error(text) if text.starts_with("UNKNOWN") => heard.unknown += 1,
                        // Nothing was written.
                        _ => {}
                    }
                }
                let pause_ms = (writer + round) as u64 % 7 + 1;
                runtime.sleep(Duration::from_millis(pause_ms)).await;
            }
        });
    }
}

fn check(cluster: &Cluster, place: usize, ledger: &Ledger) {
    for (key, heard) in ledger.lock().iter().enumerate() {
        let Reply::Bulk(value) = cluster.ask(place, &format!("GET key{key}")) else {
            panic!("key{key} is not there");
        };
        let value: i64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
        let most = heard.acknowledged + heard.unknown;
        assert!(
            (heard.acknowledged..=most).contains(&value),
            "key{key} is {value}, of {} acknowledged and {} unknown",
            heard.acknowledged,
            heard.unknown
        );
    }
}

fn ledger() -> Ledger {
    Arc::new(Mutex::new(vec![Heard::default(); KEYS]))
}

#[test]
fn every_write_counts_once_while_others_join() {
    for seed in 0..4 {
        let mut cluster = Cluster::founded(BALANCED, 2);
        cluster.machines[0].storage.set_plan(Plan::slow(seed, 3));
        let ledger = ledger();
        write(&cluster, &ledger);
        cluster.pass(150);
        let contacts = vec![cluster.node(0).id()];
        for _ in 0..2 {
            let contacts = contacts.clone();
            cluster.add(Start::Join { contacts });
        }
        cluster.await_that("all ranges are in place", |cluster| cluster.are_in_place(3));
        cluster.pass(5_000);
        let acknowledged: i64 = ledger.lock().iter().map(|heard| heard.acknowledged).sum();
        assert!(acknowledged > (WRITERS * ROUNDS) as i64, "{acknowledged}");
        check(&cluster, 1, &ledger);
        for writer in 0..WRITERS {
            assert_eq!(cluster.ask(2, &format!("GET gone{writer}")), Reply::Null);
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    for seed in 0..8 {
        let mut cluster = Cluster::founded(BALANCED, 2);
        cluster.machines[0].storage.set_plan(Plan::slow(seed, 3));
        let ledger = ledger();
        write(&cluster, &ledger);
        cluster.pass(100 + 37 * seed);
        cluster.kill(0);
        // Those who write there hear nothing any more, or that it is over.
        let known = Arc::new(Mutex::new(ledger.lock().clone()));
        for heard in known.lock().iter_mut() {
            heard.unknown += WRITERS as i64;
        }
        let machine = &mut cluster.machines[0];
        machine.storage = machine.storage.restart(CrashMode::ProcessKilled);
        let quorum = Quorum::new(3, 2, 2).unwrap();
        cluster.boot(0, Start::Found { quorum });
        check(&cluster, 0, &known);
        assert_eq!(cluster.ask(0, "INCR again"), Reply::Int(1));
    }
}
