//! What a driver, a client or an observer may ask of a replica.

use std::sync::Arc;

use super::{Range, Role};
use crate::ring::effect::HardState;
use crate::ring::entry::Entry;
use crate::ring::ids::{Index, LogId, NodeId, RangeId, Term};
use crate::ring::membership::{Configuration, Member};

impl Range {
    /// Since when the oldest write has waited that was taken here.
    pub fn oldest_write_ms(&self) -> Option<u64> {
        match &self.role {
            Role::Master(office) => office.writes.oldest_ms(),
            _ => None,
        }
    }

    /// Whether this is the master, and copies are being made.
    pub fn has_learners(&self) -> bool {
        self.is_master() && !self.log.configuration().learners.is_empty()
    }

    /// The range.
    pub fn id(&self) -> RangeId {
        self.id
    }

    /// This copy.
    pub fn me(&self) -> Member {
        self.me
    }

    /// Whether this replica holds office. It may have a successor that it has not heard of.
    pub fn is_master(&self) -> bool {
        matches!(self.role, Role::Master(_))
    }

    /// Whether it campaigns.
    pub fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate(_))
    }

    /// The latest term seen.
    pub fn term(&self) -> Term {
        self.state.term
    }

    /// Who is the master, as far as is known.
    pub fn master(&self) -> Option<NodeId> {
        if self.is_master() {
            return Some(self.me.node);
        }
        self.following.master()
    }

    /// Whether whatever is applied here may be read, as the newest there is: nobody else can hold office.
    pub fn may_read_alone(&self) -> bool {
        let has_begun =
            matches!(&self.role, Role::Master(office) if self.applied.index >= office.began_at);
        has_begun && self.votes_alone() && !self.state.void && !self.ended
    }

    /// Everything up to here is committed, as far as is known.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The last entry that is applied.
    pub fn applied(&self) -> LogId {
        self.applied
    }

    /// The time of the last entry that is applied, in milliseconds: what reads go by.
    pub fn applied_time_ms(&self) -> u64 {
        self.applied_time_ms
    }

    /// The last entry of the log, settled or not.
    pub fn last(&self) -> LogId {
        self.log.last()
    }

    /// Everything up to here has settled.
    pub fn stored(&self) -> Index {
        self.appends.stored()
    }

    /// Who holds the range.
    pub fn configuration(&self) -> &Configuration {
        self.log.configuration()
    }

    /// Since which entry.
    pub fn configured_at(&self) -> Index {
        self.log.configured_at()
    }

    /// The configuration that acted at an index, and since which entry.
    pub fn configuration_at(&self, index: Index) -> (Index, &Configuration) {
        let (at, configuration) = self.log.configuration_at(index);
        (*at, configuration)
    }

    /// Term, vote and flags.
    pub fn state(&self) -> HardState {
        self.state
    }

    /// Whether it does nothing any more: its storage failed, or it was destroyed.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether its store takes nothing at present.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// The term of the entry at an index, if it is still held.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// Entries that are held, from an index on.
    pub fn entries_from(&self, from: Index) -> Vec<Arc<Entry>> {
        self.log.slice(from, self.log.last().index, usize::MAX)
    }
}
