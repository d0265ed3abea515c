//! Clients that send SETs in batches, each with `WAIT 1` behind it, so that what is counted is on two machines.

use std::io;
use std::net::SocketAddr;
use std::thread::scope;
use std::time::{Duration, Instant};

use trilith::random::Random;
use trilith_tests::{Client, Reply};

use super::{Options, Row};
use crate::figures::Latencies;
use crate::router::{arc, ask_map};

/// How long the clients run before they are measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long WAIT may take, in milliseconds.
const WAIT_MS: &str = "5000";

/// Every client stays with one node and writes keys that it masters.
pub fn run(options: &Options, server: &'static str, nodes: &[SocketAddr]) -> io::Result<Row> {
    let keys = keys_by_node(options, nodes)?;
    let start = Instant::now() + WARM_UP;
    let end = start + Duration::from_secs_f64(options.seconds);
    let latencies = scope(|scope| {
        let client = |number: usize| {
            let at = number % nodes.len();
            let (node, keys) = (nodes[at], &keys[at]);
            scope.spawn(move || client(options, number, node, keys, start, end))
        };
        let clients: Vec<_> = (0..options.clients).map(client).collect();
        let ended = |_| io::Error::other("a client ended");
        let all = clients
            .into_iter()
            .map(|client| client.join().map_err(ended)?);
        all.collect::<io::Result<Vec<Latencies>>>()
    })?;
    let mut all = Latencies::new();
    latencies.iter().for_each(|one| all.add(one));
    Ok(Row {
        server,
        test: format!("{} SETs and WAIT 1", options.pipeline),
        per_second: all.count() as f64 * options.pipeline as f64 / options.seconds,
        p50_ms: all.quantile(0.5),
        p99_ms: all.quantile(0.99),
    })
}

/// The keys that each node masters; all of them if there is one node.
fn keys_by_node(options: &Options, nodes: &[SocketAddr]) -> io::Result<Vec<Vec<String>>> {
    let names = (0..options.keys).map(|number| format!("key:{number:012}"));
    if nodes.len() == 1 {
        return Ok(vec![names.collect()]);
    }
    let map = ask_map(&mut Client::connect(nodes[0])?)?;
    let mut keys = vec![Vec::new(); nodes.len()];
    for name in names {
        let master = map[arc(name.as_bytes())];
        let node = nodes.iter().position(|node| *node == master);
        keys[node.unwrap_or(0)].push(name);
    }
    Ok(keys)
}

/// How long its batches took that ended between `start` and `end`.
fn client(
    options: &Options,
    number: usize,
    node: SocketAddr,
    keys: &[String],
    start: Instant,
    end: Instant,
) -> io::Result<Latencies> {
    let mut client = Client::connect(node)?;
    let mut random = Random::new(number as u64);
    let value = "v".repeat(options.value_bytes);
    let mut latencies = Latencies::new();
    loop {
        let set = |_| vec!["SET", &keys[random.index(keys.len())], &value];
        let mut batch: Vec<Vec<&str>> = (0..options.pipeline).map(set).collect();
        batch.push(vec!["WAIT", "1", WAIT_MS]);
        let sent = Instant::now();
        let replies = client.pipeline(&batch)?;
        let now = Instant::now();
        check(&replies)?;
        if now >= end {
            return Ok(latencies);
        }
        if now >= start {
            latencies.record(now - sent);
        }
    }
}

fn check(replies: &[Reply]) -> io::Result<()> {
    let (waited, sets) = match replies {
        [sets @ .., waited] => (waited, sets),
        [] => return Err(io::Error::other("no reply")),
    };
    if let Some(wrong) = sets.iter().find(|reply| **reply != Reply::ok()) {
        return Err(io::Error::other(format!("SET: {wrong:?}")));
    }
    match waited {
        Reply::Integer(1..) => Ok(()),
        other => Err(io::Error::other(format!("WAIT 1: {other:?}"))),
    }
}
