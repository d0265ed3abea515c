//! An open loop of writes: each is sent when it is due, however many wait for a reply, and its latency counts from
//! when it was due.

use std::collections::HashMap;
use std::io;
use std::mem::replace;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use trilith::random::Random;
use trilith_tests::client::Replies;
use trilith_tests::{Client, Reply};

use super::keys::{Keys, name};
use super::node::{Node, Request};
use super::phase::Figures;
use crate::router::{Map, arc, ask_map, moved_to};

/// How often what is due is sent.
const TICK: Duration = Duration::from_millis(1);

/// How many redirects a request follows.
const REDIRECTS_MOST: u8 = 16;

/// How long the last requests may take when the load ends.
const LAST: Duration = Duration::from_secs(30);

/// How long a client waits before it connects again.
const REST: Duration = Duration::from_millis(20);

/// The clients.
pub struct Load {
    keys: Arc<Keys>,
    nodes: RwLock<Vec<Arc<Node>>>,
    map: Mutex<Map>,
    connections: usize,
    /// The figures of the phase that runs, and of those before whose last requests are still on their way.
    phases: Mutex<Vec<Figures>>,
    phase: AtomicUsize,
    stop: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    pub fn start(
        nodes: &[SocketAddr],
        connections: usize,
        writes_per_second: u32,
        keys: &Arc<Keys>,
    ) -> io::Result<Arc<Self>> {
        let load = Arc::new(Self {
            keys: Arc::clone(keys),
            nodes: RwLock::new(Vec::new()),
            map: Mutex::new(ask_map(&mut Client::connect(nodes[0])?)?),
            connections,
            phases: Mutex::new(vec![Figures::new()]),
            phase: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
        });
        for &node in nodes {
            load.know(node)?;
        }
        let sender = Arc::clone(&load);
        let sender = spawn(move || sender.send_for_ever(writes_per_second));
        lock(&load.threads).push(sender);
        Ok(load)
    }

    /// Connects to a node, from which on redirects to it are followed.
    pub fn know(self: &Arc<Self>, address: SocketAddr) -> io::Result<()> {
        let node = Arc::new(Node::new(address, self.connections));
        for line in 0..self.connections {
            let replies = node.lines[line].open(address)?;
            let (load, node) = (Arc::clone(self), Arc::clone(&node));
            let reader = spawn(move || load.read_for_ever(&node, line, replies));
            lock(&self.threads).push(reader);
        }
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.push(node);
        Ok(())
    }

