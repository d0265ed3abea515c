//! A cursor over records in a vector, for tests: it answers `Refill` at every so-manieth move.

use std::cmp::Reverse;

use super::cursor::{Cursor, Direction, Position};
use crate::record::{Kind, Record};
use crate::{Error, ErrorKind, Result};

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) key: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
    pub(crate) deadline_ms: u64,
    pub(crate) value: Vec<u8>,
}

impl Owned {
    pub(crate) fn new(key: &[u8], seq: u64, kind: Kind) -> Self {
        let value = if kind == Kind::Delete {
            Vec::new()
        } else {
            seq.to_string().into_bytes()
        };
        Self {
            key: key.into(),
            seq,
            kind,
            deadline_ms: 0,
            value,
        }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            key: &self.key,
            seq: self.seq,
            kind: self.kind,
            deadline_ms: self.deadline_ms,
            value: &self.value,
        }
    }
}

impl From<Record<'_>> for Owned {
    fn from(record: Record<'_>) -> Self {
        Self {
            key: record.key.into(),
            seq: record.seq,
            kind: record.kind,
            deadline_ms: record.deadline_ms,
            value: record.value.into(),
        }
    }
}

pub(crate) struct VecCursor {
    records: Vec<Owned>,
    direction: Direction,
    at: usize,
    moves: usize,
    seeks: usize,
    refill_every: usize,
    fail_at: Option<usize>,
    waiting: bool,
}

impl VecCursor {
    /// Sorts the records; answers `Refill` at each `refill_every`th move (0: never).
    pub(crate) fn new(mut records: Vec<Owned>, direction: Direction, refill_every: usize) -> Self {
        records.sort_by(|a, b| (&a.key, Reverse(a.seq)).cmp(&(&b.key, Reverse(b.seq))));
        if direction == Direction::Backward {
            records.reverse();
        }
        Self {
            records,
            direction,
            at: usize::MAX,
            moves: 0,
            seeks: 0,
            refill_every,
            fail_at: None,
            waiting: false,
        }
    }

    pub(crate) fn moves(&self) -> usize {
        self.moves
    }

    pub(crate) fn failing_at(mut self, moves: usize) -> Self {
        self.fail_at = Some(moves);
        self
    }

    fn position(&self) -> Position {
        if self.at < self.records.len() {
            Position::Record
        } else {
            Position::End
        }
    }

    fn moved(&mut self) -> Result<Position> {
        self.moves += 1;
        if self.fail_at == Some(self.moves) {
            return Err(Error::new(ErrorKind::Failed, "moving", "as the test asked"));
        }
        self.waiting = self.refill_every > 0 && self.moves.is_multiple_of(self.refill_every);
        Ok(if self.waiting {
            Position::Refill
        } else {
            self.position()
        })
    }
}

impl Cursor for VecCursor {
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position> {
        self.seeks += 1;
        self.at = match (key, self.direction) {
            (None, _) => 0,
            (Some(key), Direction::Forward) => self.records.partition_point(|r| &*r.key < key),
            (Some(key), Direction::Backward) => self.records.partition_point(|r| &*r.key >= key),
        };
        self.moved()
    }

    fn step(&mut self) -> Result<Position> {
        assert!(
            !self.waiting && self.position() == Position::Record,
            "stepped from nowhere"
        );
        self.at += 1;
        self.moved()
    }

    async fn refill(&mut self) -> Result<Position> {
        assert!(self.waiting, "refilled without need");
        self.waiting = false;
        Ok(self.position())
    }

    fn record(&self) -> Record<'_> {
        assert!(!self.waiting, "read before refilling");
        self.records[self.at].record()
    }
}

/// Walks a cursor to its end, from the start or from a key.
pub(crate) fn walk<C: Cursor>(cursor: &mut C, from: Option<&[u8]>) -> Vec<Owned> {
    let mut seen = Vec::new();
    let mut position = cursor.seek(from).unwrap();
    loop {
        match position {
            Position::Record => seen.push(cursor.record().into()),
            Position::End => return seen,
            Position::Refill => {
                position = futures_lite::future::block_on(cursor.refill()).unwrap();
                assert_ne!(position, Position::Refill);
                continue;
            }
        }
        position = cursor.step().unwrap();
    }
}
