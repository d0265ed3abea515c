//! A cluster of one.

use super::*;
use crate::command::{Encoder, Protocol};
use crate::storage::faulty::CrashMode;

fn alone() -> Cluster {
    Cluster::founded(BALANCED, 3)
}

// In a page there is one thread.
#[cfg(not(target_family = "wasm"))]
#[test]
fn what_a_driver_does_may_be_sent_between_threads() {
    fn assert_send<T: Send>(future: T) -> T {
        future
    }
    let cluster = alone();
    let node = cluster.node(0);
    let batch = vec![command("SET a 1")];
    let executing = assert_send(node.execute(batch, Consistency::default()));
    assert_eq!(cluster.runtime.block_on(executing), [Reply::OK]);
    drop(assert_send(node.propose(Proposal::Drain(node.id()))));
    drop(assert_send(node.recover(1)));
    drop(assert_send(node.close()));
}

#[test]
fn a_cluster_of_one_takes_writes_and_reads() {
    let cluster = alone();
    assert_eq!(cluster.ask(0, "SET a 1"), Reply::OK);
    assert_eq!(cluster.ask(0, "INCR a"), Reply::Int(2));
    assert_eq!(cluster.ask(0, "GET a"), bulk("2"));
    assert_eq!(cluster.ask(0, "GET b"), Reply::Null);
    let status = cluster.range(0, arc("a")).unwrap();
    assert_eq!(
        (status.role.as_str(), status.writes, status.reads),
        ("master", 2, 1)
    );
}

#[test]
fn commands_of_one_batch_take_effect_in_their_order() {
    let cluster = alone();
    let replies = cluster.run(
        0,
        &[
            "GET k", "SET k 1", "GET k", "SET x 9", "INCR k", "GET k", "DEL k", "GET k", "GET x",
        ],
    );
    let wanted = [
        Reply::Null,
        Reply::OK,
        bulk("1"),
        Reply::OK,
        Reply::Int(2),
        bulk("2"),
        Reply::Int(1),
        Reply::Null,
        bulk("9"),
    ];
    assert_eq!(replies, wanted);
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
        let mut cluster = alone();
        let id = cluster.node(0).id();
        for n in 0..40 {
            assert_eq!(cluster.ask(0, &format!("SET key{n} {n}")), Reply::OK);
        }
        // A power loss takes what was not synced.
        cluster.pass(2_500);
        cluster.kill(0);
        let machine = &mut cluster.machines[0];
        machine.storage = machine.storage.restart(mode);
        let quorum = Quorum::new(3, 2, 2).unwrap();
        cluster.boot(0, Start::Found { quorum });
        assert_eq!(cluster.node(0).id(), id);
        for n in 0..40 {
            assert_eq!(cluster.ask(0, &format!("GET key{n}")), bulk(&n.to_string()));
        }
        assert_eq!(cluster.ask(0, "DBSIZE"), Reply::Int(40));
        let view = cluster.node(0).view();
        assert_eq!(view.map.as_ref().unwrap().version, 1);
        assert!(view.routes.iter().all(|&route| route == id) && view.routes.len() == 256);
    }
}

#[test]
fn keys_of_several_slots_are_served_slot_by_slot() {
    let cluster = alone();
    assert_eq!(cluster.ask(0, "MSET a 1 b 2 c 3"), Reply::OK);
    assert_eq!(
        cluster.ask(0, "MGET c none a b"),
        Reply::Array(vec![bulk("3"), Reply::Null, bulk("1"), bulk("2")])
    );
    assert_eq!(cluster.ask(0, "EXISTS a b none"), Reply::Int(2));
    assert_eq!(cluster.ask(0, "DEL a c none"), Reply::Int(2));
    assert_eq!(cluster.ask(0, "MSET {x}a 1 {x}b 2"), Reply::OK);
    assert_eq!(
        cluster.ask(0, "MGET {x}a {x}b"),
        Reply::Array(vec![bulk("1"), bulk("2")])
    );
}

