//! Writes a table, front to back, block by block, without an allocation for a record.
//!
//! A table is all there and synced when [`TableWriter::finish`] has answered, and not before: until then
//! nothing may refer to it.

use super::block::{BlockBuilder, ENTRY_HEAD_BYTES_MAX, common_prefix};
use super::block_cursor::RESTART_INTERVAL_MAX;
use super::filter::FilterBuilder;
use super::footer::Footer;
use super::frame::{Compression, Sealer};
use super::index::{Handle, IndexBuilder, TopBuilder, shorten};
use super::properties::{Properties, RangeSpan, Tally};
use super::{INLINE_VALUE_BYTES_MAX, ranges};
use crate::record::{KEY_BYTES_MAX, RangeDelete, Record, SEQ_MAX, hash_key};
use crate::storage::{Durability, MaybeSend, Object, Writer};
use crate::{Error, ErrorKind, Result};

const DOING: &str = "writing a table";

/// How a table is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// Target of data and index blocks, uncompressed.
    pub block_bytes: usize,
    /// How data and index blocks are compressed.
    pub compression: Compression,
    /// Bits of filter for each key; 0 for no filter.
    pub filter_bits_per_key: u32,
    /// Entries from one whole key to the next, in data blocks: 1 to 64.
    pub restart_interval: u32,
    /// The wall clock, for the properties.
    pub created_ms: u64,
    /// What makes the table, for the properties.
    pub creator: Box<str>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            block_bytes: 4096,
            compression: Compression::default(),
            filter_bits_per_key: 10,
            restart_interval: 16,
            created_ms: 0,
            creator: "".into(),
        }
    }
}

/// A table that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// The table.
    pub table: u64,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// What it says about itself.
    pub properties: Properties,
    /// What its range deletes reach over; the properties' keys do not include it.
    pub range_span: Option<RangeSpan>,
}

/// Writes one table.
pub struct TableWriter<W> {
    writer: W,
    id: u64,
    options: TableOptions,
    /// Bytes appended so far, which is where the next block goes.
    offset: u64,
    sealer: Sealer,
    data: BlockBuilder,
    last_seq: u64,
    /// The last data block and the last entry in it: its separator waits for the next key.
    pending: Option<(Handle, u64)>,
    separator: Vec<u8>,
    index: IndexBuilder,
    filter: FilterBuilder,
    tally: Tally,
    ranges: Vec<RangeDelete>,
}

impl<W: Writer> TableWriter<W> {
    /// Begins table `id` in an empty object.
    pub fn new(writer: W, id: u64, mut options: TableOptions) -> Self {
        options.block_bytes = options.block_bytes.min(INLINE_VALUE_BYTES_MAX);
        Self {
            writer,
            id,
            offset: 0,
            sealer: Sealer::new(options.compression),
            data: BlockBuilder::new(options.restart_interval.clamp(1, RESTART_INTERVAL_MAX)),
            last_seq: 0,
            pending: None,
            separator: Vec::new(),
            index: IndexBuilder::new(options.block_bytes),
            filter: FilterBuilder::new(options.filter_bits_per_key),
            tally: Tally::default(),
            ranges: Vec::new(),
            options,
        }
    }

    /// Adds a record; records come in order of (key ascending, seq descending), each position once.
    pub fn add(&mut self, record: Record<'_>) -> Result<()> {
        self.check_limits(&record)?;
        let common = common_prefix(self.data.last_key(), record.key);
        let is_first = self.tally.properties.entries == 0;
        let same_key =
            !is_first && common == record.key.len() && common == self.data.last_key().len();
        if !is_first {
            let last_key = self.data.last_key();
            let follows = if same_key {
                record.seq < self.last_seq
            } else {
                last_key[common..].first() < record.key[common..].first()
            };
            if !follows {
                return Err(self.invalid("the records are not in order"));
            }
        }
        if let Err(damage) = self.tally.add(&record) {
            return Err(self.invalid(damage.0));
        }
        let more = ENTRY_HEAD_BYTES_MAX / 4 + record.key.len() - common + record.value.len();
        if !self.data.is_empty() && self.data.len() + more > self.options.block_bytes {
            self.cut_block()?;
        }
        if self.pending.is_some() {
            self.add_separator(Some(record.key));
        }
        if is_first {
            self.tally.properties.smallest_key = record.key.into();
        }
        if !same_key && self.options.filter_bits_per_key > 0 {
            self.filter.add(hash_key(record.key));
        }
        self.data.push(&record, common);
        self.last_seq = record.seq;
        Ok(())
    }

    fn check_limits(&self, record: &Record<'_>) -> Result<()> {
        if record.key.len() > KEY_BYTES_MAX {
            return Err(self.invalid("a key is too long"));
        }
        if record.seq > SEQ_MAX {
            return Err(self.invalid("a sequence number is too large"));
        }
        if record.value.len() > INLINE_VALUE_BYTES_MAX {
            return Err(self.invalid("a value is too large to lie in a table"));
        }
        Ok(())
    }

    /// Adds a range delete, in any order and at any time.
    pub fn add_range_delete(&mut self, range: &RangeDelete) -> Result<()> {
        if !ranges::is_sound(range) {
            return Err(self.invalid("a range delete is empty or beyond the limits"));
        }
        self.tally.add_range_delete(range);
        self.ranges.push(range.clone());
        Ok(())
    }

    fn invalid(&self, detail: &str) -> Error {
        Error::new(ErrorKind::Invalid, DOING, detail).on(Object::Table(self.id))
    }

