//! Crashes, and rule 9: a replica that may have forgotten something is flagged until it has it again.

use crate::log::{Index, Log, Term};
use crate::mutation::Mutation;
use crate::quorum::Id;
use crate::state::{Message, Replica, Role};
use crate::step::Step;

impl Step {
    /// The process dies and starts again. What was written is there; what had not settled is not.
    pub fn crash_process(&mut self, id: Id) {
        self.state.process_crashes += 1;
        let replica = self.state.replica_mut(id);
        replica.restart(replica.log.prefix(replica.stored));
        if replica.flagged {
            self.look_for_a_leader(id);
        }
    }

    /// The machine dies under less than `always`: what was not synced may be gone, and the replica cannot
    /// know (rule 9).
    pub fn crash_machine(&mut self, id: Id, kept: Log) {
        self.state.machine_crashes += 1;
        let replica = self.state.replica_mut(id);
        replica.restart(kept);
        replica.flagged = true;
        self.look_for_a_leader(id);
        let flagged = self.state.replicas.iter().filter(|r| r.flagged).count() as u8;
        let most = &mut self.state.seen.flagged_at_once;
        *most = flagged.max(*most);
    }

    fn look_for_a_leader(&mut self, id: Id) {
        let replica = self.state.replica_mut(id);
        replica.nonce += 1;
        let nonce = replica.nonce;
        self.state.send(Message::Ask { from: id, nonce });
    }

    pub fn on_ask(&mut self, id: Id, from: Id, nonce: u8) {
        let replica = self.state.replica(id);
        if replica.role == Role::Leader {
            let answer = Message::Answer {
                term: replica.ballot.term,
                to: from,
                nonce,
                last: replica.log.last_index(),
            };
            self.state.send(answer);
        }
    }

    pub fn on_answer(&mut self, id: Id, term: Term, nonce: u8, last: Index) {
        let is_fresh =
            nonce == self.state.replica(id).nonce || self.mutation == Some(Mutation::AnyNonce);
        let clears_at_once = self.mutation == Some(Mutation::ClearByLength);
        if self.admit(id, term) && is_fresh && self.state.replica(id).flagged {
            let replica = self.state.replica_mut(id);
            replica.target = Some(last);
            if clears_at_once {
                let length = replica.log.last_index();
                self.unflag(id, length);
            }
        }
    }

    /// The log is the leader's up to `matched`. If that is so much as the answer asked for, it is synced and
    /// the flag cleared.
    pub fn unflag(&mut self, id: Id, matched: Index) {
        let replica = self.state.replica_mut(id);
        if replica.flagged && replica.target.is_some_and(|target| matched >= target) {
            replica.sync_and_unflag();
        }
    }
}

impl Replica {
    fn restart(&mut self, kept: Log) {
        self.lose_office();
        self.ballot = self.disk;
        self.log = kept;
        self.stored = kept.last_index();
        self.synced = self.synced.min(self.stored);
        self.commit = 0;
        self.target = None;
    }

    pub fn sync_and_unflag(&mut self) {
        self.synced = self.stored;
        self.overwritten = Log::EMPTY;
        self.flagged = false;
        self.target = None;
    }

    /// What a crash of the machine may leave of the log.
    pub fn remains(&self) -> Vec<Log> {
        let written = self.log.prefix(self.stored);
        let mut remains = Vec::new();
        for log in [written, self.overwritten] {
            for kept in self.synced..=log.last_index() {
                let kept = log.prefix(kept);
                if !remains.contains(&kept) {
                    remains.push(kept);
                }
            }
        }
        remains
    }
}
