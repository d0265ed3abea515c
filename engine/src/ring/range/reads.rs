//! Strong reads at any replica, and weak ones (rule 5).
//!
//! A strong read is answered from state at or past the index that was committed when it arrived at the
//! master, once enough replicas have shown, after its arrival, that this still is the master.

use std::collections::{BTreeMap, VecDeque};

use super::{Mutation, Range, Role};
use crate::ring::effect::{Effect, Invalid, Outcome, ReadLevel, Refusal};
use crate::ring::entry::Content;
use crate::ring::ids::{Index, RequestId};
use crate::ring::membership::Member;
use crate::ring::message::Body;
use crate::ring::trace::Event;

/// Reads of this replica's own clients.
#[derive(Default)]
pub(super) struct Reads {
    /// Confirmed for an index that is yet to be applied.
    waiting: BTreeMap<Index, Vec<RequestId>>,
    /// The master has been asked for an index: by token, for whom.
    asked: BTreeMap<u64, Asked>,
    next_token: u64,
}

/// A read that waits for the master's word.
struct Asked {
    request: RequestId,
    at_least: u8,
    since_ms: u64,
}

/// Reads that wait for the master to be confirmed.
#[derive(Default)]
pub(super) struct Rounds {
    /// The newest round that messages carry.
    newest: u64,
    /// Some read waits for a round that has not begun.
    wanted: bool,
    open: VecDeque<Open>,
}

struct Open {
    round: u64,
    /// The index to read at; unknown as long as the master has committed nothing of its own.
    index: Option<Index>,
    asker: Asker,
    at_least: u8,
    since_ms: u64,
}

#[derive(Clone, Copy)]
enum Asker {
    Client(RequestId),
    Replica(Member, u64),
}

impl Reads {
    /// Answers the reads whose index has been reached.
    pub(super) fn applied(&mut self, applied: Index, out: &mut Vec<Effect>) {
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() <= applied
        {
            let index = *entry.key();
            for request in entry.remove() {
                let outcome = Outcome::Read {
                    index,
                    behind_ms: None,
                };
                out.push(Effect::Reply { request, outcome });
            }
        }
    }

    /// Gives up on questions that the master has not answered.
    pub(super) fn expire(&mut self, now_ms: u64, read_ms: u64, out: &mut Vec<Effect>) {
        let expired = self
            .asked
            .extract_if(.., |_, asked| asked.since_ms + read_ms <= now_ms);
        for (_, Asked { request, .. }) in expired {
            let outcome = Outcome::NotMaster(None);
            out.push(Effect::Reply { request, outcome });
        }
    }

    pub(super) fn drop_all(&mut self, out: &mut Vec<Effect>) {
        let waiting = std::mem::take(&mut self.waiting).into_values().flatten();
        let asked = std::mem::take(&mut self.asked)
            .into_values()
            .map(|asked| asked.request);
        for request in waiting.chain(asked) {
            let outcome = Outcome::NotMaster(None);
            out.push(Effect::Reply { request, outcome });
        }
    }
}

impl Rounds {
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn requests(&self) -> Vec<RequestId> {
        let clients = self.open.iter().filter_map(|open| match open.asker {
            Asker::Client(request) => Some(request),
            Asker::Replica(..) => None,
        });
        clients.collect()
    }

    pub(super) fn askers(&self) -> Vec<(Member, u64)> {
        let replicas = self.open.iter().filter_map(|open| match open.asker {
            Asker::Client(_) => None,
            Asker::Replica(member, token) => Some((member, token)),
        });
        replicas.collect()
    }

    /// Every heartbeat begins a round; it counts for the reads that wait.
    pub(super) fn begin(&mut self) {
        self.wanted = false;
        self.newest += 1;
    }

    /// Whether the round that is on its way still has reads that wait for it.
    fn is_under_way(&self) -> bool {
        self.open
            .front()
            .is_some_and(|open| open.round <= self.newest)
    }
}

impl Range {
    pub(super) fn read(&mut self, request: RequestId, level: ReadLevel) {
        if self.state.void {
            return self.reply(request, Outcome::Refused(Refusal::Void));
        }
        let strong = match level {
            ReadLevel::Weak => None,
            ReadLevel::Strong { at_least } => Some(at_least),
            ReadLevel::Configured => self.log.configuration().reads_are_strong().then_some(0),
        };
        match strong {
            Some(at_least) => self.read_strongly(request, at_least),
            None => self.read_weakly(request),
        }
    }

    fn read_weakly(&mut self, request: RequestId) {
        let silent_ms = self.following.silent_ms(self.now.monotonic_ms);
        let behind_ms = if self.is_master() { 0 } else { silent_ms };
        let outcome = Outcome::Read {
            index: self.applied.index,
            behind_ms: Some(behind_ms),
        };
        self.reply(request, outcome);
    }

    fn read_strongly(&mut self, request: RequestId, at_least: u8) {
        if at_least > self.log.configuration().voters.quorum.replicas() {
            return self.reply(
                request,
                Outcome::Refused(Refusal::Invalid(Invalid::TooManyReplicas)),
            );
        }
        if self.is_master() {
            return self.open_read(Asker::Client(request), at_least);
        }
        let Some(master) = self.following.member() else {
            return self.reply(request, Outcome::NotMaster(None));
        };
        let token = self.reads.next_token;
        self.reads.next_token += 1;
        let asked = Asked {
            request,
            at_least,
            since_ms: self.now.monotonic_ms,
        };
        self.reads.asked.insert(token, asked);
        self.send(master, Body::AskIndex { token, at_least });
    }

