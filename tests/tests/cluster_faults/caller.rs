//! Clients of a cluster: one kind knows the map and goes to the master of a slot, the other asks whom it is
//! connected to.
//!
//! A caller must never ask twice for what may have been done already. It asks again only where nothing had left, or
//! after MOVED.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use trilith_tests::{Client, Reply};

use crate::dice::Dice;
use crate::recorder::Ended;

/// How long it may take to connect.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

/// How long an answer may take before it is given up.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

/// How long somebody is looked for who takes a request.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

/// How long before somebody else is tried.
const BACKOFF: Duration = Duration::from_millis(10);

/// How long a node is left alone that was of no use.
const AVOIDED_FOR: Duration = Duration::from_secs(1);

/// First slot, last slot, and who masters them.
type Slots = Vec<(i64, i64, SocketAddr)>;

pub struct Caller {
    nodes: Arc<[SocketAddr]>,
    connections: BTreeMap<SocketAddr, Client>,
    /// None for a plain client; empty if it has to be asked for.
    map: Option<Slots>,
    /// Whom a plain client asks, and whom the other asks for the map.
    at: usize,
    /// Those that were of no use, and when.
    avoided: BTreeMap<SocketAddr, Instant>,
    dice: Dice,
}

impl Caller {
    /// A client that knows of these nodes and is connected to one of them.
    pub fn plain(nodes: Arc<[SocketAddr]>, at: usize) -> Self {
        Self {
            nodes,
            connections: BTreeMap::new(),
            map: None,
            at,
            avoided: BTreeMap::new(),
            dice: Dice::new(at as u64),
        }
    }

    /// A client that routes by CLUSTER SLOTS and follows MOVED.
    pub fn routing(nodes: Arc<[SocketAddr]>, at: usize) -> Self {
        Self {
            map: Some(Slots::new()),
            ..Self::plain(nodes, at)
        }
    }

    /// The nodes that it knows of.
    pub fn nodes(&self) -> &[SocketAddr] {
        &self.nodes
    }

    /// Asks for something that concerns a slot.
    pub fn call(&mut self, slot: u16, command: &[String]) -> Ended {
        let began = Instant::now();
        let mut moved = None;
        while began.elapsed() < TAKEN_WITHIN {
            let Some(address) = moved.take().or_else(|| self.route(slot)) else {
                self.leave(self.nodes[self.at]);
                continue;
            };
            if !self.connect(address) {
                self.leave(address);
                continue;
            }
            match self.ask(address, command) {
                Some(Reply::Error(text)) if text.starts_with("MOVED ") => {
                    moved = text.rsplit(' ').next().and_then(|to| to.parse().ok());
                    self.forget_the_map();
                }
                Some(reply) => {
                    if matches!(reply, Reply::Error(_)) {
                        self.leave(address);
                    }
                    return Ended::Answered(reply);
                }
                None => {
                    self.leave(address);
                    return Ended::Lost;
                }
            }
        }
        Ended::Unsent
    }

    /// Whom to ask; none if nobody can tell.
    fn route(&mut self, slot: u16) -> Option<SocketAddr> {
        let at = self.nodes[self.at];
        let Some(map) = &self.map else {
            return Some(at);
        };
        if map.is_empty() {
            if !self.connect(at) {
                return None;
            }
            let map = self.ask(at, &words(&["CLUSTER", "SLOTS"]));
            self.map = Some(slots(&map?)?);
        }
        let slot = i64::from(slot);
        let mut rows = self.map.iter().flatten();
        let row = rows.find(|(first, last, _)| (*first..=*last).contains(&slot));
        row.map(|&(_, _, master)| master)
    }

    /// Asks one node; none if the connection broke or nothing came, and it is closed then.
    fn ask(&mut self, address: SocketAddr, command: &[String]) -> Option<Reply> {
        let reply = self.connections.get_mut(&address)?.call(command);
        if reply.is_err() {
            self.connections.remove(&address);
        }
        reply.ok()
    }

    /// Whether there is a connection to a node, new or old.
    fn connect(&mut self, address: SocketAddr) -> bool {
        if self.connections.contains_key(&address) {
            return true;
        }
        let client = Client::connect_within(address, CONNECT_WITHIN, ANSWER_WITHIN);
        let Ok(mut client) = client else {
            return false;
        };
        // Whose connection has asked for the map is told of MOVED, where others are served all the same.
        if self.map.is_some() && client.call(&["CLUSTER", "SLOTS"]).is_err() {
            return false;
        }
        self.connections.insert(address, client);
        true
    }

    /// Asks others, for a while, than a node that was of no use.
    fn leave(&mut self, useless: SocketAddr) {
        self.forget_the_map();
        self.avoided.insert(useless, Instant::now());
        self.avoided
            .retain(|_, since| since.elapsed() < AVOIDED_FOR);
        let is_liked = |at: &usize| !self.avoided.contains_key(&self.nodes[*at]);
        let liked: Vec<usize> = (0..self.nodes.len()).filter(is_liked).collect();
        self.at = match &liked[..] {
            [] => self.dice.below(self.nodes.len() as u64) as usize,
            liked => liked[self.dice.below(liked.len() as u64) as usize],
        };
        sleep(BACKOFF);
    }

    fn forget_the_map(&mut self) {
        if let Some(map) = &mut self.map {
            map.clear();
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The rows of CLUSTER SLOTS.
pub fn slots(reply: &Reply) -> Option<Slots> {
    let Reply::Array(rows) = reply else {
        return None;
    };
    let row = |row: &Reply| -> Option<(i64, i64, SocketAddr)> {
        let Reply::Array(row) = row else {
            return None;
        };
        let [
            Reply::Integer(first),
            Reply::Integer(last),
            Reply::Array(master),
            ..,
        ] = &row[..]
        else {
            return None;
        };
        let [Reply::Bulk(host), Reply::Integer(port), ..] = &master[..] else {
            return None;
        };
        let host = std::str::from_utf8(host).ok()?.parse().ok()?;
        let port = u16::try_from(*port).ok()?;
        Some((*first, *last, SocketAddr::new(host, port)))
    };
    rows.iter().map(row).collect()
}
