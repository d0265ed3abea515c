//! How a master is found: pre-vote, vote, and what makes a replica give its vote (rules 1, 2, 9).

use std::collections::BTreeMap;

use super::{Mutation, Range, Role};
use crate::ring::effect::Effect;
use crate::ring::ids::{LogId, NodeId, Term};
use crate::ring::membership::Member;
use crate::ring::message::{Body, Message};
use crate::ring::trace::Event;

/// The votes that a candidate has.
pub(super) struct Ballots {
    /// Nothing but a question yet.
    pre: bool,
    term: Term,
    /// Who would vote for it, and whether that vote is flagged.
    granted: BTreeMap<NodeId, bool>,
}

impl Range {
    /// Waits for a master from now on, for the first time.
    pub(super) fn begin_waiting(&mut self) {
        self.await_master();
        if self.log.configuration().members().len() == 1 {
            // Nobody else can be the master.
            self.election_due_ms = self.now.monotonic_ms;
        }
    }

    /// Puts the next election off. Those whom placement prefers wait a little less.
    pub(super) fn await_master(&mut self) {
        let election_ms = self.options.election_ms;
        let rank = self.log.configuration().rank(self.me.node).unwrap_or(2) as u64;
        let patience_ms = election_ms + self.random.below(election_ms) + rank * election_ms / 4;
        self.election_due_ms = self.now.monotonic_ms + patience_ms;
    }

    pub(super) fn election_is_due(&mut self) {
        self.await_master();
        self.following.lose_master();
        if !self.may_campaign() {
            return self.knock();
        }
        // A disk that is yet to store this replica's last term or vote is too slow for another: a newer term would
        // only unseat whoever is elected meanwhile.
        let is_stored = self.appends.has_settled(self.state_append);
        if !self.state.void && is_stored && !self.is_read_only {
            self.campaign(true, false);
        }
    }

    /// Whether this replica votes, or did by a configuration that may yet be the one that holds: as long as the one
    /// that leaves it out is not committed, its log may be the only one that the others will follow.
    fn may_campaign(&self) -> bool {
        let (_, committed) = self.log.configuration_at(self.commit);
        self.log.configuration().is_voter(self.me.node) || committed.is_voter(self.me.node)
    }

    /// A copy without a vote that hears nothing asks whether it is still wanted.
    fn knock(&mut self) {
        let mut members = self.log.configuration().members();
        members.extend(self.following.known());
        for member in members {
            if member.node != self.me.node {
                self.send(member, Body::Knock { passed_on: false });
            }
        }
    }

    fn campaign(&mut self, pre: bool, handover: bool) {
        let term = self.state.term + 1;
        self.role = Role::Candidate(Ballots {
            pre,
            term,
            granted: BTreeMap::new(),
        });
        let last = self.log.last();
        let body = if pre {
            self.trace(|| Event::PreVote { term });
            Body::PreVote { last }
        } else {
            self.trace(|| Event::Campaign { term });
            self.state.term = term;
            self.state.vote = Some(self.me.node);
            // What was verified and confirmed in the last term says nothing in this one, whoever wins it.
            self.following.begin_term();
            self.record_state();
            Body::Vote { last, handover }
        };
        for member in self.log.configuration().members() {
            let is_voter = self.log.configuration().is_voter(member.node);
            if member.node == self.me.node || !is_voter {
                continue;
            }
            if pre {
                // It depends on nothing that is yet to be stored.
                self.send_message(Message {
                    range: self.id,
                    from: self.me,
                    to: member,
                    term,
                    body: body.clone(),
                });
            } else {
                self.send(member, body.clone());
            }
        }
        if pre {
            let flagged = self.counts_as_flagged();
            self.count_ballot(self.me.node, flagged);
        } else if self.breaks(Mutation::CountUnsynced) {
            self.count_own_vote();
        }
    }

    /// Campaigns in the present term, for which this replica has voted for itself.
    pub(super) fn stand(&mut self) {
        self.role = Role::Candidate(Ballots {
            pre: false,
            term: self.state.term,
            granted: BTreeMap::new(),
        });
        self.await_master();
    }

