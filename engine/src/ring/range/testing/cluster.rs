//! Replicas of one range, what lies between them, and the checks that look on.
//!
//! Everything happens by a call, in the order of the calls: nothing here runs by itself.

use std::collections::BTreeMap;

use super::checks::{Checks, Mirror};
use super::disk::{Disk, Policy};
use super::machine::WriteId;
use super::network::Network;
use crate::ring::effect::{Effect, Input, Now, Outcome, Record};
use crate::ring::ids::{Index, LogId, NodeId, RequestId};
use crate::ring::membership::{Configuration, Member};
use crate::ring::message::{Body, Message};
use crate::ring::quorum::Quorum;
use crate::ring::range::{Mutation, Options, Range};
use crate::ring::trace::Event;

/// A machine and the copy of the range that it holds, if any.
pub(in crate::ring::range) struct Node {
    pub(super) id: NodeId,
    /// None while the process is down, or without a copy.
    pub(super) range: Option<Range>,
    pub(super) disk: Option<Disk>,
    pub(super) mirror: Mirror,
    pub(super) is_up: bool,
    /// Nothing that its disk does settles.
    pub(super) is_held: bool,
    /// How far its clock is off.
    pub(super) skew_ms: i64,
    /// Incarnations up to here are destroyed for good.
    buried: Option<LogId>,
    boots: u64,
}

/// What a client has asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Write(WriteId),
    Read { floor: Index, is_strong: bool },
    Else,
}

/// See the module.
pub(in crate::ring::range) struct Cluster {
    pub(super) options: Options,
    policy: Policy,
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) checks: Checks,
    pub(super) asked: BTreeMap<RequestId, (NodeId, Asked)>,
    pub(super) outcomes: BTreeMap<RequestId, Outcome>,
    pub(super) requests: RequestId,
    pub(super) events: Vec<(NodeId, Event)>,
    pub(super) records_events: bool,
    effects: Vec<Effect>,
    seed: u64,
}

/// The range that every test is about.
pub(super) const RANGE: u32 = 7;
const EPOCH_MS: u64 = 1_700_000_000_000;

impl Cluster {
    /// Nodes 1 to `machines`, the first of which found a range of this row.
    pub(in crate::ring::range) fn new(
        row: (u8, u8, u8),
        machines: u64,
        mutation: Option<Mutation>,
        policy: Policy,
    ) -> Self {
        let options = Options {
            mutation,
            trace: true,
            ..Options::default()
        };
        Self::with(row, machines, options, policy, 1)
    }

    pub(in crate::ring::range) fn with(
        row: (u8, u8, u8),
        machines: u64,
        options: Options,
        policy: Policy,
        seed: u64,
    ) -> Self {
        let quorum = Quorum::new(row.0, row.1, row.2).unwrap();
        let founders: Vec<_> = (1..=u64::from(row.0)).map(NodeId).collect();
        let founding = Configuration::founding(&founders, quorum);
        let mut cluster = Self {
            options,
            policy,
            now_ms: 1_000,
            nodes: Vec::new(),
            network: Network::default(),
            checks: Checks::of(quorum),
            asked: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            requests: 0,
            events: Vec::new(),
            records_events: false,
            effects: Vec::new(),
            seed,
        };
        for id in (1..=machines).map(NodeId) {
            cluster.nodes.push(Node {
                id,
                range: None,
                disk: None,
                mirror: Mirror::default(),
                is_up: true,
                is_held: false,
                skew_ms: 0,
                buried: None,
                boots: 0,
            });
            if let Some(me) = founding.member(id) {
                let seed = cluster.draw_seed(id);
                let range =
                    Range::found(RANGE, me, founding.clone(), cluster.options.clone(), seed);
                cluster.settle_in(me, founding.clone(), range);
            }
        }
        cluster
    }

    fn draw_seed(&mut self, node: NodeId) -> u64 {
        let boots = &mut self.nodes[node.0 as usize - 1].boots;
        *boots += 1;
        self.seed
            .wrapping_mul(1_000_003)
            .wrapping_add(node.0 * 65_537 + *boots)
    }

    fn settle_in(&mut self, me: Member, configuration: Configuration, range: Range) {
        let merge = self.options.mutation == Some(Mutation::MergeSnapshot);
        let policy = self.policy;
        let node = self.at(me.node);
        node.disk = Some(Disk::new(me, configuration, policy, merge));
        node.mirror = Mirror::default();
        node.range = Some(range);
    }

