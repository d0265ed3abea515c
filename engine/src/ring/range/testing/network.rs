//! Messages in flight, and the links that are cut.

use std::collections::BTreeSet;

use crate::ring::ids::NodeId;
use crate::ring::message::Message;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::ring::range) struct Network {
    flying: Vec<Message>,
    /// Links that lose everything, by sender and receiver.
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    pub(super) fn send(&mut self, message: Message) {
        if self.is_open(&message) {
            self.flying.push(message);
        }
    }

    fn is_open(&self, message: &Message) -> bool {
        !self.cut.contains(&(message.from.node, message.to.node))
    }

    /// How many messages are in flight.
    pub(super) fn len(&self) -> usize {
        self.flying.len()
    }

    /// Takes a message out, or a copy of it; `None` if its link is cut.
    pub(super) fn take(&mut self, place: usize, copy: bool) -> Option<Message> {
        let message = if copy {
            self.flying[place].clone()
        } else {
            self.flying.remove(place)
        };
        self.is_open(&message).then_some(message)
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        let mut all = std::mem::take(&mut self.flying);
        all.retain(|message| self.is_open(message));
        all
    }

    /// Loses what `wanted` picks; how many those were.
    pub(super) fn lose(&mut self, wanted: impl Fn(&Message) -> bool) -> usize {
        let before = self.flying.len();
        self.flying.retain(|message| !wanted(message));
        before - self.flying.len()
    }

    /// Copies of what `wanted` picks.
    pub(super) fn copies(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        self.flying.iter().filter(|m| wanted(m)).cloned().collect()
    }

    /// Cuts the link from one node to another.
    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
        self.flying
            .retain(|message| (message.from.node, message.to.node) != (from, to));
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }
}