    /// One's own vote counts once it is synced, like any other.
    pub(super) fn count_own_vote(&mut self) {
        let unsynced = !self.records.is_empty() || !self.appends.has_settled(self.state_append);
        let flagged = self.counts_as_flagged();
        if let Role::Candidate(ballots) = &self.role
            && !ballots.pre
            && (!unsynced || self.breaks(Mutation::CountUnsynced))
        {
            self.count_ballot(self.me.node, flagged);
        }
    }

    fn counts_as_flagged(&self) -> bool {
        self.state.amnesiac && !self.breaks(Mutation::ForgetAmnesia)
    }

    pub(super) fn take_vote_request(
        &mut self,
        message: &Message,
        last: LogId,
        pre: bool,
        handover: bool,
    ) {
        let asked = message.term;
        if asked < self.state.term {
            return self.answer_vote(message.from, asked, pre, false);
        }
        if !handover && self.hears_a_master() {
            // No answer either: its term must not spread.
            return;
        }
        // A void replica's log is no measure: it consents to whoever all the others agree on (rule 9).
        let may_win = self.state.void || last >= self.log.last();
        if pre {
            let granted = may_win && asked > self.state.term && !self.is_read_only;
            return self.answer_vote(message.from, asked, true, granted);
        }
        if self.is_read_only {
            // A vote that cannot be stored is not given, and who asks may never be elected.
            return;
        }
        if asked > self.state.term {
            self.enter_term(asked);
        }
        let free = self.state.vote.is_none_or(|vote| vote == message.from.node);
        let granted = free && may_win && !self.is_master();
        if granted && self.state.vote.is_none() {
            self.state.vote = Some(message.from.node);
            self.record_state();
            self.await_master();
            self.trace(|| Event::Voted {
                term: asked,
                candidate: message.from.node,
            });
        }
        self.answer_vote(message.from, asked, false, granted);
    }

    /// Whether there is a master that others should leave in office.
    pub(super) fn hears_a_master(&self) -> bool {
        let Role::Master(office) = &self.role else {
            return self
                .following
                .heard_within(self.now.monotonic_ms, self.options.election_ms);
        };
        self.is_confirmed(office)
    }

    fn answer_vote(&mut self, to: Member, asked: Term, pre: bool, granted: bool) {
        let flagged = self.counts_as_flagged() || self.state.void;
        let ballot = Body::Ballot {
            asked,
            pre,
            granted,
            flagged,
        };
        self.send(to, ballot);
    }

    pub(super) fn take_ballot(
        &mut self,
        from: Member,
        asked: Term,
        pre: bool,
        granted: bool,
        flagged: bool,
    ) {
        let Role::Candidate(ballots) = &self.role else {
            return;
        };
        if granted && ballots.pre == pre && ballots.term == asked {
            self.count_ballot(from.node, flagged);
        }
    }

    fn count_ballot(&mut self, voter: NodeId, flagged: bool) {
        if let Role::Candidate(ballots) = &mut self.role {
            ballots.granted.insert(voter, flagged);
        }
        let Role::Candidate(ballots) = &self.role else {
            return;
        };
        let (granted, pre) = (&ballots.granted, ballots.pre);
        let configuration = self.log.configuration();
        let sound = |member: Member| granted.get(&member.node) == Some(&false);
        let any = |member: Member| granted.contains_key(&member.node);
        let by_majority = self.breaks(Mutation::ElectByMajority) && configuration.majority(sound);
        let by_sound = configuration.elects(sound) || by_majority;
        // Nobody is left who could know of an entry that those who voted have forgotten.
        let by_all = configuration.is_unanimous(any);
        if !by_sound && !by_all {
            return;
        }
        if pre {
            self.campaign(false, false);
        } else {
            self.take_office(!by_sound);
        }
    }

    pub(super) fn take_handover(&mut self) {
        let may = self.may_campaign() && !self.state.void && !self.is_read_only;
        if may && !self.is_master() {
            self.campaign(false, true);
        }
    }

    /// A term has begun that this replica had not heard of.
    pub(super) fn enter_term(&mut self, term: Term) {
        debug_assert!(term > self.state.term);
        self.resign("a newer term has begun");
        self.state.term = term;
        self.state.vote = None;
        self.record_state();
        self.role = Role::Follower;
        self.following.begin_term();
    }

