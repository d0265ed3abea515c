//! The follower's side: taking the master's entries and snapshots, and saying what is stored (rules 1, 8, 9, 10).

use std::sync::Arc;

use super::{Mutation, Range, RangeLog, Role};
use crate::ring::effect::{Effect, HardState};
use crate::ring::entry::Entry;
use crate::ring::ids::{Index, LogId, NodeId};
use crate::ring::membership::Member;
use crate::ring::message::{Append, Body, Chunk, Message, Missing, Report, SnapshotHead};
use crate::ring::trace::Event;

/// What a follower knows of its master.
pub(super) struct Following {
    master: Option<Member>,
    /// The last master that was heard, in whatever term.
    known: Option<Member>,
    heard_ms: u64,
    /// The log is known to be the master's up to here; counts within one term.
    verified: Index,
    /// The round of the last append.
    round: u64,
    /// Something has been appended and not been reported.
    owes_report: bool,
    /// What a master has to answer before this replica counts again.
    nonce: Option<u64>,
    /// The index that has to be stored, once it has answered.
    remembers_at: Option<Index>,
    incoming: Option<Incoming>,
}

/// A snapshot that is being received.
struct Incoming {
    head: SnapshotHead,
    /// The part that is wanted next.
    next: u64,
    /// Whether the last part was handed out to be stored.
    last: bool,
    installing: bool,
}

impl Following {
    pub(super) fn new(nonce: Option<u64>) -> Self {
        Self {
            master: None,
            known: None,
            heard_ms: 0,
            verified: 0,
            round: 0,
            owes_report: false,
            nonce,
            remembers_at: None,
            incoming: None,
        }
    }

    pub(super) fn master(&self) -> Option<NodeId> {
        self.master.map(|member| member.node)
    }

    pub(super) fn known(&self) -> Option<Member> {
        self.known
    }

    pub(super) fn member(&self) -> Option<Member> {
        self.master
    }

    pub(super) fn lose_master(&mut self) {
        self.master = None;
    }

    /// Nothing that is known of the last term's master holds for the next.
    pub(super) fn begin_term(&mut self) {
        self.master = None;
        self.verified = 0;
        self.round = 0;
        self.owes_report = false;
        self.remembers_at = None;
        if !self.is_installing() {
            self.incoming = None;
        }
    }

    pub(super) fn heard_within(&self, now_ms: u64, time_ms: u64) -> bool {
        self.master.is_some() && now_ms < self.heard_ms + time_ms
    }

    /// Milliseconds since a master was last heard.
    pub(super) fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms)
    }

    pub(super) fn is_installing(&self) -> bool {
        self.incoming
            .as_ref()
            .is_some_and(|incoming| incoming.installing)
    }
}

impl Range {
    /// Takes this member for the term's master.
    fn follow(&mut self, master: Member) {
        if matches!(self.role, Role::Candidate(_)) {
            self.role = Role::Follower;
        }
        let before = self.following.master.replace(master);
        if before != Some(master) {
            self.ask_again();
        }
        self.following.known = Some(master);
        self.following.heard_ms = self.now.monotonic_ms;
        self.await_master();
    }

    pub(super) fn take_append(&mut self, from: Member, append: Append) {
        if self.is_master() {
            // Two masters in one term: nothing that this replica could mend.
            return;
        }
        self.follow(from);
        self.following.round = self.following.round.max(append.round);
        if self.state.void {
            return self.report_missing(append.before.index, 0, true);
        }
        if let Err(behind) = self.find(&append) {
            return self.miss(&append, behind);
        }
        let entries = match self.is_read_only {
            true => self.known_of(&append.entries),
            false => &append.entries[..],
        };
        let upto = entries
            .last()
            .map_or(append.before.index, |entry| entry.index);
        if !self.take_entries(entries) {
            return self.report_missing(append.before.index, 0, true);
        }
        self.following.verified = self.following.verified.max(upto);
        if self.following.verified >= self.log.last().index {
            self.unsecured_from = Index::MAX;
        }
        self.commit_upto(append.commit.min(self.following.verified));
        self.take_nonce(append.nonce);
        if self.records.is_empty() {
            self.report_stored_now();
        } else {
            self.following.owes_report = true;
        }
    }

