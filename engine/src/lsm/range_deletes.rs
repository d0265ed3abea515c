//! Range deletes, arranged so that "is this key deleted, as of when?" is a binary search.
//!
//! The deletes are cut where any of them starts or ends; between two cuts the same ones apply, and their
//! sequence numbers are kept newest first. Cloning shares, so a reader holds the set as it was. Adding
//! costs the cuts behind the new range's start (they shift) and those it covers; a set that a reader
//! shares is copied first (pointers, not keys). Thousands are fine, nested thousands cost their square.

use std::cmp::Reverse;
use std::sync::Arc;

use super::levels::Span;
use crate::record::RangeDelete;

/// From `start` to the start of the next fragment, the deletes of `seqs` (newest first) apply.
#[derive(Clone, Debug)]
struct Fragment {
    start: Arc<[u8]>,
    seqs: Arc<[u64]>,
}

impl Fragment {
    /// The newest sequence number that is at most `seq_max`; 0 if there is none.
    #[inline]
    fn newest(&self, seq_max: u64) -> u64 {
        match self.seqs.first() {
            None => 0,
            Some(&newest) if newest <= seq_max => newest,
            Some(_) => {
                let at = self.seqs.partition_point(|&seq| seq > seq_max);
                self.seqs.get(at).copied().unwrap_or(0)
            }
        }
    }
}

/// A set of range deletes.
#[derive(Clone, Debug, Default)]
pub struct RangeDeletes {
    fragments: Arc<Vec<Fragment>>,
    /// The newest of all; 0 says that the set is empty, without a look at it.
    newest: u64,
}

