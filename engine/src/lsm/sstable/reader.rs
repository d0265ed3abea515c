//! An open table: finds one key, hands out cursors.
//!
//! A get goes filter, index, data. Each step takes a block and says which block it wants next, so that the
//! same steps serve the caller who may wait and the one who may not.

use std::sync::Arc;

use bytes::Bytes;

use super::block::Block;
use super::block_cursor::BlockCursor;
use super::cursor::{CursorOptions, TableCursor};
use super::filter::may_hold;
use super::footer::Footer;
use super::frame::unseal;
use super::index::Handle;
use super::pins::Pins;
use super::properties::{Properties, RangeSpan};
use super::{Damage, ranges};
use crate::lsm::cache::{BlockCache, CachedBlock};
use crate::lsm::cursor::Direction;
use crate::lsm::trace::{BlockKind, BlockRead, BlockSource, Trace};
use crate::record::{Kind, RangeDelete};
use crate::storage::{Object, Reader};
use crate::{Error, Result};

pub(crate) const READING: &str = "reading a block";
const OPENING: &str = "opening a table";

/// Read at once when a table is opened: in most tables all that stays resident.
const TAIL_BYTES: u64 = 16 << 10;

/// One version of a key, as [`Table::get`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its sequence number.
    pub seq: u64,
    /// What it says.
    pub kind: Kind,
    /// When it expires; 0 for never.
    pub deadline_ms: u64,
    /// The value or the reference to it: a slice of its block, not a copy.
    pub value: Bytes,
}

/// An open table. Cloning shares it.
pub struct Table<R>(Arc<Inner<R>>);

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> std::fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner<R> {
    pub(crate) id: u64,
    pub(crate) reader: R,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) footer: Footer,
    pub(crate) top: Block,
    pub(crate) properties: Properties,
    pub(crate) ranges: Vec<RangeDelete>,
    pub(crate) pins: Pins,
}

/// What a get is looking for.
struct Lookup<'a> {
    hash: u64,
    key: &'a [u8],
    seq_max: u64,
}

/// A block that a get wants, and what for.
#[derive(Clone, Copy)]
struct Want {
    kind: BlockKind,
    handle: Handle,
    /// The line in a filter block.
    line: usize,
}

enum Next {
    Read(Want),
    Done(Option<Found>),
}

impl<R: Reader> Table<R> {
    /// Opens table `id`: reads and checks its footer, properties, range deletes and top index.
    pub async fn open(reader: R, id: u64, cache: Arc<BlockCache>) -> Result<Self> {
        let parts = Parts::read(&reader, id).await?;
        let offsets = parts.index_offsets();
        let resident = parts.resident_bytes() + size_of::<Inner<R>>() as u64;
        Ok(Self(Arc::new(Inner {
            id,
            reader,
            pins: Pins::new(Arc::clone(&cache), &parts.footer, offsets, resident),
            cache,
            footer: parts.footer,
            top: parts.top,
            properties: parts.properties,
            ranges: parts.ranges,
        })))
    }

    /// The table's number.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Bytes of its file.
    pub fn file_bytes(&self) -> u64 {
        self.0.reader.len()
    }

    /// What the table says about itself.
    pub fn properties(&self) -> &Properties {
        &self.0.properties
    }

    /// Its range deletes, as they were added.
    pub fn range_deletes(&self) -> &[RangeDelete] {
        &self.0.ranges
    }

    /// The keys that its range deletes reach over.
    pub fn range_span(&self) -> Option<RangeSpan> {
        RangeSpan::of(&self.0.ranges)
    }

