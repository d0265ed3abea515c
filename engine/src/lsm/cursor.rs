//! The one way to walk records in order: memtables, tables, levels and merges of them are all cursors.
//!
//! A cursor has a direction for life. Moving is synchronous as long as the bytes are at hand; when they
//! are not, [`Cursor::seek`] or [`Cursor::step`] answers [`Position::Refill`] and [`Cursor::refill`] is
//! awaited, which finishes that move. So a scan over what memory holds never enters the scheduler.

use crate::storage::MaybeSend;
use crate::{Result, record::Record};

/// Which way a cursor walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// By (key ascending, seq descending).
    Forward,
    /// The exact reverse: by (key descending, seq ascending).
    Backward,
}

/// Where a cursor stands after a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// On a record: [`Cursor::record`] shows it.
    Record,
    /// The move needs bytes that are not at hand: await [`Cursor::refill`].
    Refill,
    /// Past the last record.
    End,
}

/// Walks records in one direction.
pub trait Cursor: MaybeSend {
    /// Moves to the first record in the cursor's direction whose key is at or after `key`
    /// (`Forward`), or strictly before `key` (`Backward`); `None` is the very first in that direction.
    /// All versions of a key are visited. May be called at any time, any number of times.
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position>;

    /// Moves one record on. Only from `Position::Record`.
    fn step(&mut self) -> Result<Position>;

    /// Fetches what the last move lacked and finishes it. Only from `Position::Refill`; never answers
    /// `Refill`. If the future is dropped, call it again (or seek).
    fn refill(&mut self) -> impl Future<Output = Result<Position>> + MaybeSend;

    /// The record the cursor stands on. Only at `Position::Record` (panics otherwise: a bug).
    fn record(&self) -> Record<'_>;
}
