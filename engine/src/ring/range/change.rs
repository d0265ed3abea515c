//! Members and quorums change, one change at a time, through a joint configuration (rule 8).

use super::{Mutation, Range, Role};
use crate::ring::effect::{Change, Invalid, Outcome, Refusal};
use crate::ring::entry::Content;
use crate::ring::ids::{Index, LogId, NodeId, RequestId};
use crate::ring::membership::{Configuration, Member, Voters};
use crate::ring::message::Body;
use crate::ring::quorum::Quorum;

/// How often those who have left are told; whoever misses it all asks.
const TELL_TIMES: u32 = 5;

/// A master that is left out answers what is pending for so long, in election times. Others are to take over by then:
/// what is pending waits for a disk that is busy, or for replicas that are gone.
const LEAVING_PATIENCE: u64 = 5;

/// A learner may vote once it is within so many entries of the end.
const CAUGHT_UP_WITHIN: Index = 64;

impl Range {
    pub(super) fn change(&mut self, request: RequestId, change: Change) {
        match self.plan(change) {
            Err(outcome) => self.reply(request, outcome),
            Ok(None) => {
                let configuration = self.log.configuration().clone();
                self.reply(request, Outcome::Changed(configuration));
            }
            Ok(Some(next)) => {
                let at = self.append(Content::Configuration(next));
                if let Role::Master(office) = &mut self.role {
                    office.handover = None;
                    office.change = Some((at.index, request));
                }
            }
        }
    }

    /// The configuration to append for a change; none if all is as it should be.
    fn plan(&self, change: Change) -> Result<Option<Configuration>, Outcome> {
        let Role::Master(office) = &self.role else {
            return Err(Outcome::NotMaster(self.following.master()));
        };
        // A handover that still waits, perhaps for a write that a lost replica keeps from being acknowledged, gives
        // way: the change may be what replaces that replica.
        let hands_over = office.handover.as_ref().is_some_and(|to| to.asked);
        let busy = hands_over
            || self.is_read_only
            || self.log.configuration().is_joint()
            || self.log.configured_at() > self.secured()
            || self.commit < office.began_at;
        if busy {
            return Err(Outcome::Refused(Refusal::Changing));
        }
        let current = self.log.configuration();
        let next = match change {
            Change::Learners { add, remove } => self.with_learners(&add, &remove)?,
            Change::Voters { nodes, quorum } => self.with_voters(&nodes, quorum)?,
            Change::Semantics(semantics) => Configuration {
                semantics: semantics.max(current.semantics),
                ..current.clone()
            },
        };
        Ok((next != *current).then_some(next))
    }

    fn with_learners(&self, add: &[NodeId], remove: &[NodeId]) -> Result<Configuration, Outcome> {
        let mut next = self.log.configuration().clone();
        next.learners
            .retain(|learner| !remove.contains(&learner.node));
        for &node in add {
            if next.member(node).is_some() {
                continue;
            }
            next.learners.push(Member {
                node,
                incarnation: LogId {
                    term: self.state.term,
                    index: self.log.last().index + 1,
                },
            });
        }
        Ok(next)
    }

    fn with_voters(&self, nodes: &[NodeId], quorum: Quorum) -> Result<Configuration, Outcome> {
        let current = self.log.configuration();
        let invalid = |why| Err(Outcome::Refused(Refusal::Invalid(why)));
        if nodes.len() != usize::from(quorum.replicas()) {
            return invalid(Invalid::WrongNumberOfVoters);
        }
        let mut members = Vec::with_capacity(nodes.len());
        for &node in nodes {
            let Some(member) = current.member(node) else {
                return invalid(Invalid::NotALearner);
            };
            if members.contains(&member) {
                return invalid(Invalid::NamedTwice);
            }
            if !current.is_voter(node) && !self.has_caught_up(node) {
                return Err(Outcome::Refused(Refusal::Changing));
            }
            members.push(member);
        }
        let is_same = quorum == current.voters.quorum
            && members.len() == current.voters.members.len()
            && members
                .iter()
                .all(|member| current.voters.members.contains(member));
        let learners = current
            .learners
            .iter()
            .filter(|learner| !members.contains(learner));
        // Where only the order of preference changes, the same sets of members decide as before.
        let outgoing =
            (!is_same && !self.breaks(Mutation::ChangeAtOnce)).then(|| current.voters.clone());
        Ok(Configuration {
            learners: learners.copied().collect(),
            voters: Voters { members, quorum },
            outgoing,
            semantics: current.semantics,
        })
    }

    /// Whether a learner is close enough behind to vote without holding everybody up.
    pub fn has_caught_up(&self, node: NodeId) -> bool {
        self.follower(node).is_some_and(|follower| {
            let is_close = follower.stored + CAUGHT_UP_WITHIN >= self.log.last().index;
            let counts = follower.nonce.is_none() && !follower.is_read_only;
            is_close && counts && self.has_heard(follower)
        })
    }