    /// Whether the master's log and this one are equal up to where the entries begin. Else the index behind
    /// which they may meet.
    fn find(&self, append: &Append) -> Result<(), Index> {
        let (before, held) = (append.before, self.log.before());
        if before.index == 0 || self.log.term_at(before.index) == Some(before.term) {
            return Ok(());
        }
        if before.index < held.index {
            // What was there has been applied and forgotten here.
            let same = append.entries.iter().any(|entry| entry.id() == held);
            return if same { Ok(()) } else { Err(held.index) };
        }
        let last = self.log.last().index;
        if before.index > last {
            return Err(last);
        }
        let common = self.log.common_with(&append.terms, before.index - 1);
        Err(common.map_or(held.index.min(before.index - 1), |common| common.index))
    }

    fn miss(&mut self, append: &Append, behind: Index) {
        let before = append.before.index;
        let disagrees_on_applied = before <= self.applying && before >= self.log.before().index;
        let is_behind_all = behind < self.log.before().index || before == self.log.before().index;
        if disagrees_on_applied && is_behind_all {
            // Nothing that is held here is the master's: the common part lies further back.
            self.diverge(LogId::default(), self.log.before().index + 1);
            return self.report_missing(before, 0, true);
        }
        self.report_missing(before, behind, false);
    }

    /// Appends what is new; what differs is cut off. False if this replica has diverged.
    fn take_entries(&mut self, entries: &[Arc<Entry>]) -> bool {
        for entry in entries {
            let held = self.log.before();
            if entry.index <= held.index {
                if entry.index == held.index && entry.term != held.term {
                    self.diverge(LogId::default(), held.index + 1);
                    return false;
                }
                continue;
            }
            match self.log.term_at(entry.index) {
                Some(term) if term == entry.term => continue,
                Some(_) if !self.cut_off(entry.index) => return false,
                _ => {}
            }
            let at = entry.id();
            self.push(Arc::clone(entry));
            self.trace(|| Event::Appended { at, request: None });
        }
        true
    }

    /// Makes room for a master's entry at `from`. False if what lies there has been applied: then this
    /// replica has diverged.
    fn cut_off(&mut self, from: Index) -> bool {
        let behind = self.log.id_at(from - 1).unwrap_or_default();
        if from <= self.applying && !self.breaks(Mutation::KeepDiverged) {
            self.diverge(behind, from);
            return false;
        }
        let cut = self.truncate(from);
        if !self.log.configuration().writes_survive() {
            // They may have been acknowledged by a master that was alone.
            self.write_lost(cut, behind);
        }
        self.commit = self.commit.min(from - 1);
        self.applying = self.applying.min(from - 1);
        true
    }

    /// The applied state is not what the master's log makes of it (rule 10): names what is lost, and stays
    /// out of everything until a snapshot has replaced the state.
    fn diverge(&mut self, behind: LogId, from: Index) {
        let lost = self.log.slice(from, self.log.last().index, usize::MAX);
        let entries = lost.iter().filter(|entry| entry.is_command()).count() as u64;
        self.trace(|| Event::Diverged { behind, entries });
        self.emit_records();
        self.write_lost(lost, behind);
        self.state.void = true;
        self.record_state();
        self.following.verified = 0;
    }

    /// The applied state is not to be relied on, though the log is (rule 13). A snapshot replaces both, and may be
    /// of an index before what was reported here: until that is stored again, this replica does not count.
    pub(super) fn distrust(&mut self) {
        if !self.log.configuration().writes_survive() {
            // What lies behind the master's log may have been acknowledged, and goes with the rest.
            let behind = self.log.id_at(self.following.verified).unwrap_or_default();
            let last = self.log.last().index;
            let lost = self.log.slice(behind.index + 1, last, usize::MAX);
            self.emit_records();
            self.write_lost(lost, behind);
        }
        self.state.void = true;
        self.state.amnesiac = true;
        self.record_state();
        self.following.nonce = Some(self.random.next());
        self.following.remembers_at = None;
        self.following.verified = 0;
    }

