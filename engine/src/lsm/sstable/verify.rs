//! Reads a whole table and says everything that is wrong with it.
//!
//! It reads from the storage, never from the block cache: it is the disk that is in question.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::Damage;
use super::block::Block;
use super::block_cursor::BlockCursor;
use super::filter::may_hold;
use super::frame::unseal;
use super::index::Handle;
use super::properties::{Properties, Tally};
use super::read_ahead::ReadAhead;
use super::reader::{Inner, Parts, Table, named};
use crate::lsm::cursor::Direction;
use crate::lsm::trace::BlockKind;
use crate::record::{Record, hash_key};
use crate::storage::Reader;
use crate::{Error, Result};

const DOING: &str = "verifying";
const READ_BYTES: u64 = 256 << 10;

impl<R: Reader> Table<R> {
    /// Reads everything and checks every checksum, the order of records, the index's separators, that the
    /// filter knows every key and that the properties agree. Answers all problems found, by table and
    /// offset; none if the table is sound. An error of the storage is one of them.
    pub async fn verify(&self) -> Vec<Error> {
        let mut verifier = Verifier::new(self.inner());
        verifier.check_resident().await;
        verifier.load_filter().await;
        verifier.walk_index().await;
        verifier.check_properties();
        verifier.problems
    }
}

/// A position in the order of records.
type Place = (Vec<u8>, Reverse<u64>);

struct Verifier<'a, R> {
    table: &'a Inner<R>,
    problems: Vec<Error>,
    /// Whether every data block could be read: if not, counts cannot agree.
    complete: bool,
    filter: Vec<Option<Bytes>>,
    /// Filter blocks already found to lack a key.
    filter_wrong: BTreeSet<u32>,
    tally: Tally,
    ahead: ReadAhead,
    data_end: u64,
    index_end: u64,
    last: Option<Place>,
    smallest_key: Vec<u8>,
}

impl<'a, R: Reader> Verifier<'a, R> {
    fn new(table: &'a Inner<R>) -> Self {
        Self {
            table,
            problems: Vec::new(),
            complete: true,
            filter: Vec::new(),
            filter_wrong: BTreeSet::new(),
            tally: Tally::default(),
            ahead: ReadAhead::new(Direction::Forward, READ_BYTES),
            data_end: 0,
            index_end: table.footer.index_offset,
            last: None,
            smallest_key: Vec::new(),
        }
    }

    fn problem(&mut self, offset: u64, detail: impl Into<String>) {
        let error = Error::corrupt(DOING, detail);
        self.problems.push(named(error, self.table.id, offset));
    }

    /// Footer, properties, range deletes and top index, as they are on the disk now.
    async fn check_resident(&mut self) {
        match Parts::read(&self.table.reader, self.table.id).await {
            Err(error) => self.problems.push(error),
            Ok(parts) => {
                let same = parts.footer == self.table.footer
                    && parts.properties == self.table.properties
                    && parts.ranges == self.table.ranges
                    && parts.top.bytes() == self.table.top.bytes();
                if !same {
                    let at = self.table.footer.top.offset;
                    self.problem(
                        at,
                        "what lies on the disk is not what the table was opened with",
                    );
                }
            }
        }
        for range in &self.table.ranges {
            self.tally.add_range_delete(range);
        }
    }

    async fn load_filter(&mut self) {
        let shape = self.table.footer.filter;
        for index in 0..shape.blocks {
            let handle = self.table.footer.filter_block(index);
            let block = self.read(
                handle,
                self.table.footer.filter_offset..self.table.footer.index_offset,
            );
            let block = match block.await {
                Ok(block) if block.len() == shape.block_bytes() => Some(block),
                Ok(_) => {
                    self.problem(handle.offset, "filter block of a wrong length");
                    None
                }
                Err(error) => {
                    self.problems.push(error);
                    None
                }
            };
            self.filter.push(block);
        }
    }

