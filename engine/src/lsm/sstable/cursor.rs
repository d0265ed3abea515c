//! A cursor over a table: top index, index block, data block, each walked by a block cursor.
//!
//! Every move comes to a state: on a record, at the end, or in want of a block. `drive` leads from one state
//! to the next as long as the wanted blocks are at hand; `refill` waits for one and drives on. A state is
//! only left once its block is there, so a dropped refill can be repeated.

use bytes::Bytes;

use super::block_cursor::BlockCursor;
use super::index::Handle;
use super::read_ahead::ReadAhead;
use super::reader::{Inner, READING, Table, named};
use super::{Damage, block::Block};
use crate::Result;
use crate::lsm::cache::CachedBlock;
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::lsm::trace::BlockKind;
use crate::record::Record;
use crate::storage::Reader;

/// How a cursor reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorOptions {
    /// Whether blocks that it reads enter the block cache. Compaction passes through once and leaves the
    /// cache to those who come back.
    pub fill_cache: bool,
    /// Read so much at once from the start, for a scan known to be long; 0 to read one block at a time
    /// until the scan has gone through a few. Grows up to 256 KiB either way.
    pub read_ahead_bytes: u32,
}

impl Default for CursorOptions {
    fn default() -> Self {
        Self {
            fill_cache: true,
            read_ahead_bytes: 0,
        }
    }
}

