//! Who looks after members: the part of meta, played with a view of everything. It steers, one step at a time,
//! towards the copies that each range is to have; the ranges decide.

use std::collections::BTreeMap;

use super::host::Host;
use super::world::{Event, World};
use crate::ring::effect::{Change, Input};
use crate::ring::membership::Member;
use crate::ring::meta::mover::{is_in_place, next_change};
use crate::ring::node::{NodeInput, Packet, Said};
use crate::ring::range::Range;
use crate::ring::{NodeId, Quorum, RangeId};

/// How often it looks around.
const EVERY_US: u64 = 250_000;
/// Looks around after which an operator looks into why a range has no master.
const PATIENCE: u32 = 10;

/// What a range is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The preferred master first.
    pub(super) voters: Vec<NodeId>,
    pub(super) quorum: Quorum,
}

/// See the module.
pub(super) struct Steward {
    pub(super) targets: BTreeMap<RangeId, Target>,
    /// Nodes whose disks are lost, until no range counts on them.
    pub(super) dead: Vec<NodeId>,
    /// A machine whose disk has rotted.
    pub(super) rotten: Option<usize>,
    pub(super) next_node: u64,
    /// For how many looks around a range has had no master.
    pub(super) leaderless: BTreeMap<RangeId, u32>,
}

/// The copy that holds office in the latest term, and its machine.
pub(super) fn master_of(hosts: &[Host], range: RangeId) -> Option<(usize, &Range)> {
    let copies = hosts
        .iter()
        .filter(|host| host.paused.is_none())
        .filter_map(|host| {
            let running = host.running.as_ref()?;
            Some((host.place, running.node.range(range)?))
        });
    copies
        .filter(|(_, copy)| copy.is_master())
        .max_by_key(|(_, copy)| copy.term())
}

impl Steward {
    pub(super) fn look_around(&mut self, hosts: &mut [Host], world: &mut World) {
        world.after(EVERY_US, Event::Steward);
        let mut still_counted = Vec::new();
        for (&range, target) in &self.targets {
            let Some((place, master)) = master_of(hosts, range) else {
                still_counted.clone_from(&self.dead);
                let looks = self.leaderless.entry(range).or_default();
                *looks += 1;
                if *looks >= PATIENCE && !world.setup.promises() {
                    recover(hosts, range, world);
                }
                continue;
            };
            self.leaderless.remove(&range);
            let members = master.configuration().members();
            still_counted.extend(members.iter().map(|member| member.node));
            if let Some(change) = step(master, target) {
                let request = hosts[place].own_request();
                let input = NodeInput::Range(range, Input::Change { request, change });
                hosts[place].step(input, world);
            }
        }
        self.dead.retain(|node| still_counted.contains(node));
        for (&range, target) in &self.targets {
            knock(hosts, range, target, world);
        }
    }

    /// Whether nothing that a promise rests on is away at present.
    pub(super) fn is_whole(&self, hosts: &[Host]) -> bool {
        self.dead.is_empty()
            && self.rotten.is_none()
            && hosts.iter().filter(|host| !host.is_retired).all(is_sound)
    }

    /// Whether a range is as it is to be, everywhere.
    pub(super) fn has_settled(&self, hosts: &[Host], range: RangeId) -> Result<(), String> {
        let Some(target) = self.targets.get(&range) else {
            return Ok(());
        };
        let Some((_, master)) = master_of(hosts, range) else {
            return Err(format!(
                "range {range} has no master; {}",
                copies(hosts, range)
            ));
        };
        if !is_in_place(master.configuration(), &target.voters, target.quorum) {
            return Err(format!(
                "range {range} has {:?} and not {target:?}",
                master.configuration()
            ));
        }
        if master.commit() < master.last().index || master.commit() < master.configured_at() {
            return Err(format!("range {range} has not committed everything"));
        }
        for host in hosts {
            let copy = host
                .running
                .as_ref()
                .and_then(|running| running.node.range(range));
            let member = master.configuration().member(host.id);
            match (copy, member) {
                (None, None) => {}
                (Some(copy), Some(member)) if copy.me() == member => {
                    let state = copy.state();
                    if copy.applied() != master.applied()
                        || state.void
                        || state.amnesiac
                        || copy.has_ended()
                    {
                        return Err(format!(
                            "range {range}: {} has applied {} and is {state:?}, the master {} {}",
                            host.id,
                            copy.applied(),
                            master.me().node,
                            master.applied()
                        ));
                    }
                }
                (copy, member) => {
                    let me = copy.map(Range::me);
                    return Err(format!(
                        "range {range}: {} holds {me:?} and should hold {member:?}",
                        host.id
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Asks for copies that know nobody whether they are still wanted: a learner that was told nothing before its node
/// started again. Where there is a map a node asks by itself, those whom the map names.
fn knock(hosts: &mut [Host], range: RangeId, target: &Target, world: &World) {
    let running = |host: &&Host| host.paused.is_none();
    let copies = hosts.iter().filter(running).filter_map(|host| {
        let copy = host.running.as_ref()?.node.range(range)?;
        let knows_nobody = copy.master().is_none() && copy.configuration().members().is_empty();
        knows_nobody.then(|| copy.me())
    });
    for copy in copies.collect::<Vec<_>>() {
        let voters = target.voters.iter().filter(|&&voter| voter != copy.node);
        for &voter in voters {
            let Some(&place) = world.places.get(&voter) else {
                continue;
            };
            let knock = Packet {
                from: copy.node,
                to: voter,
                map_version: 0,
                said: vec![Said::Knock(range, copy)],
            };
            hosts[place].step(NodeInput::Packet(knock), world);
        }
    }
}

/// What an operator does about a range that cannot elect a master, a voter being gone for good: what is left of
/// it is made the whole. Of several copies it is the one that is most advanced.
fn recover(hosts: &mut [Host], range: RangeId, world: &World) {
    // A copy that is down or stands still may be the one to choose, or the whole range already.
    if hosts
        .iter()
        .any(|host| host.running.is_none() || host.paused.is_some())
    {
        return;
    }
    let held = hosts.iter().filter_map(|host| {
        let copy = host.running.as_ref()?.node.range(range)?;
        (!copy.has_ended()).then_some((host.place, copy))
    });
    let Some((place, copy)) = held.max_by_key(|(_, copy)| (!copy.state().void, copy.last())) else {
        return;
    };
    let is_gone = |voter: &Member| !world.places.contains_key(&voter.node);
    if copy.configuration().members().iter().any(is_gone) {
        let request = hosts[place].own_request();
        hosts[place].step(NodeInput::Range(range, Input::Recover { request }), world);
    }
}

/// What there is of a range, in words.
fn copies(hosts: &[Host], range: RangeId) -> String {
    let each = hosts.iter().filter_map(|host| {
        let copy = host.running.as_ref()?.node.range(range)?;
        let voters = &copy.configuration().voters.members;
        Some(format!(
            "{} of {voters:?} at {} is {:?}",
            host.id,
            copy.last(),
            copy.state()
        ))
    });
    each.collect::<Vec<_>>().join("; ")
}

fn is_sound(host: &Host) -> bool {
    if host.failing {
        return false;
    }
    let Some(running) = &host.running else {
        return false;
    };
    let forgets = |range: &Range| range.state().amnesiac || range.state().void || range.has_ended();
    !running.node.ranges().any(forgets)
}

/// The next change on the way from what a range is to what it is to be.
fn step(master: &Range, target: &Target) -> Option<Change> {
    let caught_up = |node| master.has_caught_up(node);
    next_change(
        master.configuration(),
        &target.voters,
        target.quorum,
        caught_up,
    )
}
