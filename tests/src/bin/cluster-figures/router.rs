//! A client that knows the topology, as Redis Cluster's libraries do: one connection for each node, one request at
//! a time, redirects are followed.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use trilith::slot::{arc_of, slot_of};
use trilith_tests::{Client, Reply};

/// How many redirects a request follows without a rest.
const REDIRECTS_MOST: u64 = 8;

/// How long it rests then: two nodes that point at each other may both be about to learn better.
const REST: Duration = Duration::from_millis(1);

/// How many arcs a cluster has.
pub const ARCS: usize = 256;

/// The arc of a key.
pub fn arc(key: &[u8]) -> usize {
    usize::from(arc_of(slot_of(key)))
}

/// One key for each arc, by their arcs.
pub fn key_of_each_arc(name: &str) -> Vec<Vec<u8>> {
    let mut keys = vec![Vec::new(); ARCS];
    let mut missing = ARCS;
    let mut number = 0;
    while missing > 0 {
        let key = format!("{name}:{number}").into_bytes();
        let place = &mut keys[arc(&key)];
        if place.is_empty() {
            *place = key;
            missing -= 1;
        }
        number += 1;
    }
    keys
}

/// Who masters each arc.
pub type Map = Vec<SocketAddr>;

/// Asks for the map. The connection counts as one that knows it from now on.
pub fn ask_map(client: &mut Client) -> io::Result<Map> {
    let reply = client.call(&["CLUSTER", "SLOTS"])?;
    let unreadable = || io::Error::other(format!("unreadable CLUSTER SLOTS: {reply:?}"));
    let Reply::Array(parts) = &reply else {
        return Err(unreadable());
    };
    let mut map = vec![None; ARCS];
    for part in parts {
        let (first, last, address) = read_part(part).ok_or_else(unreadable)?;
        for slot in first..=last {
            map[usize::from(arc_of(slot))] = Some(address);
        }
    }
    map.into_iter()
        .collect::<Option<Map>>()
        .ok_or_else(unreadable)
}

fn read_part(part: &Reply) -> Option<(u16, u16, SocketAddr)> {
    let Reply::Array(fields) = part else {
        return None;
    };
    let [
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Array(node),
        ..,
    ] = &fields[..]
    else {
        return None;
    };
    let [Reply::Bulk(host), Reply::Integer(port), ..] = &node[..] else {
        return None;
    };
    let host = std::str::from_utf8(host).ok()?.parse().ok()?;
    let address = SocketAddr::new(host, u16::try_from(*port).ok()?);
    Some((
        u16::try_from(*first).ok()?,
        u16::try_from(*last).ok()?,
        address,
    ))
}

/// Where a `MOVED` reply points to.
pub fn moved_to(reply: &Reply) -> Option<SocketAddr> {
    let Reply::Error(error) = reply else {
        return None;
    };
    let rest = error.strip_prefix("MOVED ")?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The client.
pub struct Router {
    nodes: Vec<SocketAddr>,
    map: Map,
    connections: HashMap<SocketAddr, Client>,
    limit: Duration,
    redirects: u64,
    loops: u64,
}

impl Router {
    /// Connects to all of `nodes`. A reply may take as long as `limit`.
    pub fn connect(nodes: &[SocketAddr], limit: Duration) -> io::Result<Self> {
        let mut router = Self {
            nodes: nodes.to_vec(),
            map: Map::new(),
            connections: HashMap::new(),
            limit,
            redirects: 0,
            loops: 0,
        };
        for &node in nodes {
            router.open(node)?;
        }
        Ok(router)
    }

    fn open(&mut self, node: SocketAddr) -> io::Result<()> {
        let mut client = Client::connect(node)?;
        client.set_limit(self.limit)?;
        let map = ask_map(&mut client)?;
        if self.map.is_empty() {
            self.map = map;
        }
        self.connections.insert(node, client);
        Ok(())
    }

    /// Sends a command to who masters its key, and follows redirects. When a connection fails, the next attempt goes
    /// to another node.
    pub fn call(&mut self, key: &[u8], command: &[&[u8]]) -> io::Result<Reply> {
        let arc = arc(key);
        let start = Instant::now();
        for redirects in 1.. {
            let node = self.map[arc];
            let reply = self.ask(node, command).inspect_err(|_| self.lose(node))?;
            let Some(other) = moved_to(&reply) else {
                return Ok(reply);
            };
            self.map[arc] = other;
            self.redirects += 1;
            if redirects % REDIRECTS_MOST == 0 {
                self.loops += u64::from(redirects == REDIRECTS_MOST);
                sleep(REST);
            }
            if start.elapsed() > self.limit {
                break;
            }
        }
        Err(io::Error::other(format!(
            "range {arc}: redirected in a circle"
        )))
    }

    /// How many redirects were followed, and how many requests were redirected too often for most libraries.
    pub fn redirects(&self) -> (u64, u64) {
        (self.redirects, self.loops)
    }

    /// Writes. `Ok` says that the write was acknowledged.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match self.call(key, &[b"SET", key, value])? {
            Reply::Simple(_) => Ok(()),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    fn ask(&mut self, node: SocketAddr, command: &[&[u8]]) -> io::Result<Reply> {
        if !self.connections.contains_key(&node) {
            self.open(node)?;
        }
        match self.connections.get_mut(&node) {
            Some(client) => client.call(command),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// A connection has failed: another node may know who takes its place. Where it does not, it is asked itself.
    fn lose(&mut self, node: SocketAddr) {
        self.connections.remove(&node);
        let other = self.next_after(node);
        if let Some(client) = self.connections.get_mut(&other)
            && let Ok(map) = ask_map(client)
        {
            self.map = map;
        }
        for place in self.map.iter_mut().filter(|place| **place == node) {
            *place = other;
        }
    }

    fn next_after(&self, node: SocketAddr) -> SocketAddr {
        let at = self.nodes.iter().position(|other| *other == node);
        self.nodes[at.map_or(0, |at| (at + 1) % self.nodes.len())]
    }
}
