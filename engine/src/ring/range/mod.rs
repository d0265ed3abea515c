//! One range: a replicated log and who holds it, as a core that is stepped and does no I/O.
//!
//! A replica follows, campaigns or is the master. Each file holds one concern of it: `election`, `follower`,
//! `office` and `replication` (the master's side), `writes`, `reads`, `snapshots`, `change`, `clock`, `scrub`,
//! `recover`, `read_only`; `alone` lends a range of which there is but one replica.
//!
//! The core is stepped with inputs and gathers what is to be logged; [`Range::flush`] hands it out after a
//! batch of them, so that many writes are one append and one message to each follower.

mod alone;
mod appends;
mod change;
mod clock;
mod election;
mod follower;
mod log;
mod mutation;
mod observe;
mod office;
mod options;
mod read_only;
mod reads;
mod recover;
mod replication;
mod scrub;
mod snapshots;
mod writes;

use std::sync::Arc;

use super::effect::{Effect, HardState, Input, Now, Outcome, Record, Refusal};
use super::entry::Entry;
use super::ids::{Index, LogId, META, RangeId, RequestId};
use super::membership::{Configuration, Member};
use super::message::{Body, Message};
use super::trace::Event;
use crate::random::Random;

use appends::Appends;
use election::Ballots;
use follower::Following;
use log::RangeLog;
use office::Office;
use reads::Reads;
use replication::Feed;
use scrub::Scrubs;

pub use alone::{Head, Loan};
pub use mutation::Mutation;
pub use options::Options;

/// What a store found of a range when it was opened.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The range.
    pub range: RangeId,
    /// This copy.
    pub me: Member,
    /// Term, vote and flags.
    pub state: HardState,
    /// The configurations that are known, the oldest first: the newest at or before `applied`, and those
    /// among `entries`.
    pub configurations: Vec<(Index, Configuration)>,
    /// The last entry whose effects the store holds.
    pub applied: LogId,
    /// That entry's time.
    pub applied_time_ms: u64,
    /// The entry before the first of `entries`; not behind `applied`.
    pub before: LogId,
    /// What the log holds since, without gaps, committed or not.
    pub entries: Vec<Arc<Entry>>,
}

/// What a replica is to its range.
enum Role {
    Follower,
    Candidate(Ballots),
    Master(Box<Office>),
}

/// A replica of a range. See the module.
pub struct Range {
    id: RangeId,
    me: Member,
    options: Options,
    random: Random,
    now: Now,

    state: HardState,
    log: RangeLog,
    appends: Appends,
    /// What is to be logged at the next flush.
    records: Vec<Record>,
    /// The append that holds the newest hard state.
    state_append: u64,

    commit: Index,
    /// Entries up to here have been handed out to be applied.
    applying: Index,
    applied: LogId,
    applied_time_ms: u64,
    /// Entries up to here are in the store's own files.
    flushed: Index,
    /// Where acknowledged writes may be lost: entries from here on were taken in an office, or a life, that is
    /// over, and no master is known to have them. They are held, to be named if they are lost (rule 10).
    unsecured_from: Index,

    role: Role,
    following: Following,
    election_due_ms: u64,
    reads: Reads,
    scrubs: Scrubs,
    /// What learners may be sent.
    feed: Feed,
    /// Who waits for this copy to be made the whole range.
    recovering: Option<RequestId>,
    /// The store takes nothing at present.
    is_read_only: bool,
    /// The storage has failed, or this copy is destroyed: nothing is done any more.
    ended: bool,
    out: Vec<Effect>,
}

impl Range {
    /// A founding member of a range.
    pub fn found(
        range: RangeId,
        me: Member,
        configuration: Configuration,
        options: Options,
        seed: u64,
    ) -> Self {
        let recovered = Recovered {
            configurations: vec![(0, configuration)],
            ..Self::nothing(range, me)
        };
        Self::restore(recovered, options, seed)
    }

