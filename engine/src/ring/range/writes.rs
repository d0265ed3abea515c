//! Client writes at the master: refused before the append or else acknowledged once stored by W and applied
//! (rules 2, 4, 6).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::office::Office;
use super::{Mutation, Range, Role};
use crate::command::Reply;
use crate::ring::effect::{Invalid, Outcome, Refusal};
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{Index, LogId, RequestId};
use crate::ring::membership::Member;
use crate::ring::trace::Event;

/// Writes that clients wait for, by their entries' indexes.
#[derive(Default)]
pub(super) struct Writes {
    pending: BTreeMap<Index, Pending>,
    /// Bytes of the entries that are pending, about.
    bytes: usize,
}

struct Pending {
    request: RequestId,
    at_least: u8,
    bytes: usize,
    since_ms: u64,
    /// What the command answers, once it is applied.
    reply: Option<Reply>,
}

impl Writes {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Since when the oldest has waited.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        let oldest = self.pending.first_key_value();
        oldest.map(|(_, pending)| pending.since_ms)
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.pending.values().map(|pending| pending.request)
    }
}

impl Range {
    pub(super) fn propose(&mut self, request: RequestId, payload: Bytes, at_least: u8) {
        if let Err(refusal) = self.may_propose(at_least) {
            return self.reply(request, refusal);
        }
        let at = self.append(Content::Command(payload));
        self.trace(|| Event::Appended {
            at,
            request: Some(request),
        });
        let bytes = self.log.entry(at.index).map_or(0, |entry| entry.bytes());
        if let Role::Master(office) = &mut self.role {
            office.writes.bytes += bytes;
            let pending = Pending {
                request,
                at_least,
                bytes,
                since_ms: self.now.monotonic_ms,
                reply: None,
            };
            office.writes.pending.insert(at.index, pending);
        }
    }

    /// Everything that can be said against a write is said before it is appended.
    fn may_propose(&self, at_least: u8) -> Result<(), Outcome> {
        let Role::Master(office) = &self.role else {
            return Err(Outcome::NotMaster(self.following.master()));
        };
        if let Some(handover) = &office.handover {
            return Err(Outcome::NotMaster(handover.asked.then_some(handover.to)));
        }
        self.check_writable()?;
        if office.writes.bytes > self.options.uncommitted_bytes {
            return Err(Outcome::Refused(Refusal::Busy));
        }
        let configuration = self.log.configuration();
        if configuration.member(self.me.node) != Some(self.me) {
            // On its way out, it only answers what it has.
            let next = configuration.voters.members.first();
            return Err(Outcome::NotMaster(next.map(|member| member.node)));
        }
        if at_least > configuration.voters.quorum.replicas() {
            return Err(Outcome::Refused(Refusal::Invalid(Invalid::TooManyReplicas)));
        }
        if !configuration.can_acknowledge(at_least, |member| self.reaches(office, member)) {
            return Err(Outcome::Refused(Refusal::TooFewReplicas));
        }
        Ok(())
    }

    /// Whether a member has lately been heard, counts, and takes entries.
    pub(super) fn reaches(&self, office: &Office, member: Member) -> bool {
        member == self.me
            || office.followers.get(&member.node).is_some_and(|follower| {
                follower.member == member
                    && follower.nonce.is_none()
                    && !follower.is_read_only
                    && self.has_heard(follower)
            })
    }

    /// Appends an entry of this master's term.
    pub(super) fn append(&mut self, content: Content) -> LogId {
        let entry = self.next_entry(content);
        let at = entry.id();
        self.push(Arc::new(entry));
        if self.breaks(Mutation::ApplyUncommitted) || self.breaks(Mutation::CountUnsynced) {
            self.advance();
        }
        at
    }

    /// The entry that this master appends next.
    pub(super) fn next_entry(&mut self, content: Content) -> Entry {
        let is_command = matches!(content, Content::Command(_));
        Entry {
            term: self.state.term,
            index: self.log.last().index + 1,
            time_ms: self.entry_time_ms(),
            seed: if is_command { self.random.next() } else { 0 },
            content,
        }
    }

    pub(super) fn note_replies(&mut self, replies: Vec<(Index, Reply)>) {
        let Role::Master(office) = &mut self.role else {
            return;
        };
        for (index, reply) in replies {
            if let Some(pending) = office.writes.pending.get_mut(&index) {
                pending.reply = Some(reply);
            }
        }
    }

    /// Answers those whose writes are stored by as many as it takes, and applied.
    pub(super) fn acknowledge(&mut self) {
        let own = self.own_stored();
        let applied = self.applied.index;
        let answers_early = self.breaks(Mutation::ApplyUncommitted);
        let Role::Master(office) = &self.role else {
            return;
        };
        if office.writes.pending.range(..=applied).next().is_none() {
            return;
        }
        let configuration = self.log.configuration();
        let stored = |member: Member| self.stored_by(office, member, own);
        let by_quorum = configuration.acknowledged(0, stored);
        let enough = |index: Index, at_least: u8| {
            let upto = match at_least {
                0 => by_quorum,
                at_least => configuration.acknowledged(at_least, stored),
            };
            index <= upto || answers_early
        };
        let done: Vec<Index> = (office.writes.pending.range(..=applied))
            .filter(|(index, pending)| pending.reply.is_some() && enough(**index, pending.at_least))
            .map(|(&index, _)| index)
            .collect();
        for index in done {
            self.answer_write(index);
        }
    }

    fn answer_write(&mut self, index: Index) {
        let term = self.state.term;
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let Some(pending) = office.writes.pending.remove(&index) else {
            return;
        };
        office.writes.bytes = office.writes.bytes.saturating_sub(pending.bytes);
        if let Some(reply) = pending.reply {
            let at = LogId { term, index };
            self.reply(pending.request, Outcome::Done { reply, at });
        }
    }
}