    /// There is another master than the one that was asked, who may be gone: this one's word is as good.
    pub(super) fn ask_again(&mut self) {
        let Some(master) = self.following.member() else {
            return;
        };
        let asked = self.reads.asked.iter();
        let again: Vec<(u64, u8)> = asked
            .map(|(&token, asked)| (token, asked.at_least))
            .collect();
        for (token, at_least) in again {
            self.send(master, Body::AskIndex { token, at_least });
        }
    }

    /// Whoever waits for a master's word has one here.
    pub(super) fn answer_own(&mut self) {
        for asked in std::mem::take(&mut self.reads.asked).into_values() {
            self.open_read(Asker::Client(asked.request), asked.at_least);
        }
    }

    /// Queues a read for the next round of confirmations.
    fn open_read(&mut self, asker: Asker, at_least: u8) {
        let (commit, since_ms) = (self.commit, self.now.monotonic_ms);
        let Role::Master(office) = &mut self.role else {
            return;
        };
        office.rounds.wanted = true;
        office.rounds.open.push_back(Open {
            round: office.rounds.newest + 1,
            index: (commit >= office.began_at).then_some(commit),
            asker,
            at_least,
            since_ms,
        });
        self.confirm_reads();
    }

    /// Begins a round, unless one is on its way: its answers would come too early for the reads that wait.
    pub(super) fn begin_round(&mut self) {
        let Role::Master(office) = &mut self.role else {
            return;
        };
        if office.rounds.wanted && !office.rounds.is_under_way() {
            self.heartbeat();
        }
    }

    /// Answers the reads for which enough replicas have shown that this is the master.
    pub(super) fn confirm_reads(&mut self) {
        let unconfirmed = self.breaks(Mutation::ReadUnconfirmed);
        let (commit, now_ms, read_ms) = (self.commit, self.now.monotonic_ms, self.options.read_ms);
        let me = self.me;
        let configuration = self.log.configuration();
        let Role::Master(office) = &mut self.role else {
            return;
        };
        if office.rounds.open.is_empty() {
            return;
        }
        let followers = &office.followers;
        let round_of = |member: Member| {
            let follower = followers
                .get(&member.node)
                .filter(|follower| follower.member == member);
            match follower {
                _ if member == me => u64::MAX,
                Some(follower) if follower.nonce.is_none() => follower.round,
                _ => 0,
            }
        };
        let began = commit >= office.began_at;
        let by_quorum = configuration.confirmed(0, round_of);
        let mut answered = Vec::new();
        let mut expired = Vec::new();
        office.rounds.open.retain(|open| {
            let upto = match open.at_least {
                0 => by_quorum,
                at_least => configuration.confirmed(at_least, round_of),
            };
            let index = open.index.or(began.then_some(commit));
            if let Some(index) = index.filter(|_| open.round <= upto || unconfirmed) {
                answered.push((open.asker, open.round, index));
                return false;
            }
            if open.since_ms + read_ms <= now_ms {
                expired.push(open.asker);
                return false;
            }
            true
        });
        for (asker, round, index) in answered {
            self.trace(|| Event::Confirmed { round, index });
            self.answer_read(asker, Some(index));
        }
        for asker in expired {
            self.answer_read(asker, None);
        }
    }

    fn answer_read(&mut self, asker: Asker, index: Option<Index>) {
        match (asker, index) {
            (Asker::Replica(member, token), index) => {
                self.send(member, Body::ReadIndex { token, index })
            }
            (Asker::Client(request), Some(index)) => self.read_at(request, index),
            (Asker::Client(request), None) => self.reply(request, Outcome::NotMaster(None)),
        }
    }

    /// Lets a client read once everything up to `index` is applied here.
    fn read_at(&mut self, request: RequestId, index: Index) {
        if self.lacks(index) {
            return self.reply(request, Outcome::NotMaster(self.following.master()));
        }
        self.reads.waiting.entry(index).or_default().push(request);
        self.reads.applied(self.applied.index, &mut self.out);
    }

    pub(super) fn take_ask_index(&mut self, from: Member, token: u64, at_least: u8) {
        if self.is_master() {
            self.open_read(Asker::Replica(from, token), at_least);
        } else {
            self.send(from, Body::ReadIndex { token, index: None });
        }
    }

    pub(super) fn take_read_index(&mut self, token: u64, index: Option<Index>) {
        let Some(Asked { request, .. }) = self.reads.asked.remove(&token) else {
            return;
        };
        match index {
            Some(index) => self.read_at(request, index),
            None => {
                self.reply(request, Outcome::NotMaster(None));
            }
        }
    }

    /// Moves the log's clock on, for a read that cannot tell whether a key's time has come (rule 11).
    pub(super) fn elapse(&mut self, request: RequestId) {
        let time_ms = self.entry_time_ms();
        if !self.is_master() {
            return self.reply(request, Outcome::NotMaster(self.following.master()));
        }
        if let Err(refusal) = self.check_writable() {
            return self.reply(request, refusal);
        }
        let last = self.log.last().index;
        // Whatever was appended at this moment will do for everybody.
        let is_new_enough = last > self.commit && self.log.last_time_ms() >= time_ms;
        let index = if is_new_enough {
            last
        } else {
            self.append(Content::Empty).index
        };
        self.read_at(request, index);
    }
}
