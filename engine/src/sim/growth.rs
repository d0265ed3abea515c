//! A cluster that grows and shrinks while clients go on: nodes join, one is drained and removed, one dies and is
//! replaced. Whatever is moved is moved by the nodes themselves, as the meta range's map has it; nothing here
//! does more than propose, start machines and look on.

use std::collections::VecDeque;

use serde::Serialize;

use super::host::Host;
use super::simulation::Simulation;
use super::steward::{Target, master_of};
use super::world::Event;
use crate::ring::membership::Configuration;
use crate::ring::meta::{Map, Proposal, encode_proposal, mover};
use crate::ring::node::NodeInput;
use crate::ring::placement::{Table, moves};
use crate::ring::{META, NodeId, Quorum, RangeId};
use crate::storage::faulty::CrashMode;

/// Machines that may come on top of those that are there from the beginning.
pub(super) const SPARE_MACHINES: usize = 6;

/// Nodes that there are before the first one counts as a fifth.
const NODES_BEFORE: usize = 4;

/// How often somebody looks how far it is.
const EVERY_US: u64 = 250_000;

/// How often a proposal that has not come about is made again.
const PROPOSE_EVERY_MS: u64 = 500;

/// A phase that takes longer has failed.
const PHASE_MOST_MS: u64 = 90_000;

/// Between a node's removal and its end.
const FAREWELL_MS: u64 = 2_000;

/// Failed requests that a phase tells of.
const FAILURES_MOST: usize = 16;

/// Clients use the cluster for so long before anything is changed.
const SETTLE_MS: u64 = 2_000;

/// What one change of the cluster took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// Copies that there were.
    pub copies: u64,
    /// Copies that the table has elsewhere since.
    pub moved: u64,
    /// `moved` / `copies`.
    pub share: f64,
    /// The share that taking a hash modulo the number of nodes would have moved.
    pub naive_share: f64,
    /// Copies that nodes have begun, in fact.
    pub begun: u64,
    /// Virtual seconds until every range was in place.
    pub seconds: f64,
    /// Bytes of snapshots that were sent.
    pub bytes: u64,
    /// Requests of clients that were given up on, or have an unknown outcome.
    pub failed: u64,
    /// Answers that sent a client elsewhere.
    pub redirected: u64,
    /// The first of those that failed, in words.
    pub failures: Vec<String>,
}

/// What is to be done with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, for a while.
    Settle,
    /// A new node joins.
    Join,
    /// The second node gives up what it holds, and goes.
    Drain,
    /// The third node is gone, and a new one takes its place.
    Replace,
}

/// A step that has begun.
struct Current {
    step: Step,
    since_ms: u64,
    table: Table,
    nodes: usize,
    counts: [u64; 4],
    /// Who joins.
    joins: Option<usize>,
    /// Who goes.
    goes: Option<NodeId>,
    goes_at_ms: Option<u64>,
}

/// See the module.
pub(super) struct Growth {
    steps: VecDeque<Step>,
    current: Option<Current>,
    next_proposal_ms: u64,
    pub(super) phases: Vec<Phase>,
    /// What else somebody wants of the meta range.
    pub(super) wish: Option<Proposal>,
}

impl Growth {
    /// What is being done.
    #[cfg(test)]
    pub(super) fn step(&self) -> Option<Step> {
        self.current.as_ref().map(|current| current.step)
    }
}

fn address_of(node: NodeId) -> String {
    format!("{node}:6379")
}

fn zone_of(_: NodeId) -> String {
    "here".into()
}

impl Simulation {
    /// Founds a cluster that the meta range describes.
    pub(super) fn found_to_grow(&mut self) {
        let map = self.first_map();
        let ranges: Vec<RangeId> = self
            .clients
            .workload
            .keys()
            .ranges()
            .chain([META])
            .collect();
        for range in ranges {
            let (target, quorum) = map.wanted(range);
            let n = usize::from(quorum.replicas());
            let founding = match target.len() >= n {
                true => Configuration::founding(&target[..n], quorum),
                false => Configuration::founding(&target[..1], Quorum::ALONE),
            };
            for host in &mut self.hosts {
                if founding.is_voter(host.id) {
                    host.founding.push((range, founding.clone()));
                }
            }
        }
        for host in &mut self.hosts {
            host.founding_map = Some(map.clone());
            host.contacts = map.members.keys().copied().collect();
        }
        let joins = NODES_BEFORE.saturating_sub(self.hosts.len());
        let mut steps = VecDeque::from([Step::Settle]);
        steps.extend(std::iter::repeat_n(Step::Join, joins + 1));
        steps.push_back(Step::Drain);
        // Where all replicas elect, a range does not survive the loss of its master's disk.
        let quorum = self.world.setup.quorum;
        if quorum.elect() < quorum.replicas() {
            steps.push_back(Step::Replace);
        }
        self.growth = Some(Growth {
            steps,
            current: None,
            next_proposal_ms: 0,
            phases: Vec::new(),
            wish: None,
        });
    }

