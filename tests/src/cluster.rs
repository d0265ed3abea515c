//! A cluster of real server processes on loopback ports.
//!
//! Every process belongs to a [`Server`], and so never outlives the test.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Server, ServerOptions, binary};
use crate::{Client, Reply};

/// How long a planned stop of a node may take.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    nodes: usize,
    quorum: (u8, u8, u8),
    zones: Vec<String>,
    machines: Vec<Machine>,
    moves_at_once: Option<usize>,
    server: ServerOptions,
}

/// Where a node runs, if that is not simply here.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its address.
    pub host: IpAddr,
    /// The port for clients.
    pub port: u16,
    /// Where others reach the node, if that is somewhere else.
    pub announce: Option<SocketAddr>,
    /// The command by which a program is run there.
    pub within: Vec<String>,
}

impl Default for ClusterOptions {
    /// Three nodes, N 3, W 2 and R 2, each write synced.
    fn default() -> Self {
        Self {
            nodes: 3,
            quorum: (3, 2, 2),
            zones: Vec::new(),
            machines: Vec::new(),
            moves_at_once: None,
            server: ServerOptions::default(),
        }
    }
}

impl ClusterOptions {
    /// Sets how many nodes there are at first.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Sets N, W and R.
    #[must_use]
    pub fn quorum(mut self, n: u8, w: u8, r: u8) -> Self {
        self.quorum = (n, w, r);
        self
    }

    /// Sets the zones that nodes are in, by turns.
    #[must_use]
    pub fn zones<Z: Into<String>>(mut self, zones: impl IntoIterator<Item = Z>) -> Self {
        self.zones = zones.into_iter().map(Into::into).collect();
        self
    }

    /// Sets where the nodes run: as many as there will be nodes.
    #[must_use]
    pub fn machines(mut self, machines: impl IntoIterator<Item = Machine>) -> Self {
        self.machines = machines.into_iter().collect();
        self
    }

    /// Sets how many ranges a node moves at once, from the start: with more than usual a cluster is settled sooner.
    #[must_use]
    pub fn moves_at_once(mut self, ranges: usize) -> Self {
        self.moves_at_once = Some(ranges);
        self
    }

    /// Sets how each server is started.
    #[must_use]
    pub fn server(mut self, server: ServerOptions) -> Self {
        self.server = server;
        self
    }

    /// Starts the nodes, in directories under `directory`, and waits until every range is where it belongs.
    pub fn start(self, directory: &Path) -> io::Result<Cluster> {
        let mut cluster = Cluster {
            directory: directory.to_owned(),
            nodes: Vec::new(),
            options: self,
        };
        for number in 0..cluster.options.nodes {
            cluster.add()?;
            if number == 0 {
                cluster.set_moves_at_once()?;
            }
        }
        cluster.await_settled(Duration::from_secs(60))?;
        Ok(cluster)
    }
}

/// A running cluster. Nodes are numbered from 0 in the order they came, and keep their numbers.
pub struct Cluster {
    directory: PathBuf,
    nodes: Vec<Node>,
    options: ClusterOptions,
}

struct Node {
    /// Where it listens.
    port: u16,
    /// Where it is reached.
    address: SocketAddr,
    id: String,
    server: Option<Server>,
}

impl Cluster {
    /// Three nodes with the default options.
    pub fn start(directory: &Path) -> io::Result<Self> {
        ClusterOptions::default().start(directory)
    }

    /// Starts one more node, which joins if there are others. Its number.
    pub fn add(&mut self) -> io::Result<usize> {
        let number = self.nodes.len();
        let options = self.options_of(number);
        let server = options.in_cluster().start(&self.data(number))?;
        let machine = self.options.machines.get(number);
        let announce = machine.and_then(|machine| machine.announce);
        self.nodes.push(Node {
            port: server.address().port(),
            address: announce.unwrap_or(server.address()),
            id: String::new(),
            server: Some(server),
        });
        self.nodes[number].id = self.learn_id(number)?;
        Ok(number)
    }