    fn write_lost(&mut self, mut entries: Vec<Arc<Entry>>, behind: LogId) {
        entries.retain(|entry| entry.is_command());
        if !entries.is_empty() {
            self.out.push(Effect::WriteLost { entries, behind });
        }
    }

    fn commit_upto(&mut self, upto: Index) {
        if upto > self.commit {
            self.commit = upto;
            if let Some(upto) = self.log.id_at(upto) {
                self.trace(|| Event::Committed { upto });
            }
            self.apply();
        }
    }

    /// A current master has answered: once everything that it had then is stored, nothing that this
    /// replica ever reported to it is missing (rule 9).
    fn take_nonce(&mut self, answer: Option<(u64, Index)>) {
        if let (Some(mine), Some((nonce, last))) = (self.following.nonce, answer)
            && mine == nonce
            && self.following.remembers_at.is_none()
        {
            self.following.remembers_at = Some(last);
        }
        self.remember();
    }

    fn remember(&mut self) {
        let stored = self.appends.stored().min(self.following.verified);
        if self.following.remembers_at.is_some_and(|at| stored >= at) {
            self.following.nonce = None;
            self.following.remembers_at = None;
            self.state.amnesiac = false;
            self.record_state();
            self.trace(|| Event::Remembered);
        }
    }

    /// Entries have settled: the master may count them.
    pub(super) fn report_stored(&mut self) {
        self.remember();
        let is_settled = self.records.is_empty() && self.appends.outstanding_since_ms().is_none();
        if self.following.owes_report && self.following.master.is_some() {
            self.following.owes_report = !is_settled;
            self.report_stored_now();
        }
    }

    fn report_stored_now(&mut self) {
        let stored = if self.breaks(Mutation::CountUnsynced) {
            self.log.last().index
        } else {
            self.appends.stored()
        };
        let report = self.report(stored.min(self.following.verified), None);
        self.send_to_master(report);
    }

    fn report_missing(&mut self, before: Index, behind: Index, snapshot: bool) {
        let missing = Missing {
            before,
            behind,
            snapshot,
        };
        let report = self.report(0, Some(missing));
        self.send_to_master(report);
    }

    fn send_to_master(&mut self, report: Report) {
        self.tell_master(Body::Report(report));
    }

    pub(super) fn tell_master(&mut self, body: Body) {
        if let Some(master) = self.following.master {
            self.send(master, body);
        }
    }

    /// Where writes need not survive, a follower cannot tell who is left out for good. Its master can.
    pub(super) fn pass_on_strangers(&mut self, message: &Message) {
        let from = message.from;
        let is_stranger = self.log.configuration().member(from.node) != Some(from);
        let again = matches!(message.body, Body::Knock { passed_on: true });
        let Some(master) = self.following.master.filter(|_| is_stranger && !again) else {
            return;
        };
        self.send_message(Message {
            range: self.id,
            from,
            to: master,
            term: 0,
            body: Body::Knock { passed_on: true },
        });
    }

    pub(super) fn report(&self, stored: Index, missing: Option<Missing>) -> Report {
        let forgets = !self.breaks(Mutation::ForgetAmnesia);
        Report {
            stored,
            missing,
            applied: self.applied.index,
            round: self.following.round,
            nonce: self.following.nonce.filter(|_| forgets),
            wall_ms: self.now.wall_ms,
            is_read_only: self.is_read_only,
        }
    }

    // Snapshots, as they come in.

