//! The master's side: sending entries, counting who has stored them, committing (rules 2, 3, 7).

use std::sync::Arc;

use super::office::{Follower, Office, Pace};
use super::{Mutation, Range, Role};
use crate::ring::effect::Effect;
use crate::ring::entry::Entry;
use crate::ring::ids::{Index, LogId, NodeId};
use crate::ring::membership::Member;
use crate::ring::message::{Append, Body, Missing, Report};
use crate::ring::trace::Event;

/// Heartbeats without progress after which a stream of entries starts over.
const STALLED_MOST: u32 = 3;

/// What those who learn may be sent, and have been.
pub(super) struct Feed {
    left: usize,
    sent: usize,
}

impl Feed {
    /// As much as they can take.
    pub(super) fn unlimited() -> Self {
        Self {
            left: usize::MAX,
            sent: 0,
        }
    }

    fn eat(&mut self, entries: &[Arc<Entry>]) {
        let bytes = entries.iter().map(|entry| entry.bytes()).sum();
        self.left = self.left.saturating_sub(bytes);
        self.sent = self.sent.saturating_add(bytes);
    }
}

impl Range {
    /// Those who learn are sent so many bytes of entries, about, until they may be sent more.
    pub fn feed_learners(&mut self, bytes: usize) {
        self.feed.left = bytes;
    }

    /// The bytes of entries that they were sent since this was asked last.
    pub fn take_fed(&mut self) -> usize {
        std::mem::take(&mut self.feed.sent)
    }

    /// Sends what is new to whoever can take it.
    pub(super) fn replicate(&mut self) {
        self.begin_round();
        for node in self.followers() {
            self.send_entries(node);
        }
    }

    fn followers(&self) -> Vec<NodeId> {
        let Role::Master(office) = &self.role else {
            return Vec::new();
        };
        office.followers.keys().copied().collect()
    }

    /// Lets everybody hear that this master is there.
    pub(super) fn heartbeat(&mut self) {
        let next_ms = self.now.monotonic_ms + self.options.heartbeat_ms;
        let Role::Master(office) = &mut self.role else {
            return;
        };
        office.next_heartbeat_ms = next_ms;
        office.rounds.begin();
        for node in self.followers() {
            self.unstall(node);
            self.send_heartbeat(node);
        }
        self.drive_snapshots();
        self.tell_those_who_left();
    }

    /// What was sent and not answered for some time is sent again.
    fn unstall(&mut self, node: NodeId) {
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let Some(follower) = office.followers.get_mut(&node) else {
            return;
        };
        follower.stalled += 1;
        let waits = !follower.inflight.is_empty() && follower.stalled >= STALLED_MOST;
        match &mut follower.pace {
            Pace::Probe { sent } => *sent = false,
            Pace::Stream if waits => {
                follower.next = follower.stored + 1;
                follower.inflight.clear();
                follower.pace = Pace::Probe { sent: false };
            }
            Pace::Stream | Pace::Snapshot(_) => {}
        }
    }

    fn send_heartbeat(&mut self, node: NodeId) {
        let Some(follower) = self.follower(node) else {
            return;
        };
        let before = self.log.id_at(follower.stored).unwrap_or_default();
        self.send_append(node, before, Vec::new());
    }

    pub(super) fn follower(&self, node: NodeId) -> Option<&Follower> {
        let Role::Master(office) = &self.role else {
            return None;
        };
        office.followers.get(&node)
    }

    pub(super) fn follower_mut(&mut self, node: NodeId) -> Option<&mut Follower> {
        let Role::Master(office) = &mut self.role else {
            return None;
        };
        office.followers.get_mut(&node)
    }

    /// Sends a follower the entries that it lacks, as many as may be on their way.
    fn send_entries(&mut self, node: NodeId) {
        let last = self.log.last().index;
        loop {
            let Some(follower) = self.follower(node) else {
                return;
            };
            let may = match follower.pace {
                Pace::Probe { sent } => !sent,
                Pace::Stream => follower.inflight.len() < self.options.inflight,
                Pace::Snapshot(_) => false,
            } && !follower.is_read_only;
            let next = follower.next;
            let probes = matches!(follower.pace, Pace::Probe { .. });
            if !may || (next > last && !probes) {
                return;
            }
            let Some(before) = self.log.id_at(next - 1) else {
                return self.begin_snapshot(node);
            };
            let learns = !self.log.configuration().is_voter(node);
            if learns && self.feed.left == 0 {
                // It gets on with the next flush; until then it hears heartbeats.
                return;
            }
            let most = match learns {
                true => self.options.message_bytes.min(self.feed.left),
                false => self.options.message_bytes,
            };
            let entries = self.log.slice(next, last, most);
            let upto = entries.last().map_or(before.index, |entry| entry.index);
            if learns {
                self.feed.eat(&entries);
            }
            self.send_append(node, before, entries);
            let Some(follower) = self.follower_mut(node) else {
                return;
            };
            match &mut follower.pace {
                Pace::Probe { sent } => *sent = true,
                _ => {
                    if follower.inflight.is_empty() {
                        follower.stalled = 0;
                    }
                    follower.inflight.push_back(upto);
                    follower.next = upto + 1;
                }
            }
        }
    }

