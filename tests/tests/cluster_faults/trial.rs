//! A cluster under load, with something going wrong: what all of these tests begin and end with.

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use trilith::sim::checkers::Key;
use trilith_tests::cluster::await_some;
use trilith_tests::{Cluster, ClusterOptions};

use crate::caller::slots;
use crate::judge::{judge, read_all};
use crate::keys::{self, KEYS};
use crate::load::Load;
use crate::turn::Turn;

/// How long a cluster may take to be well again.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// How long a fault may take to be noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// Growing from one node to three is not what is tested here.
const MOVES_AT_ONCE: usize = 32;

/// How often each key is written before, and again after.
const WRITES: u64 = 5;

pub struct Trial {
    // In this order they end: clients, nodes, files.
    pub load: Load,
    pub cluster: Cluster,
    _directory: TempDir,
    _turn: Turn,
    began: Instant,
}

impl Trial {
    /// Starts a cluster, and clients that have had every key written.
    pub fn start(options: ClusterOptions) -> Self {
        let turn = Turn::wait();
        Self::start_in(options, tempfile::tempdir().unwrap(), turn)
    }

    /// As [`Trial::start`], with a directory for the nodes' directories.
    pub fn start_in(options: ClusterOptions, directory: TempDir, turn: Turn) -> Self {
        let began = Instant::now();
        let options = options.moves_at_once(MOVES_AT_ONCE);
        let cluster = options.start(directory.path()).unwrap();
        let load = Load::start(&cluster.addresses());
        let trial = Self {
            load,
            cluster,
            _directory: directory,
            _turn: turn,
            began,
        };
        trial.note("settled");
        trial
            .load
            .await_writes("writes before", &all_keys(), WRITES)
            .unwrap();
        trial.note("loaded");
        trial
    }

    /// Says how far it is, for who reads the output.
    pub fn note(&self, what: &str) {
        println!("{:6.2} s {what}", self.began.elapsed().as_secs_f64());
    }

    /// The keys that a node masters: not all, and not none.
    pub fn mastered_by(&self, node: usize) -> Vec<Key> {
        let reply = self.cluster.connect(node).unwrap();
        let reply = { reply }.call(&["CLUSTER", "SLOTS"]).unwrap();
        let rows = slots(&reply).unwrap();
        let is_there = |&key: &Key| {
            let slot = i64::from(keys::slot(key));
            let mut rows = rows.iter();
            rows.any(|(first, last, master)| {
                (*first..=*last).contains(&slot) && *master == self.cluster.address(node)
            })
        };
        let keys: Vec<Key> = (0..KEYS).filter(is_there).collect();
        assert!(!keys.is_empty() && keys.len() < KEYS as usize, "{keys:?}");
        keys
    }

    /// Waits until every key was written and read again, though something is wrong.
    pub fn await_progress_meanwhile(&self) {
        let writes = self.load.await_writes("writes meanwhile", &all_keys(), 3);
        writes.unwrap();
        let reads = self.load.await_reads("reads meanwhile", &all_keys(), 1);
        reads.unwrap();
        self.note("written and read meanwhile");
    }

    /// Reads every key by way of each node that runs, for who cannot wait for clients that mostly write.
    pub fn read_every_key(&self) {
        let running = self.cluster.running();
        let nodes: Vec<_> = running
            .iter()
            .map(|&node| self.cluster.address(node))
            .collect();
        read_all(&self.load.recorder, &nodes);
        self.note("read every key");
    }

    /// Waits until clients were refused with an error that begins with this word.
    pub fn await_refusals(&self, word: &str) {
        let refused = await_some(word, NOTICED_WITHIN, || {
            let errors = self.load.recorder.errors();
            errors.contains_key(word).then_some(())
        });
        refused.unwrap();
        self.note(&format!("refused with {word}"));
    }

    /// What the nodes have printed, if the test fails.
    fn show_output(&self) {
        for node in self.cluster.running() {
            println!("node {node}, {}:", self.cluster.address(node));
            println!("{}", self.cluster.output(node));
        }
    }

    /// Waits until one node has heard nothing of another for longer than an election takes.
    pub fn await_silence(&self, node: usize, of: usize) {
        let silent = await_some("silence", NOTICED_WITHIN, || {
            let status = self.cluster.status(node).ok()?;
            let mut members = status["members"].as_array()?.iter();
            let row = members.find(|member| member["id"] == *self.cluster.id(of))?;
            (row["silent"] == true).then_some(())
        });
        silent.unwrap();
        self.note(&format!("node {node} hears nothing of node {of}"));
    }

    /// Waits until every member is there and every range is where it belongs.
    fn await_health(&self) {
        let healthy = await_some("health", HEALED_WITHIN, || {
            let output = self.cluster.trilith(0, &["status", "--json"]).ok()?;
            let status: Value = serde_json::from_slice(&output.stdout).ok()?;
            (status["complete"] == true).then_some(())
        });
        healthy.unwrap();
        self.note("healthy");
    }

    /// All is right again: the cluster is as it was, every key is written again, and nothing was lost.
    pub fn finish(self) {
        let wrong = self.end();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// As [`Trial::finish`], but for the verdict: what is wrong with what clients saw.
    pub fn end(mut self) -> Vec<String> {
        self.await_health();
        let written = self.load.await_writes("writes after", &all_keys(), WRITES);
        written.unwrap();
        self.note("written after");
        self.load.end();
        let recorder = &self.load.recorder;
        let wrong = judge(recorder, &self.cluster.addresses());
        println!("{:6.2} s judged", self.began.elapsed().as_secs_f64());
        wrong
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_output();
        }
    }
}

pub fn all_keys() -> Vec<Key> {
    (0..KEYS).collect()
}