    /// A copy that knows nothing yet, not even who the members are.
    pub fn empty(range: RangeId, me: Member, options: Options, seed: u64) -> Self {
        Self::restore(Self::nothing(range, me), options, seed)
    }

    fn nothing(range: RangeId, me: Member) -> Recovered {
        Recovered {
            range,
            me,
            state: HardState::default(),
            configurations: Vec::new(),
            applied: LogId::default(),
            applied_time_ms: 0,
            before: LogId::default(),
            entries: Vec::new(),
        }
    }

    /// A replica as its store found it.
    pub fn restore(recovered: Recovered, options: Options, seed: u64) -> Self {
        let Recovered {
            range,
            me,
            state,
            configurations,
            applied,
            applied_time_ms,
            before,
            entries,
        } = recovered;
        // Those among the entries come back with them.
        let known = configurations
            .into_iter()
            .filter(|&(at, _)| at <= before.index);
        let mut log = RangeLog::new(before, applied_time_ms, known.collect());
        for entry in entries {
            log.push(entry);
        }
        let last = log.last().index;
        let mut random = Random::new(seed);
        let following = Following::new(state.amnesiac.then(|| random.next()));
        let mut replica = Self {
            id: range,
            me,
            options,
            random,
            now: Now::default(),
            state,
            log,
            appends: Appends::new(last),
            records: Vec::new(),
            state_append: 0,
            commit: applied.index,
            applying: applied.index,
            applied,
            applied_time_ms,
            flushed: applied.index,
            unsecured_from: Index::MAX,
            role: Role::Follower,
            following,
            election_due_ms: 0,
            reads: Reads::default(),
            scrubs: Scrubs::default(),
            feed: Feed::unlimited(),
            recovering: None,
            is_read_only: false,
            ended: false,
            out: Vec::new(),
        };
        if !replica.log.configuration().writes_survive() {
            replica.unsecured_from = replica.log.before().index + 1;
        }
        if replica.breaks(Mutation::RunAhead) {
            replica.commit = last;
        }
        replica
    }

