//! A seeded adversary: it delivers, loses, doubles and delays, crashes, cuts, changes members and moves
//! clocks by chance; then it lets go and asks for a master and for agreement.

use super::cluster::{Cluster, Job};
use super::disk::Policy;
use super::machine::Command;
use crate::random::Random;
use crate::ring::effect::{Change, ReadLevel};
use crate::ring::ids::NodeId;
use crate::ring::membership::Member;
use crate::ring::quorum::Quorum;
use crate::ring::range::{Mutation, Options, Range};

/// How often each kind of trouble comes, in ten thousands of steps.
#[derive(Clone, Copy, Debug)]
pub(in crate::ring::range) struct Faults {
    pub(in crate::ring::range) crash: u64,
    pub(in crate::ring::range) power: u64,
    pub(in crate::ring::range) part: u64,
    pub(in crate::ring::range) lose: u64,
    pub(in crate::ring::range) double: u64,
    pub(in crate::ring::range) hold: u64,
    /// A disk holds, and its replica is told that it takes nothing.
    pub(in crate::ring::range) full: u64,
    pub(in crate::ring::range) skew: u64,
    pub(in crate::ring::range) change: u64,
    pub(in crate::ring::range) handover: u64,
    pub(in crate::ring::range) flush: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            crash: 20,
            power: 10,
            part: 25,
            lose: 150,
            double: 150,
            hold: 20,
            full: 0,
            skew: 10,
            change: 40,
            handover: 15,
            flush: 60,
        }
    }
}

/// One walk. See the module.
#[derive(Clone, Copy, Debug)]
pub(in crate::ring::range) struct Walk {
    pub(in crate::ring::range) seed: u64,
    pub(in crate::ring::range) steps: u64,
    pub(in crate::ring::range) row: (u8, u8, u8),
    pub(in crate::ring::range) machines: u64,
    pub(in crate::ring::range) policy: Policy,
    pub(in crate::ring::range) faults: Faults,
    pub(in crate::ring::range) mutation: Option<Mutation>,
    /// Whether events are kept, for a reader.
    pub(in crate::ring::range) traced: bool,
}

impl Walk {
    /// A walk with every fault.
    pub(in crate::ring::range) fn new(row: (u8, u8, u8), seed: u64) -> Self {
        Self {
            seed,
            steps: 4_000,
            row,
            machines: u64::from(row.0) + 2,
            policy: Policy::Always,
            faults: Faults::default(),
            mutation: None,
            traced: false,
        }
    }

    /// Walks; the cluster as it is in the end, healed.
    pub(in crate::ring::range) fn run(&self) -> Cluster {
        let (n, w, r) = self.row;
        let survives = Quorum::new(n, w, r).is_ok_and(Quorum::writes_survive);
        let options = Options {
            // What is to be named when it is lost must still be held.
            keep_bytes: if survives { 600 } else { 1 << 20 },
            message_bytes: 300,
            inflight: 3,
            trace: true,
            mutation: self.mutation,
            ..Options::default()
        };
        let mut random = Random::new(self.seed);
        let seed = random.next();
        let mut walker = Walker {
            cluster: Cluster::with(self.row, self.machines, options, self.policy, seed),
            walk: *self,
            survives,
            random,
        };
        walker.cluster.records_events = self.traced;
        walker.cluster.run(1_000);
        for _ in 0..self.steps {
            walker.go();
            if !walker.cluster.violations().is_empty() {
                return walker.cluster;
            }
        }
        walker.recover();
        walker.cluster
    }
}

struct Walker {
    cluster: Cluster,
    survives: bool,
    walk: Walk,
    random: Random,
}

impl Walker {
    fn node(&mut self) -> u64 {
        1 + self.random.below(self.walk.machines)
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.random.below(bound) == 0
    }