    pub(super) fn hear(&mut self, message: Message) {
        let is_mine = message.to.node == self.me.node && message.range == self.id;
        let is_for_me = message.to == self.me || self.breaks(Mutation::IgnoreIncarnation);
        if is_mine && message.to.incarnation > self.me.incarnation && !is_for_me {
            // Whoever added the one that is spoken to had seen this one left out for good.
            return self.destroy();
        }
        if is_mine
            && message.to.incarnation < self.me.incarnation
            && let Some(gone) = message.answer_of_one_gone()
        {
            return self.send_message(gone);
        }
        if !is_mine || !is_for_me {
            return;
        }
        let asks = matches!(
            message.body,
            Body::PreVote { .. } | Body::Vote { .. } | Body::Knock { .. } | Body::AskIndex { .. }
        );
        if let Some(at) = self.left_out(message.from) {
            // An incarnation that is gone: nothing it says counts, but it may not know.
            if asks {
                self.send(message.from, Body::Removed { at });
            }
            // A master that leaves says so last. To campaign is safe at any time.
            if matches!(message.body, Body::Handover) && message.term == self.state.term {
                self.take_handover();
            }
            return;
        }
        if asks {
            self.pass_on_strangers(&message);
        }
        match &message.body {
            Body::PreVote { last } => return self.take_vote_request(&message, *last, true, false),
            Body::Vote { last, handover } => {
                return self.take_vote_request(&message, *last, false, *handover);
            }
            Body::Knock { .. } => return,
            Body::Removed { at } => return self.take_removed(*at),
            Body::Gone => return self.take_gone(message.from),
            _ => {}
        }
        if message.term > self.state.term {
            self.enter_term(message.term);
        }
        // A voter whose term is behind may still say yes to a pre-vote.
        let is_ballot = matches!(message.body, Body::Ballot { .. });
        if message.term < self.state.term && !is_ballot {
            return self.answer_stale(&message);
        }
        self.hear_in_term(message);
    }

    /// A master of an older term learns that there is a newer one.
    fn answer_stale(&mut self, message: &Message) {
        if matches!(message.body, Body::Append(_) | Body::Chunk(_)) {
            let report = Body::Report(self.report(0, None));
            self.send(message.from, report);
        }
        if let Body::AskIndex { token, .. } = message.body {
            self.send(message.from, Body::ReadIndex { token, index: None });
        }
    }

    fn hear_in_term(&mut self, message: Message) {
        let from = message.from;
        match message.body {
            Body::Ballot {
                asked,
                pre,
                granted,
                flagged,
            } => self.take_ballot(from, asked, pre, granted, flagged),
            Body::Append(append) => self.take_append(from, append),
            Body::Report(report) => self.take_report(from, &report),
            Body::Chunk(chunk) => self.take_chunk(from, *chunk),
            Body::ChunkStored { id, next } => self.take_chunk_stored(from, id, next),
            Body::Handover => self.take_handover(),
            Body::AskIndex { token, at_least } => self.take_ask_index(from, token, at_least),
            Body::ReadIndex { token, index } => self.take_read_index(token, index),
            Body::Scrub { at } => self.take_scrub(at),
            Body::Digested { at, digest } => self.take_digest(from, at, digest),
            Body::Replace { at } => self.take_replace(at),
            Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::Knock { .. }
            | Body::Removed { .. }
            | Body::Gone => {}
        }
    }

    /// The committed configuration that leaves this incarnation out, if there is one.
    fn left_out(&self, member: Member) -> Option<LogId> {
        if self.breaks(Mutation::IgnoreIncarnation) {
            return None;
        }
        let at = self.secured_configuration()?;
        let known = self.log.configuration().member(member.node);
        (known != Some(member) && member.incarnation < at).then_some(at)
    }

    fn take_removed(&mut self, at: LogId) {
        let configured_at = self.log.configured_at();
        let term = self.log.term_at(configured_at);
        let own = LogId {
            term: term.unwrap_or(self.log.before().term),
            index: configured_at,
        };
        let is_newer = own > at && self.log.configuration().member(self.me.node) == Some(self.me);
        if self.me.incarnation < at && !is_newer {
            self.destroy();
        }
    }

    /// This copy is no longer wanted.
    pub(super) fn destroy(&mut self) {
        self.resign("it is no longer a member");
        self.reads.drop_all(&mut self.out);
        self.emit_records();
        self.trace(|| Event::Destroyed);
        self.out.push(Effect::Destroy);
        self.ended = true;
    }
}
