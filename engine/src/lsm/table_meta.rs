//! What the tree knows of a table without opening it.

use std::ops::Bound;

use super::span::Span;
use crate::record::SEQ_MAX;
use crate::storage::Object;
use crate::{Error, Result};

/// What a table knows about the deadlines of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// Records that have one.
    pub count: u64,
    /// The earliest; 0 when there is none.
    pub min_ms: u64,
    /// The latest; 0 when there is none.
    pub max_ms: u64,
}

impl Deadlines {
    /// About how many have passed at `now_ms`, as if they were spread evenly.
    pub fn expired(&self, now_ms: u64) -> u64 {
        if self.count == 0 || now_ms < self.min_ms {
            return 0;
        }
        if now_ms >= self.max_ms {
            return self.count;
        }
        let share = u128::from(now_ms - self.min_ms) * u128::from(self.count)
            / u128::from(self.max_ms - self.min_ms);
        u64::try_from(share).unwrap_or(self.count)
    }
}

/// How much of a file of large values a table refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuesRef {
    /// The file's object id.
    pub id: u64,
    /// Bytes of it that the table's records refer to.
    pub bytes: u64,
}

/// A file of large values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuesFile {
    /// Its object id; from the same counter as tables.
    pub id: u64,
    /// Bytes of values in it, counted as [`ValuesRef::bytes`] counts them.
    pub bytes: u64,
}

/// What is known of a table without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMeta {
    /// Its object id.
    pub id: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The smallest key of its records and the smallest start of its range deletes.
    pub smallest: Box<[u8]>,
    /// The largest key of its records (included), or the furthest end of its range deletes (excluded, or
    /// unbounded), whichever lies further on.
    pub largest: Bound<Box<[u8]>>,
    /// The smallest sequence number in it, range deletes included.
    pub smallest_seq: u64,
    /// The largest sequence number in it, range deletes included.
    pub largest_seq: u64,
    /// Records in it, tombstones included, range deletes not.
    pub entries: u64,
    /// Tombstones among them.
    pub deletes: u64,
    /// Range deletes in it.
    pub range_deletes: u64,
    /// Its records' deadlines.
    pub deadlines: Deadlines,
    /// The files of large values it refers to, by id.
    pub values: Vec<ValuesRef>,
}

impl TableMeta {
    /// The keys that the table says something about.
    #[inline]
    pub fn span(&self) -> Span<'_> {
        Span {
            start: &self.smallest,
            end: match &self.largest {
                Bound::Included(key) => Bound::Included(key),
                Bound::Excluded(key) => Bound::Excluded(key),
                Bound::Unbounded => Bound::Unbounded,
            },
        }
    }

    /// Whether it makes sense by itself.
    pub(super) fn check(&self) -> Result<()> {
        let complaint = if self.span().is_empty() {
            "its largest key lies before its smallest"
        } else if self.smallest_seq > self.largest_seq || self.largest_seq > SEQ_MAX {
            "its sequence numbers are out of order"
        } else if self.deletes > self.entries || self.deadlines.count > self.entries {
            "it counts more tombstones or deadlines than records"
        } else if self.deadlines.min_ms > self.deadlines.max_ms {
            "its deadlines are out of order"
        } else if self.entries == 0 && self.range_deletes == 0 {
            "it is empty"
        } else if self.values.windows(2).any(|pair| pair[0].id >= pair[1].id) {
            "its references to values are out of order"
        } else {
            return Ok(());
        };
        Err(Error::corrupt("checking a table's description", complaint).on(Object::Table(self.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_records_are_estimated() {
        let deadlines = Deadlines {
            count: 100,
            min_ms: 1000,
            max_ms: 2000,
        };
        assert_eq!(deadlines.expired(999), 0);
        assert_eq!(deadlines.expired(1500), 50);
        assert_eq!(deadlines.expired(2000), 100);
        assert_eq!(Deadlines::default().expired(5), 0);
    }
}
