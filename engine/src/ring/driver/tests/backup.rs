//! Ranges for backups: whichever copy is read, it has what was acknowledged.

use super::*;
use crate::ErrorKind;
use crate::ring::META;

/// The value of a key in a backup of its range that is read on a node.
fn backed_up(cluster: &Cluster, place: usize, key: &str) -> Option<Vec<u8>> {
    cluster.runtime.block_on(async {
        let mut backup = cluster.node(place).backup(arc(key)).await.unwrap();
        loop {
            let part = backup.next(100).await.unwrap();
            if part.is_empty() {
                return None;
            }
            if let Some(entry) = part.into_iter().find(|entry| entry.key == key) {
                return Some(entry.value.to_vec());
            }
        }
    })
}

fn refusal(cluster: &Cluster, place: usize, range: u32) -> Option<ErrorKind> {
    let backup = cluster.runtime.block_on(cluster.node(place).backup(range));
    backup.err().map(|error| error.kind())
}

#[test]
fn any_copy_gives_what_was_acknowledged_just_before() {
    let cluster = Cluster::of(3, BALANCED);
    for n in 0..60 {
        let key = format!("key{}", n % 20);
        let value = n.to_string();
        assert_eq!(cluster.ask(n % 3, &format!("SET {key} {value}")), Reply::OK);
        let place = (n / 20 + n) % 3;
        assert_eq!(backed_up(&cluster, place, &key), Some(value.into_bytes()));
    }
    assert_eq!(refusal(&cluster, 0, META), Some(ErrorKind::Invalid));
}

#[test]
fn a_node_that_is_alone_gives_it_without_calling_its_ranges_back() {
    let cluster = Cluster::founded(BALANCED, 3);
    let range = arc("key");
    let is_lent = |cluster: &Cluster| cluster.node(0).inner.lent.has(range);
    cluster.await_that("the range is lent", is_lent);
    for n in 0..50 {
        let value = n.to_string();
        assert_eq!(cluster.ask(0, &format!("SET key {value}")), Reply::OK);
        assert_eq!(backed_up(&cluster, 0, "key"), Some(value.into_bytes()));
        assert!(is_lent(&cluster));
    }
}

#[test]
fn a_copy_that_may_be_behind_gives_none() {
    let mut cluster = Cluster::of(3, BALANCED);
    assert_eq!(cluster.ask(0, "SET key 1"), Reply::OK);
    cluster.kill(1);
    cluster.kill(2);
    assert_eq!(refusal(&cluster, 0, arc("key")), Some(ErrorKind::Failed));
}

#[test]
fn a_node_without_a_copy_says_so() {
    let cluster = Cluster::of(4, BALANCED);
    let range = arc("key");
    let without = (0..4).find(|&place| cluster.range(place, range).is_none());
    let without = without.expect("three of four hold it");
    assert_eq!(refusal(&cluster, without, range), Some(ErrorKind::Invalid));
}