    fn go(&mut self) {
        let faults = self.walk.faults;
        let mut draw = self.random.below(10_000);
        let mut falls = |weight: u64| {
            let is_it = draw < weight;
            draw = if is_it {
                u64::MAX
            } else {
                draw.saturating_sub(weight)
            };
            is_it
        };
        if falls(4_200) {
            self.deliver();
        } else if falls(3_000) {
            self.work();
        } else if falls(900) {
            self.pass();
        } else if falls(450) {
            self.write();
        } else if falls(250) {
            self.read();
        } else if falls(faults.lose) {
            self.lose();
        } else if falls(faults.double) {
            self.double();
        } else if falls(faults.flush) {
            let keep = if self.survives {
                self.random.below(6)
            } else {
                u64::MAX
            };
            let node = self.node();
            self.cluster.flush(node, keep);
        } else if falls(faults.crash) {
            self.end(false);
        } else if falls(faults.power) {
            self.end(true);
        } else if falls(faults.crash + 2 * faults.power) {
            let node = self.node();
            self.cluster.restart(node);
        } else if falls(faults.part) {
            self.part();
        } else if falls(faults.part) {
            self.cluster.heal();
        } else if falls(faults.hold) {
            let node = self.node();
            self.cluster.hold_settles(node);
        } else if falls(faults.full) {
            let node = self.node();
            self.cluster.fill(node);
        } else if falls(3 * (faults.hold + faults.full)) {
            let node = self.node();
            self.cluster.release(node);
        } else if falls(faults.skew) {
            let (node, ms) = (self.node(), self.random.below(4_000) as i64 - 2_000);
            self.cluster.skew(node, ms);
        } else if falls(faults.change) {
            self.change();
        } else if falls(faults.handover) {
            let to = self.one_in(2).then(|| self.node());
            let node = self.someone();
            self.cluster.handover(node, to);
        } else {
            self.deliver();
        }
    }

    /// The master, mostly.
    fn someone(&mut self) -> u64 {
        let anybody = self.node();
        let Some(master) = self.cluster.master() else {
            return anybody;
        };
        if self.one_in(5) { anybody } else { master }
    }

    fn deliver(&mut self) {
        let flying = self.cluster.network.len();
        if flying == 0 {
            return;
        }
        let place = if self.one_in(4) {
            self.random.index(flying)
        } else {
            self.random.index(flying.min(3))
        };
        if let Some(message) = self.cluster.network.take(place, false) {
            self.cluster.hear(message);
        }
    }

    fn double(&mut self) {
        let flying = self.cluster.network.len();
        if flying > 0 {
            let place = self.random.index(flying);
            if let Some(message) = self.cluster.network.take(place, true) {
                self.cluster.hear(message);
            }
        }
    }

    fn lose(&mut self) {
        let flying = self.cluster.network.len();
        if flying > 0 {
            let place = self.random.index(flying);
            self.cluster.network.take(place, false);
        }
        while self.cluster.network.len() > 150 {
            let place = self.random.index(self.cluster.network.len());
            self.cluster.network.take(place, false);
        }
    }

    fn work(&mut self) {
        let first = self.node();
        let job = match self.random.below(8) {
            0..=1 => Job::Write,
            2..=4 => Job::Sync,
            5..=6 => Job::Apply,
            _ => Job::Answer,
        };
        for more in 0..self.walk.machines {
            let node = NodeId(1 + (first + more) % self.walk.machines);
            if self.cluster.work(node, job) {
                if matches!(job, Job::Sync) && self.one_in(2) {
                    self.cluster.work(node, Job::Write);
                }
                return;
            }
        }
    }

    fn pass(&mut self) {
        let node = self.node();
        let ms = if self.one_in(40) {
            self.random.below(600)
        } else {
            self.random.below(20)
        };
        if self.one_in(3) {
            self.cluster.tick(node, ms);
        } else {
            self.cluster.pass(ms);
        }
    }