    /// Bytes the file would have if it were finished now, roughly.
    pub fn estimated_bytes(&self) -> u64 {
        self.offset + (self.data.len() + self.index.bytes()) as u64 + self.filter.bytes()
    }

    /// Number of entries added.
    pub fn entries(&self) -> u64 {
        self.tally.properties.entries
    }

    /// The last key added; empty before the first.
    pub fn last_key(&self) -> &[u8] {
        self.data.last_key()
    }

    /// Ready when what was appended so far has been handed to the host. Await it every few MiB: it is what
    /// keeps the storage's buffers from growing without bound.
    pub fn settle_written(&self) -> impl Future<Output = Result<()>> + MaybeSend + use<W> {
        self.writer.settle(self.offset, Durability::Written)
    }

    /// Bytes appended so far.
    pub fn appended_bytes(&self) -> u64 {
        self.offset
    }

    fn cut_block(&mut self) -> Result<()> {
        let handle = store(
            &mut self.writer,
            &mut self.sealer,
            self.data.finish(),
            self.id,
            &mut self.offset,
        )?;
        self.tally.properties.data_blocks += 1;
        self.separator.clear();
        self.separator.extend_from_slice(self.data.last_key());
        self.pending = Some((handle, self.last_seq));
        self.data.clear();
        Ok(())
    }

    /// Enters the pending data block into the index, now that the key after it is known.
    fn add_separator(&mut self, next: Option<&[u8]>) {
        if let Some((handle, last_seq)) = self.pending.take() {
            let goes_on = next.is_some_and(|next| shorten(&mut self.separator, next));
            let seq = if goes_on { last_seq } else { 0 };
            self.index.add(&self.separator, seq, handle);
        }
    }

    /// Loses the filter's keys so far: a fault for `verify` to find.
    #[cfg(test)]
    pub(crate) fn forget_filter_for_tests(&mut self) {
        self.filter = FilterBuilder::new(self.options.filter_bits_per_key);
        self.filter.add(0);
    }

    /// Writes what is left of the table and syncs it.
    pub async fn finish(mut self) -> Result<TableSummary> {
        if !self.data.is_empty() {
            self.cut_block()?;
        }
        if self.entries() > 0 {
            self.tally.properties.largest_key = self.data.last_key().into();
        }
        self.add_separator(None);
        let properties = &mut self.tally.properties;
        properties.data_bytes = self.offset;
        properties.created_ms = self.options.created_ms;
        properties.creator = self.options.creator.clone();
        let filter_offset = self.offset;
        let mut tail = Tail {
            writer: &mut self.writer,
            sealer: &mut self.sealer,
            id: self.id,
            offset: &mut self.offset,
        };
        let filter = tail.store_filter(self.filter)?;
        let index_offset = *tail.offset;
        let top = tail.store_index(self.index)?;
        properties.filter_bytes = index_offset - filter_offset;
        properties.index_bytes = *tail.offset - index_offset;
        let ranges = tail.store_ranges(&self.ranges)?;
        let mut properties = self.tally.finish();
        let handle = tail.store(&mut properties.encode())?;
        let footer = Footer {
            table: self.id,
            filter_offset,
            filter,
            index_offset,
            top,
            ranges,
            properties: handle,
        };
        let file_bytes = self.writer.append(&footer.encode())?;
        self.writer.settle(file_bytes, Durability::Synced).await?;
        Ok(TableSummary {
            table: self.id,
            file_bytes,
            properties,
            range_span: RangeSpan::of(&self.ranges),
        })
    }
}

/// Seals and appends one block, and moves `offset` behind it.
fn store(
    writer: &mut impl Writer,
    sealer: &mut Sealer,
    block: &mut Vec<u8>,
    id: u64,
    offset: &mut u64,
) -> Result<Handle> {
    let stored = sealer.seal(block, id, *offset);
    let len = u32::try_from(stored.len())
        .map_err(|_| Error::new(ErrorKind::Invalid, DOING, "a block exceeds 4 GiB"))?;
    writer.append(stored)?;
    let handle = Handle {
        offset: *offset,
        len,
    };
    *offset = handle.end();
    Ok(handle)
}

/// Stores what comes behind the data blocks.
struct Tail<'a, W> {
    writer: &'a mut W,
    sealer: &'a mut Sealer,
    id: u64,
    offset: &'a mut u64,
}

impl<W: Writer> Tail<'_, W> {
    fn store(&mut self, block: &mut Vec<u8>) -> Result<Handle> {
        store(self.writer, self.sealer, block, self.id, self.offset)
    }

    fn store_filter(&mut self, filter: FilterBuilder) -> Result<super::filter::FilterShape> {
        let (shape, bytes) = filter.build();
        // Filters do not compress, and their blocks have to be of one size.
        let mut plain = Sealer::new(Compression::None);
        let mut block = Vec::new();
        for lines in bytes.chunks(shape.block_bytes().max(1)) {
            block.clear();
            block.extend_from_slice(lines);
            store(self.writer, &mut plain, &mut block, self.id, self.offset)?;
        }
        Ok(shape)
    }

    fn store_index(&mut self, index: IndexBuilder) -> Result<Handle> {
        let mut top = TopBuilder::new();
        for mut block in index.finish() {
            let handle = self.store(&mut block.bytes)?;
            top.add(&block.separator, block.seq, handle);
        }
        self.store(top.finish())
    }

    fn store_ranges(&mut self, ranges: &[RangeDelete]) -> Result<Handle> {
        if ranges.is_empty() {
            return Ok(Handle {
                offset: *self.offset,
                len: 0,
            });
        }
        self.store(&mut ranges::encode(ranges))
    }
}