    /// The newest version of `key` whose sequence number is at most `seq_max`; `hash` is the key's
    /// [`hash_key`](crate::record::hash_key). Ready at once if the blocks are in the cache or the storage
    /// has them at hand. Does not look at range deletes.
    pub async fn get<T: Trace>(
        &self,
        hash: u64,
        key: &[u8],
        seq_max: u64,
        trace: &mut T,
    ) -> Result<Option<Found>> {
        let table = &*self.0;
        let lookup = Lookup { hash, key, seq_max };
        let mut next = table.begin(&lookup, trace)?;
        loop {
            let want = match next {
                Next::Done(found) => return Ok(found),
                Next::Read(want) => want,
            };
            let block = match table.block_now(want.kind, want.handle, trace) {
                Some(block) => block?,
                None => table.block(want.kind, want.handle, trace).await?,
            };
            next = table.proceed(&lookup, want, &block, trace)?;
        }
    }

    /// [`Self::get`] without waiting: `None` if that would take reading a block from a disk.
    pub fn get_now<T: Trace>(
        &self,
        hash: u64,
        key: &[u8],
        seq_max: u64,
        trace: &mut T,
    ) -> Option<Result<Option<Found>>> {
        let table = &*self.0;
        let lookup = Lookup { hash, key, seq_max };
        let mut next = table.begin(&lookup, trace);
        loop {
            let want = match next {
                Err(error) => return Some(Err(error)),
                Ok(Next::Done(found)) => return Some(Ok(found)),
                Ok(Next::Read(want)) => want,
            };
            next = table
                .block_now(want.kind, want.handle, trace)?
                .and_then(|block| table.proceed(&lookup, want, &block, trace));
        }
    }

    /// A cursor over its records.
    pub fn cursor(&self, direction: Direction, options: CursorOptions) -> TableCursor<R> {
        TableCursor::new(self.clone(), direction, options)
    }

    pub(crate) fn inner(&self) -> &Inner<R> {
        &self.0
    }
}

impl<R: Reader> Inner<R> {
    #[inline]
    fn begin<T: Trace>(&self, lookup: &Lookup<'_>, trace: &mut T) -> Result<Next> {
        if self.footer.filter.blocks == 0 {
            return self.look_in_index(lookup, trace);
        }
        let (number, line) = self.footer.filter.locate(lookup.hash);
        let want = Want {
            kind: BlockKind::Filter,
            handle: self.footer.filter_block(number),
            line,
        };
        match self.pins.filter(number) {
            Some(block) => {
                trace.block_read(self.block_read(want.kind, want.handle, BlockSource::Pinned));
                self.ask_filter(lookup, want, block, trace)
            }
            None => Ok(Next::Read(want)),
        }
    }

    fn proceed<T: Trace>(
        &self,
        lookup: &Lookup<'_>,
        want: Want,
        block: &CachedBlock,
        trace: &mut T,
    ) -> Result<Next> {
        let at = want.handle.offset;
        match (want.kind, block) {
            (BlockKind::Filter, CachedBlock::Filter(bytes)) => {
                self.ask_filter(lookup, want, bytes, trace)
            }
            (BlockKind::Index, CachedBlock::Entries(block)) => {
                self.follow(lookup, block, at, BlockKind::Data)
            }
            (BlockKind::Data, CachedBlock::Entries(block)) => self
                .find(lookup, block)
                .map(Next::Done)
                .map_err(|damage| damage.error(READING, self.id, at)),
            _ => {
                Err(Damage("two blocks of different kinds in one place")
                    .error(READING, self.id, at))
            }
        }
    }

    #[inline]
    fn ask_filter<T: Trace>(
        &self,
        lookup: &Lookup<'_>,
        want: Want,
        block: &[u8],
        trace: &mut T,
    ) -> Result<Next> {
        let may = may_hold(block, want.line, lookup.hash)
            .map_err(|damage| damage.error(READING, self.id, want.handle.offset))?;
        trace.filter_asked(self.id, may);
        if may {
            self.look_in_index(lookup, trace)
        } else {
            Ok(Next::Done(None))
        }
    }

    fn look_in_index<T: Trace>(&self, lookup: &Lookup<'_>, trace: &mut T) -> Result<Next> {
        let next = self.follow(lookup, &self.top, self.footer.top.offset, BlockKind::Index)?;
        if let Next::Read(Want { kind, handle, .. }) = next
            && let Some(block) = self.pins.index(handle.offset)
        {
            trace.block_read(self.block_read(kind, handle, BlockSource::Pinned));
            return self.follow(lookup, block, handle.offset, BlockKind::Data);
        }
        Ok(next)
    }

