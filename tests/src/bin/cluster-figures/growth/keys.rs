//! The keys: which values they may have, filling them, and reading them at the end.
//!
//! A value tells its key and the number of the write that it comes from. A key may have any value from its last
//! acknowledged write to its last that was sent.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::scope;

use serde_json::{Value, json};
use trilith::random::Random;
use trilith_tests::{Client, Cluster, Reply};

use crate::figures::thousands;
use crate::router::{arc, ask_map};

/// How many commands are sent in one piece.
const BATCH: usize = 256;

/// How many threads fill.
const FILLERS: u32 = 4;

/// How many wrong values are told one by one.
const TOLD: usize = 5;

/// All keys.
pub struct Keys {
    keys: Vec<Key>,
    value_bytes: usize,
}

#[derive(Default)]
struct Key {
    sent: AtomicU32,
    acknowledged: AtomicU32,
    busy: AtomicBool,
}

impl Keys {
    pub fn new(count: u32, value_bytes: usize) -> Self {
        let keys = (0..count).map(|_| Key::default()).collect();
        Self { keys, value_bytes }
    }

    pub fn count(&self) -> u32 {
        self.keys.len() as u32
    }

    /// Takes a key for a write of which no other is on its way. The number of the write.
    pub fn take(&self, key: u32) -> Option<u32> {
        let key = &self.keys[key as usize];
        let taken = key.busy.swap(true, Relaxed);
        (!taken).then(|| key.sent.fetch_add(1, Relaxed) + 1)
    }

    /// The write was acknowledged, or it is not known what became of it.
    pub fn give_back(&self, key: u32, acknowledged: Option<u32>) {
        let key = &self.keys[key as usize];
        if let Some(write) = acknowledged {
            key.acknowledged.store(write, Relaxed);
        }
        key.busy.store(false, Relaxed);
    }

    /// What `write` sets a key to.
    pub fn value(&self, key: u32, write: u32) -> Vec<u8> {
        let mut value = format!("{key}:{write}:").into_bytes();
        value.resize(self.value_bytes.max(value.len()), b'.');
        value
    }

    fn may_be(&self, key: u32, value: &[u8]) -> bool {
        let Key {
            sent, acknowledged, ..
        } = &self.keys[key as usize];
        let mut writes = acknowledged.load(Relaxed)..=sent.load(Relaxed);
        writes.any(|write| self.value(key, write) == value)
    }
}

pub fn name(key: u32) -> Vec<u8> {
    format!("key:{key:010}").into_bytes()
}

/// Writes every key, straight to who masters it.
pub fn fill(keys: &Keys, nodes: &[SocketAddr]) -> io::Result<()> {
    scope(|scope| {
        let fill = |number| scope.spawn(move || fill_part(keys, nodes, number));
        let fillers: Vec<_> = (0..FILLERS).map(fill).collect();
        let ended = |_| io::Error::other("a filler ended");
        fillers
            .into_iter()
            .try_for_each(|filler| filler.join().map_err(ended)?)
    })
}

fn fill_part(keys: &Keys, nodes: &[SocketAddr], number: u32) -> io::Result<()> {
    let connect = |node: &SocketAddr| Client::connect(*node);
    let mut clients = nodes.iter().map(connect).collect::<io::Result<Vec<_>>>()?;
    let map = ask_map(&mut Client::connect(nodes[0])?)?;
    let mut batches = vec![Vec::new(); nodes.len()];
    for key in (number..keys.count()).step_by(FILLERS as usize) {
        let name = name(key);
        let master = map[arc(&name)];
        let node = nodes.iter().position(|node| *node == master).unwrap_or(0);
        batches[node].push(vec![b"SET".to_vec(), name, keys.value(key, 0)]);
        if batches[node].len() == BATCH {
            fill_batch(&mut clients[node], &mut batches[node])?;
        }
    }
    let rest = clients.iter_mut().zip(&mut batches);
    rest.into_iter()
        .try_for_each(|(client, batch)| fill_batch(client, batch))
}

fn fill_batch(client: &mut Client, batch: &mut Vec<Vec<Vec<u8>>>) -> io::Result<()> {
    for reply in client.pipeline(batch)? {
        if reply != Reply::ok() {
            return Err(io::Error::other(format!("while filling: {reply:?}")));
        }
    }
    batch.clear();
    Ok(())
}

/// What was found at the end.
pub struct Check {
    expected: u32,
    counted: i64,
    read: usize,
    wrong: usize,
    some_wrong: Vec<String>,
}

/// Counts all keys, and reads some by way of any node.
pub fn check(keys: &Keys, cluster: &Cluster, sample: usize) -> io::Result<Check> {
    let mut check = Check {
        expected: keys.count(),
        counted: 0,
        read: 0,
        wrong: 0,
        some_wrong: Vec::new(),
    };
    let nodes = cluster.running();
    for &node in &nodes {
        match cluster.connect(node)?.call(&["DBSIZE"])? {
            Reply::Integer(size) => check.counted += size,
            other => return Err(io::Error::other(format!("DBSIZE: {other:?}"))),
        }
    }
    let mut random = Random::new(3);
    let mut at = 0;
    while check.read < sample {
        let count = BATCH.min(sample - check.read);
        let numbers: Vec<u32> = (0..count)
            .map(|_| random.below(u64::from(keys.count())) as u32)
            .collect();
        let gets: Vec<_> = numbers
            .iter()
            .map(|key| vec![b"GET".to_vec(), name(*key)])
            .collect();
        let replies = cluster.connect(nodes[at % nodes.len()])?.pipeline(&gets)?;
        at += 1;
        for (key, reply) in numbers.into_iter().zip(replies) {
            check.look_at(keys, key, &reply);
        }
    }
    Ok(check)
}

impl Check {
    fn look_at(&mut self, keys: &Keys, key: u32, reply: &Reply) {
        self.read += 1;
        let right = match reply {
            Reply::Bulk(value) => keys.may_be(key, value),
            _ => false,
        };
        if right {
            return;
        }
        self.wrong += 1;
        if self.some_wrong.len() < TOLD {
            self.some_wrong.push(format!("key {key}: {reply:?}"));
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} of {} keys are there; of {} that were read {} are wrong",
            thousands(self.counted as f64),
            thousands(f64::from(self.expected)),
            thousands(self.read as f64),
            self.wrong
        );
        for wrong in &self.some_wrong {
            text.push_str(&format!("\n  {wrong}"));
        }
        text
    }

    pub fn json(&self) -> Value {
        json!({
            "expected": self.expected,
            "counted": self.counted,
            "read": self.read,
            "wrong": self.wrong,
            "some_wrong": self.some_wrong,
        })
    }
}
