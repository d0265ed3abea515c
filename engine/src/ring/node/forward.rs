//! Clients' requests that belong to another node (rule 6).
//!
//! A request is sent on to the master, and sent again only when it surely was not appended. If no answer
//! comes, its outcome is unknown. It travels under a number of its own, by which the master knows one that
//! arrives twice, and by which an answer to a request of an earlier life finds nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::packet::{Forwarded, Said};
use super::{Node, NodeEffect, Others};
use crate::ring::effect::{Input, Now, Outcome, ReadLevel, Refusal};
use crate::ring::ids::{NodeId, RangeId, RequestId};

/// How long a forwarded request may take before its outcome is called unknown.
const PATIENCE_MS: u64 = 5_000;

/// The same, where the node that was asked is not heard any more.
const PATIENCE_WITH_SILENCE_MS: u64 = 2_000;

/// Requests of this bit came from another node.
const FOREIGN: RequestId = 1 << 63;

/// Requests on their way, in both directions.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// Clients' requests that were sent on, by the number they travel under.
    sent: BTreeMap<RequestId, Sent>,
    /// The number that the next one travels under.
    next_sent: RequestId,
    /// How far apart these numbers are.
    stride: RequestId,
    /// By node, the numbers of what it has lately sent here.
    heard: BTreeMap<NodeId, Heard>,
    /// Other nodes' requests that are carried out here, by the number they have here.
    foreign: BTreeMap<RequestId, (NodeId, RequestId)>,
    next: RequestId,
}

/// A client's request on its way.
#[derive(Debug)]
struct Sent {
    request: RequestId,
    range: RangeId,
    payload: Bytes,
    at_least: u8,
    since_ms: u64,
    /// Who was asked.
    asked: Vec<NodeId>,
}

/// Nodes that are asked, one after the other, at most.
const ASKED_MOST: usize = 6;

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
            stride: 1,
            ..Self::default()
        }
    }

    /// From now on numbers are `place` modulo `of`.
    pub(super) fn share_numbers(&mut self, place: u64, of: u64) {
        self.next_sent = self.next_sent - self.next_sent % of + place;
        self.stride = of;
    }

    pub(super) fn expire(&mut self, now: Now, others: &Others, out: &mut Vec<NodeEffect>) {
        let late = self.sent.extract_if(.., |_, sent| {
            let is_silent = sent
                .asked
                .last()
                .is_some_and(|node| others.silent.contains(node));
            let patience_ms = if is_silent {
                PATIENCE_WITH_SILENCE_MS
            } else {
                PATIENCE_MS
            };
            sent.since_ms + patience_ms <= now.monotonic_ms
        });
        for (_, Sent { request, .. }) in late {
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
        if self.master_of(range) == Some(self.id) {
            let input = Input::Propose {
                request,
                payload,
                at_least,
            };
            return self.step_range(now, range, input, out);
        }
        let sent = Sent {
            request,
            range,
            payload,
            at_least,
            since_ms: now.monotonic_ms,
            asked: Vec::new(),
        };
        let master = self
            .master_of(range)
            .or_else(|| self.others.masters.get(&range).copied());
        self.send_on(sent, master, out);
    }

    /// Asks the master, if it is known, or else whoever holds the range by the map, each of them once. Nobody who
    /// is silent: what would be answered is that the outcome is unknown.
    fn send_on(&mut self, mut sent: Sent, master: Option<NodeId>, out: &mut Vec<NodeEffect>) {
        let is_new = |node: &NodeId| {
            *node != self.id && !sent.asked.contains(node) && !self.others.silent.contains(node)
        };
        let holders = self.holders_elsewhere(sent.range);
        let next = master
            .into_iter()
            .chain(holders)
            .find(is_new)
            .filter(|_| sent.asked.len() < ASKED_MOST);
        let Some(next) = next else {
            let (request, outcome) = (sent.request, Outcome::NotMaster(None));
            return out.push(NodeEffect::Reply { request, outcome });
        };
        let number = self.forwards.next_sent;
        self.forwards.next_sent += self.forwards.stride;
        let forwarded = Forwarded {
            request: number,
            range: sent.range,
            payload: sent.payload.clone(),
            at_least: sent.at_least,
        };
        self.packets.add(next, Said::Asked(forwarded));
        sent.asked.push(next);
        self.forwards.sent.insert(number, sent);
    }

    /// What became of a request that was sent on. It goes to another node only if it was surely not appended.
    pub(super) fn take_answer(
        &mut self,
        now: Now,
        number: RequestId,
        outcome: Outcome,
        out: &mut Vec<NodeEffect>,
    ) {
        let Some(sent) = self.forwards.sent.remove(&number) else {
            return;
        };
        match outcome {
            Outcome::NotMaster(Some(master)) if master == self.id => {
                // It has come home, perhaps.
                let Sent {
                    request,
                    range,
                    payload,
                    at_least,
                    ..
                } = sent;
                let input = Input::Propose {
                    request,
                    payload,
                    at_least,
                };
                if self.ranges.contains_key(&range) {
                    return self.step_range(now, range, input, out);
                }
                let outcome = Outcome::NotMaster(None);
                out.push(NodeEffect::Reply { request, outcome });
            }
            Outcome::NotMaster(master) => self.send_on(sent, master, out),
            Outcome::Refused(Refusal::Void) => self.send_on(sent, None, out),
            outcome => out.push(NodeEffect::Reply {
                request: sent.request,
                outcome,
            }),
        }
    }

    /// Who might know about a range that is not here.
    fn hint(&self, range: RangeId) -> Option<NodeId> {
        self.holders_elsewhere(range).first().copied()
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
            outcome: Outcome::NotMaster(self.hint(range)),
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
            let outcome = Outcome::NotMaster(self.hint(range));
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