    fn write(&mut self) {
        let node = self.someone();
        let list = self.random.below(4) as u8;
        let command = if self.one_in(6) {
            Command::Clear(list)
        } else {
            Command::Push(list)
        };
        let at_least = if self.one_in(10) { 2 } else { 0 };
        self.cluster.propose_to(node, command, at_least);
    }

    fn read(&mut self) {
        let node = if self.one_in(2) {
            self.someone()
        } else {
            self.node()
        };
        let level = match self.random.below(6) {
            0 => ReadLevel::Weak,
            1 => ReadLevel::Strong { at_least: 2 },
            2 => ReadLevel::Strong { at_least: 0 },
            _ => ReadLevel::Configured,
        };
        self.cluster.read(node, level);
    }

    fn end(&mut self, power: bool) {
        let (node, more) = (self.node(), self.random.below(3) as usize);
        self.cluster.end(NodeId(node), power, more);
    }

    fn part(&mut self) {
        match self.random.below(4) {
            0 => {
                let node = self.node();
                self.cluster.isolate(node);
            }
            1 => {
                let (one, other) = (self.node(), self.node());
                self.cluster.cut(one, other);
            }
            2 => {
                let (one, other) = (self.node(), self.node());
                self.cluster.part(one, other);
            }
            _ => {
                let sides = self.random.next();
                for one in 1..=self.walk.machines {
                    for other in 1..one {
                        if (sides >> one) & 1 != (sides >> other) & 1 {
                            self.cluster.part(one, other);
                        }
                    }
                }
            }
        }
    }

    fn change(&mut self) {
        let Some(master) = self.cluster.master() else {
            return;
        };
        let configuration = self.cluster.range(master).configuration().clone();
        let members: Vec<NodeId> = configuration.members().iter().map(|m| m.node).collect();
        let learners: Vec<NodeId> = configuration.learners.iter().map(|m| m.node).collect();
        let node = NodeId(self.node());
        let change = if self.one_in(3) && !members.contains(&node) {
            Change::Learners {
                add: vec![node],
                remove: Vec::new(),
            }
        } else if self.one_in(6) && !learners.is_empty() {
            Change::Learners {
                add: Vec::new(),
                remove: learners,
            }
        } else {
            let Some((nodes, quorum)) = self.voters(members) else {
                return;
            };
            Change::Voters { nodes, quorum }
        };
        self.cluster.change(master, change);
    }

    fn voters(&mut self, mut among: Vec<NodeId>) -> Option<(Vec<NodeId>, Quorum)> {
        let (n, w, r) = self.walk.row;
        let may_change = w + r > n && n == 3;
        let (n, w, r) = match self.random.below(8) {
            0 if may_change => (3, 3, 1),
            1 if may_change => (3, 2, 2),
            2 if may_change => (3, 1, 3),
            3 if may_change => (1, 1, 1),
            _ => (n, w, r),
        };
        while among.len() > usize::from(n) {
            let out = self.random.index(among.len());
            among.remove(out);
        }
        if among.len() < usize::from(n) {
            return None;
        }
        let first = self.random.index(among.len());
        among.swap(0, first);
        Some((among, Quorum::new(n, w, r).ok()?))
    }

    /// Heals everything, and asks for what must then come to be.
    fn recover(&mut self) {
        let cluster = &mut self.cluster;
        cluster.heal();
        for node in 1..=self.walk.machines {
            cluster.release(node);
            cluster.skew(node, 0);
            cluster.restart(node);
        }
        if !cluster.run_until(5_000, |cluster| cluster.master().is_some()) {
            let what = cluster.describe();
            return cluster.checks.violate("no master", what);
        }
        if !cluster.run_until(5_000, Cluster::agrees) {
            let what = cluster.describe();
            return cluster.checks.violate("no agreement", what);
        }
        // Office may be on its way to another node: a client asks again.
        let is_written = (0..5).any(|_| {
            let write = cluster.master().map(|master| cluster.push(master));
            cluster.run(500);
            write.is_some_and(|write| cluster.is_done(write))
        });
        if !is_written {
            let what = cluster.describe();
            return cluster.checks.violate("no progress", what);
        }
        cluster.check_acknowledged();
    }
}

