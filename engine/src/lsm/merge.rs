//! Many cursors as one, in order.
//!
//! A binary heap of the children, with one shortcut: the child that stands first is compared only with
//! the second best, so a long run from one child costs one comparison a record, and an only child none.
//! A record that two children hold (the same key and sequence number) is shown once.

use std::cmp::Ordering;

use super::cursor::{Cursor, Direction, Position};
use crate::Result;
use crate::record::Record;

/// Merges cursors of one direction.
pub struct MergeCursor<C> {
    children: Vec<C>,
    /// Where each child stands.
    positions: Vec<Position>,
    direction: Direction,
    /// Children that stand on a record, as a heap: the first in order on top.
    heap: Vec<usize>,
    /// The heap slot of the second best, 1 or 2; 0 when the top is alone.
    second: usize,
    /// Whether a comparison has found the same record twice since the last seek.
    twins: bool,
}

impl<C: Cursor> MergeCursor<C> {
    /// A merge of `children`, all of which walk in `direction`. Seek it before use.
    pub fn new(children: Vec<C>, direction: Direction) -> Self {
        Self {
            positions: vec![Position::End; children.len()],
            heap: Vec::with_capacity(children.len()),
            children,
            direction,
            second: 0,
            twins: false,
        }
    }

    /// The children, in the order they were given.
    pub fn children(&self) -> &[C] {
        &self.children
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let (a, b) = (self.children[a].record(), self.children[b].record());
        let order = a.key.cmp(b.key).then(b.seq.cmp(&a.seq));
        match self.direction {
            Direction::Forward => order,
            Direction::Backward => order.reverse(),
        }
    }

    /// Whether the child in heap slot `a` goes before the one in `b`.
    #[inline]
    fn before(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        match self.compare(a, b) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => {
                // Equal ones meet in some comparison before they come to the top: no need to look for
                // them until one has.
                self.twins = true;
                a < b
            }
        }
    }

    /// Builds the heap anew from where the children stand.
    fn rebuild(&mut self) -> Result<Position> {
        self.heap.clear();
        let standing = self.positions.iter().enumerate();
        self.heap.extend(
            standing
                .filter(|(_, at)| **at == Position::Record)
                .map(|(child, _)| child),
        );
        for slot in (0..self.heap.len() / 2).rev() {
            self.sift_down(slot);
        }
        self.find_second();
        self.settle()
    }

    fn sift_down(&mut self, mut slot: usize) {
        loop {
            let mut child = 2 * slot + 1;
            if child >= self.heap.len() {
                return;
            }
            if child + 1 < self.heap.len() && self.before(child + 1, child) {
                child += 1;
            }
            if self.before(slot, child) {
                return;
            }
            self.heap.swap(slot, child);
            slot = child;
        }
    }

    fn find_second(&mut self) {
        self.second = match self.heap.len() {
            0 | 1 => 0,
            2 => 1,
            _ if self.before(2, 1) => 2,
            _ => 1,
        };
    }

    /// Puts the top, which has moved to another record, where it belongs.
    fn top_moved(&mut self) {
        if self.second == 0 || self.before(0, self.second) {
            return;
        }
        self.heap.swap(0, self.second);
        self.sift_down(self.second);
        self.find_second();
    }

    /// Takes the child in `slot` out; it has nothing more.
    fn drop_slot(&mut self, slot: usize) {
        self.heap.swap_remove(slot);
        if slot < self.heap.len() {
            self.sift_down(slot);
        }
        self.find_second();
    }

    /// Moves past every other copy of the record on top.
    fn settle(&mut self) -> Result<Position> {
        while self.twins && self.second != 0 {
            let (top, other) = (self.heap[0], self.heap[self.second]);
            if self.compare(top, other) != Ordering::Equal {
                break;
            }
            match self.move_child(other)? {
                Position::Record => self.sift_down(self.second),
                Position::End => {
                    self.drop_slot(self.second);
                    continue;
                }
                Position::Refill => return Ok(Position::Refill),
            }
            self.find_second();
        }
        Ok(if self.heap.is_empty() {
            Position::End
        } else {
            Position::Record
        })
    }

    fn move_child(&mut self, child: usize) -> Result<Position> {
        let moved = self.children[child].step();
        // After an error the child stands nowhere, until the next seek.
        self.positions[child] = *moved.as_ref().unwrap_or(&Position::End);
        if moved.is_err() {
            self.heap.clear();
        }
        moved
    }
}

impl<C: Cursor> Cursor for MergeCursor<C> {
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position> {
        self.heap.clear();
        self.twins = false;
        self.positions.fill(Position::End);
        let mut lacking = false;
        for (child, position) in self.children.iter_mut().zip(&mut self.positions) {
            *position = child.seek(key)?;
            lacking |= *position == Position::Refill;
        }
        if lacking {
            return Ok(Position::Refill);
        }
        self.rebuild()
    }

