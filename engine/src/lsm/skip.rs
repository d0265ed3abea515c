//! A cursor that seeks past stretches in which range deletes hide all it has.
//!
//! Only a source whose newest record is known can do that: once newer writes are merged in, a deleted
//! stretch may hold live keys again. So each table (or level) is wrapped on its own, below the merge.

use super::cursor::{Cursor, Direction, Position};
use super::range_deletes::{RangeDeletes, Skip};
use crate::Result;
use crate::record::Record;

/// `C` without the stretches of keys of which a reader at `seq_max` sees nothing. What it still shows is
/// not necessarily visible.
pub struct SkipDeleted<C> {
    inner: C,
    direction: Direction,
    deletes: RangeDeletes,
    seq_max: u64,
    /// No record of `inner` is newer.
    newest: u64,
    /// A key that was deleted up to: where to seek. Kept for its memory.
    target: Vec<u8>,
}

impl<C: Cursor> SkipDeleted<C> {
    /// Wraps a cursor none of whose records has a sequence number above `newest`.
    pub fn new(
        inner: C,
        direction: Direction,
        deletes: RangeDeletes,
        seq_max: u64,
        newest: u64,
    ) -> Self {
        Self {
            inner,
            direction,
            deletes,
            seq_max,
            newest,
            target: Vec::new(),
        }
    }

    /// Seeks on as long as the record at hand lies in a deleted stretch.
    #[inline]
    fn settle(&mut self, mut position: Position) -> Result<Position> {
        if self.deletes.newest() <= self.newest {
            return Ok(position);
        }
        while position == Position::Record {
            let key = self.inner.record().key;
            let skip = match self.direction {
                Direction::Forward => self.deletes.skip_forward(key, self.seq_max, self.newest),
                Direction::Backward => self.deletes.skip_backward(key, self.seq_max, self.newest),
            };
            match skip {
                Skip::Nothing => break,
                Skip::ToEnd => return Ok(Position::End),
                Skip::To(target) => {
                    self.target.clear();
                    self.target.extend_from_slice(target);
                    position = self.inner.seek(Some(&self.target))?;
                }
            }
        }
        Ok(position)
    }
}

impl<C: Cursor> Cursor for SkipDeleted<C> {
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position> {
        let position = self.inner.seek(key)?;
        self.settle(position)
    }

    #[inline]
    fn step(&mut self) -> Result<Position> {
        let position = self.inner.step()?;
        self.settle(position)
    }

    async fn refill(&mut self) -> Result<Position> {
        loop {
            let position = self.inner.refill().await?;
            match self.settle(position)? {
                Position::Refill => continue,
                position => return Ok(position),
            }
        }
    }

    #[inline]
    fn record(&self) -> Record<'_> {
        self.inner.record()
    }
}

#[cfg(test)]
mod tests {
    use super::super::vec_cursor::{Owned, VecCursor, walk};
    use super::*;
    use crate::record::Kind;

    fn records() -> Vec<Owned> {
        (0..=200u8)
            .map(|key| Owned::new(&[key], u64::from(key % 10) + 1, Kind::Put))
            .collect()
    }

    fn skipping(direction: Direction, refill_every: usize, seq_max: u64) -> SkipDeleted<VecCursor> {
        let mut deletes = RangeDeletes::default();
        deletes.add(&[10], Some(&[60]), 20);
        deletes.add(&[60], Some(&[190]), 30);
        deletes.add(&[0], None, 5);
        SkipDeleted::new(
            VecCursor::new(records(), direction, refill_every),
            direction,
            deletes,
            seq_max,
            10,
        )
    }

    #[test]
    fn deleted_stretches_are_not_walked() {
        for direction in [Direction::Forward, Direction::Backward] {
            for refill_every in 0..3 {
                let mut cursor = skipping(direction, refill_every, u64::MAX);
                let seen = walk(&mut cursor, None);
                assert_eq!(seen.len(), 10 + 11);
                assert!(seen.iter().all(|r| !(10..190).contains(&r.key[0])));
                assert!(cursor.inner.moves() < 30, "{} moves", cursor.inner.moves());
            }
        }
    }

    #[test]
    fn a_reader_from_before_the_delete_sees_all() {
        assert_eq!(
            walk(&mut skipping(Direction::Forward, 0, 19), None).len(),
            201
        );
        assert_eq!(
            walk(&mut skipping(Direction::Backward, 0, 29), None).len(),
            151
        );
    }
}