    /// A copy that was to learn is gone: a configuration that was overwritten meanwhile had begun another on its
    /// node. It makes room; whoever wants a copy there adds one that is newer than both.
    pub(super) fn take_gone(&mut self, copy: Member) {
        if !self.log.configuration().learners.contains(&copy) {
            return;
        }
        let leave_out = Change::Learners {
            add: Vec::new(),
            remove: vec![copy.node],
        };
        if let Ok(Some(next)) = self.plan(leave_out) {
            self.append(Content::Configuration(next));
        }
    }

    /// The next step of a change, once the last one is committed. Whoever is the master takes it.
    pub(super) fn configuration_committed(&mut self) {
        let at = self.log.configured_at();
        if at > self.secured() || self.commit < self.began_at() {
            return;
        }
        let configuration = self.log.configuration().clone();
        if configuration.is_joint() {
            return self.leave_joint(&configuration);
        }
        let change = match &mut self.role {
            Role::Master(office) => office.change.take_if(|(index, _)| *index <= at),
            _ => return,
        };
        if let Some((_, request)) = change {
            self.reply(request, Outcome::Changed(configuration.clone()));
        }
        self.leave_when_done();
    }

    /// A master that a committed configuration leaves out goes once nobody waits for its answer any more.
    pub(super) fn leave_when_done(&mut self) {
        let configuration = self.log.configuration();
        let is_out = configuration.member(self.me.node) != Some(self.me);
        let is_committed = self.log.configured_at() <= self.secured();
        if !is_out || !is_committed || self.commit < self.began_at() {
            return;
        }
        let now_ms = self.now.monotonic_ms;
        let patience_ms = LEAVING_PATIENCE * self.options.election_ms;
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let since_ms = *office.out_since_ms.get_or_insert(now_ms);
        if office.writes.is_empty() || now_ms >= since_ms + patience_ms {
            let configuration = configuration.clone();
            self.leave_range(&configuration);
        }
    }

    /// Which configuration entry is in force, if it stays so: its index, in the term of what is secured. Whatever
    /// the log may still bring is greater. None is behind that of the founders, or a copy does not know it yet.
    pub(super) fn secured_configuration(&self) -> Option<LogId> {
        let (secured, index) = (self.secured(), self.log.configured_at());
        let term = self.log.term_at(secured)?;
        (index > 0 && index <= secured).then_some(LogId { term, index })
    }

    /// Nobody will be elected who does not have everything up to here. A follower knows it of what is
    /// committed, where writes survive.
    pub(super) fn secured(&self) -> Index {
        if self.log.configuration().writes_survive() {
            return self.commit;
        }
        let Role::Master(office) = &self.role else {
            return 0;
        };
        let own = self.own_stored();
        let stored = |member: Member| self.stored_by(office, member, own);
        self.log.configuration().secured(stored).min(self.commit)
    }

    fn began_at(&self) -> Index {
        match &self.role {
            Role::Master(office) => office.began_at,
            _ => Index::MAX,
        }
    }

    fn leave_joint(&mut self, joint: &Configuration) {
        let next = joint.left();
        let staying = next.members();
        let gone = joint
            .members()
            .into_iter()
            .filter(|member| !staying.contains(member));
        let me = self.me;
        let leaving: Vec<_> = gone
            .filter(|&member| member != me)
            .map(|member| (member, TELL_TIMES))
            .collect();
        let at = self.append(Content::Configuration(next));
        if let Role::Master(office) = &mut self.role {
            office.leaving = leaving;
            if let Some((index, _)) = &mut office.change {
                *index = at.index;
            }
        }
    }

    /// A master that is no longer a member lets another one take over, and goes.
    fn leave_range(&mut self, configuration: &Configuration) {
        let stored = |member: &&Member| {
            self.follower(member.node)
                .map_or(0, |follower| follower.stored)
        };
        let successor = configuration
            .voters
            .members
            .iter()
            .rev()
            .max_by_key(stored)
            .copied();
        self.tell_those_who_left();
        self.heartbeat();
        if let Some(successor) = successor {
            self.send(successor, Body::Handover);
        }
        self.destroy();
    }

    /// Tells members that a committed change has left out that their copies are not wanted any more.
    pub(super) fn tell_those_who_left(&mut self) {
        let Some(at) = self.secured_configuration() else {
            return;
        };
        if self.log.configuration().is_joint() {
            return;
        }
        let Role::Master(office) = &mut self.role else {
            return;
        };
        for (_, times) in &mut office.leaving {
            *times = times.saturating_sub(1);
        }
        let told: Vec<Member> = office.leaving.iter().map(|&(member, _)| member).collect();
        office.leaving.retain(|&(_, times)| times > 0);
        for member in told {
            self.send(member, Body::Removed { at });
        }
    }
}
