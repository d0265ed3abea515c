//! What the nodes of a ring have to say, gathered until the ring looks: packets, what has happened, what is done.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Paced;
use crate::command::Reply;
use crate::ring::driver::{Driver, Observer, Transport};
use crate::ring::meta::Map;
use crate::ring::node::Packet;
use crate::ring::trace::Event;
use crate::ring::{NodeId, RangeId};
use crate::sim::TestRuntime;
use crate::{ErrorKind, FaultyStorage, Result};

/// A node as servers have it, over a disk and a network that are simulated.
pub(super) type Node = Driver<Paced<FaultyStorage>, TestRuntime, Wire>;

/// Something that a process has to say.
pub(super) enum Said {
    Packet(Packet),
    Event(RangeId, Event),
    /// It has started, or could not.
    Started(Result<Node>),
    /// A client's request has an answer.
    Answered(u64, Reply),
    /// What became of a wish.
    Proposed(u64, std::result::Result<(), ErrorKind>),
}

/// Shared by all processes of a ring.
#[derive(Default)]
pub(super) struct Gathered {
    /// By whom, in which of its lives, and what.
    said: Mutex<Vec<(usize, u64, Said)>>,
    /// Nodes that can be connected to.
    up: Mutex<BTreeSet<NodeId>>,
}

impl Gathered {
    pub(super) fn take(&self) -> Vec<(usize, u64, Said)> {
        std::mem::take(&mut *self.said.lock())
    }

    pub(super) fn set_up(&self, node: NodeId, up: bool) {
        match up {
            true => self.up.lock().insert(node),
            false => self.up.lock().remove(&node),
        };
    }
}

/// One life of a machine's process, as it reaches the others.
#[derive(Clone)]
pub(super) struct Wire {
    gathered: Arc<Gathered>,
    place: usize,
    life: u64,
}

impl Wire {
    pub(super) fn new(gathered: &Arc<Gathered>, place: usize, life: u64) -> Self {
        Self {
            gathered: Arc::clone(gathered),
            place,
            life,
        }
    }

    pub(super) fn say(&self, said: Said) {
        let mut all = self.gathered.said.lock();
        all.push((self.place, self.life, said));
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "life {} of machine {}", self.life, self.place + 1)
    }
}

impl Transport for Wire {
    fn send(&self, packet: Packet) {
        self.say(Said::Packet(packet));
    }

    fn learn(&self, _map: &Map) {}

    /// A process that has ended takes no connections; one that is out of reach just does not answer.
    fn is_cut(&self, node: NodeId) -> bool {
        !self.gathered.up.lock().contains(&node)
    }
}

impl Observer for Wire {
    fn saw(&self, range: RangeId, event: Event) {
        self.say(Said::Event(range, event));
    }
}