    /// Takes one input. What it asks to be logged or replicated comes with the next [`flush`](Self::flush).
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.within(now, out, |replica| replica.take(input));
    }

    /// Hands out what the steps since the last flush have gathered.
    pub fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.within(now, out, |replica| {
            replica.emit_records();
            replica.replicate();
        });
    }

    fn within(&mut self, now: Now, out: &mut Vec<Effect>, act: impl FnOnce(&mut Self)) {
        if self.now == Now::default() {
            self.now = now;
            self.begin_waiting();
        }
        self.now = now;
        std::mem::swap(&mut self.out, out);
        act(self);
        std::mem::swap(&mut self.out, out);
    }

    fn take(&mut self, input: Input) {
        if self.ended {
            return self.refuse_ended(&input);
        }
        if self.following.is_installing()
            && !matches!(
                input,
                Input::SnapshotInstalled { .. } | Input::Failed | Input::ReadOnly(_)
            )
        {
            // The state is being replaced under this replica: it hears nothing until that is done.
            return self.refuse_busy(&input);
        }
        match input {
            Input::Tick => self.tick(),
            Input::Message(message) => self.hear(message),
            Input::Settled { append } => self.settled(append),
            Input::Failed => self.fail(),
            Input::ReadOnly(is_read_only) => self.note_read_only(is_read_only),
            Input::Propose {
                request,
                payload,
                at_least,
            } => self.propose(request, payload, at_least),
            Input::Read { request, level } => self.read(request, level),
            Input::Elapse { request } => self.elapse(request),
            Input::Applied { upto, replies } => self.note_applied(upto, replies),
            Input::Flushed { upto } => self.note_flushed(upto),
            Input::Change { request, change } => self.change(request, change),
            Input::Handover { to } => self.hand_over(to),
            Input::Recover { request } => self.recover(request),
            Input::Scrub => self.scrub(),
            Input::Digested { at, digest } => self.digested(at, digest),
            Input::SnapshotOpened { id, at, time_ms } => self.snapshot_opened(id, at, time_ms),
            Input::SnapshotRead {
                id,
                number,
                bytes,
                last,
            } => self.snapshot_read(id, number, bytes, last),
            Input::ChunkStored { id, number } => self.chunk_stored(id, number),
            Input::SnapshotInstalled { id } => self.snapshot_installed(id),
        }
    }

    fn refuse_ended(&mut self, input: &Input) {
        if let Some(request) = request_of(input) {
            self.reply(request, Outcome::NotMaster(None));
        }
    }

    fn refuse_busy(&mut self, input: &Input) {
        if let Some(request) = request_of(input) {
            self.reply(request, Outcome::Refused(Refusal::Void));
        }
    }

    fn tick(&mut self) {
        if matches!(self.role, Role::Master(_)) {
            self.tick_master();
        } else if self.now.monotonic_ms >= self.election_due_ms {
            self.election_is_due();
        }
        self.reads
            .expire(self.now.monotonic_ms, self.options.read_ms, &mut self.out);
    }

    /// An append has settled: entries count, and messages that waited leave.
    fn settled(&mut self, append: u64) {
        let before = self.appends.stored();
        for message in self.appends.settle(append) {
            // What was to be said in a term that is over is not said any more.
            if message.term == self.state.term || matches!(message.body, Body::PreVote { .. }) {
                self.send_message(message);
            }
        }
        let stored = self.appends.stored();
        if stored > before {
            self.trace(|| Event::Stored { upto: stored });
        }
        match &self.role {
            Role::Follower => self.report_stored(),
            Role::Candidate(_) => self.count_own_vote(),
            Role::Master(_) => self.advance(),
        }
        self.apply();
    }

    /// Nothing can be stored or applied here any more. What is pending is unknown.
    fn fail(&mut self) {
        self.resign("its storage has failed");
        self.reads.drop_all(&mut self.out);
        self.records.clear();
        self.ended = true;
    }

    /// Hands out what is committed and stored here and has not been handed out yet.
    fn apply(&mut self) {
        let stored = if self.breaks(Mutation::CountUnsynced) {
            self.log.last().index
        } else {
            self.appends.stored()
        };
        let upto = self.commit.min(stored);
        if upto <= self.applying || self.state.void {
            return;
        }
        let mut entries = self.log.slice(self.applying + 1, upto, usize::MAX);
        self.applying = upto;
        if let Some(at) = self.scrubs_at(upto) {
            let rest = entries.split_off(entries.partition_point(|entry| entry.index <= at));
            self.hand_out(entries);
            self.out.push(Effect::Digest { at });
            entries = rest;
        }
        self.hand_out(entries);
    }

    fn hand_out(&mut self, entries: Vec<Arc<Entry>>) {
        if !entries.is_empty() {
            self.out.push(Effect::Apply(entries));
        }
    }

    fn note_applied(&mut self, upto: LogId, replies: Vec<(Index, crate::command::Reply)>) {
        if upto.index > self.applied.index {
            self.applied = upto;
            if let Some(entry) = self.log.entry(upto.index) {
                self.applied_time_ms = entry.time_ms;
            }
            self.trace(|| Event::Applied { upto });
        }
        self.note_replies(replies);
        self.acknowledge();
        if self.is_master() {
            self.drive_handover();
            self.leave_when_done();
        }
        let applied = self.applied.index;
        self.reads.applied(applied, &mut self.out);
        self.trim();
    }

    fn note_flushed(&mut self, upto: Index) {
        self.flushed = self.flushed.max(upto);
        self.trim();
    }

    /// Forgets entries that are applied, beyond what is kept for those who lag.
    fn trim(&mut self) {
        let keep_from = self.snapshot_needs_from().unwrap_or(Index::MAX);
        let mut upto = self.applied.index.min(keep_from.saturating_sub(1));
        if self.is_master() {
            // What may yet be lost has to be named then (rule 10).
            upto = upto.min(self.secured());
        }
        if self.log.bytes() <= self.options.uncommitted_bytes {
            upto = upto.min(self.unsecured_from.saturating_sub(1));
        }
        while self.log.bytes() > self.options.keep_bytes && self.log.before().index < upto {
            // In steps, so that one huge entry does not take all the others with it.
            let first = self.log.before().index + 2;
            self.log.forget_before(first.min(upto + 1));
        }
    }

    // What every part needs.

    fn breaks(&self, mutation: Mutation) -> bool {
        self.options.mutation == Some(mutation)
    }

    fn trace(&mut self, event: impl FnOnce() -> Event) {
        if self.options.trace {
            self.out.push(Effect::Trace(event()));
        }
    }

    fn reply(&mut self, request: RequestId, outcome: Outcome) {
        self.out.push(Effect::Reply { request, outcome });
    }

    fn send_message(&mut self, message: Message) {
        self.trace(|| Event::Sent {
            to: message.to.node,
            message: message.body.name(),
        });
        self.out.push(Effect::Send(message));
    }

    /// Sends what depends on term and vote alone, as soon as these are synced (rule 1).
    fn send(&mut self, to: Member, body: Body) {
        let message = Message {
            range: self.id,
            from: self.me,
            to,
            term: self.state.term,
            body,
        };
        let state_is_pending = self
            .records
            .iter()
            .any(|record| matches!(record, Record::HardState(_)));
        let append = if state_is_pending {
            self.appends.next()
        } else {
            self.state_append
        };
        if self.appends.has_settled(append) || self.breaks(Mutation::CountUnsynced) {
            self.send_message(message);
        } else if self.is_read_only {
            self.send_without_promise(message);
        } else {
            self.appends.hold(append, message);
        }
    }

    fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Logs term, vote and flags as they are now.
    fn record_state(&mut self) {
        self.record(Record::HardState(self.state));
    }

    fn emit_records(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.records);
        let synced = records
            .iter()
            .any(|record| matches!(record, Record::HardState(_)));
        let append = self
            .appends
            .begin(self.log.last().index, self.now.monotonic_ms);
        if synced {
            self.state_append = append;
        }
        self.out.push(Effect::Append {
            append,
            records,
            // What meta holds is promised whatever the keys' ranges promise.
            synced: synced || self.id == META,
        });
    }

    /// Appends an entry to the log, here. Whoever follows gets it with the next flush.
    fn push(&mut self, entry: Arc<Entry>) {
        self.record(Record::Entry(Arc::clone(&entry)));
        let configured = self.log.configured_at();
        self.log.push(entry);
        if self.log.configured_at() != configured {
            self.configuration_changed();
        }
    }

    /// Cuts the log off from `from` on. What it was is returned.
    fn truncate(&mut self, from: Index) -> Vec<Arc<Entry>> {
        let configured = self.log.configured_at();
        let cut = self.log.truncate(from);
        self.appends.truncate(from);
        self.record(Record::Truncate(from));
        self.trace(|| Event::Truncated { from });
        if self.log.configured_at() != configured {
            self.configuration_changed();
        }
        cut
    }

    fn configuration_changed(&mut self) {
        let at = self.log.configured_at();
        if self.options.trace {
            let configuration = self.log.configuration();
            let nodes = |members: &[Member]| members.iter().map(|member| member.node).collect();
            let outgoing = configuration.outgoing.as_ref();
            let event = Event::Configured {
                at,
                voters: nodes(&configuration.voters.members),
                outgoing: outgoing.map_or(Vec::new(), |side| nodes(&side.members)),
                learners: nodes(&configuration.learners),
            };
            self.out.push(Effect::Trace(event));
        }
        self.adopt_members();
    }
}

fn request_of(input: &Input) -> Option<RequestId> {
    match input {
        Input::Propose { request, .. }
        | Input::Read { request, .. }
        | Input::Elapse { request }
        | Input::Recover { request }
        | Input::Change { request, .. } => Some(*request),
        _ => None,
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