    /// Ends the connections to a node that masters nothing any more.
    pub fn forget(&self, address: SocketAddr) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let (gone, left) = nodes.drain(..).partition(|node| node.address == address);
        *nodes = left;
        let gone: Vec<Arc<Node>> = gone;
        drop(nodes);
        for node in gone {
            await_idle(&node);
            node.leave();
        }
    }

    /// Begins a new phase. What the one that ends has seen, when its last requests are answered.
    pub fn begin(&self) -> Figures {
        let mut phases = lock(&self.phases);
        phases.push(Figures::new());
        let ended = self.phase.fetch_add(1, Relaxed);
        drop(phases);
        let start = Instant::now();
        while self.oldest_phase() <= ended && start.elapsed() < LAST {
            sleep(TICK);
        }
        replace(&mut lock(&self.phases)[ended], Figures::new())
    }

    /// The phase of the oldest request that waits for a reply.
    fn oldest_phase(&self) -> usize {
        // What the sender is about to send is due by now.
        sleep(REST);
        let oldest = self
            .nodes()
            .iter()
            .filter_map(|node| node.oldest_phase())
            .min();
        oldest.unwrap_or(usize::MAX)
    }

    /// Ends it all when the last requests are answered.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
        sleep(REST);
        for node in self.nodes() {
            await_idle(&node);
            node.leave();
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // Who panicked has said so.
            let _ = thread.join();
        }
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.clone()
    }

    fn send_for_ever(&self, writes_per_second: u32) {
        let start = Instant::now();
        let mut random = Random::new(2);
        let mut sent: u64 = 0;
        while !self.stop.load(Relaxed) {
            sleep(TICK);
            let due = start.elapsed().as_nanos() * u128::from(writes_per_second) / 1_000_000_000;
            let mut requests = Vec::new();
            while u128::from(sent) < due {
                let at = Duration::from_nanos(sent * 1_000_000_000 / u64::from(writes_per_second));
                requests.push(self.choose(&mut random, start + at));
                sent += 1;
            }
            self.send(requests);
        }
    }

    fn choose(&self, random: &mut Random, due: Instant) -> Request {
        loop {
            let key = random.below(u64::from(self.keys.count())) as u32;
            if let Some(write) = self.keys.take(key) {
                return Request {
                    key,
                    write,
                    due,
                    phase: self.phase.load(Relaxed),
                    redirects: 0,
                };
            }
        }
    }

    /// Sends each to who masters it, by the map as it is known.
    fn send(&self, requests: Vec<Request>) {
        let nodes = self.nodes();
        let mut batches: HashMap<(usize, usize), Vec<Request>> = HashMap::new();
        let map = lock(&self.map);
        for request in requests {
            let arc = arc(&name(request.key));
            let node = nodes.iter().position(|node| node.address == map[arc]);
            let line = arc % self.connections;
            let place = (node.unwrap_or(0), line);
            batches.entry(place).or_default().push(request);
        }
        drop(map);
        for ((node, line), batch) in batches {
            self.send_on(&nodes, node, line, batch);
        }
    }

    /// Any other node will do if there is no connection: it forwards, or knows where to.
    fn send_on(&self, nodes: &[Arc<Node>], node: usize, line: usize, mut batch: Vec<Request>) {
        for attempt in 0..nodes.len() {
            let node = &nodes[(node + attempt) % nodes.len()];
            match node.lines[line].send(&self.keys, batch) {
                Ok(()) => return,
                Err(back) => batch = back,
            }
        }
        for request in batch {
            self.fail(&request, "no node can be reached");
        }
    }

    fn read_for_ever(&self, node: &Node, line: usize, replies: Replies) {
        let mut replies = Some(replies);
        let line = &node.lines[line];
        loop {
            let Some(open) = &mut replies else {
                if self.stop.load(Relaxed) || node.left.load(Relaxed) {
                    return;
                }
                sleep(REST);
                replies = line.open(node.address).ok();
                continue;
            };
            match line.receive(open) {
                Ok(Some((request, reply))) => self.settle(request, &reply),
                Ok(None) => {}
                Err(_) => {
                    replies = None;
                    for request in line.close() {
                        self.fail(&request, "the connection ended");
                    }
                }
            }
        }
    }

    fn settle(&self, mut request: Request, reply: &Reply) {
        if let Some(address) = moved_to(reply) {
            lock(&self.map)[arc(&name(request.key))] = address;
            request.redirects += 1;
            match request.redirects > REDIRECTS_MOST {
                true => self.fail(&request, "redirected too often"),
                false => self.send(vec![request]),
            }
            return;
        }
        match reply {
            Reply::Simple(_) => {
                self.keys.give_back(request.key, Some(request.write));
                let took = request.due.elapsed();
                lock(&self.phases)[request.phase].done(took, request.redirects);
            }
            Reply::Error(error) => self.fail(&request, error),
            other => self.fail(&request, &format!("{other:?}")),
        }
    }

    fn fail(&self, request: &Request, why: &str) {
        self.keys.give_back(request.key, None);
        lock(&self.phases)[request.phase].failed(why);
    }
}

fn await_idle(node: &Node) {
    let start = Instant::now();
    while !node.is_idle() && start.elapsed() < LAST {
        sleep(TICK);
    }
}