    fn first_map(&self) -> Map {
        let setup = &self.world.setup;
        let first = self.hosts[0].id;
        let mut map = Map::alone(first, address_of(first), zone_of(first), setup.quorum);
        let arcs = u16::try_from(self.clients.workload.keys().slots.len()).unwrap_or(u16::MAX);
        if let Ok(table) = Table::with_arcs(first, arcs) {
            map.table = table;
        }
        for host in &self.hosts[1..] {
            let join = Proposal::join(host.id, address_of(host.id), zone_of(host.id));
            // Nothing speaks against a node that joins for the first time.
            let _ = map.apply(&join);
        }
        map
    }

    /// Whether a step is yet to be done.
    pub(super) fn is_growing(&self) -> bool {
        let growth = self.growth.as_ref();
        growth.is_some_and(|growth| growth.current.is_some() || !growth.steps.is_empty())
    }

    /// The newest map that a node has learned.
    pub(super) fn newest_map(&self) -> Option<&Map> {
        let running = self.hosts.iter().filter_map(|host| host.running.as_ref());
        running
            .filter_map(|running| running.node.map())
            .max_by_key(|map| map.version)
    }

    /// In the end every range is to be where the map wants it.
    pub(super) fn aim_at_map(&mut self) {
        if self.growth.is_none() {
            return;
        }
        let Some(map) = self.newest_map().cloned() else {
            return;
        };
        let ranges: Vec<RangeId> = self
            .clients
            .workload
            .keys()
            .ranges()
            .chain([META])
            .collect();
        for range in ranges {
            let (mut voters, quorum) = map.wanted(range);
            voters.truncate(usize::from(quorum.replicas()));
            self.steward
                .targets
                .insert(range, Target { voters, quorum });
        }
    }

    /// Whether every range is where the newest map wants it, and nowhere else.
    pub(super) fn is_in_place(&self) -> Result<(), String> {
        let map = self.newest_map().ok_or("there is no map")?;
        for range in self.clients.workload.keys().ranges().chain([META]) {
            let (_, master) =
                master_of(&self.hosts, range).ok_or_else(|| self.why_no_master(range))?;
            let (target, quorum) = map.wanted(range);
            let configuration = master.configuration();
            if !mover::is_in_place(configuration, &target, quorum) {
                return Err(format!(
                    "range {range} has {configuration:?} and not {target:?}"
                ));
            }
            let is_orphan = |host: &&Host| {
                let running = host.running.as_ref();
                let holds = running.is_some_and(|running| running.node.range(range).is_some());
                holds && configuration.member(host.id).is_none()
            };
            if let Some(host) = self.hosts.iter().find(is_orphan) {
                return Err(format!("range {range} still has a copy on {}", host.id));
            }
        }
        Ok(())
    }

    fn why_no_master(&self, range: RangeId) -> String {
        let mut why = format!("range {range} has no master:");
        for host in &self.hosts {
            let copy = host
                .running
                .as_ref()
                .map(|running| running.node.range(range));
            let said = match copy {
                None => " does not run".to_owned(),
                Some(None) => continue,
                Some(Some(copy)) => format!(
                    " {:?} has {}, committed {}, {:?}, ended {}, configuration of {}: {:?}",
                    copy.me(),
                    copy.last(),
                    copy.commit(),
                    copy.state(),
                    copy.has_ended(),
                    copy.configured_at(),
                    copy.configuration()
                ),
            };
            why.push_str(&format!(" {}{said};", host.id));
        }
        why
    }

