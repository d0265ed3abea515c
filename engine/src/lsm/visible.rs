//! What a reader sees: of all versions of each key the newest it may see, if that is alive.
//!
//! A version counts when it is not newer than the reader; the newest such version decides, and shows when
//! it is not a tombstone, has not expired and no range delete hides it. Going forward the record is shown
//! where it lies; going backward the oldest version comes first, so the best one so far is kept in a
//! buffer until the key changes. Nothing is allocated for a record once the buffers have grown.

use super::cursor::{Cursor, Direction, Position};
use super::range_deletes::RangeDeletes;
use crate::Result;
use crate::record::{Kind, Record};

/// Who reads, and what.
#[derive(Clone, Debug)]
pub struct View {
    /// Versions with a larger sequence number are not seen.
    pub seq: u64,
    /// The reader's clock, for deadlines.
    pub now_ms: u64,
    /// The first key; `None` from the very first.
    pub start: Option<Box<[u8]>>,
    /// The first key that is not wanted any more; `None` for all.
    pub end: Option<Box<[u8]>>,
    /// The range deletes of everything the cursor walks.
    pub deletes: RangeDeletes,
}

/// After so many passed-over versions of one key, seeking to the next key is cheaper than stepping.
const STEPS_BEFORE_SEEK: u32 = 16;

/// Walks the live records of a [`View`], one a key.
pub struct Visible<C> {
    cursor: C,
    direction: Direction,
    view: View,
    /// Where the next move begins.
    state: State,
    /// Forward: the key that is decided, in `kept.key`. Backward: the best version so far.
    kept: Kept,
    has_kept: bool,
    /// Versions of the decided key that were passed over.
    passed: u32,
    /// Where the last key was among the range deletes.
    hint: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was asked of the cursor yet.
    Fresh,
    /// The cursor stands on a record that is done with.
    Done,
    /// The cursor stands on a record that was not looked at (backward only).
    Unseen,
    /// The cursor waits for a refill.
    Waiting,
    /// There is nothing more.
    End,
}

/// One record's bytes and numbers.
struct Kept {
    key: Vec<u8>,
    value: Vec<u8>,
    seq: u64,
    kind: Kind,
    deadline_ms: u64,
}

impl Kept {
    fn set(&mut self, record: Record<'_>) {
        self.key.clear();
        self.key.extend_from_slice(record.key);
        self.value.clear();
        self.value.extend_from_slice(record.value);
        (self.seq, self.kind, self.deadline_ms) = (record.seq, record.kind, record.deadline_ms);
    }

    fn record(&self) -> Record<'_> {
        Record {
            key: &self.key,
            seq: self.seq,
            kind: self.kind,
            deadline_ms: self.deadline_ms,
            value: &self.value,
        }
    }
}

impl<C: Cursor> Visible<C> {
    /// A view through `cursor`, which walks in `direction`. Stands before the first record.
    pub fn new(cursor: C, direction: Direction, view: View) -> Self {
        Self {
            cursor,
            direction,
            view,
            state: State::Fresh,
            kept: Kept {
                key: Vec::new(),
                value: Vec::new(),
                seq: 0,
                kind: Kind::Delete,
                deadline_ms: 0,
            },
            has_kept: false,
            passed: 0,
            hint: 0,
        }
    }

    /// The next record's position, as far as it can be had without waiting; await
    /// [`Visible::refill`] when it cannot. After `End` it stays there.
    #[inline]
    pub fn advance_now(&mut self) -> Result<Position> {
        let moved = match self.state {
            State::Fresh => self.first(),
            State::Done => self.cursor.step(),
            State::Unseen => Ok(Position::Record),
            State::Waiting => return Ok(Position::Refill),
            State::End => return Ok(Position::End),
        };
        self.proceed(moved)
    }

    /// Fetches what the last advance lacked and finishes it; never answers `Refill`. If the future is
    /// dropped, call it again.
    pub async fn refill(&mut self) -> Result<Position> {
        loop {
            let moved = self.cursor.refill().await;
            match self.proceed(moved)? {
                Position::Refill => continue,
                position => return Ok(position),
            }
        }
    }

