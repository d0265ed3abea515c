//! What a master keeps while it holds office, and how it leaves (rules 6, 7).

use std::collections::{BTreeMap, VecDeque};

use super::clock::LogClock;
use super::reads::Rounds;
use super::scrub::Findings;
use super::snapshots::Outgoing;
use super::writes::Writes;
use super::{Mutation, Range, Role};
use crate::ring::effect::{Effect, Outcome, Refusal};
use crate::ring::entry::Content;
use crate::ring::ids::{Index, NodeId, RequestId};
use crate::ring::membership::Member;
use crate::ring::message::Body;
use crate::ring::trace::Event;

/// A master's time in office.
pub(super) struct Office {
    pub since_ms: u64,
    /// The empty entry that began it. Until that is committed, nothing is read strongly or changed (rule 3).
    pub began_at: Index,
    pub followers: BTreeMap<NodeId, Follower>,
    pub clock: LogClock,
    pub writes: Writes,
    pub rounds: Rounds,
    pub next_heartbeat_ms: u64,
    pub next_look_ms: u64,
    /// Who waits for the configuration that is on its way.
    pub change: Option<(Index, RequestId)>,
    pub handover: Option<Handover>,
    /// Whether one was begun in this office.
    pub has_offered: bool,
    pub findings: Option<Findings>,
    /// Members that a committed change has left out, and how often they are yet to be told.
    pub leaving: Vec<(Member, u32)>,
    /// Since when this master is no longer a member itself, and answers only those who wait.
    pub out_since_ms: Option<u64>,
}

/// What the master knows of a follower.
pub(super) struct Follower {
    pub member: Member,
    /// Stored there.
    pub stored: Index,
    /// The entry to send next.
    pub next: Index,
    /// The last entries of the messages that are on their way.
    pub inflight: VecDeque<Index>,
    /// Ticks without an answer that moved things on.
    pub stalled: u32,
    pub pace: Pace,
    /// When it was last heard in this term.
    pub heard_ms: Option<u64>,
    /// The newest round that it has answered.
    pub round: u64,
    pub applied: Index,
    /// Set while it may have forgotten entries.
    pub nonce: Option<u64>,
    /// Its store takes nothing at present.
    pub is_read_only: bool,
    /// The newest round in which it said so.
    pub forgot_in: u64,
    /// The nonce that was answered, and how.
    pub answered: Option<(u64, Index)>,
    /// Its clock less this one's, in milliseconds.
    pub skew_ms: i64,
}

/// How a follower is being sent entries.
pub(super) enum Pace {
    /// One message at a time, until the logs have met.
    Probe {
        sent: bool,
    },
    Stream,
    Snapshot(Box<Outgoing>),
}

/// Office is to go to another replica.
pub(super) struct Handover {
    pub to: NodeId,
    pub until_ms: u64,
    pub asked: bool,
}

impl Office {
    /// By how much the clock of the middle one of all is off this one's.
    fn median_skew_ms(&self) -> i64 {
        let skews = self.followers.values().map(|follower| follower.skew_ms);
        let mut skews: Vec<i64> = skews.chain([0]).collect();
        skews.sort_unstable();
        skews[skews.len() / 2]
    }
}

impl Follower {
    pub(super) fn new(member: Member, next: Index) -> Self {
        Self {
            member,
            stored: 0,
            next,
            inflight: VecDeque::new(),
            stalled: 0,
            pace: Pace::Probe { sent: false },
            heard_ms: None,
            round: 0,
            applied: 0,
            nonce: None,
            is_read_only: false,
            forgot_in: 0,
            answered: None,
            skew_ms: 0,
        }
    }

    /// Entries that it has stored count, as long as it has not forgotten any.
    pub(super) fn counted(&self) -> Index {
        if self.nonce.is_some() { 0 } else { self.stored }
    }
}

/// A handover that has not come about by then is called off, in election times.
const HANDOVER_PATIENCE: u64 = 2;

impl Range {
    pub(super) fn take_office(&mut self, by_flagged: bool) {
        let last = self.log.last();
        let term = self.state.term;
        if self.state.amnesiac {
            // Of all that have voted it has the most: what nobody remembers is lost, and reported.
            self.state.amnesiac = false;
            self.record_state();
        }
        self.trace(|| Event::Elected {
            term,
            last,
            by_flagged,
        });
        let now_ms = self.now.monotonic_ms;
        let recovered = self.recovering.take();
        let change = recovered.map(|request| (self.log.configured_at(), request));
        self.role = Role::Master(Box::new(Office {
            since_ms: now_ms,
            began_at: last.index + 1,
            followers: BTreeMap::new(),
            clock: LogClock::begin(self.now, self.log.last_time_ms()),
            writes: Writes::default(),
            rounds: Rounds::default(),
            next_heartbeat_ms: now_ms,
            next_look_ms: now_ms + 1000,
            change,
            handover: None,
            has_offered: false,
            findings: None,
            leaving: Vec::new(),
            out_since_ms: None,
        }));
        self.following = super::Following::new(None);
        self.adopt_members();
        self.append(Content::Empty);
        self.heartbeat();
        self.answer_own();
    }