    fn send_append(&mut self, node: NodeId, before: LogId, entries: Vec<Arc<Entry>>) {
        let last = self.log.last().index;
        let Role::Master(office) = &mut self.role else {
            return;
        };
        let round = office.rounds.newest();
        let Some(follower) = office.followers.get_mut(&node) else {
            return;
        };
        // The answer to a nonce says how much there was after it had been drawn.
        let nonce = follower.nonce.map(|nonce| match follower.answered {
            Some((answered, last)) if answered == nonce => (nonce, last),
            _ => {
                follower.answered = Some((nonce, last));
                (nonce, last)
            }
        });
        let member = follower.member;
        let append = Append {
            before,
            entries,
            commit: self.commit,
            round,
            nonce,
            terms: self.log.terms().to_vec(),
        };
        self.send(member, Body::Append(append));
    }

    pub(super) fn take_report(&mut self, from: Member, report: &Report) {
        let now_ms = self.now.monotonic_ms;
        let wall_ms = self.now.wall_ms;
        let ignores = self.breaks(Mutation::IgnoreIncarnation);
        let Some(follower) = self.follower_mut(from.node) else {
            return;
        };
        if follower.member != from && !ignores {
            return;
        }
        if report.nonce.is_none() && follower.nonce.is_some() && report.round <= follower.forgot_in
        {
            // Said before it forgot, and late: it may not have any more what it had then.
            return;
        }
        if report.nonce.is_some() {
            follower.forgot_in = follower.forgot_in.max(report.round);
        }
        follower.heard_ms = Some(now_ms);
        follower.round = follower.round.max(report.round);
        follower.applied = report.applied;
        follower.nonce = report.nonce;
        follower.skew_ms = report.wall_ms.wrapping_sub(wall_ms) as i64;
        self.note_followers_store(from, report.is_read_only);
        if let Some(missing) = report.missing {
            self.take_missing(from.node, missing, report.nonce.is_some());
        } else if let Some(follower) = self.follower_mut(from.node)
            && report.stored > follower.stored
        {
            follower.stored = report.stored;
            follower.stalled = 0;
            follower.next = follower.next.max(report.stored + 1);
            while follower
                .inflight
                .front()
                .is_some_and(|&upto| upto <= report.stored)
            {
                follower.inflight.pop_front();
            }
            let (by, upto) = (from.node, report.stored);
            self.trace(|| Event::Acked { by, upto });
        }
        self.settle_pace(from.node);
        self.advance();
        self.confirm_reads();
        self.drive_handover();
    }

    /// Goes from probing to streaming, or from a snapshot to probing, when a report shows that it is time.
    fn settle_pace(&mut self, node: NodeId) {
        let Some(follower) = self.follower_mut(node) else {
            return;
        };
        let stored = follower.stored;
        match &follower.pace {
            Pace::Probe { .. } if stored + 1 >= follower.next => {
                follower.pace = Pace::Stream;
                follower.inflight.clear();
            }
            Pace::Snapshot(outgoing) if outgoing.is_behind(stored) => {
                let id = outgoing.id;
                follower.pace = Pace::Probe { sent: false };
                follower.next = stored + 1;
                self.out.push(Effect::SnapshotClose { id });
            }
            _ => {}
        }
    }

    fn take_missing(&mut self, node: NodeId, missing: Missing, forgetful: bool) {
        let Some(follower) = self.follower_mut(node) else {
            return;
        };
        if matches!(follower.pace, Pace::Snapshot(_)) || follower.is_read_only {
            return;
        }
        if missing.snapshot {
            follower.stored = 0;
            return self.begin_snapshot(node);
        }
        if missing.behind < follower.stored && forgetful {
            // Its machine has crashed, and what it had stored is gone.
            follower.stored = missing.behind;
        }
        let next = (missing.behind + 1).max(follower.stored + 1);
        let is_news = missing.before + 1 >= next && next < follower.next
            || missing.before + 1 == follower.next;
        if is_news {
            follower.next = next;
            follower.inflight.clear();
            follower.pace = Pace::Probe { sent: false };
        }
    }

    /// Commits what enough replicas have stored, as far as this term's entries reach (rule 3).
    pub(super) fn advance(&mut self) {
        let own = self.own_stored();
        let Role::Master(office) = &self.role else {
            return;
        };
        let stored = |member: Member| self.stored_by(office, member, own);
        // The master is one of those who commit, even on its way out.
        let upto = self.log.configuration().committed(stored).min(own);
        let upto = if self.breaks(Mutation::ApplyUncommitted) {
            self.log.last().index
        } else {
            upto
        };
        let of_this_term = self.log.term_at(upto) == Some(self.state.term);
        if upto > self.commit && (of_this_term || self.breaks(Mutation::CommitOlderTerms)) {
            self.commit = upto;
            if let Some(upto) = self.log.id_at(upto) {
                self.trace(|| Event::Committed { upto });
            }
            self.apply();
            self.confirm_reads();
        }
        self.configuration_committed();
        self.acknowledge();
    }

    /// Entries that the master itself has stored.
    pub(super) fn own_stored(&self) -> Index {
        if self.breaks(Mutation::CountUnsynced) {
            return self.log.last().index;
        }
        self.appends.stored()
    }

    pub(super) fn stored_by(&self, office: &Office, member: Member, own: Index) -> Index {
        if member == self.me {
            return own;
        }
        let follower = office.followers.get(&member.node);
        follower
            .filter(|follower| follower.member == member)
            .map_or(0, |follower| follower.counted())
    }
}
