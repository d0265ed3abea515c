//! Clients' requests that belong to another node (rule 6).
//!
//! A request is sent on to the master, and sent again only when it surely was not appended. If no answer
//! comes, its outcome is unknown. It travels under a number of its own, by which the master knows one that
//! arrives twice, and by which an answer to a request of an earlier life finds nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::packet::{Forwarded, Said};
use super::{Node, NodeEffect};
use crate::ring::effect::{Input, Now, Outcome, ReadLevel};
use crate::ring::ids::{NodeId, RangeId, RequestId};

/// How long a forwarded request may take before its outcome is called unknown.
const PATIENCE_MS: u64 = 5_000;

/// Requests of this bit came from another node.
const FOREIGN: RequestId = 1 << 63;

/// Requests on their way, in both directions.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// Clients' requests that were sent on, by the number they travel under, and when.
    sent: BTreeMap<RequestId, (RequestId, u64)>,
    /// The number that the next one travels under.
    next_sent: RequestId,
    /// By node, the numbers of what it has lately sent here.
    heard: BTreeMap<NodeId, Heard>,
    /// Other nodes' requests that are carried out here, by the number they have here.
    foreign: BTreeMap<RequestId, (NodeId, RequestId)>,
    next: RequestId,
}

/// Numbers that are remembered of each node.
const HEARD_MOST: usize = 4096;

/// What one node has sent.
#[derive(Debug, Default)]
struct Heard {
    numbers: BTreeSet<RequestId>,
    in_order: VecDeque<RequestId>,
}

impl Heard {
    /// Whether this number is heard for the first time.
    fn is_first(&mut self, number: RequestId) -> bool {
        let first = self.numbers.insert(number);
        if first {
            self.in_order.push_back(number);
            if self.in_order.len() > HEARD_MOST
                && let Some(oldest) = self.in_order.pop_front()
            {
                self.numbers.remove(&oldest);
            }
        }
        first
    }
}

impl Forwards {
    /// `salt` sets this life's numbers apart from those of others.
    pub(super) fn new(salt: u64) -> Self {
        Self {
            next_sent: salt >> 2,
            ..Self::default()
        }
    }

    pub(super) fn answered(
        &mut self,
        number: RequestId,
        outcome: Outcome,
        out: &mut Vec<NodeEffect>,
    ) {
        if let Some((request, _)) = self.sent.remove(&number) {
            out.push(NodeEffect::Reply { request, outcome });
        }
    }

    pub(super) fn expire(&mut self, now: Now, out: &mut Vec<NodeEffect>) {
        let late = self.sent.extract_if(.., |_, (_, since_ms)| {
            *since_ms + PATIENCE_MS <= now.monotonic_ms
        });
        for (_, (request, _)) in late {
            let outcome = Outcome::Unknown;
            out.push(NodeEffect::Reply { request, outcome });
        }
    }
}

impl Node {
    pub(super) fn write(
        &mut self,
        now: Now,
        request: RequestId,
        range: RangeId,
        payload: Bytes,
        at_least: u8,
        out: &mut Vec<NodeEffect>,
    ) {
        let replica = self.ranges.get(&range);
        let master = replica.and_then(|replica| replica.master());
        match master {
            Some(master) if master != self.id => {
                let number = self.forwards.next_sent;
                self.forwards.next_sent += 1;
                let since = (request, now.monotonic_ms);
                self.forwards.sent.insert(number, since);
                let forwarded = Forwarded {
                    request: number,
                    range,
                    payload,
                    at_least,
                };
                self.packets.add(master, Said::Asked(forwarded));
            }
            Some(_) => {
                let input = Input::Propose {
                    request,
                    payload,
                    at_least,
                };
                self.step_range(now, range, input, out);
            }
            None => out.push(NodeEffect::Reply {
                request,
                outcome: Outcome::NotMaster(None),
            }),
        }
    }

    pub(super) fn read(
        &mut self,
        now: Now,
        request: RequestId,
        range: RangeId,
        level: ReadLevel,
        out: &mut Vec<NodeEffect>,
    ) {
        if self.ranges.contains_key(&range) {
            return self.step_range(now, range, Input::Read { request, level }, out);
        }
        out.push(NodeEffect::Reply {
            request,
            outcome: Outcome::NotMaster(None),
        });
    }

    pub(super) fn take_forwarded(
        &mut self,
        now: Now,
        from: NodeId,
        asked: Forwarded,
        out: &mut Vec<NodeEffect>,
    ) {
        let Forwarded {
            request,
            range,
            payload,
            at_least,
        } = asked;
        if !self
            .forwards
            .heard
            .entry(from)
            .or_default()
            .is_first(request)
        {
            return;
        }
        if !self.ranges.contains_key(&range) {
            let outcome = Outcome::NotMaster(None);
            return self.packets.add(from, Said::Answered { request, outcome });
        }
        let here = FOREIGN | self.forwards.next;
        self.forwards.next += 1;
        self.forwards.foreign.insert(here, (from, request));
        let input = Input::Propose {
            request: here,
            payload,
            at_least,
        };
        self.step_range(now, range, input, out);
    }

    /// Tells a client of this node, or the node that asked for one of its own.
    pub(super) fn answer(
        &mut self,
        request: RequestId,
        outcome: Outcome,
        out: &mut Vec<NodeEffect>,
    ) {
        match self.forwards.foreign.remove(&request) {
            Some((node, request)) => self.packets.add(node, Said::Answered { request, outcome }),
            None => out.push(NodeEffect::Reply { request, outcome }),
        }
    }

    /// The master of a range, as far as this node knows.
    pub fn master_of(&self, range: RangeId) -> Option<NodeId> {
        self.ranges.get(&range)?.master()
    }
}