impl RangeDeletes {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.newest == 0
    }

    /// The newest sequence number in the set; 0 if it is empty.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Adds one. A range that holds no key, or one with sequence number 0, changes nothing.
    pub fn add(&mut self, start: &[u8], end: Option<&[u8]>, seq: u64) {
        if seq == 0 || end.is_some_and(|end| end <= start) {
            return;
        }
        self.newest = self.newest.max(seq);
        let fragments = Arc::make_mut(&mut self.fragments);
        let from = cut(fragments, start);
        let to = end.map_or(fragments.len(), |end| cut(fragments, end));
        for fragment in &mut fragments[from..to] {
            let at = fragment.seqs.partition_point(|&other| other > seq);
            if fragment.seqs.get(at) != Some(&seq) {
                let (newer, older) = fragment.seqs.split_at(at);
                fragment.seqs = newer.iter().chain(&[seq]).chain(older).copied().collect();
            }
        }
    }

    /// The newest delete that covers `key` with a sequence number of at most `seq_max`; 0 if none does.
    /// It hides the versions of `key` with a smaller sequence number.
    #[inline]
    pub fn covering_seq(&self, key: &[u8], seq_max: u64) -> u64 {
        if self.newest == 0 {
            return 0;
        }
        self.find(key)
            .map_or(0, |at| self.fragments[at].newest(seq_max))
    }

    /// [`RangeDeletes::covering_seq`] for a walk: `hint` remembers where the last key was, so that keys
    /// close by cost two comparisons.
    #[inline]
    pub fn covering_seq_near(&self, hint: &mut usize, key: &[u8], seq_max: u64) -> u64 {
        if self.newest == 0 {
            return 0;
        }
        let near = self
            .fragments
            .get(*hint)
            .is_some_and(|fragment| *fragment.start <= *key)
            && self
                .fragments
                .get(*hint + 1)
                .is_none_or(|next| *next.start > *key);
        if !near {
            match self.find(key) {
                Some(at) => *hint = at,
                None => return 0,
            }
        }
        self.fragments[*hint].newest(seq_max)
    }

    /// Whether every key of `span` is covered by a delete newer than `above` and not newer than `seq_max`:
    /// then a reader at `seq_max` or later sees nothing there of what is not newer than `above`.
    pub fn covers_whole(&self, span: Span<'_>, seq_max: u64, above: u64) -> bool {
        match self.skip_forward(span.start, seq_max, above) {
            Skip::Nothing => false,
            Skip::ToEnd => true,
            Skip::To(end) => span.ends_before(end),
        }
    }

    /// How far a walk to larger keys that stands at `key` can skip, if it only meets records with
    /// sequence numbers of at most `above` and reads as of `seq_max`. `To(end)`: seek to `end`.
    pub fn skip_forward(&self, key: &[u8], seq_max: u64, above: u64) -> Skip<'_> {
        if self.newest <= above {
            return Skip::Nothing;
        }
        let Some(at) = self.find(key) else {
            return Skip::Nothing;
        };
        let shown = |fragment: &Fragment| fragment.newest(seq_max) <= above;
        match self.fragments[at..].iter().position(shown) {
            Some(0) => Skip::Nothing,
            Some(hidden) => Skip::To(&self.fragments[at + hidden].start),
            None => Skip::ToEnd,
        }
    }

    /// The same for a walk to smaller keys. `To(start)`: seek to what lies strictly before `start`.
    pub fn skip_backward(&self, key: &[u8], seq_max: u64, above: u64) -> Skip<'_> {
        if self.newest <= above {
            return Skip::Nothing;
        }
        let Some(at) = self.find(key) else {
            return Skip::Nothing;
        };
        let hidden = |fragment: &&Fragment| fragment.newest(seq_max) > above;
        let count = self.fragments[..=at]
            .iter()
            .rev()
            .take_while(hidden)
            .count();
        match count {
            0 => Skip::Nothing,
            _ => Skip::To(&self.fragments[at + 1 - count].start),
        }
    }

    /// The parts of the deletes that lie in `start..end`, by start and newest first, joined where the same
    /// delete goes on. For writing a table that holds only these keys.
    pub fn clip(&self, start: &[u8], end: Option<&[u8]>) -> Vec<RangeDelete> {
        self.clip_with(start, end, |_, seqs| seqs.to_vec())
    }

    /// [`RangeDeletes::clip`] where `choose` says, of each stretch and its deletes (newest first), which
    /// to take.
    pub fn clip_with(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        mut choose: impl FnMut(Span<'_>, &[u64]) -> Vec<u64>,
    ) -> Vec<RangeDelete> {
        let mut done = Vec::new();
        // Deletes that go on to where the walk is.
        let mut open: Vec<RangeDelete> = Vec::new();
        for (from, to, seqs) in self.stretches(start, end) {
            let chosen = choose(Span::between(from, to), seqs);
            for piece in std::mem::take(&mut open) {
                if piece.end.as_deref() == Some(from) && chosen.contains(&piece.seq) {
                    open.push(piece);
                } else {
                    done.push(piece);
                }
            }
            for seq in chosen {
                match open.iter_mut().find(|piece| piece.seq == seq) {
                    Some(piece) => piece.end = to.map(Into::into),
                    None => open.push(RangeDelete {
                        start: from.into(),
                        end: to.map(Into::into),
                        seq,
                    }),
                }
            }
        }
        done.append(&mut open);
        done.sort_by(|a, b| (&a.start, Reverse(a.seq)).cmp(&(&b.start, Reverse(b.seq))));
        done
    }

    /// The fragments within `start..end` that hold any delete: start, end, sequence numbers.
    fn stretches<'a>(
        &'a self,
        start: &'a [u8],
        end: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, &'a [u64])> {
        let first = self.find(start).unwrap_or(0);
        let last = end.map_or(self.fragments.len(), |end| {
            self.fragments
                .partition_point(|fragment| *fragment.start < *end)
        });
        (first..last).filter_map(move |at| {
            let fragment = &self.fragments[at];
            let from = start.max(&fragment.start);
            let next = self.fragments.get(at + 1).map(|next| &*next.start);
            let to = match (next, end) {
                (Some(next), Some(end)) => Some(next.min(end)),
                (next, end) => next.or(end),
            };
            let holds = !fragment.seqs.is_empty() && to.is_none_or(|to| from < to);
            holds.then_some((from, to, &*fragment.seqs))
        })
    }

    /// The fragment that holds `key`.
    #[inline]
    fn find(&self, key: &[u8]) -> Option<usize> {
        self.fragments
            .partition_point(|fragment| *fragment.start <= *key)
            .checked_sub(1)
    }
}

