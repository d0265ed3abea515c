//! Copies that nobody looks after any more: their range has moved on while they were away, and those whom they
//! know may be gone too. The map says who holds the range now; they know whether the copy is still a member.

use super::packet::Said;
use super::{Node, NodeEffect};
use crate::ring::effect::{Input, Now};
use crate::ring::ids::{NodeId, RangeId};
use crate::ring::membership::Member;
use crate::ring::message::{Body, Message};

/// A map that does not list a copy is believed after so long.
const BELIEVED_AFTER_MS: u64 = 10_000;

/// How often an orphan knocks.
const KNOCK_EVERY_MS: u64 = 1_000;

impl Node {
    /// Asks on behalf of copies that hear of no master whether they are still wanted.
    pub(super) fn look_after_orphans(&mut self, now: Now) {
        let Some(map) = &self.steering.map else {
            return;
        };
        let learned_ms = *self.steering.learned_ms.get_or_insert(now.monotonic_ms);
        if now.monotonic_ms < self.steering.next_knock_ms {
            return;
        }
        self.steering.next_knock_ms = now.monotonic_ms + KNOCK_EVERY_MS;
        let is_old = now.monotonic_ms >= learned_ms + BELIEVED_AFTER_MS;
        for replica in self.ranges.values() {
            if replica.master().is_some() {
                continue;
            }
            let (holders, _) = map.wanted(replica.id());
            let knows_nobody = replica.configuration().members().is_empty();
            if !knows_nobody && (!is_old || holders.contains(&self.id)) {
                continue;
            }
            for holder in holders.into_iter().filter(|&holder| holder != self.id) {
                let knock = Said::Knock(replica.id(), replica.me());
                self.packets.add(holder, knock);
            }
        }
    }

    /// A copy elsewhere asks. It hears from the copy here if that knows it to be left out.
    pub(super) fn take_knock(
        &mut self,
        now: Now,
        range: RangeId,
        from: Member,
        out: &mut Vec<NodeEffect>,
    ) {
        let Some(replica) = self.ranges.get(&range) else {
            return;
        };
        let message = Message {
            range,
            from,
            to: replica.me(),
            term: 0,
            body: Body::Knock { passed_on: false },
        };
        self.step_range(now, range, Input::Message(message), out);
    }

    /// The nodes that hold a range by the map, other than this one.
    pub(super) fn holders_elsewhere(&self, range: RangeId) -> Vec<NodeId> {
        let holders = self.map().map_or(Vec::new(), |map| map.wanted(range).0);
        holders
            .into_iter()
            .filter(|&node| node != self.id)
            .collect()
    }
}