    /// The block, of the given kind, that an index block at offset `at` leads to.
    fn follow(&self, lookup: &Lookup<'_>, block: &Block, at: u64, kind: BlockKind) -> Result<Next> {
        let hit = block
            .search(lookup.key, lookup.seq_max)
            .map_err(|damage| damage.error(READING, self.id, at))?;
        let Some(hit) = hit else {
            return Ok(Next::Done(None));
        };
        let handle = self.handle(&block.bytes()[hit.entry.value()], kind, at)?;
        Ok(Next::Read(Want {
            kind,
            handle,
            line: 0,
        }))
    }

    fn find(&self, lookup: &Lookup<'_>, block: &Block) -> Result<Option<Found>, Damage> {
        let hit = block.search(lookup.key, lookup.seq_max)?;
        Ok(hit.filter(|hit| hit.same_key).map(|hit| Found {
            seq: hit.entry.seq,
            kind: hit.entry.kind,
            deadline_ms: hit.entry.deadline_ms,
            value: block.bytes().slice(hit.entry.value()),
        }))
    }

    /// The handle in an entry of the index block at offset `at`, leading to a block of `kind`.
    pub(crate) fn handle(&self, value: &[u8], kind: BlockKind, at: u64) -> Result<Handle> {
        let within = match kind {
            BlockKind::Data => self.footer.data(),
            BlockKind::Index | BlockKind::Filter => self.footer.index(),
        };
        Handle::decode(value, &within).map_err(|damage| damage.error(READING, self.id, at))
    }

    /// A block from the cache or from what the storage has at hand; `None` if it would have to wait.
    #[inline]
    fn block_now<T: Trace>(
        &self,
        kind: BlockKind,
        handle: Handle,
        trace: &mut T,
    ) -> Option<Result<CachedBlock>> {
        let mut tell = |source| trace.block_read(self.block_read(kind, handle, source));
        if let Some(block) = self.cache.get(self.id, handle.offset) {
            tell(BlockSource::Cache);
            if kind != BlockKind::Data && self.pins.keep(handle, &block) {
                self.cache.remove(self.id, handle.offset);
            }
            return Some(Ok(block));
        }
        let stored = self.reader.read_now(handle.offset, handle.len)?;
        tell(BlockSource::Storage);
        let stored = stored.map_err(|error| named(error, self.id, handle.offset));
        Some(stored.and_then(|stored| self.take_in(kind, handle, &stored)))
    }

    async fn block<T: Trace>(
        &self,
        kind: BlockKind,
        handle: Handle,
        trace: &mut T,
    ) -> Result<CachedBlock> {
        let stored = self.reader.read_at(handle.offset, handle.len).await;
        let stored = stored.map_err(|error| named(error, self.id, handle.offset))?;
        trace.block_read(self.block_read(kind, handle, BlockSource::Storage));
        self.take_in(kind, handle, &stored)
    }

    fn block_read(&self, kind: BlockKind, handle: Handle, source: BlockSource) -> BlockRead {
        let Handle { offset, len: bytes } = handle;
        BlockRead {
            table: self.id,
            kind,
            offset,
            bytes,
            source,
        }
    }

    /// Checks a stored block that was read by itself, and keeps it or puts it into the cache.
    pub(crate) fn take_in(
        &self,
        kind: BlockKind,
        handle: Handle,
        stored: &Bytes,
    ) -> Result<CachedBlock> {
        let block = self.open_block(kind, handle, stored)?;
        if kind == BlockKind::Data || !self.pins.keep(handle, &block) {
            self.cache.insert(self.id, handle.offset, block.clone());
        }
        Ok(block)
    }

