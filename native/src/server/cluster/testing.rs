//! A node of a cluster of three whose map is what a test wants it to be, over a store in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use trilith::command::{Command, Encoder, Parsed, Protocol, Reply, parse};
use trilith::ring::driver::{Consistency, RangeStatus, View};
use trilith::ring::meta::{Map, Proposal};
use trilith::ring::node::Progress;
use trilith::ring::{NodeId, Quorum, RangeId};
use trilith::slot::ARCS;
use trilith::{Error, ErrorKind};

use super::{Cluster, Link, OpenBackup, Stance, Trouble, answer};
use crate::server::volatile::Volatile;
use crate::server::{Backend, Stats};

pub const A: NodeId = NodeId(0xa1);
pub const B: NodeId = NodeId(0xb2);
pub const C: NodeId = NodeId(0xc3);

/// A node: it runs every command itself, as if it had forwarded those of others.
#[derive(Clone)]
pub struct Puppet {
    pub cluster: Strings,
    store: Volatile,
}

/// The cluster that it believes to be a node of.
#[derive(Clone)]
pub struct Strings(Arc<Mutex<Held>>);

pub struct Held {
    pub view: View,
    pub ranges: Vec<RangeStatus>,
    pub links: Vec<Link>,
    /// How proposals and recoveries end.
    pub outcome: trilith::Result<()>,
    pub proposed: Vec<Proposal>,
    pub handed_over: Vec<(RangeId, Option<NodeId>)>,
    pub recovered: Vec<RangeId>,
    pub trouble: Option<Trouble>,
    /// How the batches so far were to be run.
    pub executed: Vec<Consistency>,
}

/// The map of three nodes on ports 7000 to 7002, quorums 3 2 2.
pub fn map() -> Map {
    let quorum = Quorum::new(3, 2, 2).unwrap();
    let address = |port: u16| format!("127.0.0.1:{port}");
    let mut map = Map::alone(A, address(7000), "east".into(), quorum);
    for (node, port) in [(B, 7001), (C, 7002)] {
        map.apply(&Proposal::join(node, address(port), "west".into()))
            .unwrap();
    }
    map
}

/// What A knows: its map, and neighbouring arcs mastered by different nodes.
pub fn interleaved() -> View {
    let nodes = [A, B, C];
    View {
        me: A,
        map: Some(map()),
        routes: (0..ARCS).map(|arc| nodes[usize::from(arc % 3)]).collect(),
        mastered: vec![true; usize::from(ARCS)],
        silent: [].into(),
        progress: Progress::default(),
    }
}

/// As [`interleaved`], with the first half of the ring mastered by A, then a quarter each.
pub fn in_blocks() -> View {
    let of = |arc| match arc {
        0..128 => A,
        128..192 => B,
        _ => C,
    };
    View {
        routes: (0..ARCS).map(of).collect(),
        ..interleaved()
    }
}

/// A copy on A that C masters.
pub fn copy(range: RangeId, role: &str) -> RangeStatus {
    RangeStatus {
        range,
        role: role.into(),
        master: Some(if role == "master" { A } else { C }),
        term: 3,
        last: 9,
        commit: 8,
        applied: 7,
        voters: vec![A, B, C],
        learners: Vec::new(),
        n: 3,
        w: 2,
        r: 2,
        writes: 5,
        reads: 6,
    }
}

impl Puppet {
    pub fn new(view: View) -> Self {
        let held = Held {
            view,
            ranges: vec![copy(0, "master"), copy(2, "voter")],
            links: Vec::new(),
            outcome: Ok(()),
            proposed: Vec::new(),
            handed_over: Vec::new(),
            recovered: Vec::new(),
            trouble: None,
            executed: Vec::new(),
        };
        Self {
            cluster: Strings(Arc::new(Mutex::new(held))),
            store: Volatile::default(),
        }
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.cluster.lock()
    }

    pub fn fail(&self, kind: ErrorKind) {
        self.held().outcome = Err(Error::new(kind, "changing the map", "a test says so"));
    }

    /// The reply to a command about the cluster.
    pub async fn ask(&self, line: &str) -> Reply {
        self.ask_as(line, &mut Stance::default()).await
    }

    pub async fn ask_as(&self, line: &str, stance: &mut Stance) -> Reply {
        ask(self, line, stance).await
    }

    /// A reply that is an error.
    pub async fn refused(&self, line: &str) -> String {
        match self.ask(line).await {
            Reply::Error(text) => text.into_owned(),
            reply => panic!("{line}: {reply:?}"),
        }
    }

    /// A reply that is a text.
    pub async fn text(&self, line: &str) -> String {
        match self.ask(line).await {
            Reply::Bulk(text) => String::from_utf8(text.into()).unwrap(),
            reply => panic!("{line}: {reply:?}"),
        }
    }
}

pub async fn ask(backend: &impl Backend, line: &str, stance: &mut Stance) -> Reply {
    let mut words: Vec<Bytes> = line
        .split_whitespace()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    match parse(&mut words) {
        Ok(Parsed::Session(session)) => answer(session, &words, stance, backend).await,
        other => panic!("{line} is not for the connection: {other:?}"),
    }
}

pub fn resp2(reply: &Reply) -> String {
    let mut out = Vec::new();
    Encoder::new(&mut out, Protocol::Resp2).reply(reply);
    String::from_utf8(out).unwrap()
}

impl Strings {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster for Strings {
    fn view(&self) -> Arc<View> {
        Arc::new(self.lock().view.clone())
    }

    fn masters(&self, range: RangeId) -> bool {
        let held = self.lock();
        let mut ranges = held.ranges.iter();
        ranges.any(|status| status.range == range && status.role == "master")
    }

    fn address(&self) -> &str {
        "127.0.0.1:7000"
    }

    fn ranges(&self) -> Vec<RangeStatus> {
        self.lock().ranges.clone()
    }

    fn links(&self) -> Vec<Link> {
        self.lock().links.clone()
    }

    fn trouble(&self) -> Option<Trouble> {
        self.lock().trouble.clone()
    }

    async fn propose(&self, proposal: Proposal) -> trilith::Result<()> {
        let mut held = self.lock();
        held.proposed.push(proposal);
        held.outcome.clone()
    }

    fn hand_over(&self, range: RangeId, to: Option<NodeId>) {
        self.lock().handed_over.push((range, to));
    }

    async fn recover(&self, range: RangeId) -> trilith::Result<()> {
        let mut held = self.lock();
        held.recovered.push(range);
        held.outcome.clone()
    }

    async fn backup(&self, _: RangeId) -> trilith::Result<OpenBackup> {
        let what = "a puppet holds nothing";
        Err(Error::new(ErrorKind::Invalid, "backing a range up", what))
    }
}

impl Backend for Puppet {
    type Cluster = Strings;

    fn cluster(&self) -> Option<&Strings> {
        Some(&self.cluster)
    }

    async fn execute(&self, batch: Vec<Command>, how: Consistency) -> Vec<Reply> {
        self.held().executed.push(how);
        self.store.execute(batch, how).await
    }

    fn execute_now(&self, _: &Command, _: Consistency, _: &mut Encoder<'_>) -> bool {
        false
    }

    async fn stats(&self) -> Stats {
        self.store.stats().await
    }

    async fn close(&self) -> trilith::Result<()> {
        Ok(())
    }
}