    /// A block of the file, checked and decompressed, read ahead `within` its part.
    async fn read(&mut self, handle: Handle, within: std::ops::Range<u64>) -> Result<Bytes> {
        let id = self.table.id;
        let stored = match self.ahead.get(handle) {
            Some(stored) => stored,
            None => {
                let plan = self.ahead.plan(handle, &within);
                let read = self.table.reader.read_at(plan.offset, plan.len).await;
                match read.map_err(|error| named(error, id, plan.offset)) {
                    Ok(bytes) => self.ahead.fill(plan, bytes),
                    // A bad sector must not hide the blocks around it.
                    Err(error) if plan == handle => return Err(error),
                    Err(_) => {
                        let read = self.table.reader.read_at(handle.offset, handle.len).await;
                        let bytes = read.map_err(|error| named(error, id, handle.offset))?;
                        self.ahead.fill(handle, bytes);
                    }
                }
                let missing = Damage("the storage returned too few bytes");
                let stored = self.ahead.get(handle).ok_or(missing);
                stored.map_err(|damage| damage.error(DOING, id, handle.offset))?
            }
        };
        unseal(&stored, id, handle.offset).map_err(|damage| damage.error(DOING, id, handle.offset))
    }

    async fn walk_index(&mut self) {
        let top = self.separators(
            &self.table.top.clone(),
            self.table.footer.top.offset,
            BlockKind::Index,
        );
        for (separator, handle) in top {
            if handle.offset != self.index_end {
                self.problem(
                    handle.offset,
                    "index blocks do not lie one behind the other",
                );
            }
            self.index_end = handle.end();
            let block = self.read(handle, self.table.footer.index()).await;
            let block = block.and_then(|bytes| {
                Block::new(bytes)
                    .map_err(|damage| damage.error(DOING, self.table.id, handle.offset))
            });
            match block {
                Ok(block) => {
                    self.walk_index_block(&block, handle.offset, &separator)
                        .await
                }
                Err(error) => {
                    self.complete = false;
                    // Where the next index block's data begins cannot be known.
                    self.data_end = u64::MAX;
                    self.problems.push(error);
                }
            }
        }
        if self.complete {
            if self.index_end != self.table.footer.top.offset {
                self.problem(self.index_end, "bytes that no index entry leads to");
            }
            if self.data_end != self.table.footer.filter_offset {
                self.problem(self.data_end, "bytes that no index entry leads to");
            }
        }
    }

    async fn walk_index_block(&mut self, block: &Block, at: u64, separator: &Place) {
        let entries = self.separators(block, at, BlockKind::Data);
        if entries.last().is_some_and(|(last, _)| last != separator) {
            self.problem(
                at,
                "the top index has another separator for this index block",
            );
        }
        for (separator, handle) in entries {
            if self.data_end != u64::MAX && handle.offset != self.data_end {
                self.problem(handle.offset, "data blocks do not lie one behind the other");
            }
            self.data_end = handle.end();
            let block = self.read(handle, self.table.footer.data()).await;
            let block = block.and_then(|bytes| {
                Block::new(bytes)
                    .map_err(|damage| damage.error(DOING, self.table.id, handle.offset))
            });
            match block {
                Ok(block) => self.check_data_block(&block, handle.offset, &separator),
                Err(error) => {
                    self.complete = false;
                    self.problems.push(error);
                }
            }
            // Whatever the block held, nothing after it may lie at or before its separator.
            self.last = Some(separator);
        }
    }

    /// Every separator of an index block at offset `at`, with the handle it stands for.
    fn separators(&mut self, block: &Block, at: u64, kind: BlockKind) -> Vec<(Place, Handle)> {
        let mut entries: Vec<(Place, Handle)> = Vec::new();
        let mut wrong = Vec::new();
        let walked = each_record(block, |record| {
            let place = (record.key.to_vec(), Reverse(record.seq));
            if entries.last().is_some_and(|(last, _)| *last >= place) {
                wrong.push("separators are not in order");
            }
            match self.table.handle(record.value, kind, at) {
                Ok(handle) => entries.push((place, handle)),
                Err(_) => wrong.push("a malformed handle"),
            }
        });
        if let Err(damage) = walked {
            wrong.push(damage.0);
        }
        for detail in wrong {
            self.complete = false;
            self.problem(at, detail);
        }
        entries
    }

