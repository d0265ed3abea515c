//! Comparing the copies' states at one index (rule 13), and replacing the one that differs.
//!
//! The master appends an empty entry and tells the followers before they can have applied it. Everybody sums
//! up its state there; who was told too late says nothing. What more than half of them hold is right. Of two
//! copies that is the master's; where three or more are to hold the range, two that differ wait for a third.

use std::collections::BTreeMap;

use super::{Range, Role};
use crate::ring::entry::Content;
use crate::ring::ids::{Index, LogId, NodeId};
use crate::ring::membership::Member;
use crate::ring::message::Body;
use crate::ring::trace::Event;

/// Answers that have not come by then do not come any more, in election times.
const PATIENCE: u64 = 4;

/// What a copy has to do with being compared.
#[derive(Default)]
pub(super) struct Scrubs {
    /// The entry to sum up at, once it is applied.
    wanted: Option<LogId>,
    /// The entry that the sum under way is of.
    underway: Option<LogId>,
    /// The entry whose sum the master was told.
    told: Option<LogId>,
}

/// What the master has heard.
pub(super) struct Findings {
    at: Index,
    until_ms: u64,
    digests: BTreeMap<NodeId, u64>,
}

impl Range {
    pub(super) fn scrub(&mut self) {
        let commit = self.commit;
        let until_ms = self.now.monotonic_ms + PATIENCE * self.options.election_ms;
        match &self.role {
            Role::Master(office)
                if office.findings.is_none() && commit >= office.began_at && !self.is_read_only => {
            }
            _ => return,
        }
        if self.log.configuration().members().len() == 1 {
            // There is nothing to compare with.
            return;
        }
        let at = self.append(Content::Empty);
        self.scrubs.wanted = Some(at);
        for member in self.log.configuration().members() {
            if member != self.me {
                self.send(member, Body::Scrub { at: at.index });
            }
        }
        if let Role::Master(office) = &mut self.role {
            office.findings = Some(Findings {
                at: at.index,
                until_ms,
                digests: BTreeMap::new(),
            });
        }
    }

    pub(super) fn take_scrub(&mut self, at: Index) {
        if !self.is_master() && !self.state.void && at > self.applying {
            self.scrubs.wanted = Some(LogId {
                term: self.state.term,
                index: at,
            });
        }
    }

    /// The index to sum up at, if it is among what is handed out now, up to `upto`.
    pub(super) fn scrubs_at(&mut self, upto: Index) -> Option<Index> {
        let wanted = self.scrubs.wanted.take_if(|at| at.index <= upto)?;
        if self.log.id_at(wanted.index) != Some(wanted) {
            return None;
        }
        self.scrubs.underway = Some(wanted);
        Some(wanted.index)
    }

    pub(super) fn digested(&mut self, at: Index, digest: u64) {
        let term = self.state.term;
        let underway = self.scrubs.underway.take_if(|id| id.index == at);
        let Some(id) = underway.filter(|id| id.term == term && !self.state.void) else {
            return;
        };
        if self.is_master() {
            return self.note_digest(self.me.node, at, digest);
        }
        self.scrubs.told = Some(id);
        self.tell_master(Body::Digested { at, digest });
    }

    pub(super) fn take_digest(&mut self, from: Member, at: Index, digest: u64) {
        let follower = self.follower(from.node);
        if follower.is_some_and(|follower| follower.member == from) {
            self.note_digest(from.node, at, digest);
        }
    }

    fn note_digest(&mut self, node: NodeId, at: Index, digest: u64) {
        if let Role::Master(office) = &mut self.role
            && let Some(findings) = &mut office.findings
            && findings.at == at
        {
            findings.digests.insert(node, digest);
            self.judge_copies();
        }
    }

    /// Compares what has come in, once it is all there or has had its time.
    pub(super) fn judge_copies(&mut self) {
        let members = self.log.configuration().members();
        let now_ms = self.now.monotonic_ms;
        let me = self.me.node;
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let is_over = |findings: &mut Findings| {
            let is_in = |member: &Member| findings.digests.contains_key(&member.node);
            findings.until_ms <= now_ms || members.iter().all(is_in)
        };
        let Some(Findings { at, digests, .. }) = office.findings.take_if(is_over) else {
            return;
        };
        let Some(&own) = digests.get(&me) else {
            return;
        };
        let holders = |digest: u64| digests.values().filter(|&&other| other == digest).count();
        let is_held_by_most = |digest: &u64| 2 * holders(*digest) > digests.len();
        let most = digests.values().copied().find(is_held_by_most);
        let Some(right) = most.or((members.len() < 3).then_some(own)) else {
            return;
        };
        let differ = digests.iter().filter(|&(_, &digest)| digest != right);
        let differ: Vec<NodeId> = differ.map(|(&node, _)| node).collect();
        for node in differ {
            self.trace(|| Event::Mismatch { node, at });
            if node == me {
                self.give_way();
            } else if let Some(member) = self.follower(node).map(|follower| follower.member) {
                self.send(member, Body::Replace { at });
            }
        }
    }

    /// The master's own state is the one that differs: another one is to be the master, and to replace it.
    fn give_way(&mut self) {
        if self.log.configuration().writes_survive() {
            self.resign("its state differs from the others'");
            self.distrust();
        } else {
            // What only this copy has stored is yet to reach the others.
            self.hand_over(None);
        }
    }

    pub(super) fn take_replace(&mut self, at: Index) {
        let told = self.scrubs.told.take_if(|id| id.index == at);
        let is_of_term = told.is_some_and(|id| id.term == self.state.term);
        if is_of_term && !self.is_master() && !self.state.void {
            self.distrust();
        }
    }
}