    pub(super) fn at(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node.0 as usize - 1]
    }

    /// A node's replica, which must be up.
    pub(in crate::ring::range) fn range(&self, node: u64) -> &Range {
        self.nodes[node as usize - 1].range.as_ref().unwrap()
    }

    /// A node's disk.
    pub(in crate::ring::range) fn disk(&self, node: u64) -> &Disk {
        self.nodes[node as usize - 1].disk.as_ref().unwrap()
    }

    /// What the checks have found.
    pub(in crate::ring::range) fn violations(&self) -> &[String] {
        self.checks.violations()
    }

    fn now_of(&self, node: NodeId) -> Now {
        let skew_ms = self.nodes[node.0 as usize - 1].skew_ms;
        Now {
            monotonic_ms: self.now_ms + node.0 * 1_000_000,
            wall_ms: (EPOCH_MS + self.now_ms).saturating_add_signed(skew_ms),
        }
    }

    /// Steps a replica, if it is up.
    pub(super) fn step(&mut self, id: NodeId, input: Input) {
        self.checks.step += 1;
        let now = self.now_of(id);
        let mut effects = std::mem::take(&mut self.effects);
        let Some(range) = &mut self.at(id).range else {
            return;
        };
        range.step(now, input, &mut effects);
        range.flush(now, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(id, effect);
        }
        self.effects = effects;
        self.look_at(id);
    }

    fn look_at(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.0 as usize - 1];
        let (Some(range), Some(disk)) = (&node.range, &mut node.disk) else {
            return;
        };
        let master_in = range.is_master().then(|| range.term());
        let (commit, term) = (range.commit(), range.term());
        self.checks
            .stepped(disk.me(), &mut node.mirror, master_in, commit, term);
        for fault in disk.take_faults() {
            self.checks.violate("disk", format!("{id}: {fault}"));
        }
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        let node = &mut self.nodes[id.0 as usize - 1];
        let Some(disk) = &mut node.disk else {
            return;
        };
        match effect {
            Effect::Send(message) => self.send(message),
            Effect::Reply { request, outcome } => self.reply(id, request, outcome),
            Effect::Append {
                append,
                records,
                synced,
            } => {
                for record in &records {
                    match record {
                        Record::Entry(entry) => self.checks.appended(id, &mut node.mirror, entry),
                        Record::HardState(state) => {
                            self.checks.recorded(id, &mut node.mirror, *state)
                        }
                        Record::Truncate(from) => node.mirror.truncate(*from),
                    }
                }
                disk.append(append, records, synced);
            }
            Effect::Apply(entries) => disk.apply(entries),
            Effect::Digest { at } => disk.digest(at),
            Effect::SnapshotOpen { id } => disk.snapshot_open(id),
            Effect::SnapshotRead { id, number } => disk.snapshot_read(id, number),
            Effect::SnapshotClose { id } => disk.snapshot_close(id),
            Effect::ChunkStore { id, number, bytes } => disk.chunk_store(id, number, bytes),
            Effect::SnapshotInstall { head, state } => {
                self.checks.recorded(id, &mut node.mirror, state);
                node.mirror.replace(head.at, state);
                disk.install(head, state);
            }
            Effect::WriteLost { entries, behind } => {
                self.checks.lost(&entries);
                disk.write_lost(entries, behind);
            }
            Effect::Destroy => self.destroy(id),
            Effect::Trace(event) => self.observe(id, event),
        }
    }

    fn send(&mut self, message: Message) {
        let disk = self.nodes[message.from.node.0 as usize - 1].disk.as_ref();
        let (from, term) = (message.from, message.term);
        match &message.body {
            Body::Ballot {
                pre: false,
                granted: true,
                ..
            } => {
                let is_synced = disk.is_some_and(|disk| disk.has_voted(term, message.to.node));
                self.checks.voted(from, term, message.to.node, is_synced);
            }
            Body::Report(report) => {
                let is_stored = disk.is_some_and(|disk| disk.stores(report.stored));
                self.checks.reported(from, report.stored, is_stored);
            }
            _ => {}
        }
        self.network.send(message);
    }

    fn reply(&mut self, id: NodeId, request: RequestId, outcome: Outcome) {
        let Some((_, asked)) = self.asked.remove(&request) else {
            return self
                .checks
                .violate("answered twice", format!("request {request} at {id}"));
        };
        match (asked, &outcome) {
            (Asked::Write(write), Outcome::Done { reply, at }) => {
                self.checks.acknowledge(write, reply, *at)
            }
            (Asked::Write(write), Outcome::NotMaster(_) | Outcome::Refused(_)) => {
                self.checks.refuse(write)
            }
            (Asked::Read { floor, is_strong }, Outcome::Read { index, .. }) => {
                if let Some(disk) = &self.nodes[id.0 as usize - 1].disk {
                    self.checks.read(id, floor, *index, disk.state(), is_strong);
                }
            }
            _ => {}
        }
        self.outcomes.insert(request, outcome);
    }

    fn destroy(&mut self, id: NodeId) {
        let node = self.at(id);
        let Some(disk) = node.disk.take() else {
            return;
        };
        node.buried = node.buried.max(Some(disk.me().incarnation));
        node.range = None;
        let mirror = std::mem::take(&mut self.at(id).mirror);
        self.checks.destroyed(disk.me(), &mirror);
        self.forget_requests(id);
    }

    fn observe(&mut self, id: NodeId, event: Event) {
        if let Event::Elected {
            term,
            by_flagged: true,
            ..
        } = event
        {
            let mirror = &self.nodes[id.0 as usize - 1].mirror;
            self.checks.elected_by_flagged(term, mirror);
        }
        if self.records_events {
            self.events.push((id, event));
        }
    }

    fn forget_requests(&mut self, id: NodeId) {
        self.asked.retain(|_, (node, _)| *node != id);
    }

    /// A node hears a message; it makes itself a copy if that is what it is told.
    pub(super) fn hear(&mut self, message: Message) {
        let (options, to) = (self.options.clone(), message.to);
        let node = self.at(to.node);
        if !node.is_up {
            return;
        }
        let begins = matches!(message.body, Body::Append(_) | Body::Chunk(_));
        let was_buried = node.buried.is_some_and(|buried| to.incarnation <= buried);
        if node.disk.is_none() && was_buried {
            if let Some(gone) = message.answer_of_one_gone() {
                self.send(gone);
            }
            return;
        }
        if node.disk.is_none() && begins {
            let seed = self.draw_seed(to.node);
            let range = Range::empty(RANGE, to, options, seed);
            self.settle_in(to, Configuration::unknown(), range);
        }
        self.step(to.node, Input::Message(message));
    }

    /// Ends a process or a machine. `more` of what its log was about to keep is kept all the same.
    pub(super) fn end(&mut self, id: NodeId, power: bool, more: usize) {
        let node = self.at(id);
        if !node.is_up {
            return;
        }
        node.is_up = false;
        node.range = None;
        if let Some(disk) = &mut node.disk {
            if power {
                disk.lose_power(more);
            } else {
                disk.kill(more);
            }
        }
        self.forget_requests(id);
    }

    pub(super) fn start(&mut self, id: NodeId) {
        let seed = self.draw_seed(id);
        let options = self.options.clone();
        let node = self.at(id);
        if node.is_up {
            return;
        }
        node.is_up = true;
        node.is_held = false;
        let Some(disk) = &node.disk else {
            return;
        };
        let recovered = disk.recover(RANGE);
        let entries = recovered
            .entries
            .iter()
            .map(|entry| (entry.id(), entry.time_ms));
        node.mirror = Mirror::recovered(
            recovered.before,
            entries,
            recovered.applied.index,
            recovered.state,
        );
        node.range = Some(Range::restore(recovered, options, seed));
    }

    /// Does one thing that a disk has to do; whether there was any.
    pub(super) fn work(&mut self, id: NodeId, what: Job) -> bool {
        let term = self.nodes[id.0 as usize - 1]
            .range
            .as_ref()
            .map_or(0, Range::term);
        let node = &mut self.nodes[id.0 as usize - 1];
        let (Some(disk), false, true) = (&mut node.disk, node.is_held, node.range.is_some()) else {
            return false;
        };
        if disk.is_idle() && !matches!(what, Job::Flush(_)) {
            return false;
        }
        let checks = &mut self.checks;
        let inputs: Vec<Input> = match what {
            Job::Write => disk.write().into_iter().collect(),
            Job::Sync => disk.sync(),
            Job::Answer => disk.answer().into_iter().collect(),
            Job::Flush(keep) => disk.flush(keep),
            Job::Apply => {
                let applied =
                    disk.work(|entry, state, reply| checks.applied(id, entry, state, reply, term));
                applied.into_iter().collect()
            }
        };
        if inputs
            .iter()
            .any(|input| matches!(input, Input::SnapshotInstalled { .. }))
        {
            checks.installed(id, disk.state());
            node.mirror.replaced();
        }
        for input in inputs {
            self.step(id, input);
        }
        true
    }
}

/// What a disk may do next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    Write,
    Sync,
    Apply,
    Answer,
    Flush(u64),
}
