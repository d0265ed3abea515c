//! The cursors under a scan or a compaction: runs of memtables, tables of level 0, whole levels.

use std::sync::Arc;

use super::view::View;
use crate::Storage;
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::lsm::level_cursor::LevelCursor;
use crate::lsm::levels::{LEVELS, TableMeta};
use crate::lsm::memtable::RunCursor;
use crate::lsm::range_deletes::RangeDeletes;
use crate::lsm::skip::SkipDeleted;
use crate::lsm::sstable::{CursorOptions, TableCursor};
use crate::record::Record;
use crate::{Reader, Result};

/// Any one source of records.
pub(crate) enum Source<R: Reader> {
    Run(RunCursor),
    Table(SkipDeleted<TableCursor<R>>),
    Level(SkipDeleted<LevelCursor<R>>),
}

macro_rules! each {
    ($source:expr, $cursor:ident => $call:expr) => {
        match $source {
            Source::Run($cursor) => $call,
            Source::Table($cursor) => $call,
            Source::Level($cursor) => $call,
        }
    };
}

impl<R: Reader> Cursor for Source<R> {
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position> {
        each!(self, cursor => cursor.seek(key))
    }

    #[inline]
    fn step(&mut self) -> Result<Position> {
        each!(self, cursor => cursor.step())
    }

    async fn refill(&mut self) -> Result<Position> {
        each!(self, cursor => cursor.refill().await)
    }

    #[inline]
    fn record(&self) -> Record<'_> {
        each!(self, cursor => cursor.record())
    }
}

/// What a scan needs to know of a view.
pub(crate) struct ScanSources<R: Reader> {
    pub sources: Vec<Source<R>>,
    pub deletes: RangeDeletes,
}

impl<S: Storage> View<S> {
    /// Everything that may hold a key from `start` on and before `end`, for a reader at `seq`.
    pub(crate) fn sources(
        &self,
        start: Option<&[u8]>,
        end: Option<&[u8]>,
        direction: Direction,
        seq: u64,
    ) -> Result<ScanSources<S::Reader>> {
        let deletes = self.range_deletes();
        let mut sources = Vec::new();
        for memtable in self.memtables() {
            sources.extend(memtable.cursors(direction).into_iter().map(Source::Run));
        }
        let span = crate::lsm::levels::Span::between(start.unwrap_or_default(), end);
        let options = CursorOptions::default();
        for level in 0..LEVELS {
            if level == 0 {
                for meta in &self.levels.overlapping(level, span) {
                    let cursor = self.table(meta.id)?.cursor(direction, options);
                    let skipping =
                        SkipDeleted::new(cursor, direction, deletes.clone(), seq, meta.largest_seq);
                    sources.push(Source::Table(skipping));
                }
                continue;
            }
            let metas = self.levels.run(level, span);
            if let Some(newest) = metas.iter().map(|meta| meta.largest_seq).max() {
                let cursor = self.level_cursor(metas, direction, options)?;
                let skipping = SkipDeleted::new(cursor, direction, deletes.clone(), seq, newest);
                sources.push(Source::Level(skipping));
            }
        }
        Ok(ScanSources { sources, deletes })
    }

    /// A cursor over tables of one level, which are sorted and do not overlap.
    pub(crate) fn level_cursor(
        &self,
        metas: &[Arc<TableMeta>],
        direction: Direction,
        options: CursorOptions,
    ) -> Result<LevelCursor<S::Reader>> {
        let tables = metas
            .iter()
            .map(|meta| Ok((Arc::clone(meta), self.table(meta.id)?.clone())))
            .collect::<Result<_>>()?;
        Ok(LevelCursor::new(tables, direction, options))
    }

    /// Every range delete of every memtable and table.
    pub(crate) fn range_deletes(&self) -> RangeDeletes {
        let mut deletes = RangeDeletes::default();
        for memtable in self.memtables() {
            for range in memtable.range_deletes().clip(&[], None) {
                deletes.add(&range.start, range.end.as_deref(), range.seq);
            }
        }
        for range in self.table_range_deletes() {
            deletes.add(&range.start, range.end.as_deref(), range.seq);
        }
        deletes
    }
}