    /// The next record, `None` past the last.
    pub async fn next(&mut self) -> Result<Option<Record<'_>>> {
        let mut position = self.advance_now()?;
        if position == Position::Refill {
            position = self.refill().await?;
        }
        Ok((position == Position::Record).then(|| self.record()))
    }

    /// The record of the last advance. Only when it answered `Record` (panics otherwise: a bug).
    #[inline]
    pub fn record(&self) -> Record<'_> {
        match self.direction {
            Direction::Forward => self.cursor.record(),
            Direction::Backward => self.kept.record(),
        }
    }

    /// Narrows the view to what comes at or after `key` (backward: strictly before it) and stands before
    /// the first record of that.
    pub fn seek(&mut self, key: &[u8]) {
        let view = &mut self.view;
        match self.direction {
            Direction::Forward if view.start.as_deref().is_none_or(|start| start < key) => {
                view.start = Some(key.into());
            }
            Direction::Backward if view.end.as_deref().is_none_or(|end| end > key) => {
                view.end = Some(key.into());
            }
            _ => {}
        }
        self.state = State::Fresh;
    }

    fn first(&mut self) -> Result<Position> {
        self.has_kept = false;
        self.passed = 0;
        match self.direction {
            Direction::Forward => self.cursor.seek(self.view.start.as_deref()),
            Direction::Backward => self.cursor.seek(self.view.end.as_deref()),
        }
    }

    /// Goes on from where the cursor has moved to, up to the next visible record. An error ends the walk:
    /// what comes after it would have a hole before it.
    fn proceed(&mut self, moved: Result<Position>) -> Result<Position> {
        let end = moved.and_then(|position| match self.direction {
            Direction::Forward => self.forward(position),
            Direction::Backward => self.backward(position),
        });
        if end.is_err() {
            self.state = State::End;
        }
        end
    }

    fn forward(&mut self, mut position: Position) -> Result<Position> {
        loop {
            match position {
                Position::Record => {}
                Position::Refill => {
                    self.state = State::Waiting;
                    return Ok(Position::Refill);
                }
                Position::End => {
                    self.state = State::End;
                    return Ok(Position::End);
                }
            }
            let record = self.cursor.record();
            if self.has_kept && record.key == self.kept.key {
                position = self.pass_version()?;
                continue;
            }
            if self
                .view
                .end
                .as_ref()
                .is_some_and(|end| *record.key >= **end)
            {
                self.state = State::End;
                return Ok(Position::End);
            }
            if record.seq <= self.view.seq {
                self.kept.key.clear();
                self.kept.key.extend_from_slice(record.key);
                self.has_kept = true;
                self.passed = 0;
                if is_visible(&self.view, &mut self.hint, record) {
                    self.state = State::Done;
                    return Ok(Position::Record);
                }
            }
            position = self.cursor.step()?;
        }
    }

    /// Moves on from an older version of a key that is decided.
    fn pass_version(&mut self) -> Result<Position> {
        self.passed += 1;
        if self.passed < STEPS_BEFORE_SEEK {
            return self.cursor.step();
        }
        // The smallest key behind this one. The byte must not stay: the key is compared again.
        self.kept.key.push(0);
        let position = self.cursor.seek(Some(&self.kept.key));
        self.kept.key.pop();
        position
    }

    fn backward(&mut self, mut position: Position) -> Result<Position> {
        loop {
            match position {
                Position::Record => {
                    let record = self.cursor.record();
                    if self
                        .view
                        .start
                        .as_ref()
                        .is_some_and(|start| *record.key < **start)
                    {
                        position = Position::End;
                        continue;
                    }
                    if self.has_kept && record.key != self.kept.key {
                        self.has_kept = false;
                        if is_visible(&self.view, &mut self.hint, self.kept.record()) {
                            self.state = State::Unseen;
                            return Ok(Position::Record);
                        }
                    }
                    if record.seq <= self.view.seq {
                        self.kept.set(record);
                        self.has_kept = true;
                    }
                    position = self.cursor.step()?;
                }
                Position::Refill => {
                    self.state = State::Waiting;
                    return Ok(Position::Refill);
                }
                Position::End => {
                    self.state = State::End;
                    let shows = std::mem::take(&mut self.has_kept)
                        && is_visible(&self.view, &mut self.hint, self.kept.record());
                    return Ok(if shows {
                        Position::Record
                    } else {
                        Position::End
                    });
                }
            }
        }
    }
}

