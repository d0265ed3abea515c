//! A cluster that is put to the test.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use trilith_tests::cluster::await_some;
use trilith_tests::server::BUS_OFFSET;
use trilith_tests::{Cluster, ClusterOptions, Server, ServerOptions};

use super::load::Load;

/// How long anything may take that is not measured.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes under load.
pub struct Trial {
    // In this order they end.
    load: Load,
    pub cluster: Cluster,
    directory: TempDir,
}

impl Trial {
    /// Starts the nodes, each with the options that `credentials` makes in the trial's directory.
    pub fn start(credentials: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = credentials(directory.path());
        let server = options().arguments(arguments);
        let options = ClusterOptions::default().moves_at_once(64).server(server);
        let cluster = options.start(directory.path()).unwrap();
        let load = Load::start(cluster.address(1));
        load.gets_on();
        Self {
            load,
            cluster,
            directory,
        }
    }

    /// A file in the trial's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where a node's bus listens.
    pub fn bus(&self, node: usize) -> SocketAddr {
        let mut address = self.cluster.address(node);
        address.set_port(address.port() + BUS_OFFSET);
        address
    }

    /// Waits until a line of a node's log has all of these words.
    pub fn says(&self, node: usize, words: &[&str]) {
        let found = await_some("a line in the log", PATIENCE, || {
            let output = self.cluster.output(node);
            let mut lines = output.lines();
            lines
                .any(|line| words.iter().all(|word| line.contains(word)))
                .then_some(())
        });
        if let Err(error) = found {
            panic!("{words:?}: {error}:\n{}", self.cluster.output(node));
        }
    }

    /// Passes when all nodes answer, the load gets on, and the members are those that there were.
    pub fn is_unharmed(&self) {
        self.load.gets_on();
        for node in self.cluster.running() {
            let status = self.cluster.status(node).unwrap();
            let members = status["members"].as_array().unwrap();
            let ids: Vec<&str> = members
                .iter()
                .filter_map(|member| member["id"].as_str())
                .collect();
            let mut own: Vec<&str> = self
                .cluster
                .running()
                .iter()
                .map(|&node| self.cluster.id(node))
                .collect();
            own.sort_unstable();
            assert_eq!(ids, own, "node {node}");
        }
    }

    /// Passes when a node with the cluster's credentials joins, and takes its share.
    pub fn one_more_joins(&mut self) {
        self.cluster.add().unwrap();
        self.cluster.await_settled(PATIENCE).unwrap();
    }

    /// Has a node that has these options try to join; what it says in the end.
    pub fn fails_to_join(&self, name: &str, arguments: &[String]) -> String {
        let contact = self.cluster.address(0);
        fails_to_join(contact, &self.file(name), arguments)
    }
}

/// How every node is started here.
pub fn options() -> ServerOptions {
    ServerOptions::default().arguments(["--memory", "64mb"])
}

/// Has a node try to join by way of `contact`; what it says in the end.
pub fn fails_to_join(contact: SocketAddr, data: &Path, arguments: &[String]) -> String {
    let contact = contact.to_string();
    let options = options().in_cluster().arguments(["--join", &contact]);
    let started: io::Result<Server> = options.arguments(arguments.to_vec()).start(data);
    match started {
        Ok(_) => panic!("it has joined"),
        Err(error) => error.to_string(),
    }
}

/// Checks that `text` has all of these words.
pub fn names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing:\n{text}");
    }
}