    #[inline]
    fn step(&mut self) -> Result<Position> {
        let top = self.heap[0];
        match self.move_child(top)? {
            Position::Record => self.top_moved(),
            Position::End => self.drop_slot(0),
            Position::Refill => return Ok(Position::Refill),
        }
        if self.twins {
            return self.settle();
        }
        Ok(if self.heap.is_empty() {
            Position::End
        } else {
            Position::Record
        })
    }

    async fn refill(&mut self) -> Result<Position> {
        // Settling can find another copy of a record in front of a block that is not at hand: again.
        loop {
            for (child, position) in self.children.iter_mut().zip(&mut self.positions) {
                if *position == Position::Refill {
                    *position = child.refill().await?;
                }
            }
            match self.rebuild()? {
                Position::Refill => continue,
                position => return Ok(position),
            }
        }
    }

    #[inline]
    fn record(&self) -> Record<'_> {
        self.children[self.heap[0]].record()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vec_cursor::{Owned, VecCursor, walk};
    use super::*;
    use crate::record::Kind;

    fn put(key: &str, seq: u64) -> Owned {
        Owned::new(key.as_bytes(), seq, Kind::Put)
    }

    fn merge(
        parts: Vec<Vec<Owned>>,
        direction: Direction,
        refill_every: usize,
    ) -> MergeCursor<VecCursor> {
        let child = |part| VecCursor::new(part, direction, refill_every);
        MergeCursor::new(parts.into_iter().map(child).collect(), direction)
    }

    #[test]
    fn nothing_merges_to_nothing() {
        assert!(walk(&mut merge(vec![], Direction::Forward, 0), None).is_empty());
        assert!(
            walk(
                &mut merge(vec![vec![], vec![]], Direction::Backward, 1),
                None
            )
            .is_empty()
        );
    }

    #[test]
    fn the_newest_version_comes_first_and_backward_last() {
        let parts = vec![
            vec![put("a", 1), put("b", 2)],
            vec![put("a", 9), put("b", 1)],
        ];
        let expected = [put("a", 9), put("a", 1), put("b", 2), put("b", 1)];
        assert_eq!(
            walk(&mut merge(parts.clone(), Direction::Forward, 0), None),
            expected
        );
        let mut reversed = walk(&mut merge(parts, Direction::Backward, 0), None);
        reversed.reverse();
        assert_eq!(reversed, expected);
    }

    #[test]
    fn a_record_that_two_children_hold_is_shown_once() {
        let same = vec![put("a", 1), put("b", 2), put("c", 3)];
        for refill_every in 0..4 {
            let parts = vec![same.clone(), vec![put("b", 9)], same.clone(), same.clone()];
            let seen = walk(&mut merge(parts, Direction::Forward, refill_every), None);
            assert_eq!(seen, [put("a", 1), put("b", 9), put("b", 2), put("c", 3)]);
        }
    }

    #[test]
    fn an_error_is_passed_on_and_a_seek_starts_over() {
        let good = VecCursor::new(vec![put("a", 1), put("c", 1)], Direction::Forward, 0);
        let bad =
            VecCursor::new(vec![put("b", 1), put("d", 1)], Direction::Forward, 0).failing_at(2);
        let mut merge = MergeCursor::new(vec![good, bad], Direction::Forward);
        assert_eq!(merge.seek(None).unwrap(), Position::Record);
        assert_eq!(merge.step().unwrap(), Position::Record);
        assert!(merge.step().is_err());
        assert_eq!(walk(&mut merge, None).len(), 4);
    }

    proptest! {
        #[test]
        fn a_merge_is_the_sorted_union(
            parts in proptest::collection::vec(proptest::collection::vec((0u8..20, 1u64..40), 0..30), 0..7),
            refill_every in 0usize..4,
            from in proptest::option::of(0u8..22),
            backward: bool,
        ) {
            let direction = if backward { Direction::Backward } else { Direction::Forward };
            let owned = |part: &Vec<(u8, u64)>| {
                let mut part: Vec<_> = part.iter().map(|(k, seq)| Owned::new(&[*k], *seq, Kind::Put)).collect();
                part.sort_by_key(|r| (r.key.clone(), std::cmp::Reverse(r.seq)));
                part.dedup();
                part
            };
            let parts: Vec<_> = parts.iter().map(owned).collect();
            let mut expected: Vec<_> = parts.concat();
            expected.sort_by_key(|r| (r.key.clone(), std::cmp::Reverse(r.seq)));
            expected.dedup();
            if backward {
                expected.reverse();
            }
            if let Some(from) = from {
                expected.retain(|r| if backward { r.key[0] < from } else { r.key[0] >= from });
            }
            let mut merge = merge(parts, direction, refill_every);
            let from = from.map(|from| [from]);
            // Twice: a seek starts over from wherever the merge stands.
            for _ in 0..2 {
                prop_assert_eq!(&walk(&mut merge, from.as_ref().map(|key| &key[..])), &expected);
            }
        }
    }
}