#[test]
fn commands_about_all_keys_see_all_of_them() {
    let cluster = alone();
    for n in 0..100 {
        cluster.ask(0, &format!("SET key{n} {n}"));
    }
    assert_eq!(cluster.ask(0, "DBSIZE"), Reply::Int(100));
    let mut found = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let Reply::Array(reply) = cluster.ask(0, &format!("SCAN {cursor} COUNT 7")) else {
            panic!("not a scan");
        };
        let [Reply::Bulk(next), Reply::Array(keys)] = &reply[..] else {
            panic!("{reply:?}");
        };
        found.extend(keys.iter().map(|key| format!("{key:?}")));
        cursor = String::from_utf8(next.to_vec()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 100);
    let Reply::Array(keys) = cluster.ask(0, "KEYS key1*") else {
        panic!("no keys");
    };
    assert_eq!(keys.len(), 11);
    let replies = cluster.run(
        0,
        &["SET last 1", "FLUSHALL", "DBSIZE", "SET next 1", "DBSIZE"],
    );
    assert_eq!(
        replies,
        [
            Reply::OK,
            Reply::OK,
            Reply::Int(0),
            Reply::OK,
            Reply::Int(1)
        ]
    );
    let Reply::Array(lines) = cluster.ask(0, "EXPLAIN GET next") else {
        panic!("no explanation");
    };
    assert!(lines.len() > 3, "{lines:?}");
}

/// What a GET is answered at once, if it is.
fn at_once(cluster: &Cluster, key: &'static str) -> Option<String> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, Protocol::Resp2);
    let get = Command::Get(key.into());
    let node = cluster.node(0);
    node.execute_now(&get, Consistency::default(), &mut encoder)
        .then(|| String::from_utf8(out).unwrap())
}

#[test]
fn who_is_alone_reads_without_asking() {
    let cluster = alone();
    cluster.ask(0, "SET k v");
    assert_eq!(at_once(&cluster, "k").unwrap(), "$1\r\nv\r\n");
    assert_eq!(at_once(&cluster, "none").unwrap(), "$-1\r\n");
    // A life that ends is the log's to judge, once it may be over.
    cluster.ask(0, "SET k v PX 1000");
    assert!(at_once(&cluster, "k").is_some());
    cluster.pass(1_000);
    assert_eq!(at_once(&cluster, "k"), None);
    assert_eq!(cluster.ask(0, "GET k"), Reply::Null);
}

#[test]
fn who_is_not_alone_asks() {
    let cluster = Cluster::of(3, BALANCED);
    cluster.ask(0, "SET k v");
    assert_eq!(at_once(&cluster, "k"), None);
}

#[test]
fn keys_expire_through_the_log() {
    let cluster = alone();
    cluster.ask(0, "SET k v PX 1000");
    cluster.ask(0, "SET stays v");
    cluster.pass(400);
    let Reply::Int(left) = cluster.ask(0, "PTTL k") else {
        panic!("no life is left");
    };
    assert!((500..=600).contains(&left), "{left}");
    cluster.pass(599);
    cluster.pass(1);
    // At the very moment, and with nothing in the log since.
    assert_eq!(cluster.ask(0, "GET k"), Reply::Null);
    cluster.pass(2_000);
    assert_eq!(cluster.ask(0, "DBSIZE"), Reply::Int(1));
    assert_eq!(cluster.node(0).stats().store.expired, 1);
    assert_eq!(cluster.node(0).stats().store.keys_with_deadline, 0);
}

#[test]
fn a_node_says_what_it_has_done() {
    let cluster = alone();
    cluster.ask(0, "SET a 1");
    cluster.ask(0, "GET a");
    cluster.ask(0, "GET none");
    let stats = cluster.node(0).stats();
    assert_eq!(stats.elections, 257);
    assert!(stats.appends > 257);
    assert_eq!((stats.store.hits, stats.store.misses), (1, 1));
    assert_eq!((stats.unknown, stats.forwards), (0, 0));
}