impl Extend<RangeDelete> for RangeDeletes {
    fn extend<T: IntoIterator<Item = RangeDelete>>(&mut self, deletes: T) {
        for delete in deletes {
            self.add(&delete.start, delete.end.as_deref(), delete.seq);
        }
    }
}

impl FromIterator<RangeDelete> for RangeDeletes {
    fn from_iter<T: IntoIterator<Item = RangeDelete>>(deletes: T) -> Self {
        let mut set = Self::default();
        set.extend(deletes);
        set
    }
}

/// How far a walk can skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip<'a> {
    /// Not at all.
    Nothing,
    /// To this key.
    To(&'a [u8]),
    /// There is nothing more to see.
    ToEnd,
}

/// Makes a fragment start at `key` and says which it is.
fn cut(fragments: &mut Vec<Fragment>, key: &[u8]) -> usize {
    let at = fragments.partition_point(|fragment| *fragment.start < *key);
    if fragments
        .get(at)
        .is_none_or(|fragment| *fragment.start != *key)
    {
        let before = at.checked_sub(1).map(|before| &fragments[before].seqs);
        let seqs = before.map_or_else(|| Arc::from([]), Arc::clone);
        let start = key.into();
        fragments.insert(at, Fragment { start, seqs });
    }
    at
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;

    fn delete(start: u8, end: Option<u8>, seq: u64) -> RangeDelete {
        RangeDelete {
            start: [start].into(),
            end: end.map(|end| [end].into()),
            seq,
        }
    }

    fn naive(deletes: &[RangeDelete], key: &[u8], seq_max: u64) -> u64 {
        let covering = deletes
            .iter()
            .filter(|delete| delete.covers(key) && delete.seq <= seq_max);
        covering.map(|delete| delete.seq).max().unwrap_or(0)
    }

    fn deletes() -> impl Strategy<Value = Vec<RangeDelete>> {
        let one = (0u8..30, proptest::option::of(0u8..30));
        proptest::collection::vec(one, 0..12).prop_map(|ranges| {
            let numbered = ranges.into_iter().zip(1..);
            let all = numbered.map(|((start, end), seq)| delete(start, end, seq));
            all.filter(|delete| delete.end.as_ref().is_none_or(|end| delete.start < *end))
                .collect()
        })
    }

    #[test]
    fn an_empty_set_covers_nothing() {
        let set = RangeDeletes::default();
        assert!(set.is_empty());
        assert_eq!(set.covering_seq(b"a", u64::MAX), 0);
        assert!(!set.covers_whole(Span::ALL, u64::MAX, 0));
        assert_eq!(set.clip(b"", None), []);
    }

    #[test]
    fn a_clone_does_not_see_what_is_added_later() {
        let mut set: RangeDeletes = [delete(1, Some(5), 7)].into_iter().collect();
        let before = set.clone();
        set.add(&[3], None, 9);
        assert_eq!(before.covering_seq(&[3], u64::MAX), 7);
        assert_eq!(set.covering_seq(&[3], u64::MAX), 9);
        assert_eq!(set.covering_seq(&[3], 8), 7);
        assert_eq!(set.covering_seq(&[200], u64::MAX), 9);
    }

    #[test]
    fn a_scan_skips_over_ranges_that_touch() {
        let set: RangeDeletes = [
            delete(1, Some(5), 7),
            delete(5, Some(9), 8),
            delete(9, Some(12), 3),
        ]
        .into_iter()
        .collect();
        assert_eq!(set.skip_forward(&[2], u64::MAX, 6), Skip::To(&[9]));
        assert_eq!(set.skip_forward(&[2], u64::MAX, 2), Skip::To(&[12]));
        assert_eq!(set.skip_forward(&[2], 7, 6), Skip::To(&[5]));
        assert_eq!(set.skip_forward(&[0], u64::MAX, 0), Skip::Nothing);
        assert_eq!(set.skip_forward(&[12], u64::MAX, 0), Skip::Nothing);
        assert_eq!(set.skip_backward(&[11], u64::MAX, 2), Skip::To(&[1]));
        assert_eq!(set.skip_backward(&[11], u64::MAX, 3), Skip::Nothing);
        assert!(set.covers_whole(
            Span {
                start: &[1],
                end: Bound::Excluded(&[9])
            },
            u64::MAX,
            6
        ));
        assert!(!set.covers_whole(
            Span {
                start: &[1],
                end: Bound::Included(&[9])
            },
            u64::MAX,
            6
        ));
    }

    #[test]
    fn clipping_joins_what_was_cut() {
        let set: RangeDeletes = [delete(1, Some(9), 7), delete(3, Some(5), 8)]
            .into_iter()
            .collect();
        assert_eq!(
            set.clip(&[0], None),
            [delete(1, Some(9), 7), delete(3, Some(5), 8)]
        );
        assert_eq!(
            set.clip(&[2], Some(&[4])),
            [delete(2, Some(4), 7), delete(3, Some(4), 8)]
        );
        assert_eq!(set.clip(&[9], None), []);
    }

    #[test]
    fn thousands_are_fine() {
        let key = |i: u32| i.wrapping_mul(2_654_435_761).to_be_bytes();
        let mut set = RangeDeletes::default();
        let mut readers = Vec::new();
        for i in 0..5000 {
            let start = key(i);
            let end = (u32::from_be_bytes(start))
                .saturating_add(1 << 18)
                .to_be_bytes();
            set.add(&start, Some(&end), u64::from(i) + 1);
            readers.push(set.clone());
        }
        assert!((0..5000).all(|i| set.covering_seq(&key(i), u64::MAX) > u64::from(i)));
        assert_eq!(readers[0].covering_seq(&key(1), u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn answers_are_those_of_the_plain_list(all in deletes(), seq_max in 0u64..14, above in 0u64..14) {
            let set: RangeDeletes = all.iter().cloned().collect();
            let mut hint = 0;
            for key in 0u8..32 {
                let expected = naive(&all, &[key], seq_max);
                prop_assert_eq!(set.covering_seq(&[key], seq_max), expected);
                prop_assert_eq!(set.covering_seq_near(&mut hint, &[key], seq_max), expected);
                let hidden = |k: &u8| naive(&all, &[*k], seq_max) > above;
                let upto = (key..=255).find(|k| !hidden(k));
                match set.skip_forward(&[key], seq_max, above) {
                    Skip::Nothing => prop_assert!(!hidden(&key)),
                    Skip::To(end) => prop_assert_eq!(upto.map(|k| [k]), end.try_into().ok()),
                    Skip::ToEnd => prop_assert_eq!(upto, None),
                }
                let downto = (0..=key).rev().find(|k| !hidden(k)).map_or(0, |k| k + 1);
                match set.skip_backward(&[key], seq_max, above) {
                    Skip::Nothing => prop_assert!(!hidden(&key)),
                    Skip::To(start) => prop_assert_eq!(&[downto][..], start),
                    Skip::ToEnd => prop_assert!(false),
                }
            }
        }

        #[test]
        fn clips_cover_what_the_whole_covers_within(all in deletes(), start in 0u8..30, len in 1u8..30) {
            let set: RangeDeletes = all.iter().cloned().collect();
            let clipped = set.clip(&[start], Some(&[start + len]));
            for key in 0u8..64 {
                let within = (start..start + len).contains(&key);
                for seq_max in 0..14 {
                    let expected = if within { naive(&all, &[key], seq_max) } else { 0 };
                    prop_assert_eq!(naive(&clipped, &[key], seq_max), expected);
                }
            }
        }
    }
}