    fn check_data_block(&mut self, block: &Block, at: u64, separator: &Place) {
        let mut wrong = BTreeSet::new();
        let walked = each_record(block, |record| {
            let place = (record.key, Reverse(record.seq));
            let after_last = self
                .last
                .as_ref()
                .is_none_or(|(key, seq)| (key.as_slice(), *seq) < place);
            if !after_last {
                wrong.insert("records are not in order, or before the separator");
            }
            if place > (separator.0.as_slice(), separator.1) {
                wrong.insert("a record lies after its block's separator");
            }
            let new_key = self.last.as_ref().is_none_or(|(key, _)| key != record.key);
            if new_key && !self.filter_knows(record.key) {
                wrong.insert("the filter does not know a key");
            }
            if self.tally.properties.entries == 0 {
                self.smallest_key = record.key.to_vec();
            }
            if let Err(damage) = self.tally.add(&record) {
                wrong.insert(damage.0);
            }
            let (key, seq) = self.last.get_or_insert_default();
            key.clear();
            key.extend_from_slice(record.key);
            *seq = Reverse(record.seq);
        });
        if let Err(damage) = walked {
            self.complete = false;
            wrong.insert(damage.0);
        }
        if let Some((key, _)) = &self.last {
            self.tally.properties.largest_key = key.as_slice().into();
        }
        self.tally.properties.data_blocks += 1;
        for detail in wrong {
            self.problem(at, detail);
        }
    }

    /// Whether the filter lets a key through; blocks that could not be read are passed over.
    fn filter_knows(&mut self, key: &[u8]) -> bool {
        let shape = self.table.footer.filter;
        if shape.blocks == 0 {
            return true;
        }
        let hash = hash_key(key);
        let (index, line) = shape.locate(hash);
        match self.filter.get(index as usize) {
            Some(Some(block)) => {
                may_hold(block, line, hash) == Ok(true) || !self.filter_wrong.insert(index)
            }
            _ => true,
        }
    }

    fn check_properties(&mut self) {
        if !self.complete {
            return;
        }
        let footer = &self.table.footer;
        let stated = &self.table.properties;
        let counted = std::mem::take(&mut self.tally).finish();
        let counted = Properties {
            smallest_key: self.smallest_key.as_slice().into(),
            data_bytes: footer.filter_offset,
            filter_bytes: footer.index_offset - footer.filter_offset,
            index_bytes: footer.top.end() - footer.index_offset,
            created_ms: stated.created_ms,
            creator: stated.creator.clone(),
            ..counted
        };
        if counted != *stated {
            let detail = format!("properties are {stated:?}, counted were {counted:?}");
            self.problem(footer.properties.offset, detail);
        }
    }
}

/// Shows every record of a block, having checked that its restarts are where they should be.
fn each_record(block: &Block, mut show: impl FnMut(Record<'_>)) -> Result<(), Damage> {
    let mut at = 0;
    let mut restart = 0;
    while at < block.entries_end() {
        let entry = block.entry(at)?;
        if restart < block.restarts() && block.restart(restart)? == at {
            if entry.shared != 0 {
                return Err(Damage("a restart without a whole key"));
            }
            restart += 1;
        }
        at = entry.next();
    }
    if restart != block.restarts() {
        return Err(Damage("a restart points between entries"));
    }
    let mut cursor = BlockCursor::new(Direction::Forward);
    cursor.reset(block.clone());
    let mut found = cursor.first()?;
    while let Some(record) = cursor.record().filter(|_| found) {
        show(record);
        found = cursor.advance()?;
    }
    Ok(())
}
