//! A key's value, small enough to copy and compare: a list is its length and a digest.
//!
//! Digests are 64 bits and fingerprints 128: that two differ only in what they stand for is not
//! provided against.

use std::fmt;

use super::super::history::Value;
use crate::random::Random;

/// What a key holds, digested. An empty list is an absent key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cell {
    Absent,
    Register(u64),
    Counter(i64),
    List { len: u32, digest: u64 },
}

/// A cell as an observation of it: values of a list differ in length alone, while nothing is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sight {
    pub(super) key: u32,
    tag: u8,
    bits: u64,
}

impl Cell {
    pub(super) fn of(value: Option<&Value>) -> Self {
        match value {
            None => Self::Absent,
            Some(Value::Register(value)) => Self::Register(*value),
            Some(Value::Counter(count)) => Self::Counter(*count),
            Some(Value::List(list)) => list.iter().fold(Self::Absent, |cell, &element| {
                cell.append(element).unwrap_or(cell)
            }),
        }
    }

    /// The counter at `count`, which one who never counted does not have.
    pub(super) fn counted(count: i64) -> Self {
        match count {
            0 => Self::Absent,
            _ => Self::Counter(count),
        }
    }

    pub(super) fn increment(self) -> Option<Self> {
        match self {
            Self::Absent => Some(Self::Counter(1)),
            Self::Counter(count) => Some(Self::Counter(count.wrapping_add(1))),
            Self::Register(_) | Self::List { .. } => None,
        }
    }

    pub(super) fn append(self, element: u64) -> Option<Self> {
        let (len, digest) = match self {
            Self::Absent => (0, 0),
            Self::List { len, digest } => (len, digest),
            Self::Register(_) | Self::Counter(_) => return None,
        };
        let digest = Random::new(digest ^ element.rotate_left(32)).next() ^ element;
        Some(Self::List {
            len: len + 1,
            digest,
        })
    }

    /// The length of a list; absent is empty.
    pub(super) fn len(self) -> Option<u32> {
        match self {
            Self::Absent => Some(0),
            Self::List { len, .. } => Some(len),
            Self::Register(_) | Self::Counter(_) => None,
        }
    }

    pub(super) fn sight(self, key: u32) -> Sight {
        let (tag, bits) = match self {
            Self::Absent => (0, 0),
            Self::Register(value) => (1, value),
            Self::Counter(count) => (2, count.cast_unsigned()),
            Self::List { len, .. } => (3, u64::from(len)),
        };
        Sight { key, tag, bits }
    }

    pub(super) fn fingerprint(self, key: u32) -> u128 {
        let (tag, bits, digest) = match self {
            Self::Absent => return 0,
            Self::Register(value) => (1, value, 0),
            Self::Counter(count) => (2, count.cast_unsigned(), 0),
            Self::List { len, digest } => (3, u64::from(len), digest),
        };
        fingerprint(u64::from(key) << 8 | tag, bits, digest)
    }
}

impl Sight {
    /// A list seen by its length alone.
    pub(super) fn of_length(key: u32, len: u32) -> Self {
        let tag = if len == 0 { 0 } else { 3 };
        let bits = u64::from(len);
        Self { key, tag, bits }
    }
}

/// Mixes three words well enough that sums of fingerprints stand for sets.
pub(super) fn fingerprint(first: u64, second: u64, third: u64) -> u128 {
    let mix = |seed: u64| {
        let mixed = Random::new(seed ^ first).next();
        let mixed = Random::new(mixed ^ second).next();
        Random::new(mixed ^ third).next()
    };
    u128::from(mix(0x5bd1_e995)) << 64 | u128::from(mix(0x2545_f491_4f6c_dd1d))
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Register(value) => write!(f, "{value}"),
            Self::Counter(count) => write!(f, "count {count}"),
            Self::List { len, .. } => write!(f, "a list of {len}"),
        }
    }
}