    /// Looks how far the present step is, and begins the next.
    pub(super) fn grow(&mut self) {
        self.world.after(EVERY_US, Event::Steward);
        let Some(map) = self.newest_map().cloned() else {
            return;
        };
        let Some(mut growth) = self.growth.take() else {
            return;
        };
        self.propose_wish(&mut growth);
        match growth.current.take() {
            // A node that dies must be the only one that its ranges miss.
            None if growth.steps.front() == Some(&Step::Replace)
                && !self.steward.is_whole(&self.hosts) => {}
            None => {
                growth.current = growth
                    .steps
                    .pop_front()
                    .map(|step| self.begin_step(step, &map));
                growth.next_proposal_ms = 0;
            }
            Some(mut current) => {
                self.propose(&mut growth, &current, &map);
                if self.is_done(&mut current, &map) {
                    growth.phases.extend(self.phase(&current, &map));
                } else if self.world.now_ms() > current.since_ms + PHASE_MOST_MS {
                    let why = self.is_in_place();
                    let what = format!("{:?} has not come about: {why:?}", current.step);
                    self.world.invariants.violate(what);
                    growth.steps.clear();
                } else {
                    growth.current = Some(current);
                }
            }
        }
        self.growth = Some(growth);
    }

    fn counts(&self) -> [u64; 4] {
        let (world, clients) = (&self.world, &self.clients);
        [
            world.begun,
            world.moved_bytes,
            clients.failed,
            clients.redirected,
        ]
    }

    fn begin_step(&mut self, step: Step, map: &Map) -> Current {
        let (since_ms, counts) = (self.world.now_ms(), self.counts());
        let second = |nth: usize| map.members.keys().copied().nth(nth);
        let (joins, goes) = match step {
            Step::Settle => (false, None),
            Step::Join => (true, None),
            Step::Drain => (false, second(1)),
            Step::Replace => (true, second(2)),
        };
        if step == Step::Replace
            && let Some(&place) = goes.and_then(|node| self.world.places.get(&node))
        {
            self.steward.dead.extend(goes);
            self.retire(place);
            // What is yet to fail on the others' disks would be one failure too many.
            (0..self.hosts.len()).for_each(|place| self.mend_disk(place));
        }
        Current {
            step,
            since_ms,
            table: map.table.clone(),
            nodes: map.members.len(),
            counts,
            joins: joins.then(|| self.start_machine(map)),
            goes,
            goes_at_ms: None,
        }
    }

    fn start_machine(&mut self, map: &Map) -> usize {
        let (place, id) = (self.hosts.len(), NodeId(self.steward.next_node));
        self.steward.next_node += 1;
        let mut host = Host::new(place, id, &mut self.world);
        let there = |node: &&NodeId| self.world.places.contains_key(node);
        host.contacts = map.members.keys().filter(there).take(1).copied().collect();
        self.hosts.push(host);
        self.boot(place);
        place
    }

    /// A machine goes for good.
    fn retire(&mut self, place: usize) {
        self.clients.disconnect(place, &mut self.world);
        let host = &mut self.hosts[place];
        host.crash(CrashMode::PowerLoss, &mut self.world);
        host.is_retired = true;
        let id = host.id;
        self.world.places.remove(&id);
    }

    fn propose_wish(&mut self, growth: &mut Growth) {
        if let Some(wish) = growth.wish.take()
            && !self.propose_anywhere(&wish)
        {
            growth.wish = Some(wish);
        }
    }

    /// Proposes what the present step wants of the meta range.
    fn propose(&mut self, growth: &mut Growth, current: &Current, map: &Map) {
        let now_ms = self.world.now_ms();
        if now_ms < growth.next_proposal_ms {
            return;
        }
        growth.next_proposal_ms = now_ms + PROPOSE_EVERY_MS;
        if let Some(place) = current.joins {
            let id = self.hosts[place].id;
            let join = Proposal::join(id, address_of(id), zone_of(id));
            let knows = |host: &Host| {
                host.running
                    .as_ref()
                    .is_some_and(|running| running.node.map().is_some())
            };
            if !map.members.contains_key(&id) && knows(&self.hosts[place]) {
                self.propose_at(place, &join);
            }
        }
        let Some(goes) = current.goes.filter(|node| map.members.contains_key(node)) else {
            return;
        };
        let proposal = match current.step {
            Step::Drain if !map.is_draining(goes) => Proposal::Drain(goes),
            Step::Drain if self.is_in_place().is_err() || self.holds_something(goes) => return,
            _ => Proposal::Remove(goes),
        };
        self.propose_anywhere(&proposal);
    }