    /// Checks and decompresses a stored block.
    pub(crate) fn open_block(
        &self,
        kind: BlockKind,
        handle: Handle,
        stored: &Bytes,
    ) -> Result<CachedBlock> {
        let block = unseal(stored, self.id, handle.offset).and_then(|bytes| match kind {
            BlockKind::Filter => Ok(CachedBlock::Filter(bytes)),
            BlockKind::Data | BlockKind::Index => Block::new(bytes).map(CachedBlock::Entries),
        });
        block.map_err(|damage| damage.error(READING, self.id, handle.offset))
    }
}

/// What stays resident of a table.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) footer: Footer,
    pub(crate) top: Block,
    pub(crate) properties: Properties,
    pub(crate) ranges: Vec<RangeDelete>,
}

impl Parts {
    /// Reads and checks them, mostly in one read.
    pub(crate) async fn read<R: Reader>(reader: &R, id: u64) -> Result<Self> {
        let file_bytes = reader.len();
        let start = file_bytes.saturating_sub(TAIL_BYTES);
        let tail = read(reader, id, start, (file_bytes - start) as u32).await?;
        let footer = Footer::decode(&tail, file_bytes, id)?;
        let load = async |handle: Handle| -> Result<Bytes> {
            let stored = match handle.offset.checked_sub(start) {
                Some(from) => tail.slice(from as usize..from as usize + handle.len as usize),
                None => read(reader, id, handle.offset, handle.len).await?,
            };
            unseal(&stored, id, handle.offset)
                .map_err(|damage| damage.error(OPENING, id, handle.offset))
        };
        let damaged =
            |handle: Handle| move |damage: Damage| damage.error(OPENING, id, handle.offset);
        let properties = Properties::decode(&load(footer.properties).await?)
            .map_err(damaged(footer.properties))?;
        let ranges = if footer.ranges.len == 0 {
            Vec::new()
        } else {
            ranges::decode(&load(footer.ranges).await?).map_err(damaged(footer.ranges))?
        };
        // A copy of its own: it stays, and must not keep the whole tail alive.
        let top = Bytes::copy_from_slice(&load(footer.top).await?);
        let top = Block::new(top).map_err(damaged(footer.top))?;
        Ok(Self {
            footer,
            top,
            properties,
            ranges,
        })
    }
}

impl Parts {
    /// Memory that they take.
    fn resident_bytes(&self) -> u64 {
        let ranges = self.ranges.iter().map(|range| {
            let end = range.end.as_ref().map_or(0, |end| end.len());
            size_of::<RangeDelete>() + range.start.len() + end
        });
        let keys = self.properties.smallest_key.len() + self.properties.largest_key.len();
        (self.top.bytes().len() + keys + ranges.sum::<usize>()) as u64
    }

    /// Where each index block begins, in order. Ends where the top index makes no sense: the read that
    /// comes there says what is wrong.
    fn index_offsets(&self) -> Vec<u64> {
        let mut offsets = Vec::new();
        let mut top = BlockCursor::new(Direction::Forward);
        top.reset(self.top.clone());
        let mut found = top.first();
        while let (Ok(true), Some(record)) = (found, top.record()) {
            match Handle::decode(record.value, &self.footer.index()) {
                Ok(handle) if offsets.last().is_none_or(|&last| last < handle.offset) => {
                    offsets.push(handle.offset);
                }
                _ => break,
            }
            found = top.advance();
        }
        offsets
    }
}

async fn read<R: Reader>(reader: &R, id: u64, offset: u64, len: u32) -> Result<Bytes> {
    let bytes = match reader.read_now(offset, len) {
        Some(bytes) => bytes,
        None => reader.read_at(offset, len).await,
    };
    let bytes = bytes.map_err(|error| named(error, id, offset))?;
    if bytes.len() != len as usize {
        let damage = Damage("the storage returned too few bytes");
        return Err(damage.error(OPENING, id, offset));
    }
    Ok(bytes)
}

/// Names the table in errors of its storage that do not.
pub(crate) fn named(error: Error, table: u64, offset: u64) -> Error {
    error.on(Object::Table(table)).at(offset)
}
