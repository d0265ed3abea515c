//! Rule 8: which configuration is in effect, and how it changes.

use crate::log::Payload;
use crate::mutation::Mutation;
use crate::quorum::{Config, Id, Sides};
use crate::state::{Role, last_change};
use crate::step::Step;

impl Step {
    /// Rule 8: the configuration that a replica acts on is the last one that it has appended, which a
    /// truncation takes back.
    pub fn sides(&self, id: Id) -> Sides {
        let replica = self.state.replica(id);
        let log = match self.mutation {
            Some(Mutation::ActOnCommit) => replica.log.prefix(replica.commit),
            _ => replica.log,
        };
        self.state.sides_by(log)
    }

    /// Whether `enough` holds on every side that counts.
    pub fn counts(&self, id: Id, enough: impl Fn(Config) -> bool) -> bool {
        let sides = self.sides(id);
        match (self.mutation, sides.second) {
            (Some(Mutation::NewSideOnly), Some(new)) => enough(new),
            _ => sides.all(enough),
        }
    }

    /// The next entry of a change, if the leader may append it now: one change at a time, and after an entry
    /// of its own term is committed.
    pub fn next_change(&self, id: Id) -> Option<Payload> {
        let replica = self.state.replica(id);
        if replica.role != Role::Leader || !replica.has_committed_in_its_term() {
            return None;
        }
        match last_change(replica.log) {
            None if self.mutation == Some(Mutation::SingleStep) => Some(Payload::Leave),
            None => Some(Payload::Joint),
            Some((index, Payload::Joint)) if index <= replica.commit => Some(Payload::Leave),
            Some(_) => None,
        }
    }
}
