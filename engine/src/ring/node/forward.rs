//! Clients' requests that belong to another node (rule 6).
//!
//! A request is sent on to the master, and sent again only when it surely was not appended. If no answer
//! comes, its outcome is unknown.

use std::collections::BTreeMap;

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
    /// Clients' requests that were sent on, and when.
    sent: BTreeMap<RequestId, u64>,
    /// Other nodes' requests that are carried out here, by the number they have here.
    foreign: BTreeMap<RequestId, (NodeId, RequestId)>,
    next: RequestId,
}

impl Forwards {
    pub(super) fn answered(
        &mut self,
        request: RequestId,
        outcome: Outcome,
        out: &mut Vec<NodeEffect>,
    ) {
        if self.sent.remove(&request).is_some() {
            out.push(NodeEffect::Reply { request, outcome });
        }
    }

    pub(super) fn expire(&mut self, now: Now, out: &mut Vec<NodeEffect>) {
        let late = self.sent.extract_if(.., |_, since_ms| {
            *since_ms + PATIENCE_MS <= now.monotonic_ms
        });
        for (request, _) in late {
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
                self.forwards.sent.insert(request, now.monotonic_ms);
                let forwarded = Forwarded {
                    request,
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
