//! Calls by which a test directs a cluster.

use super::cluster::{Asked, Cluster, Job};
use super::machine::Command;
use crate::ring::effect::{Change, Input, Outcome, ReadLevel};
use crate::ring::ids::{NodeId, RequestId};
use crate::ring::message::Message;
use crate::ring::range::Range;
use crate::ring::trace::Event;

/// How often replicas hear of the time in a calm run.
const TICK_MS: u64 = 10;

impl Cluster {
    /// Lets time pass for one node.
    pub(in crate::ring::range) fn tick(&mut self, node: u64, ms: u64) {
        self.now_ms += ms;
        self.step(NodeId(node), Input::Tick);
    }

    /// Lets time pass for every node, with no message delivered and nothing settled.
    pub(in crate::ring::range) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for id in (1..=self.nodes.len() as u64).map(NodeId) {
            self.step(id, Input::Tick);
        }
    }

    /// Lets everybody do what there is to do, at once, except for disks that are held and links that are cut.
    pub(in crate::ring::range) fn settle(&mut self) {
        for _ in 0..200 {
            let mut busy = self.settle_disks();
            for message in self.network.take_all() {
                busy = true;
                self.hear(message);
            }
            if !busy {
                return;
            }
        }
        self.checks.violate("quiet", "messages go on and on");
    }

    /// Lets disks do what there is to do.
    pub(in crate::ring::range) fn settle_disks(&mut self) -> bool {
        let mut busy = false;
        for id in (1..=self.nodes.len() as u64).map(NodeId) {
            busy |= self.settle_disk(id);
        }
        busy
    }

    fn settle_disk(&mut self, id: NodeId) -> bool {
        let mut busy = false;
        for _ in 0..1000 {
            let node = self.at(id);
            let is_idle = node.disk.as_ref().is_none_or(super::disk::Disk::is_idle);
            if is_idle || node.is_held || node.range.is_none() {
                break;
            }
            busy = true;
            for job in [Job::Write, Job::Sync, Job::Apply, Job::Answer] {
                self.work(id, job);
            }
        }
        busy
    }

    /// A calm network and fast disks for so long.
    pub(in crate::ring::range) fn run(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        self.settle();
        while self.now_ms < end_ms {
            self.pass(TICK_MS);
            self.settle();
        }
    }

    /// Runs until something holds; whether it came to hold within so long.
    pub(in crate::ring::range) fn run_until(
        &mut self,
        ms: u64,
        holds: impl Fn(&Self) -> bool,
    ) -> bool {
        let end_ms = self.now_ms + ms;
        while !holds(self) && self.now_ms < end_ms {
            self.run(TICK_MS);
        }
        holds(self)
    }

    /// Delivers what is picked, in order, and nothing that follows from it; how many those were.
    pub(in crate::ring::range) fn deliver(&mut self, picked: impl Fn(&Message) -> bool) -> usize {
        let all = self.network.copies(&picked);
        self.network.lose(&picked);
        let count = all.len();
        for message in all {
            self.hear(message);
        }
        count
    }

    /// Loses what is picked; how many those were.
    pub(in crate::ring::range) fn drop_messages(
        &mut self,
        picked: impl Fn(&Message) -> bool,
    ) -> usize {
        self.network.lose(picked)
    }

    /// Copies of messages in flight, to be delivered again later.
    pub(in crate::ring::range) fn copy(
        &mut self,
        picked: impl Fn(&Message) -> bool,
    ) -> Vec<Message> {
        self.network.copies(picked)
    }

    /// Delivers messages that were kept.
    pub(in crate::ring::range) fn replay(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.hear(message);
        }
    }

    /// Nothing that this node's disk does settles from now on.
    pub(in crate::ring::range) fn hold_settles(&mut self, node: u64) {
        self.at(NodeId(node)).is_held = true;
    }

    /// So many bytes of entries may be sent to those who learn from this node.
    pub(in crate::ring::range) fn feed(&mut self, node: u64, bytes: usize) {
        if let Some(range) = &mut self.at(NodeId(node)).range {
            range.feed_learners(bytes);
        }
    }

    /// How many were.
    pub(in crate::ring::range) fn fed(&mut self, node: u64) -> usize {
        let range = &mut self.at(NodeId(node)).range;
        range.as_mut().map_or(0, Range::take_fed)
    }

    /// Likewise, and the replica is told that it takes nothing.
    pub(in crate::ring::range) fn fill(&mut self, node: u64) {
        self.hold_settles(node);
        self.step(NodeId(node), Input::ReadOnly(true));
    }

    /// It settles again, and takes what comes.
    pub(in crate::ring::range) fn release(&mut self, node: u64) {
        self.at(NodeId(node)).is_held = false;
        self.step(NodeId(node), Input::ReadOnly(false));
    }

    /// Lets one disk do what there is to do.
    pub(in crate::ring::range) fn settle_log(&mut self, node: u64) {
        self.settle_disk(NodeId(node));
    }

    /// Lets a disk write and sync what there is to log; nothing is applied.
    pub(in crate::ring::range) fn log_only(&mut self, node: u64) {
        for _ in 0..20 {
            for job in [Job::Write, Job::Sync, Job::Answer] {
                self.work(NodeId(node), job);
            }
        }
    }

    /// Writes what a disk has to write, and syncs nothing; applies what there is to apply.
    pub(in crate::ring::range) fn write_only(&mut self, node: u64) {
        for _ in 0..20 {
            self.work(NodeId(node), Job::Write);
            self.work(NodeId(node), Job::Apply);
        }
    }

    /// The store's own files hold what is applied; the log keeps so many entries before that.
    pub(in crate::ring::range) fn flush(&mut self, node: u64, keep: u64) {
        self.work(NodeId(node), Job::Flush(keep));
    }

    /// The process is killed.
    pub(in crate::ring::range) fn crash(&mut self, node: u64) {
        self.end(NodeId(node), false, 0);
    }

    /// The machine loses power.
    pub(in crate::ring::range) fn lose_power(&mut self, node: u64) {
        self.end(NodeId(node), true, 0);
    }

    /// The process starts again.
    pub(in crate::ring::range) fn restart(&mut self, node: u64) {
        self.start(NodeId(node));
    }

    /// How far a node's clock is off.
    pub(in crate::ring::range) fn skew(&mut self, node: u64, ms: i64) {
        self.at(NodeId(node)).skew_ms = ms;
    }

    fn ask(
        &mut self,
        node: u64,
        asked: Asked,
        input: impl FnOnce(RequestId) -> Input,
    ) -> RequestId {
        self.requests += 1;
        let request = self.requests;
        if self.at(NodeId(node)).range.is_some() {
            self.asked.insert(request, (NodeId(node), asked));
            self.step(NodeId(node), input(request));
        }
        request
    }

    /// A client writes.
    pub(in crate::ring::range) fn propose(&mut self, node: u64, command: Command) -> RequestId {
        self.propose_to(node, command, 0)
    }

    /// A client writes and asks for so many replicas at least.
    pub(in crate::ring::range) fn propose_to(
        &mut self,
        node: u64,
        command: Command,
        at_least: u8,
    ) -> RequestId {
        let write = self.requests + 1;
        let payload = command.encode(write);
        self.ask(node, Asked::Write(write), |request| Input::Propose {
            request,
            payload,
            at_least,
        })
    }

    /// A client appends to list 0.
    pub(in crate::ring::range) fn push(&mut self, node: u64) -> RequestId {
        self.propose(node, Command::Push(0))
    }

    /// A client reads.
    pub(in crate::ring::range) fn read(&mut self, node: u64, level: ReadLevel) -> RequestId {
        let is_strong = match level {
            ReadLevel::Configured => self.checks.strong,
            ReadLevel::Strong { .. } => true,
            ReadLevel::Weak => false,
        };
        let floor = self.checks.floor();
        self.ask(node, Asked::Read { floor, is_strong }, |request| {
            Input::Read { request, level }
        })
    }

    /// Somebody changes members or quorums.
    pub(in crate::ring::range) fn change(&mut self, node: u64, change: Change) -> RequestId {
        self.ask(node, Asked::Else, |request| Input::Change {
            request,
            change,
        })
    }

    /// A master hands over.
    pub(in crate::ring::range) fn handover(&mut self, node: u64, to: Option<u64>) {
        self.step(NodeId(node), Input::Handover { to: to.map(NodeId) });
    }

    /// An operator makes a node's copy the whole range.
    pub(in crate::ring::range) fn recover(&mut self, node: u64) -> RequestId {
        self.ask(node, Asked::Else, |request| Input::Recover { request })
    }

    /// A read at the master cannot tell whether a key's time has come.
    pub(in crate::ring::range) fn elapse(&mut self, node: u64) -> RequestId {
        self.ask(node, Asked::Else, |request| Input::Elapse { request })
    }

    /// Copies are compared.
    pub(in crate::ring::range) fn scrub(&mut self, node: u64) {
        self.step(NodeId(node), Input::Scrub);
    }

    /// A node's storage fails.
    pub(in crate::ring::range) fn fail(&mut self, node: u64) {
        self.step(NodeId(node), Input::Failed);
    }

    /// A node's applied state changes behind everybody's back.
    pub(in crate::ring::range) fn rot(&mut self, node: u64) {
        if let Some(disk) = &mut self.at(NodeId(node)).disk {
            disk.rot();
        }
    }

    /// What happens from now on is kept.
    pub(in crate::ring::range) fn watch(&mut self) {
        self.records_events = true;
    }

    /// Whether a node holds a copy.
    pub(in crate::ring::range) fn holds_copy(&self, node: u64) -> bool {
        self.nodes[node as usize - 1].disk.is_some()
    }

    /// The copies that were found to differ, so far.
    pub(in crate::ring::range) fn mismatches(&self) -> Vec<u64> {
        let found = self.events.iter().filter_map(|(_, event)| match event {
            Event::Mismatch { node, .. } => Some(node.0),
            _ => None,
        });
        found.collect()
    }

    /// What a client has heard.
    pub(in crate::ring::range) fn outcome(&self, request: RequestId) -> Option<&Outcome> {
        self.outcomes.get(&request)
    }

    /// Whether a write was acknowledged, or a read answered.
    pub(in crate::ring::range) fn is_done(&self, request: RequestId) -> bool {
        matches!(
            self.outcome(request),
            Some(Outcome::Done { .. } | Outcome::Read { .. } | Outcome::Changed(_))
        )
    }

    /// Cuts a node off.
    pub(in crate::ring::range) fn isolate(&mut self, node: u64) {
        for other in 1..=self.nodes.len() as u64 {
            self.part(node, other);
        }
    }

    /// Cuts both ways between two nodes.
    pub(in crate::ring::range) fn part(&mut self, one: u64, other: u64) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Cuts the way from one node to another.
    pub(in crate::ring::range) fn cut(&mut self, from: u64, to: u64) {
        if from != to {
            self.network.cut(NodeId(from), NodeId(to));
        }
    }

    /// Every link works.
    pub(in crate::ring::range) fn heal(&mut self) {
        self.network.heal();
    }

    /// The master of the newest term, if any.
    pub(in crate::ring::range) fn master(&self) -> Option<u64> {
        let ranges = self
            .nodes
            .iter()
            .filter_map(|node| Some((node.id, node.range.as_ref()?)));
        let masters = ranges.filter(|(_, range)| range.is_master());
        masters
            .max_by_key(|(_, range)| range.term())
            .map(|(id, _)| id.0)
    }

    /// Runs until this node is the master; hands over to it if another one is.
    ///
    /// # Panics
    ///
    /// If it does not come to that.
    pub(in crate::ring::range) fn elect(&mut self, node: u64) {
        for _ in 0..60 {
            if self.range(node).is_master() && self.master() == Some(node) {
                return;
            }
            if let Some(master) = self.master() {
                self.handover(master, Some(node));
            }
            self.run(200);
        }
        panic!("node {node} is never elected: {:?}", self.violations());
    }
}