impl Cluster {
    /// Whether there is a master, nothing is changing, and every copy is a member's and holds what it does.
    pub(in crate::ring::range) fn agrees(&self) -> bool {
        let Some(master) = self.master() else {
            return false;
        };
        let (range, state) = (self.range(master), self.disk(master).state());
        let members = range.configuration().members();
        let is_like = |node: &super::cluster::Node| {
            let (Some(range), Some(disk)) = (&node.range, &node.disk) else {
                return false;
            };
            let flags = range.state();
            members.contains(&disk.me())
                && disk.state().at == state.at
                && disk.state().digest() == state.digest()
                && !flags.void
                && !flags.amnesiac
        };
        // A copy none of whose members is left has nobody to ask: its node has to see to it, by the placement.
        let is_left = |member: &Member| {
            let node = &self.nodes[member.node.0 as usize - 1];
            node.disk.as_ref().is_some_and(|disk| disk.me() == *member)
        };
        let is_aware = |node: &&super::cluster::Node| {
            let (Some(range), Some(disk)) = (&node.range, &node.disk) else {
                return node.disk.is_some();
            };
            let others = range.configuration().members();
            members.contains(&disk.me())
                || others
                    .iter()
                    .any(|other| other.node != node.id && is_left(other))
        };
        let holding: Vec<_> = self.nodes.iter().filter(is_aware).collect();
        !range.configuration().is_joint()
            && range.applied() == range.last()
            && holding.len() == members.len()
            && holding.into_iter().all(is_like)
    }

    /// The last events, for a report.
    pub(in crate::ring::range) fn last_events(&self, most: usize) -> String {
        let from = self.events.len().saturating_sub(most);
        let lines = self.events[from..]
            .iter()
            .map(|(node, event)| format!("  {node} {event:?}\n"));
        lines.collect()
    }

    /// Whether nothing was found that should never be, whatever became of progress.
    pub(in crate::ring::range) fn is_safe(&self) -> bool {
        self.violations().iter().all(|what| what.starts_with("no "))
    }

    /// What every replica is at, for a report.
    pub(in crate::ring::range) fn describe(&self) -> String {
        let of = |range: &Range| {
            format!(
                "term {} {} {:?} last {} stored {} commit {} applied {} {:?} in {:?}",
                range.term(),
                if range.is_master() {
                    "master"
                } else {
                    "follows"
                },
                range.master(),
                range.last(),
                range.stored(),
                range.commit(),
                range.applied(),
                (range.state().amnesiac, range.state().void),
                range.configuration(),
            )
        };
        let each = self.nodes.iter().map(|node| {
            let range = node.range.as_ref().map_or("none".to_owned(), of);
            let me = node.disk.as_ref().map(super::disk::Disk::me);
            format!("\n  {} {me:?}: {range}", node.id)
        });
        each.collect()
    }

    /// What was acknowledged must be in the master's log, or named as lost where it may be lost.
    pub(in crate::ring::range) fn check_acknowledged(&mut self) {
        let Some(master) = self.master() else {
            return;
        };
        let last = self.range(master).last();
        let held = self.checks.history(last, 0);
        let missing: Vec<_> = self
            .checks
            .acknowledged()
            .filter(|(at, _)| !held.contains(at))
            .collect();
        for (at, write) in missing {
            if self.checks.survive {
                self.checks
                    .violate("missing", format!("write {write}, acknowledged at {at}"));
            } else if !self.checks.is_named(at, write) {
                self.checks.violate(
                    "lost unnamed",
                    format!("write {write}, acknowledged at {at}"),
                );
            }
        }
    }
}
