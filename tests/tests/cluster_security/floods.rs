//! Those who announce much, and those who say nothing.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use super::intruder::{VERSION, connect, hello, last_words, shake_hands};
use super::memory::most_resident_bytes;
use super::secret::{SECRET, guarded};
use super::trial::{PATIENCE, Trial};

/// What a node under a little load may take meanwhile, for reasons of its own. It takes 5 MB.
const SLACK_BYTES: u64 = 24 << 20;

const FOUR_GIGABYTES: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 1];

/// More than a node has places for, several times over.
const HELD: usize = 300;

fn memory(trial: &Trial) -> Vec<u64> {
    let nodes = trial.cluster.running().into_iter();
    nodes
        .map(|node| most_resident_bytes(trial.cluster.pid(node).unwrap()))
        .collect()
}

fn has_not_grown(trial: &Trial, before: &[u64]) {
    for (node, (before, after)) in before.iter().zip(memory(trial)).enumerate() {
        let grown = after.saturating_sub(*before);
        assert!(grown < SLACK_BYTES, "node {node} took {grown} bytes more");
    }
}

/// Lines of a node's log that speak of refusals.
fn refusals_logged(trial: &Trial, node: usize) -> usize {
    let output = trial.cluster.output(node);
    output
        .lines()
        .filter(|line| line.contains("refused"))
        .count()
}

#[test]
fn a_frame_of_four_gigabytes_is_refused_and_takes_no_memory() {
    let trial = guarded();
    let before = memory(&trial);
    for _ in 0..50 {
        // From somebody who is believed to be a node, and from somebody who is not.
        let mut stream = connect(trial.bus(0));
        assert_eq!(shake_hands(&mut stream, Some(SECRET)).unwrap(), 0);
        stream.write_all(&FOUR_GIGABYTES).unwrap();
        // What follows is not waited for; the connection may be closed already.
        let _ = stream.write_all(&[7; 10_000]);
        assert_eq!(last_words(&mut stream), b"");
        let mut stream = connect(trial.bus(0));
        stream.write_all(&FOUR_GIGABYTES.repeat(100)).unwrap();
        assert_eq!(last_words(&mut stream), b"");
    }
    trial.says(
        0,
        &[
            "refused",
            "peer=127.0.0.1:",
            "a frame is too long: 4294967295 bytes",
        ],
    );
    let logged = refusals_logged(&trial, 0);
    assert!(logged < 20, "{logged} lines for 100 connections");
    has_not_grown(&trial, &before);
    trial.is_unharmed();
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let mut trial = guarded();
    let before = memory(&trial);
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..HELD {
        let mut stream = connect(trial.bus(0));
        // Some say nothing, some stop in the middle of the handshake. The node may have had enough of it already.
        let hello = hello(VERSION, true);
        let said = &hello[..[0, 1, 30, hello.len()][number % 4]];
        let _ = stream.write_all(said);
        held.push(stream);
    }
    trial.says(0, &["refused", "peer=127.0.0.1:", "too many connections"]);
    // Those that are held now do not keep a node out.
    trial.one_more_joins();
    trial.is_unharmed();
    // Nor are they held for ever.
    let start = Instant::now();
    for stream in &mut held {
        last_words(stream);
    }
    assert!(start.elapsed() < PATIENCE);
    trial.says(0, &["refused", "nothing was heard for too long"]);
    let logged = refusals_logged(&trial, 0);
    assert!(logged < 20, "{logged} lines for {HELD} connections");
    has_not_grown(&trial, &before);
    trial.is_unharmed();
}

#[test]
fn a_node_that_says_nothing_any_more_is_let_go() {
    let trial = guarded();
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(trial.bus(0));
        assert_eq!(shake_hands(&mut stream, Some(SECRET)).unwrap(), 0);
        held.push(stream);
    }
    // A node has one connection: the newest one replaces the others, and goes when nothing is heard on it.
    for stream in &mut held {
        assert_eq!(last_words(stream), b"");
    }
    trial.says(0, &["refused", "nothing was heard for too long"]);
    trial.is_unharmed();
}
