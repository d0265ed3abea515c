//! The quorum arithmetic: how many replicas it takes, from N, W and R.

use std::fmt;

pub type Id = u8;
pub const REPLICAS: Id = 3;

/// Some of the replicas.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Set(pub u8);

impl Set {
    pub const ALL: Self = Self(0b111);

    pub fn only(id: Id) -> Self {
        Self(1 << id)
    }

    pub fn with(self, id: Id) -> Self {
        Self(self.0 | 1 << id)
    }

    pub fn contains(self, id: Id) -> bool {
        self.0 & 1 << id != 0
    }

    pub fn count(self) -> u8 {
        self.0.count_ones() as u8
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn where_(condition: impl Fn(Id) -> bool) -> Self {
        let members = (0..REPLICAS).filter(|id| condition(*id));
        members.fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries((0..REPLICAS).filter(|id| self.contains(*id)))
            .finish()
    }
}

/// The voters of a range, and its W and R.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub members: Set,
    pub w: u8,
    pub r: u8,
}

impl Config {
    /// A row of the table, for all three replicas.
    pub const fn row(w: u8, r: u8) -> Self {
        Self {
            members: Set::ALL,
            w,
            r,
        }
    }

    pub fn n(self) -> u8 {
        self.members.count()
    }

    pub fn reads_are_strong(self) -> bool {
        self.w + self.r > self.n()
    }

    /// E: this many elect.
    pub fn election(self) -> u8 {
        let majority = self.n() / 2 + 1;
        match self.reads_are_strong() {
            true => majority.max(self.n() - self.w + 1),
            false => majority,
        }
    }

    /// C: an entry on this many is committed.
    pub fn commit(self) -> u8 {
        self.w.min(self.n() - self.n() / 2)
    }

    /// K: a master that this many still follow has no successor.
    pub fn confirmation(self) -> u8 {
        self.n() - self.election() + 1
    }

    pub fn members_among(self, set: Set) -> u8 {
        self.members.and(set).count()
    }
}

/// The configuration in effect: one, or two that both count (rule 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    pub first: Config,
    pub second: Option<Config>,
}

impl Sides {
    pub fn all(self, condition: impl Fn(Config) -> bool) -> bool {
        condition(self.first) && self.second.is_none_or(condition)
    }

    pub fn has_member(self, id: Id) -> bool {
        !self.all(|side| !side.members.contains(id))
    }
}

#[test]
fn the_rows_of_the_table_have_their_quorums() {
    let quorums = |w, r| {
        let row = Config::row(w, r);
        (row.election(), row.commit(), row.confirmation())
    };
    assert_eq!(quorums(2, 2), (2, 2, 2));
    assert_eq!(quorums(3, 1), (2, 2, 2));
    assert_eq!(quorums(1, 3), (3, 1, 1));
    assert_eq!(quorums(1, 1), (2, 1, 2));
}
