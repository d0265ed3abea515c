//! `kill -9`: from the kill to the first acknowledged write in each range that the node mastered.
//!
//! Each range has a client of its own that writes one key through the nodes that are left, one after the other, until
//! one acknowledges it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Barrier, OnceLock};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::json;
use trilith_tests::{Client, Cluster, Reply};

use super::{Round, mastered};
use crate::router::key_of_each_arc;

/// How long a node may keep a write before the client asks the other one.
const ATTEMPT: Duration = Duration::from_millis(400);

/// How long a client goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it rests after an error.
const REST: Duration = Duration::from_millis(5);

/// Kills the node and measures.
pub fn round(cluster: &mut Cluster, victim: usize) -> io::Result<Round> {
    let arcs = mastered(cluster, victim)?;
    let keys = key_of_each_arc("probe");
    let others = cluster.running().into_iter().filter(|node| *node != victim);
    let others: Vec<SocketAddr> = others.map(|node| cluster.address(node)).collect();
    let connect = |(i, &arc): (usize, &usize)| Probe::new(&keys[arc], &others, i);
    let probes = arcs.iter().enumerate().map(connect);
    let probes: Vec<Probe<'_>> = probes.collect::<io::Result<_>>()?;

    let barrier = Barrier::new(probes.len() + 1);
    let killed_at = OnceLock::new();
    let done = scope(|scope| {
        let (barrier, killed_at) = (&barrier, &killed_at);
        let mut started = Vec::new();
        for probe in probes {
            started.push(scope.spawn(move || {
                barrier.wait();
                probe.run(*killed_at.get_or_init(Instant::now))
            }));
        }
        let _ = killed_at.set(Instant::now());
        let killed = cluster.kill(victim);
        // The clients wait for this one too.
        barrier.wait();
        let ended = || io::Error::other("a client ended");
        let done = started
            .into_iter()
            .map(|probe| probe.join().map_err(|_| ended())?);
        killed.and(done.collect::<io::Result<Vec<_>>>())
    })?;
    let ranges = done.iter().map(|(took, _)| took.as_secs_f64() * 1e3);
    let attempts: usize = done.iter().map(|(_, attempts)| attempts).sum();
    Ok(Round {
        ranges: ranges.collect(),
        settled: 0.0,
        more: json!({"attempts": attempts}),
    })
}

struct Probe<'a> {
    key: &'a [u8],
    nodes: &'a [SocketAddr],
    /// Which node is asked.
    at: usize,
    client: Option<Client>,
}

impl<'a> Probe<'a> {
    fn new(key: &'a [u8], nodes: &'a [SocketAddr], at: usize) -> io::Result<Self> {
        let mut probe = Self {
            key,
            nodes,
            at: at % nodes.len(),
            client: None,
        };
        probe.client = Some(probe.connect()?);
        Ok(probe)
    }

    fn connect(&self) -> io::Result<Client> {
        let mut client = Client::connect(self.nodes[self.at])?;
        client.set_limit(ATTEMPT)?;
        Ok(client)
    }

    /// Writes until it is acknowledged. How long after the kill that was, and how many attempts it took.
    fn run(mut self, killed_at: Instant) -> io::Result<(Duration, usize)> {
        let mut last = String::new();
        for attempt in 1.. {
            match self.attempt() {
                Ok(Reply::Simple(_)) => return Ok((killed_at.elapsed(), attempt)),
                Ok(other) => last = format!("{other:?}"),
                Err(error) => {
                    last = error.to_string();
                    self.client = None;
                    self.at = (self.at + 1) % self.nodes.len();
                }
            }
            if killed_at.elapsed() > PATIENCE {
                break;
            }
            sleep(REST);
        }
        let key = self.key.escape_ascii();
        Err(io::Error::other(format!(
            "{key} was not written within {PATIENCE:?}: {last}"
        )))
    }

    fn attempt(&mut self) -> io::Result<Reply> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let reply = client.call(&[&b"SET"[..], self.key, b"after the kill"])?;
        self.client = Some(client);
        Ok(reply)
    }
}