impl CursorOptions {
    /// For reading a whole table once.
    pub fn whole_table() -> Self {
        Self {
            fill_cache: false,
            read_ahead_bytes: 256 << 10,
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    /// On a record of the data block, or before any move.
    Record,
    WantsIndex(Handle),
    WantsData(Handle),
    End,
}

/// Walks the records of one table.
pub struct TableCursor<R> {
    table: Table<R>,
    fill_cache: bool,
    top: BlockCursor,
    index: BlockCursor,
    /// Where the current index block lies, for errors.
    index_offset: u64,
    data: BlockCursor,
    data_offset: u64,
    ahead: ReadAhead,
    /// The key being sought, until the data block it leads to has been entered.
    target: Option<Vec<u8>>,
    spare: Vec<u8>,
    state: State,
}

/// Newer than any version: a seek comes to all of them.
const NEWEST: u64 = u64::MAX;

impl<R: Reader> TableCursor<R> {
    pub(crate) fn new(table: Table<R>, direction: Direction, options: CursorOptions) -> Self {
        let mut top = BlockCursor::new(direction);
        top.reset(table.inner().top.clone());
        Self {
            table,
            fill_cache: options.fill_cache,
            top,
            index: BlockCursor::new(direction),
            index_offset: 0,
            data: BlockCursor::new(direction),
            data_offset: 0,
            ahead: ReadAhead::new(direction, u64::from(options.read_ahead_bytes)),
            target: None,
            spare: Vec::new(),
            state: State::End,
        }
    }

    /// The table it walks.
    pub fn table(&self) -> &Table<R> {
        &self.table
    }

    /// The current value without a copy: it shares the block.
    pub fn value(&self) -> Bytes {
        self.data.value()
    }

    fn set_target(&mut self, key: Option<&[u8]>) {
        let mut buffer = self
            .target
            .take()
            .unwrap_or_else(|| std::mem::take(&mut self.spare));
        match key {
            Some(key) => {
                buffer.clear();
                buffer.extend_from_slice(key);
                self.target = Some(buffer);
            }
            None => self.spare = buffer,
        }
    }

    /// Goes on from state to state until it is on a record, at the end, or has to wait.
    fn drive(&mut self) -> Result<Position> {
        loop {
            let (kind, handle) = match self.state {
                State::Record => return Ok(Position::Record),
                State::End => return Ok(Position::End),
                State::WantsIndex(handle) => (BlockKind::Index, handle),
                State::WantsData(handle) => (BlockKind::Data, handle),
            };
            match self.load_now(kind, handle) {
                Some(block) => self.enter(block?)?,
                None => return Ok(Position::Refill),
            }
        }
    }

    /// Takes up the wanted block and comes to the next state.
    fn enter(&mut self, block: Block) -> Result<()> {
        match self.state {
            State::WantsIndex(handle) => {
                self.index_offset = handle.offset;
                self.index.reset(block);
                let found = match &self.target {
                    Some(key) => self.index.seek_block_of(key, NEWEST),
                    None => self.index.first(),
                };
                let found = self.at(found, handle.offset)?;
                self.want_data(found)
            }
            State::WantsData(handle) => {
                self.data_offset = handle.offset;
                self.data.reset(block);
                let found = match &self.target {
                    Some(key) => self.data.seek(key, NEWEST),
                    None => self.data.first(),
                };
                let found = self.at(found, handle.offset)?;
                // Should this block not have it, the neighbour begins with it.
                self.set_target(None);
                if found {
                    self.state = State::Record;
                    return Ok(());
                }
                self.next_data()
            }
            State::Record | State::End => Ok(()),
        }
    }

    /// To the data block after this one.
    fn next_data(&mut self) -> Result<()> {
        let found = self.index.advance();
        let found = self.at(found, self.index_offset)?;
        self.want_data(found)
    }

    /// To the data block of the index entry it stands on, or, if it stands on none, through the next
    /// index block.
    fn want_data(&mut self, found: bool) -> Result<()> {
        if !found {
            self.set_target(None);
            let found = self.top.advance();
            return self.want_index(found);
        }
        let handle = self.handle(&self.index, BlockKind::Data, self.index_offset)?;
        self.ahead.visit(handle);
        self.state = State::WantsData(handle);
        Ok(())
    }

    fn want_index(&mut self, found: Result<bool, Damage>) -> Result<()> {
        let at = self.table.inner().footer.top.offset;
        self.state = if self.at(found, at)? {
            State::WantsIndex(self.handle(&self.top, BlockKind::Index, at)?)
        } else {
            State::End
        };
        Ok(())
    }

    fn handle(&self, index: &BlockCursor, kind: BlockKind, at: u64) -> Result<Handle> {
        let value = index.record().map_or(&[][..], |record| record.value);
        self.table.inner().handle(value, kind, at)
    }

    fn at<T>(&self, result: Result<T, Damage>, offset: u64) -> Result<T> {
        result.map_err(|damage| damage.error(READING, self.table.id(), offset))
    }

    /// The block, if it was read ahead, is cached, or the storage has it at hand.
    fn load_now(&mut self, kind: BlockKind, handle: Handle) -> Option<Result<Block>> {
        let table = self.table.inner();
        if kind == BlockKind::Data
            && let Some(stored) = self.ahead.get(handle)
        {
            return Some(take_in(table, kind, handle, &stored, self.fill_cache));
        }
        if kind == BlockKind::Index
            && let Some(block) = table.pins.index(handle.offset)
        {
            return Some(Ok(block.clone()));
        }
        if let Some(block) = table.cache.get(table.id, handle.offset) {
            if kind == BlockKind::Index && self.fill_cache && table.pins.keep(handle, &block) {
                table.cache.remove(table.id, handle.offset);
            }
            return Some(entries(table, handle, block));
        }
        let plan = self.plan(kind, handle);
        let bytes = table.reader.read_now(plan.offset, plan.len)?;
        let bytes = bytes.map_err(|error| named(error, table.id, plan.offset));
        Some(bytes.and_then(|bytes| self.take_read(kind, handle, plan, bytes)))
    }

    fn plan(&self, kind: BlockKind, handle: Handle) -> Handle {
        match kind {
            BlockKind::Data => self.ahead.plan(handle, &self.table.inner().footer.data()),
            BlockKind::Index | BlockKind::Filter => handle,
        }
    }

    /// Takes up what was read by `plan` for the sake of the block at `handle`.
    fn take_read(
        &mut self,
        kind: BlockKind,
        handle: Handle,
        plan: Handle,
        bytes: Bytes,
    ) -> Result<Block> {
        let table = self.table.inner();
        if plan == handle {
            let block = if self.fill_cache {
                table.take_in(kind, handle, &bytes)
            } else {
                table.open_block(kind, handle, &bytes)
            };
            return entries(table, handle, block?);
        }
        self.ahead.fill(plan, bytes);
        let stored = self.ahead.get(handle).ok_or_else(|| {
            Damage("the storage returned too few bytes").error(READING, table.id, handle.offset)
        })?;
        take_in(table, kind, handle, &stored, self.fill_cache)
    }
}

/// Opens a block that lies in a larger read.
fn take_in<R: Reader>(
    table: &Inner<R>,
    kind: BlockKind,
    handle: Handle,
    stored: &Bytes,
    fill_cache: bool,
) -> Result<Block> {
    if !fill_cache {
        return entries(table, handle, table.open_block(kind, handle, stored)?);
    }
    if let Some(block) = table.cache.get(table.id, handle.offset) {
        return entries(table, handle, block);
    }
    // The cache counts blocks, so it must not hold on to the read that this one came in.
    let mut block = entries(table, handle, table.open_block(kind, handle, stored)?)?;
    if !block.bytes().is_unique() {
        block = block.in_own_buffer();
    }
    let cached = CachedBlock::Entries(block.clone());
    table.cache.insert(table.id, handle.offset, cached);
    Ok(block)
}

fn entries<R>(table: &Inner<R>, handle: Handle, block: CachedBlock) -> Result<Block> {
    match block {
        CachedBlock::Entries(block) => Ok(block),
        CachedBlock::Filter(_) => {
            let damage = Damage("a filter block where entries were expected");
            Err(damage.error(READING, table.id, handle.offset))
        }
    }
}

impl<R: Reader> Cursor for TableCursor<R> {
    fn seek(&mut self, key: Option<&[u8]>) -> Result<Position> {
        self.state = State::End;
        self.set_target(key);
        let found = match key {
            Some(key) => self.top.seek_block_of(key, NEWEST),
            None => self.top.first(),
        };
        self.want_index(found)?;
        self.drive()
    }

    #[inline]
    fn step(&mut self) -> Result<Position> {
        match self.data.advance() {
            Ok(true) => Ok(Position::Record),
            Ok(false) => {
                self.state = State::End;
                self.next_data()?;
                self.drive()
            }
            Err(damage) => {
                self.state = State::End;
                Err(damage.error(READING, self.table.id(), self.data_offset))
            }
        }
    }

    async fn refill(&mut self) -> Result<Position> {
        loop {
            let (kind, handle) = match self.state {
                State::WantsIndex(handle) => (BlockKind::Index, handle),
                State::WantsData(handle) => (BlockKind::Data, handle),
                State::Record | State::End => return self.drive(),
            };
            let block = match self.load_now(kind, handle) {
                Some(block) => block?,
                None => {
                    let plan = self.plan(kind, handle);
                    let reader = &self.table.inner().reader;
                    let bytes = reader.read_at(plan.offset, plan.len).await;
                    let bytes = bytes.map_err(|e| named(e, self.table.id(), plan.offset))?;
                    self.take_read(kind, handle, plan, bytes)?
                }
            };
            self.enter(block)?;
            match self.drive()? {
                Position::Refill => {}
                position => return Ok(position),
            }
        }
    }

    #[inline]
    fn record(&self) -> Record<'_> {
        self.data.record().expect("the cursor stands on a record")
    }
}
