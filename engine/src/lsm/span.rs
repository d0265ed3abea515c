//! A stretch of keys, as tables and merges cover them.

use std::ops::Bound;

/// A stretch of keys: `start` included, up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<'a> {
    /// The first key.
    pub start: &'a [u8],
    /// The last key, or the first one beyond, or none.
    pub end: Bound<&'a [u8]>,
}

impl<'a> Span<'a> {
    /// Every key there can be.
    pub const ALL: Span<'static> = Span {
        start: b"",
        end: Bound::Unbounded,
    };

    /// From `start` up to and without `end` (`None`: no end), as ranges are given everywhere else.
    pub fn between(start: &'a [u8], end: Option<&'a [u8]>) -> Self {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        Self { start, end }
    }

    /// Whether the stretch holds no key.
    pub fn is_empty(&self) -> bool {
        self.ends_before(self.start)
    }

    /// Whether every key of the stretch is smaller than `key`.
    #[inline]
    pub fn ends_before(&self, key: &[u8]) -> bool {
        match self.end {
            Bound::Included(end) => end < key,
            Bound::Excluded(end) => end <= key,
            Bound::Unbounded => false,
        }
    }

    /// Whether the stretch holds `key`.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && !self.ends_before(key)
    }

    /// Whether the two share a key.
    pub fn overlaps(&self, other: Span<'_>) -> bool {
        !self.ends_before(other.start) && !other.ends_before(self.start)
    }

    /// The smallest stretch that holds both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: later_end(self.end, other.end),
        }
    }

    /// Joins many; `None` if there are none.
    pub fn join_all(spans: impl IntoIterator<Item = Self>) -> Option<Self> {
        spans.into_iter().reduce(Self::join)
    }
}

/// The one of two ends that lies further on.
fn later_end<'a>(a: Bound<&'a [u8]>, b: Bound<&'a [u8]>) -> Bound<&'a [u8]> {
    let rank = |end| match end {
        Bound::Included(key) => Some((key, 1)),
        Bound::Excluded(key) => Some((key, 0)),
        Bound::Unbounded => None,
    };
    match (rank(a), rank(b)) {
        (Some(x), Some(y)) => {
            if x >= y {
                a
            } else {
                b
            }
        }
        _ => Bound::Unbounded,
    }
}