    fn set_moves_at_once(&self) -> io::Result<()> {
        let Some(ranges) = self.options.moves_at_once else {
            return Ok(());
        };
        let rate = ["rate", "--bytes-per-second", "1gb", "--at-once"];
        await_some("the rate", Duration::from_secs(30), || {
            let output = self.trilith(0, &[&rate[..], &[&ranges.to_string()]].concat());
            output.ok()?.status.success().then_some(())
        })
    }

    /// The first node founds the cluster, if its store knows of none; the others join one that runs.
    fn options_of(&self, number: usize) -> ServerOptions {
        let mut options = self.options.server.clone();
        if number == 0 {
            let (n, w, r) = self.options.quorum;
            let [n, w, r] = [n, w, r].map(|number| number.to_string());
            options = options.arguments(["--n", &n, "--w", &w, "--r", &r]);
        } else {
            let contact = self.running().first().copied().unwrap_or(0);
            options = options.arguments(["--join", &self.address(contact).to_string()]);
        }
        if let Some(machine) = self.options.machines.get(number) {
            let within = machine.within.iter().map(String::as_str);
            options = options.host(machine.host).port(machine.port).within(within);
            if let Some(announce) = machine.announce {
                options = options.arguments(["--announce", &announce.to_string()]);
            }
        }
        let zones = &self.options.zones;
        if zones.is_empty() {
            return options;
        }
        options.arguments(["--zone", &zones[number % zones.len()]])
    }

    fn data(&self, number: usize) -> PathBuf {
        self.directory.join(format!("node-{number}"))
    }

    fn learn_id(&self, number: usize) -> io::Result<String> {
        await_some("an id", Duration::from_secs(30), || {
            let status = self.status(number).ok()?;
            status["me"].as_str().map(str::to_owned)
        })
    }

    /// The numbers of those that run.
    pub fn running(&self) -> Vec<usize> {
        let runs = |number: &usize| self.nodes[*number].server.is_some();
        (0..self.nodes.len()).filter(runs).collect()
    }

    /// A node's id.
    pub fn id(&self, number: usize) -> &str {
        &self.nodes[number].id
    }

    /// Where a node speaks RESP, or did.
    pub fn address(&self, number: usize) -> SocketAddr {
        self.nodes[number].address
    }

    /// Where all nodes speak RESP, or did.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// A new connection to a node.
    pub fn connect(&self, number: usize) -> io::Result<Client> {
        Client::connect(self.address(number))
    }

    /// A node's process.
    pub fn pid(&self, number: usize) -> Option<u32> {
        self.nodes[number].server.as_ref().map(Server::pid)
    }

    /// What a node has printed.
    pub fn output(&self, number: usize) -> String {
        let server = self.nodes[number].server.as_ref();
        server.map(Server::output).unwrap_or_default()
    }

    /// Ends a node as `kill -9` does.
    pub fn kill(&mut self, number: usize) -> io::Result<()> {
        match self.nodes[number].server.take() {
            Some(server) => server.kill(),
            None => Ok(()),
        }
    }