    pub(super) fn take_chunk(&mut self, from: Member, chunk: Chunk) {
        if self.is_master() {
            return;
        }
        self.follow(from);
        if self.is_read_only {
            let report = self.report(0, None);
            return self.send_to_master(report);
        }
        let at = chunk.head.at;
        if !self.state.void && self.has(at, &chunk) {
            self.following.verified = self.following.verified.max(at.index);
            self.commit_upto(at.index);
            return self.report_stored_now();
        }
        let is_new = (self.following.incoming.as_ref())
            .is_none_or(|incoming| incoming.head.id != chunk.head.id);
        if is_new {
            if chunk.number != 0 {
                return self.ask_chunk(from, chunk.head.id, 0);
            }
            self.following.incoming = Some(Incoming {
                head: chunk.head.clone(),
                next: 0,
                last: false,
                installing: false,
            });
            self.name_what_a_snapshot_loses(&chunk);
        }
        let Some(incoming) = &mut self.following.incoming else {
            return;
        };
        if chunk.number == incoming.next && !incoming.last {
            incoming.last = chunk.last;
            self.out.push(Effect::ChunkStore {
                id: chunk.head.id,
                number: chunk.number,
                bytes: chunk.bytes,
            });
        } else if chunk.number < incoming.next {
            let next = incoming.next;
            self.ask_chunk(from, chunk.head.id, next);
        }
    }

    /// Whether nothing of a snapshot is news here.
    fn has(&self, at: LogId, chunk: &Chunk) -> bool {
        if self.log.configuration().writes_survive() {
            // What is applied is committed, so it is the master's.
            return at.index <= self.applied.index || self.log.term_at(at.index) == Some(at.term);
        }
        let agrees = self
            .log
            .common_with(&chunk.terms, Index::MAX)
            .is_some_and(|common| common.index >= self.applied.index.min(at.index));
        agrees && self.log.term_at(at.index) == Some(at.term)
    }

    /// Where acknowledged writes may be lost, those that a snapshot passes over are named (rule 10).
    fn name_what_a_snapshot_loses(&mut self, chunk: &Chunk) {
        if self.log.configuration().writes_survive() || self.state.void {
            return;
        }
        let behind = self
            .log
            .common_with(&chunk.terms, Index::MAX)
            .unwrap_or_default();
        let lost = self.log.slice(
            behind.index.max(self.log.before().index) + 1,
            self.log.last().index,
            usize::MAX,
        );
        self.write_lost(lost, behind);
    }

    fn ask_chunk(&mut self, to: Member, id: u64, next: u64) {
        self.send(to, Body::ChunkStored { id, next });
    }

    pub(super) fn chunk_stored(&mut self, id: u64, number: u64) {
        let Some(incoming) = &mut self.following.incoming else {
            return;
        };
        if incoming.head.id != id || number != incoming.next {
            return;
        }
        incoming.next += 1;
        let next = incoming.next;
        if incoming.last {
            incoming.installing = true;
            let head = incoming.head.clone();
            let state = HardState {
                void: false,
                ..self.state
            };
            self.emit_records();
            self.out.push(Effect::SnapshotInstall { head, state });
        } else if let Some(master) = self.following.master {
            self.ask_chunk(master, id, next);
        }
    }

    pub(super) fn snapshot_installed(&mut self, id: u64) {
        let Some(incoming) = self
            .following
            .incoming
            .take_if(|incoming| incoming.head.id == id)
        else {
            return;
        };
        let SnapshotHead {
            at,
            time_ms,
            configuration,
            configured_at,
            ..
        } = incoming.head;
        self.log = RangeLog::new(at, time_ms, vec![(configured_at, configuration)]);
        self.appends.replace(at.index);
        self.unsecured_from = Index::MAX;
        self.state.void = false;
        self.commit = at.index;
        self.applying = at.index;
        self.applied = at;
        self.applied_time_ms = time_ms;
        self.flushed = at.index;
        self.following.verified = at.index;
        self.following.owes_report = false;
        self.trace(|| Event::SnapshotInstalled { at });
        self.configuration_changed();
        self.remember();
        self.report_stored_now();
    }
}
