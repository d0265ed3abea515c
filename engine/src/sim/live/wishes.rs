//! Changes of the cluster that are yet to be made: each is proposed until somebody has taken it, and what follows from it
//! is looked after.

use super::events::Kind;
use super::machine::{Machine, State};
use super::ring::{Due, Ring};
use super::wire::Said;
use crate::ring::meta::{Map, Proposal};
use crate::{ErrorKind, Result, Runtime, Work};

/// How often somebody looks after wishes.
pub(super) const TEND_US: u64 = 100_000;
/// How long one node is given to have a wish fulfilled before another one is asked.
const WISH_US: u64 = 3_000_000;
/// Ranges of a cluster: the arcs, and meta.
const RANGES: usize = crate::slot::ARCS as usize + 1;

/// A change of the map that is yet to be made.
pub(super) struct Wish {
    serial: u64,
    proposal: Proposal,
    /// When it is proposed again.
    next_us: u64,
}

impl Ring {
    pub(super) fn wish(&mut self, proposal: Proposal) {
        // Of two that are about the same, the newer counts.
        let is_same = |wish: &Wish| match (&wish.proposal, &proposal) {
            (Proposal::Quorum(_), Proposal::Quorum(_)) => true,
            (one, other) => one == other,
        };
        self.wishes.retain(|wish| !is_same(wish));
        self.wished += 1;
        self.wishes.push(Wish {
            serial: self.wished,
            proposal,
            next_us: self.now_us,
        });
        self.tend_wishes();
    }

    /// Proposes what is due, somewhere.
    fn tend_wishes(&mut self) {
        let able: Vec<usize> = (self.machines.iter().enumerate())
            .filter(|(_, machine)| machine.node.is_some() && !machine.is_paused)
            .map(|(place, _)| place)
            .collect();
        if able.is_empty() {
            return;
        }
        let mut wishes = std::mem::take(&mut self.wishes);
        for wish in wishes.iter_mut().filter(|wish| wish.next_us <= self.now_us) {
            wish.next_us = self.now_us + WISH_US;
            let place = able[self.random.index(able.len())];
            let Some(node) = self.machines[place].node.clone() else {
                continue;
            };
            let (wire, serial, proposal) = (self.wire(place), wish.serial, wish.proposal.clone());
            self.machines[place].process.spawn(Work::Ring, async move {
                let proposed = node.propose(proposal).await;
                let outcome = proposed.map_err(|error| error.kind());
                wire.say(Said::Proposed(serial, outcome));
            });
        }
        self.wishes = wishes;
    }

    pub(super) fn take_proposed(&mut self, serial: u64, outcome: Result<(), ErrorKind>) {
        match outcome {
            Ok(()) => self.note(Kind::Done, 0),
            // Somebody else has seen to it, or it cannot be.
            Err(ErrorKind::Invalid) => self.note(Kind::Failed, 0),
            Err(_) => return,
        }
        self.wishes.retain(|wish| wish.serial != serial);
    }

    /// Looks after what takes its time.
    pub(super) fn tend(&mut self) {
        self.after(TEND_US, Due::Tend);
        self.tend_wishes();
        let draining = |machine: &&Machine| machine.is_draining && !machine.is_gone;
        if !self.machines.iter().any(|machine| draining(&machine)) {
            return;
        }
        let Some(map) = self.newest_map() else {
            return;
        };
        let is_whole = self.is_in_place();
        for place in 0..self.machines.len() {
            let machine = &self.machines[place];
            let Some(id) = machine.id.filter(|_| draining(&machine)) else {
                continue;
            };
            let is_empty = machine
                .node
                .as_ref()
                .is_none_or(|node| node.ranges().is_empty());
            if map.removed.contains(&id) {
                self.leave(place);
            } else if map.is_draining(id) && is_whole && is_empty {
                let remove = Proposal::Remove(id);
                if !self.wishes.iter().any(|wish| wish.proposal == remove) {
                    self.wish(remove);
                }
            }
        }
    }

    fn leave(&mut self, place: usize) {
        self.kill(place, false);
        let machine = &mut self.machines[place];
        machine.is_gone = true;
        let number = machine.number;
        self.note(Kind::Gone, number);
    }

    /// The newest map that a running node has heard of.
    pub(super) fn newest_map(&self) -> Option<Map> {
        let views = self
            .machines
            .iter()
            .filter_map(|machine| machine.node.as_ref());
        let views = views.map(|node| node.view());
        let newest = views.max_by_key(|view| view.map.as_ref().map_or(0, |map| map.version))?;
        newest.map.clone()
    }

    /// Whether every range has a master and is where the map wants it, as far as running nodes know.
    pub fn is_in_place(&self) -> bool {
        let nodes = self
            .machines
            .iter()
            .filter_map(|machine| machine.node.as_ref());
        let mut mastered = 0;
        for node in nodes {
            let progress = node.view().progress;
            if progress.in_place != progress.mastered {
                return false;
            }
            mastered += progress.mastered;
        }
        mastered == RANGES
    }

    /// Whether nothing is away: every machine runs, every wish has been fulfilled, and every range is in place.
    pub fn is_whole(&self) -> bool {
        let is_well = |machine: &Machine| {
            machine.is_gone || matches!(machine.state(), State::Running | State::Draining)
        };
        let members = self.members();
        let knows_all = self.newest_map().is_some_and(|map| {
            let active = map.members.keys().filter(|&&node| !map.is_draining(node));
            active.count() == members
        });
        self.machines.iter().all(is_well)
            && self.wishes.is_empty()
            && knows_all
            && self.is_in_place()
    }
}