    /// Ends all nodes as `kill -9` does, as nearly at once as threads can.
    pub fn kill_all(&mut self) -> io::Result<()> {
        let servers = self.nodes.iter_mut().filter_map(|node| node.server.take());
        std::thread::scope(|scope| {
            let kills: Vec<_> = servers
                .map(|server| scope.spawn(|| server.kill()))
                .collect();
            let ended = |kill: std::thread::ScopedJoinHandle<'_, io::Result<()>>| {
                kill.join()
                    .unwrap_or_else(|_| Err(io::Error::other("a kill panicked")))
            };
            kills.into_iter().try_for_each(ended)
        })
    }

    /// Holds a node's process up until it is told to [go on](Self::resume). It still counts as running.
    #[cfg(unix)]
    pub fn pause(&self, number: usize) -> io::Result<()> {
        self.signal(number, "STOP")
    }

    /// Has a node's process go on.
    #[cfg(unix)]
    pub fn resume(&self, number: usize) -> io::Result<()> {
        self.signal(number, "CONT")
    }

    #[cfg(unix)]
    fn signal(&self, number: usize, name: &str) -> io::Result<()> {
        let server = self.nodes[number].server.as_ref();
        let server = server.ok_or_else(|| io::Error::other("the node does not run"))?;
        server.signal(name)
    }

    /// Stops a node as a service manager does.
    #[cfg(unix)]
    pub fn stop(&mut self, number: usize) -> io::Result<()> {
        let Some(server) = self.nodes[number].server.take() else {
            return Ok(());
        };
        let status = server.terminate(STOP_WITHIN)?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "node {number} ended with {status}"
        )))
    }

    /// Starts a node again, with the store and the port that it had.
    pub fn restart(&mut self, number: usize) -> io::Result<()> {
        let mut options = self.options_of(number);
        options = options.in_cluster().port(self.nodes[number].port);
        self.nodes[number].server = Some(options.start(&self.data(number))?);
        Ok(())
    }

    /// What a node says of the cluster.
    pub fn status(&self, number: usize) -> io::Result<Value> {
        self.ring(number, &["RING", "STATUS"])
    }

    /// What a node says of its copies.
    pub fn ranges(&self, number: usize) -> io::Result<Value> {
        self.ring(number, &["RING", "RANGES"])
    }

    fn ring(&self, number: usize, command: &[&str]) -> io::Result<Value> {
        match self.connect(number)?.call(command)? {
            Reply::Bulk(text) => Ok(serde_json::from_slice(&text)?),
            other => Err(io::Error::other(format!("{command:?}: {other:?}"))),
        }
    }

    /// Waits until all running nodes know the same map and every range is where it wants it.
    pub fn await_settled(&self, limit: Duration) -> io::Result<()> {
        await_some("a settled cluster", limit, || {
            self.is_settled().ok()?.then_some(())
        })
    }

    fn is_settled(&self) -> io::Result<bool> {
        let running = self.running();
        let statuses = running.iter().map(|&number| self.status(number));
        let statuses: Vec<Value> = statuses.collect::<io::Result<_>>()?;
        let sum = |figure: &str| -> u64 {
            let figures = statuses.iter().map(|status| &status["progress"][figure]);
            figures.filter_map(Value::as_u64).sum()
        };
        let Some(first) = statuses.first() else {
            return Ok(false);
        };
        let members = first["members"].as_array().map_or(&[][..], Vec::as_slice);
        let arcs: u64 = members
            .iter()
            .filter_map(|member| member["masters"].as_u64())
            .sum();
        let agree = statuses
            .iter()
            .all(|status| status["version"] == first["version"]);
        let known = |number: &usize| {
            members
                .iter()
                .any(|member| member["id"] == *self.id(*number))
        };
        let joined = running.iter().all(known);
        // Meta is one range more.
        Ok(agree && joined && sum("mastered") == arcs + 1 && sum("in_place") == arcs + 1)
    }

    /// Runs `trilith cluster ARGUMENTS --at` a node.
    pub fn trilith(&self, number: usize, arguments: &[&str]) -> io::Result<Output> {
        let at = self.address(number).to_string();
        trilith(arguments, &at)
    }
}

/// Runs `trilith cluster ARGUMENTS --at ADDRESS`, which has to end by itself.
pub fn trilith(arguments: &[&str], at: &str) -> io::Result<Output> {
    Command::new(binary()?)
        .arg("cluster")
        .args(arguments)
        .args(["--at", at])
        .stdin(Stdio::null())
        .output()
}

/// Tries until there is something.
pub fn await_some<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> io::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() > limit {
            let text = format!("no sign of {what} within {limit:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        sleep(Duration::from_millis(50));
    }
}