    /// Sees to it that every member is followed up, and nobody else.
    pub(super) fn adopt_members(&mut self) {
        let next = self.log.last().index + 1;
        let me = self.me.node;
        let members = self.log.configuration().members();
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let gone = office
            .followers
            .extract_if(.., |_, follower| !members.contains(&follower.member));
        for (_, follower) in gone {
            if let Pace::Snapshot(outgoing) = follower.pace {
                self.out.push(Effect::SnapshotClose { id: outgoing.id });
            }
        }
        for member in members {
            if member.node != me {
                let fresh = || Follower::new(member, next);
                office.followers.entry(member.node).or_insert_with(fresh);
            }
        }
    }

    pub(super) fn tick_master(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let election_ms = self.options.election_ms;
        let Role::Master(office) = &self.role else {
            return;
        };
        let stays = self.breaks(Mutation::NeverStepDown);
        // One that votes alone stays: nobody could take over, and whoever waits would hear that nothing is known.
        let own = self
            .appends
            .outstanding_since_ms()
            .filter(|_| !self.votes_alone() && !self.stays_read_only());
        if own.is_some_and(|since_ms| since_ms + election_ms <= now_ms) && !stays {
            return self.resign("its own append is outstanding");
        }
        // Nobody follows one that is left out. All that it has taken is committed, and answered once it is applied.
        let is_out = office.out_since_ms.is_some();
        let is_new = now_ms < office.since_ms + election_ms;
        if !is_new && !is_out && !self.is_confirmed(office) && !stays {
            return self.resign("too few follow it");
        }
        if now_ms >= office.next_heartbeat_ms {
            self.heartbeat();
        }
        self.call_off_handover();
        self.leave_when_done();
        self.judge_copies();
        self.look_around();
    }

    /// Whether nobody else has a say in what becomes of the log.
    pub fn votes_alone(&self) -> bool {
        let configuration = self.log.configuration();
        !configuration.is_joint() && configuration.voters.members == [self.me]
    }

    /// Whether enough replicas have lately followed this master for there to be no other.
    pub(super) fn is_confirmed(&self, office: &Office) -> bool {
        let since_ms = self
            .now
            .monotonic_ms
            .saturating_sub(self.options.election_ms);
        let follows = |member: Member| {
            member.node == self.me.node
                || office.followers.get(&member.node).is_some_and(|follower| {
                    follower.member == member
                        && follower.heard_ms.unwrap_or(office.since_ms) >= since_ms
                })
        };
        self.log.configuration().confirms(0, follows)
    }

    /// Leaves office, if this is the master. What is pending may or may not take effect.
    pub(super) fn resign(&mut self, why: &'static str) {
        if self.is_master() && !self.log.configuration().writes_survive() {
            self.unsecured_from = self.unsecured_from.min(self.secured() + 1);
        }
        let role = std::mem::replace(&mut self.role, Role::Follower);
        self.following.lose_master();
        self.await_master();
        if let Some(request) = self.recovering.take() {
            self.reply(request, Outcome::Unknown);
        }
        let Role::Master(office) = role else {
            return;
        };
        let term = self.state.term;
        self.trace(|| Event::SteppedDown { term, why });
        // Followers of a term do not campaign in it again; what they verified was about another's log.
        self.following.begin_term();
        let verdict = if self.breaks(Mutation::CallItNotWritten) {
            Outcome::Refused(Refusal::TooFewReplicas)
        } else {
            Outcome::Unknown
        };
        for request in office.writes.requests() {
            self.reply(request, verdict.clone());
        }
        if let Some((_, request)) = office.change {
            self.reply(request, Outcome::Unknown);
        }
        // A read has changed nothing: it may be asked elsewhere.
        for request in office.rounds.requests() {
            self.reply(request, Outcome::NotMaster(None));
        }
        for (to, token) in office.rounds.askers() {
            self.send(to, Body::ReadIndex { token, index: None });
        }
        for follower in office.followers.into_values() {
            if let Pace::Snapshot(outgoing) = follower.pace {
                self.out.push(Effect::SnapshotClose { id: outgoing.id });
            }
        }
    }

    // Handing over.

    pub(super) fn hand_over(&mut self, to: Option<NodeId>) {
        let best = to.or_else(|| self.best_successor());
        let now_ms = self.now.monotonic_ms;
        let until_ms = now_ms + HANDOVER_PATIENCE * self.options.election_ms;
        let is_staying = best.is_some_and(|to| self.log.configuration().is_staying(to));
        let Role::Master(office) = &mut self.role else {
            return;
        };
        if let Some(to) = best
            && is_staying
            && to != self.me.node
            && office.handover.is_none()
        {
            office.handover = Some(Handover {
                to,
                until_ms,
                asked: false,
            });
            office.has_offered = true;
            self.drive_handover();
        }
    }