/// Whether the newest version that counts shows.
#[inline]
fn is_visible(view: &View, hint: &mut usize, record: Record<'_>) -> bool {
    record.is_alive(view.now_ms)
        && view.deletes.covering_seq_near(hint, record.key, view.seq) <= record.seq
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_lite::future::block_on;
    use proptest::prelude::*;

    use super::super::vec_cursor::{Owned, VecCursor};
    use super::*;

    fn view(seq: u64) -> View {
        View {
            seq,
            now_ms: 1000,
            start: None,
            end: None,
            deletes: RangeDeletes::default(),
        }
    }

    fn collect(visible: &mut Visible<VecCursor>) -> Vec<Owned> {
        let mut seen = Vec::new();
        while let Some(record) = block_on(visible.next()).unwrap() {
            seen.push(record.into());
        }
        assert_eq!(visible.advance_now().unwrap(), Position::End);
        seen
    }

    fn see(
        records: Vec<Owned>,
        direction: Direction,
        view: View,
        refill_every: usize,
    ) -> Vec<Owned> {
        collect(&mut Visible::new(
            VecCursor::new(records, direction, refill_every),
            direction,
            view,
        ))
    }

    fn naive(records: &[Owned], view: &View) -> Vec<Owned> {
        let mut newest: BTreeMap<&[u8], &Owned> = BTreeMap::new();
        for record in records.iter().filter(|r| r.seq <= view.seq) {
            let best = newest.entry(&record.key).or_insert(record);
            if best.seq < record.seq {
                *best = record;
            }
        }
        let shows = |r: &&Owned| {
            r.record().is_alive(view.now_ms)
                && view.deletes.covering_seq(&r.key, view.seq) <= r.seq
                && view.start.as_ref().is_none_or(|start| *r.key >= **start)
                && view.end.as_ref().is_none_or(|end| *r.key < **end)
        };
        newest.into_values().filter(shows).cloned().collect()
    }

    #[test]
    fn a_key_with_many_versions_is_passed_by_seeking() {
        let mut records: Vec<_> = (1..=1000)
            .map(|seq| Owned::new(b"hot", seq, Kind::Put))
            .collect();
        records.push(Owned::new(b"next", 5, Kind::Put));
        let cursor = VecCursor::new(records, Direction::Forward, 0);
        let mut visible = Visible::new(cursor, Direction::Forward, view(2000));
        assert_eq!(collect(&mut visible).len(), 2);
        assert!(visible.cursor.moves() < 30);
    }

    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn a_scan_can_move_between_threads() {
        use super::super::{merge::MergeCursor, skip::SkipDeleted};
        fn check<T: crate::MaybeSend>(_: T) {}
        let child = VecCursor::new(Vec::new(), Direction::Forward, 1);
        let child = SkipDeleted::new(child, Direction::Forward, RangeDeletes::default(), 9, 9);
        let merge = MergeCursor::new(vec![child], Direction::Forward);
        let mut visible = Visible::new(merge, Direction::Forward, view(9));
        check(visible.next());
        assert!(block_on(visible.next()).unwrap().is_none());
    }

    #[test]
    fn an_error_ends_the_walk() {
        let records = vec![
            Owned::new(b"a", 1, Kind::Put),
            Owned::new(b"b", 2, Kind::Put),
        ];
        let cursor = VecCursor::new(records, Direction::Forward, 0).failing_at(2);
        let mut visible = Visible::new(cursor, Direction::Forward, view(9));
        assert_eq!(visible.advance_now().unwrap(), Position::Record);
        assert!(visible.advance_now().is_err());
        assert_eq!(visible.advance_now().unwrap(), Position::End);
    }

    #[test]
    fn seeking_narrows_the_view() {
        for direction in [Direction::Forward, Direction::Backward] {
            let records = (0..10u8)
                .map(|key| Owned::new(&[key], 1, Kind::Put))
                .collect();
            let mut visible =
                Visible::new(VecCursor::new(records, direction, 2), direction, view(9));
            assert_eq!(collect(&mut visible).len(), 10);
            visible.seek(&[4]);
            let keys: Vec<u8> = collect(&mut visible).iter().map(|r| r.key[0]).collect();
            match direction {
                Direction::Forward => assert_eq!(keys, [4, 5, 6, 7, 8, 9]),
                Direction::Backward => assert_eq!(keys, [3, 2, 1, 0]),
            }
        }
    }

    proptest! {
        #[test]
        fn both_directions_see_what_the_model_sees(
            versions in proptest::collection::vec((0u8..8, 0u8..5, 0u64..3), 0..60),
            ranges in proptest::collection::vec((0u8..8, proptest::option::of(0u8..9), 1u64..60), 0..4),
            seq in 0u64..60,
            start in proptest::option::of(0u8..9),
            end in proptest::option::of(0u8..9),
            refill_every in 0usize..4,
        ) {
            let records: Vec<Owned> = versions.iter().zip(1..).map(|((key, kind, deadline), seq)| {
                let kind = if *kind == 0 { Kind::Delete } else { Kind::Put };
                let mut record = Owned::new(&[*key], seq, kind);
                record.deadline_ms = if kind == Kind::Delete { 0 } else { deadline * 900 };
                record
            }).collect();
            let mut view = view(seq);
            view.start = start.map(|key| [key].into());
            view.end = end.map(|key| [key].into());
            for (start, end, seq) in ranges {
                view.deletes.add(&[start], end.map(|end| [end]).as_ref().map(|end| &end[..]), seq);
            }
            let mut expected = naive(&records, &view);
            prop_assert_eq!(&see(records.clone(), Direction::Forward, view.clone(), refill_every), &expected);
            expected.reverse();
            prop_assert_eq!(&see(records, Direction::Backward, view, refill_every), &expected);
        }
    }
}
