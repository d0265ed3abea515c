//! Walks the tables of one level, which do not overlap, one after the other.

use std::sync::Arc;

use super::cursor::{Cursor, Direction, Position};
use super::levels::TableMeta;
use super::sstable::{CursorOptions, Table, TableCursor};
use crate::record::Record;
use crate::{Reader, Result};

/// See the module. A table's cursor is made when the walk gets there.
pub(crate) struct LevelCursor<R: Reader> {
    /// The tables by key.
    tables: Vec<(Arc<TableMeta>, Table<R>)>,
    direction: Direction,
    options: CursorOptions,
    current: Option<TableCursor<R>>,
    /// Index of the current table.
    at: usize,
}

impl<R: Reader> LevelCursor<R> {
    pub(crate) fn new(
        tables: Vec<(Arc<TableMeta>, Table<R>)>,
        direction: Direction,
        options: CursorOptions,
    ) -> Self {
        Self {
            tables,
            direction,
            options,
            current: None,
            at: 0,
        }
    }

    /// Makes the cursor of table `at` and seeks in it; `None` past the last table.
    fn enter(&mut self, at: usize, key: Option<&[u8]>) -> Result<Position> {
        self.at = at;
        self.current = self
            .tables
            .get(at)
            .map(|(_, table)| table.cursor(self.direction, self.options));
        match &mut self.current {
            Some(cursor) => cursor.seek(key),
            None => Ok(Position::End),
        }
    }

    /// Goes on to the next tables as long as the present one is at its end.
    fn proceed(&mut self, mut position: Position) -> Result<Position> {
        while position == Position::End && self.current.is_some() {
            let next = match self.direction {
                Direction::Forward => self.at + 1,
                Direction::Backward => self.at.wrapping_sub(1),
            };
            position = self.enter(next, None)?;
        }
        Ok(position)
    }
}

impl<R: Reader> Cursor for LevelCursor<R> {
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position> {
        let at = match (key, self.direction) {
            (None, Direction::Forward) => 0,
            (None, Direction::Backward) => self.tables.len().wrapping_sub(1),
            // The last table that begins at or before the key; a walk forward may find it exhausted.
            (Some(key), Direction::Forward) => self
                .tables
                .partition_point(|(meta, _)| &*meta.smallest <= key)
                .saturating_sub(1),
            (Some(key), Direction::Backward) => self
                .tables
                .partition_point(|(meta, _)| &*meta.smallest < key)
                .wrapping_sub(1),
        };
        let position = self.enter(at, key)?;
        self.proceed(position)
    }

    fn step(&mut self) -> Result<Position> {
        let position = match &mut self.current {
            Some(cursor) => cursor.step()?,
            None => Position::End,
        };
        self.proceed(position)
    }

    async fn refill(&mut self) -> Result<Position> {
        loop {
            let position = match &mut self.current {
                Some(cursor) => cursor.refill().await?,
                None => Position::End,
            };
            match self.proceed(position)? {
                Position::Refill => continue,
                position => return Ok(position),
            }
        }
    }

    fn record(&self) -> Record<'_> {
        self.current
            .as_ref()
            .expect("a cursor on a record has a table")
            .record()
    }
}
