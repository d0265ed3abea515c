//! A range that is all here, lent to the driver: the short way of a write.
//!
//! Where one copy is all there is of a range, nobody has to be asked, told or waited for: an entry is committed once
//! it has settled. So a driver may borrow the range while nothing is under way in it, and log and apply entries
//! by itself: the next index, the term that is, the range's clock and dice. It is the same log in the same
//! order. Before anything else happens to the range, the loan comes back, with everything that was logged applied.

use super::clock::LogClock;
use super::{Range, Role};
use crate::random::Random;
use crate::ring::effect::Now;
use crate::ring::ids::LogId;

/// A range that is lent: how it goes on.
#[derive(Clone, Debug)]
pub struct Loan {
    incarnation: LogId,
    last: LogId,
    last_time_ms: u64,
    clock: LogClock,
    random: Random,
}

/// What the next entry of a range that is lent has besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its term and index.
    pub at: LogId,
    /// Its time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its randomness.
    pub seed: u64,
}

impl Loan {
    /// The copy that is lent.
    pub fn incarnation(&self) -> LogId {
        self.incarnation
    }

    /// The last entry.
    pub fn last(&self) -> LogId {
        self.last
    }

    /// The time of the last entry, in milliseconds since the Unix epoch.
    pub fn last_time_ms(&self) -> u64 {
        self.last_time_ms
    }

    /// The next entry, which has to be logged behind those before it.
    pub fn next(&mut self, now: Now) -> Head {
        self.last.index += 1;
        self.last_time_ms = self.clock.time_ms(now).max(self.last_time_ms);
        Head {
            at: self.last,
            time_ms: self.last_time_ms,
            seed: self.random.next(),
        }
    }

    /// Moves the range's clock a little towards the host's; once a second, as a master does.
    pub fn slew(&mut self, now: Now) {
        self.clock.slew(now, 0);
    }
}

impl Range {
    /// Lends the range, if nobody else has a say in it and nothing is under way. Until it is
    /// [taken back](Self::take_back) it must hear of nothing but ticks, reads, flushes and what its storage is like.
    pub fn lend(&mut self) -> Option<Loan> {
        let Role::Master(office) = &self.role else {
            return None;
        };
        let goes_on = office.handover.is_none() && office.change.is_none() && !self.is_read_only;
        let last = self.log.last();
        let is_at_rest = self.records.is_empty()
            && self.applied == last
            && self.appends.stored() == last.index
            && self.appends.outstanding_since_ms().is_none();
        let is_all = self.may_read_alone() && self.log.configuration().learners.is_empty();
        (goes_on && is_at_rest && is_all).then(|| Loan {
            incarnation: self.me.incarnation,
            last,
            last_time_ms: self.log.last_time_ms(),
            clock: office.clock,
            random: Random::new(self.random.next()),
        })
    }

    /// Takes a loan back: everything up to its last entry is applied.
    pub fn take_back(&mut self, loan: &Loan) {
        if let Role::Master(office) = &mut self.role {
            office.clock = loan.clock;
        }
        if loan.last == self.applied {
            return;
        }
        self.log.go_on_after(loan.last, loan.last_time_ms);
        self.appends.replace(loan.last.index);
        self.commit = loan.last.index;
        self.applying = loan.last.index;
        self.applied = loan.last;
        self.applied_time_ms = loan.last_time_ms;
    }
}
