//! The arithmetic of N, W and R: how many replicas elect, commit, acknowledge and confirm.
//!
//! Four numbers follow from the three, and every promise of a range rests on how they overlap. Nothing
//! else in the ring may count replicas.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// How many replicas hold a range, store a write before it is acknowledged, and are heard by a read.
///
/// ```
/// use trilith::ring::Quorum;
/// let balanced = Quorum::new(3, 2, 2)?;
/// assert_eq!((balanced.elect(), balanced.commit(), balanced.confirm()), (2, 2, 2));
/// assert!(balanced.reads_are_strong() && balanced.writes_survive());
/// let asynchronous = Quorum::new(3, 1, 1)?;
/// assert!(!asynchronous.reads_are_strong() && !asynchronous.writes_survive());
/// # Ok::<(), trilith::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quorum {
    n: u8,
    w: u8,
    r: u8,
}

/// The most replicas that a range may have.
pub const REPLICAS_MOST: u8 = 9;

impl Quorum {
    /// A range that is alone.
    pub const ALONE: Self = Self { n: 1, w: 1, r: 1 };

    /// `n` replicas, `w` of which store a write before it is acknowledged; `r` of which a read hears.
    ///
    /// # Errors
    ///
    /// `Invalid` unless 1 <= w, r <= n <= 9.
    pub fn new(n: u8, w: u8, r: u8) -> Result<Self> {
        let fits = |quorum: u8| (1..=n).contains(&quorum);
        if (1..=REPLICAS_MOST).contains(&n) && fits(w) && fits(r) {
            return Ok(Self { n, w, r });
        }
        Err(Error::new(
            ErrorKind::Invalid,
            "setting the quorums",
            format!("N {n}, W {w}, R {r}: W and R go from 1 to N, and N from 1 to {REPLICAS_MOST}"),
        ))
    }

    /// Replicas of the range.
    pub fn replicas(self) -> u8 {
        self.n
    }

    /// Replicas that have stored a write when it is acknowledged (W).
    pub fn acknowledge(self) -> u8 {
        self.w
    }

    /// R, as it was configured.
    pub fn read(self) -> u8 {
        self.r
    }

    /// Replicas that elect a master (E).
    pub fn elect(self) -> u8 {
        let majority = self.n / 2 + 1;
        if self.reads_are_strong() {
            majority.max(self.n - self.w + 1)
        } else {
            majority
        }
    }

    /// Replicas that commit an entry, the master included (C).
    pub fn commit(self) -> u8 {
        self.w.min(self.n - self.n / 2)
    }

    /// Replicas, the master included, that must follow a master for there to be no newer one (K).
    pub fn confirm(self) -> u8 {
        self.n - self.elect() + 1
    }

    /// Whether a read that asks for nothing else is a strong one: W + R > N.
    pub fn reads_are_strong(self) -> bool {
        self.w + self.r > self.n
    }

    /// Whether what was acknowledged is known to whoever is elected next: W + E > N.
    pub fn writes_survive(self) -> bool {
        self.w + self.elect() > self.n
    }
}

impl std::fmt::Display for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{}", self.n, self.w, self.r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Quorum> {
        (1..=REPLICAS_MOST).flat_map(|n| {
            (1..=n).flat_map(move |w| (1..=n).filter_map(move |r| Quorum::new(n, w, r).ok()))
        })
    }

    #[test]
    fn the_four_rows_of_the_design() {
        let row = |n, w, r| {
            let quorum = Quorum::new(n, w, r).unwrap();
            [quorum.elect(), quorum.commit(), quorum.confirm()]
        };
        assert_eq!(row(3, 2, 2), [2, 2, 2]);
        assert_eq!(row(3, 3, 1), [2, 2, 2]);
        assert_eq!(row(3, 1, 3), [3, 1, 1]);
        assert_eq!(row(3, 1, 1), [2, 1, 2]);
        assert_eq!(row(1, 1, 1), [1, 1, 1]);
    }

    #[test]
    fn two_masters_are_never_elected_in_one_term() {
        assert!(all().all(|quorum| 2 * quorum.elect() > quorum.replicas()));
    }

    #[test]
    fn whoever_is_confirmed_has_no_successor() {
        assert!(all().all(|quorum| quorum.confirm() + quorum.elect() > quorum.replicas()));
    }

    #[test]
    fn where_reads_are_strong_an_elected_master_knows_what_was_committed() {
        let strong = all().filter(|quorum| quorum.reads_are_strong());
        for quorum in strong {
            let overlap = quorum.elect() + quorum.acknowledge();
            assert!(overlap > quorum.replicas(), "{quorum}");
            assert!(quorum.writes_survive(), "{quorum}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (n, w, r) in [(0, 0, 0), (3, 0, 1), (3, 4, 1), (3, 1, 4), (10, 1, 1)] {
            assert!(Quorum::new(n, w, r).is_err());
        }
    }
}
