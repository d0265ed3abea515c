//! The master's side of a snapshot: one follower whose entries are no longer held, part by part (rule 8).

use bytes::Bytes;

use super::office::Pace;
use super::{Range, Role};
use crate::ring::effect::Effect;
use crate::ring::ids::{Index, LogId, NodeId};
use crate::ring::membership::Member;
use crate::ring::message::{Body, Chunk, SnapshotHead};
use crate::ring::trace::Event;

/// Heartbeats after which an unanswered part is sent again.
const REPEAT_EVERY: u32 = 5;

/// Heartbeats after which a follower that answers nothing is given up on; it starts over.
const PATIENCE: u32 = 200;

/// A snapshot on its way to a follower.
pub(super) struct Outgoing {
    pub id: u64,
    /// Entries behind this are kept for it.
    from: Index,
    head: Option<SnapshotHead>,
    /// The part that the follower wants.
    number: u64,
    /// That part, once it has been read.
    part: Option<(Bytes, bool)>,
    /// Heartbeats since something moved.
    idle: u32,
}

impl Outgoing {
    /// Whether a follower that has stored so much needs it no more.
    pub(super) fn is_behind(&self, stored: Index) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| head.at.index <= stored)
    }
}

impl Range {
    pub(super) fn begin_snapshot(&mut self, node: NodeId) {
        let id = self.random.next();
        let from = self.applied.index;
        let Some(follower) = self.follower_mut(node) else {
            return;
        };
        follower.inflight.clear();
        follower.pace = Pace::Snapshot(Box::new(Outgoing {
            id,
            from,
            head: None,
            number: 0,
            part: None,
            idle: 0,
        }));
        self.out.push(Effect::SnapshotOpen { id });
    }

    /// The first index that running snapshots need held.
    pub(super) fn snapshot_needs_from(&self) -> Option<Index> {
        let Role::Master(office) = &self.role else {
            return None;
        };
        let outgoing = office
            .followers
            .values()
            .filter_map(|follower| match &follower.pace {
                Pace::Snapshot(outgoing) => Some(outgoing.from + 1),
                _ => None,
            });
        outgoing.min()
    }

    fn outgoing(&mut self, id: u64) -> Option<(Member, &mut Outgoing)> {
        let Role::Master(office) = &mut self.role else {
            return None;
        };
        office
            .followers
            .values_mut()
            .find_map(|follower| match &mut follower.pace {
                Pace::Snapshot(outgoing) if outgoing.id == id => {
                    Some((follower.member, &mut **outgoing))
                }
                _ => None,
            })
    }

    pub(super) fn snapshot_opened(&mut self, id: u64, at: LogId, time_ms: u64) {
        let (configured_at, configuration) = self.log.configuration_at(at.index).clone();
        let Some((member, outgoing)) = self.outgoing(id) else {
            return self.out.push(Effect::SnapshotClose { id });
        };
        outgoing.from = at.index;
        outgoing.head = Some(SnapshotHead {
            id,
            at,
            time_ms,
            configuration,
            configured_at,
        });
        self.out.push(Effect::SnapshotRead { id, number: 0 });
        let to = member.node;
        self.trace(|| Event::SnapshotStarted { to, at });
    }

    pub(super) fn snapshot_read(&mut self, id: u64, number: u64, bytes: Bytes, last: bool) {
        let Some((_, outgoing)) = self.outgoing(id) else {
            return;
        };
        if outgoing.number == number {
            outgoing.part = Some((bytes, last));
            self.send_part(id);
        }
    }

    fn send_part(&mut self, id: u64) {
        let terms = self.log.terms().to_vec();
        let Some((member, outgoing)) = self.outgoing(id) else {
            return;
        };
        let (Some(head), Some((bytes, last))) = (&outgoing.head, &outgoing.part) else {
            return;
        };
        let chunk = Chunk {
            head: head.clone(),
            number: outgoing.number,
            last: *last,
            bytes: bytes.clone(),
            terms,
        };
        self.send(member, Body::Chunk(Box::new(chunk)));
    }

    pub(super) fn take_chunk_stored(&mut self, from: Member, id: u64, next: u64) {
        let now_ms = self.now.monotonic_ms;
        if let Some(follower) = self.follower_mut(from.node) {
            follower.heard_ms = Some(now_ms);
        }
        let Some((member, outgoing)) = self.outgoing(id) else {
            return;
        };
        if member != from || next == outgoing.number {
            return;
        }
        outgoing.number = next;
        outgoing.part = None;
        outgoing.idle = 0;
        self.out.push(Effect::SnapshotRead { id, number: next });
    }

    /// Sends again what may have been lost; gives up on those that are gone.
    pub(super) fn drive_snapshots(&mut self) {
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let mut repeat = Vec::new();
        for follower in office.followers.values_mut() {
            let Pace::Snapshot(outgoing) = &mut follower.pace else {
                continue;
            };
            if outgoing.part.is_none() {
                // It is this node that takes its time.
                continue;
            }
            outgoing.idle += 1;
            if outgoing.idle >= PATIENCE {
                self.out.push(Effect::SnapshotClose { id: outgoing.id });
                follower.pace = Pace::Probe { sent: false };
            } else if outgoing.idle.is_multiple_of(REPEAT_EVERY) {
                repeat.push(outgoing.id);
            }
        }
        for id in repeat {
            self.send_part(id);
        }
    }
}