    fn holds_something(&self, node: NodeId) -> bool {
        let place = self.world.places.get(&node);
        let running = place.and_then(|&place| self.hosts[place].running.as_ref());
        running.is_none_or(|running| running.node.ranges().next().is_some())
    }

    /// Asks some node that runs; it sends the proposal on to whoever holds the meta range.
    pub(super) fn propose_anywhere(&mut self, proposal: &Proposal) -> bool {
        let able: Vec<usize> = (self.hosts.iter())
            .filter(|host| host.running.is_some() && host.paused.is_none())
            .map(|host| host.place)
            .collect();
        if able.is_empty() {
            return false;
        }
        let place = able[self.world.random.index(able.len())];
        self.propose_at(place, proposal);
        true
    }

    fn propose_at(&mut self, place: usize, proposal: &Proposal) {
        let host = &mut self.hosts[place];
        let request = host.own_request();
        let payload = encode_proposal(proposal);
        let write = NodeInput::Write {
            request,
            range: META,
            payload,
            at_least: 0,
        };
        host.hear(write, &self.world);
    }

    fn is_done(&mut self, current: &mut Current, map: &Map) -> bool {
        let now_ms = self.world.now_ms();
        let has_joined = current
            .joins
            .is_none_or(|place| map.members.contains_key(&self.hosts[place].id));
        let has_gone = current
            .goes
            .is_none_or(|node| !map.members.contains_key(&node));
        if !has_joined || !has_gone || self.is_in_place().is_err() {
            return false;
        }
        match current.step {
            Step::Settle => now_ms >= SETTLE_MS,
            Step::Join => true,
            Step::Replace => {
                self.steward.dead.clear();
                true
            }
            Step::Drain => {
                let Some(&place) = current.goes.and_then(|node| self.world.places.get(&node))
                else {
                    return true;
                };
                self.hosts[place].is_leaving = true;
                let goes_at_ms = *current.goes_at_ms.get_or_insert(now_ms + FAREWELL_MS);
                let goes = now_ms >= goes_at_ms;
                if goes {
                    self.retire(place);
                }
                goes
            }
        }
    }

    fn phase(&self, current: &Current, map: &Map) -> Option<Phase> {
        let (before, after) = (current.nodes, map.members.len());
        let name = match current.step {
            Step::Settle => return None,
            Step::Join => format!("join: {before} to {after} nodes"),
            Step::Drain => format!("drain: {before} to {after} nodes"),
            Step::Replace => "replace a dead node".to_owned(),
        };
        let copies = current.table.rows().map(<[NodeId]>::len).sum::<usize>();
        let moved = moves(&current.table, &map.table).added.len();
        let [begun, bytes, failed, redirected] =
            std::array::from_fn(|at| self.counts()[at] - current.counts[at]);
        let ended_ms = current
            .goes_at_ms
            .map_or(self.world.now_ms(), |at_ms| at_ms - FAREWELL_MS);
        Some(Phase {
            name,
            copies: copies as u64,
            moved: moved as u64,
            share: moved as f64 / copies.max(1) as f64,
            naive_share: naive_share(current.table.arcs(), current.table.copies(), before, after),
            begun,
            seconds: (ended_ms - current.since_ms) as f64 / 1000.0,
            bytes,
            failed,
            redirected,
            failures: self
                .clients
                .failures
                .iter()
                .skip(current.counts[2] as usize)
                .take(FAILURES_MOST)
                .cloned()
                .collect(),
        })
    }
}

/// The share of copies that move when each arc's copies lie on the nodes from its hash modulo their number on.
fn naive_share(arcs: u16, copies: usize, before: usize, after: usize) -> f64 {
    let holders = |arc: u16, nodes: usize| {
        let hash = usize::from(arc) * 7919;
        (0..copies.min(nodes)).map(move |copy| (hash + copy) % nodes)
    };
    let moved = |arc: u16| {
        holders(arc, after)
            .filter(|node| !holders(arc, before).any(|old| old == *node))
            .count()
    };
    let total = usize::from(arcs) * copies;
    (0..arcs).map(moved).sum::<usize>() as f64 / total.max(1) as f64
}
