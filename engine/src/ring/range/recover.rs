//! An operator makes one copy the whole range (rule 9): when too many others are gone for a master to be
//! elected, and nothing but this is left.
//!
//! What only the others knew is lost. It never happens by itself.

use std::sync::Arc;

use super::{Following, Range};
use crate::ring::effect::{HardState, Outcome, Refusal};
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{RequestId, Term};
use crate::ring::membership::{Configuration, Voters};
use crate::ring::quorum::Quorum;
use crate::ring::trace::Event;

/// Terms that are passed over, and up to twice that by chance: those who are gone may have held office in terms
/// that this copy has not heard of, and no entry of theirs must share its identity with one that is appended
/// here. Nor must those of two copies that are both recovered by mistake: the later term wins.
const TERMS_PASSED: Term = 1 << 20;

impl Range {
    pub(super) fn recover(&mut self, request: RequestId) {
        if let Some(refusal) = self.cannot_recover() {
            return self.reply(request, Outcome::Refused(refusal));
        }
        self.resign("it is made the whole range");
        self.following = Following::new(None);
        let behind = self.log.last();
        self.trace(|| Event::Recovered { behind });
        let passed = TERMS_PASSED + self.random.below(TERMS_PASSED);
        self.state = HardState {
            term: self.state.term + passed,
            vote: Some(self.me.node),
            amnesiac: false,
            void: false,
        };
        self.record_state();
        // It is in the same append as the vote, and acts before that: nobody else is asked for a vote.
        self.push(Arc::new(Entry {
            term: self.state.term,
            index: behind.index + 1,
            time_ms: self.log.last_time_ms(),
            seed: 0,
            content: Content::Configuration(self.alone()),
        }));
        self.recovering = Some(request);
        self.stand();
    }

    fn cannot_recover(&self) -> Option<Refusal> {
        if self.hears_a_master() || self.is_master() {
            return Some(Refusal::Led);
        }
        // A copy that was begun and never told who the members are holds nothing.
        let knows_nothing = self.log.configuration().members().is_empty();
        knows_nothing.then_some(Refusal::Void)
    }

    /// This member as the only one.
    fn alone(&self) -> Configuration {
        Configuration {
            voters: Voters {
                members: vec![self.me],
                quorum: Quorum::ALONE,
            },
            outgoing: None,
            learners: Vec::new(),
            semantics: self.log.configuration().semantics,
        }
    }
}