    /// The voter that is furthest, of those that are heard.
    fn best_successor(&self) -> Option<NodeId> {
        let Role::Master(office) = &self.role else {
            return None;
        };
        let configuration = self.log.configuration();
        let heard = office.followers.values().filter(|follower| {
            configuration.is_staying(follower.member.node)
                && follower.nonce.is_none()
                && !follower.is_read_only
                && self.has_heard(follower)
        });
        heard
            .max_by_key(|follower| follower.stored)
            .map(|follower| follower.member.node)
    }

    pub(super) fn has_heard(&self, follower: &Follower) -> bool {
        let since_ms = self
            .now
            .monotonic_ms
            .saturating_sub(self.options.election_ms);
        follower
            .heard_ms
            .is_some_and(|heard_ms| heard_ms >= since_ms)
    }

    /// Asks the successor to campaign once it has everything, and nobody waits for an answer here.
    pub(super) fn drive_handover(&mut self) {
        let last = self.log.last().index;
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let Some(handover) = &mut office.handover else {
            return;
        };
        let follower = office.followers.get(&handover.to);
        let ready = follower
            .filter(|follower| follower.stored >= last && office.writes.is_empty())
            .map(|follower| follower.member);
        if let Some(member) = ready
            && !handover.asked
        {
            handover.asked = true;
            self.send(member, Body::Handover);
        }
    }

    fn call_off_handover(&mut self) {
        let now_ms = self.now.monotonic_ms;
        if let Role::Master(office) = &mut self.role {
            office
                .handover
                .take_if(|handover| handover.until_ms <= now_ms);
        }
    }

    /// Who is to take office from a master that will not be among `nodes`, before they become the voters: who leaves
    /// as a master leaves the range without one until somebody is elected. `None` if nobody can, or once it was tried.
    pub fn successor_among(&self, nodes: &[NodeId]) -> Option<NodeId> {
        let Role::Master(office) = &self.role else {
            return None;
        };
        let configuration = self.log.configuration();
        let may_try = !nodes.contains(&self.me.node) && !office.has_offered;
        let median = office.median_skew_ms();
        let can = |node: &&NodeId| {
            configuration.is_staying(**node) && self.could_lead(office, **node, median)
        };
        nodes.iter().find(can).copied().filter(|_| may_try)
    }

    /// Whether office is to go to the voter that placement prefers, which is there and can take it.
    pub fn has_better_master(&self) -> bool {
        let Role::Master(office) = &self.role else {
            return false;
        };
        let voters = &self.log.configuration().voters.members;
        let preferred = voters.first().map(|member| member.node);
        let median = office.median_skew_ms();
        preferred.is_some_and(|node| node != self.me.node && self.could_lead(office, node, median))
    }

    /// Whether a follower is heard, remembers everything, and has a clock like that of the others.
    fn could_lead(&self, office: &Office, node: NodeId, median_skew_ms: i64) -> bool {
        office.followers.get(&node).is_some_and(|follower| {
            let skew_ms = (follower.skew_ms - median_skew_ms).unsigned_abs();
            let is_sound = follower.nonce.is_none() && !follower.is_read_only;
            is_sound && skew_ms <= self.options.skew_ms && self.has_heard(follower)
        })
    }

    /// Once a second: does office belong elsewhere, by placement, by the clock, or for want of room?
    fn look_around(&mut self) {
        let (now, skew_ms) = (self.now, self.options.skew_ms);
        let now_ms = now.monotonic_ms;
        let last = self.log.last().index;
        let configuration = self.log.configuration().clone();
        let Role::Master(office) = &mut self.role else {
            return;
        };
        if now_ms < office.next_look_ms || office.handover.is_some() {
            return;
        }
        office.next_look_ms = now_ms + 1000;
        let median = office.median_skew_ms();
        office.clock.slew(now, median);
        if self.is_read_only {
            return self.hand_over_for_room();
        }
        let is_off = median.unsigned_abs() > skew_ms;
        let Role::Master(office) = &self.role else {
            return;
        };
        let can_take_it = |node: NodeId| {
            let follower = office.followers.get(&node);
            let has_all = follower.is_some_and(|follower| follower.stored >= last);
            has_all && self.could_lead(office, node, median)
        };
        let preferred = configuration
            .voters
            .members
            .first()
            .map(|member| member.node);
        let to_preferred = preferred.filter(|&node| node != self.me.node && can_take_it(node));
        let away = || {
            let voters = configuration
                .voters
                .members
                .iter()
                .map(|member| member.node);
            voters
                .into_iter()
                .find(|&node| node != self.me.node && can_take_it(node))
        };
        let to = if is_off { away() } else { to_preferred };
        if to.is_some() && !configuration.is_joint() {
            self.hand_over(to);
        }
    }
}
