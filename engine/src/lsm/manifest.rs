//! The manifest: the one blob that says what a store consists of. It is handed to `Storage::commit`, which
//! replaces it atomically, so it is always written whole.
//!
//! Decoding must survive any bytes: damage is `Corrupt`, a later format is `Newer`, nothing panics, and
//! memory is taken only in proportion to the bytes that are there.
//!
//! # Format, version 1
//!
//! Integers are little-endian; `varint` is LEB128; `bytes` is a varint length and that many bytes.
//!
//! ```text
//! offset
//!      0  8 bytes   magic, "TRILMETA"
//!      8  u32       CRC-32 (IEEE) of everything from offset 12 to the end. Here in every version
//!     12  u32       format version. Here in every version
//!     16  u128      store id
//!     32  u8        flags: 1 host epoch known, 2 cleanly shut down; others 0
//!     33  u128      host epoch, if flag 1
//!         varint    next object id
//!         varint    last applied sequence number
//!         varint    log start: the first segment that replay needs
//!         varint    segment  } up to here the log
//!         varint    offset   } is known to be synced
//!         bytes     settings
//!         varint    number of ranges, then each, by range ascending:
//!             varint    range
//!             varint    term
//!             u8        1 if there is a vote, then a varint: whom for; else 0
//!             bytes     configuration
//!             varint    applied index
//!             varint    applied term
//!             varint    applied time, in milliseconds
//!             varint    log start index
//!             varint    incarnation, upper 64 bits: the term of the configuration entry that added the copy
//!             varint    incarnation, lower 64 bits: the index of that entry
//!             varint    number of keys, zigzag (2n, or -2n - 1 when negative)
//!             varint    flags
//!         varint    number of values files, then each:
//!             varint    id
//!             varint    bytes
//!         varint    number of levels, then each, level 0 first:
//!             varint    number of tables, then each, in the level's order:
//!                 varint    id
//!                 varint    bytes
//!                 bytes     smallest key
//!                 u8        0: largest key, included; 1: end, excluded; 2: no end
//!                 bytes     that key, unless there is no end
//!                 varint    smallest sequence number
//!                 varint    largest sequence number, less the smallest
//!                 varint    records
//!                 varint    tombstones
//!                 varint    range deletes
//!                 varint    records with a deadline; if not 0:
//!                     varint    earliest deadline
//!                     varint    latest deadline, less the earliest
//!                 varint    number of values files referred to, then each:
//!                     varint    id
//!                     varint    bytes referred to
//! ```

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::levels::{Deadlines, Edit, LEVELS, Levels, TableMeta, ValuesFile, ValuesRef};
use crate::codec::{Decoder, put_bytes, put_varint};
use crate::storage::Object;
use crate::{Error, ErrorKind, Result};

/// The format this engine writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"TRILMETA";
const CRC_AT: usize = 8;
const VERSION_AT: usize = 12;
const BODY_AT: usize = 16;

const FLAG_HOST_EPOCH: u8 = 1;
const FLAG_CLEAN: u8 = 2;

const READING: &str = "reading the manifest";

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The segment's object id.
    pub segment: u64,
    /// A byte offset in it.
    pub offset: u64,
}

/// What is kept of each replicated range, together with the data it describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRecord {
    /// Which range.
    pub range: u32,
    /// The latest term it has seen.
    pub term: u64,
    /// Whom it voted for in that term.
    pub vote: Option<u64>,
    /// Its members, as the ring encodes them; not looked into here.
    pub configuration: Bytes,
    /// The last log index that the tables and their memtables' flushes contain.
    pub applied_index: u64,
    /// That entry's term.
    pub applied_term: u64,
    /// That entry's time, in milliseconds.
    pub applied_time_ms: u64,
    /// The first index that the log still holds.
    pub log_start_index: u64,
    /// Which copy of the range this is: a node's next one has a larger number.
    pub incarnation: u128,
    /// How many keys are in it, as far as they were counted; differences make it signed.
    pub keys: i64,
    /// The ring's durable flags; not looked into here.
    pub flags: u32,
}

/// All that a store needs to know when it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Drawn once, when the store was made.
    pub store_id: u128,
    /// The host's boot when this was written, where the host knows it.
    pub host_epoch: Option<u128>,
    /// The next object id to give out; all that exist are smaller.
    pub next_object: u64,
    /// The newest sequence number that the tables contain.
    pub applied_seq: u64,
    /// The first log segment that replay needs.
    pub log_start: u64,
    /// The log is known to be synced up to here: damage before it is corruption, not a torn tail.
    pub log_synced: LogPosition,
    /// Whether the store was closed in good order after this was written.
    pub clean: bool,
    /// The ranges, by number, each once.
    pub ranges: Vec<RangeRecord>,
    /// The store's settings, as their owner encodes them; not looked into here.
    pub settings: Bytes,
    /// The tables and files of large values.
    pub levels: Levels,
}

impl Manifest {
    /// The blob to commit.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(256 + self.levels.all().count() * 96);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; VERSION_AT - CRC_AT]);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        self.put_store(&mut out);
        put_varint(&mut out, self.ranges.len() as u64);
        for range in &self.ranges {
            put_range(&mut out, range);
        }
        put_levels(&mut out, &self.levels);
        let crc = crc32fast::hash(&out[VERSION_AT..]);
        out[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// Reads what [`Manifest::encode`] wrote and checks every invariant of the levels.
    pub fn decode(blob: &[u8]) -> Result<Self> {
        let mut input = Decoder::new(open(blob)?);
        let manifest = Self::take(&mut input)?;
        if !input.is_empty() {
            return Err(damaged(blob, &input, "there are bytes behind its end"));
        }
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        if self
            .ranges
            .windows(2)
            .any(|pair| pair[0].range >= pair[1].range)
        {
            return Err(Error::corrupt(READING, "its ranges are out of order"));
        }
        let tables = self.levels.all().map(|(_, table)| table.id);
        let mut ids = tables.chain(self.levels.values().keys().copied());
        match ids.find(|&id| id >= self.next_object) {
            None => Ok(()),
            Some(id) => Err(
                Error::corrupt(READING, "an object's id is still to be given out")
                    .on(Object::Table(id)),
            ),
        }
    }

    fn put_store(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.store_id.to_le_bytes());
        let clean = if self.clean { FLAG_CLEAN } else { 0 };
        let epoch = if self.host_epoch.is_some() {
            FLAG_HOST_EPOCH
        } else {
            0
        };
        out.push(clean | epoch);
        if let Some(epoch) = self.host_epoch {
            out.extend_from_slice(&epoch.to_le_bytes());
        }
        for number in [
            self.next_object,
            self.applied_seq,
            self.log_start,
            self.log_synced.segment,
            self.log_synced.offset,
        ] {
            put_varint(out, number);
        }
        put_bytes(out, &self.settings);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self> {
        let mut manifest = Self {
            store_id: need(input.u128(), "store id")?,
            ..Self::default()
        };
        let flags = need(input.u8(), "flags")?;
        if flags & !(FLAG_CLEAN | FLAG_HOST_EPOCH) != 0 {
            return Err(Error::corrupt(
                READING,
                "it has flags that this version does not know",
            ));
        }
        manifest.clean = flags & FLAG_CLEAN != 0;
        if flags & FLAG_HOST_EPOCH != 0 {
            manifest.host_epoch = Some(need(input.u128(), "host epoch")?);
        }
        manifest.next_object = number(input, "next object id")?;
        manifest.applied_seq = number(input, "applied sequence number")?;
        manifest.log_start = number(input, "log start")?;
        manifest.log_synced.segment = number(input, "synced segment")?;
        manifest.log_synced.offset = number(input, "synced offset")?;
        manifest.settings = take_bytes(input, "settings")?;
        // Counts are not trusted with memory: vectors grow as their elements turn up.
        for _ in 0..number(input, "number of ranges")? {
            manifest.ranges.push(take_range(input)?);
        }
        manifest.levels = take_levels(input)?;
        Ok(manifest)
    }
}

/// Checks the envelope and returns what is in it.
fn open(blob: &[u8]) -> Result<&[u8]> {
    let mut header = Decoder::new(blob);
    if header.take(MAGIC.len()) != Some(MAGIC) {
        return Err(Error::corrupt(READING, "it does not begin as a manifest does").at(0));
    }
    let crc = need(header.u32(), "checksum")?;
    if crc32fast::hash(header.rest()) != crc {
        return Err(Error::corrupt(READING, "checksum differs").at(CRC_AT as u64));
    }
    // The checksum covers the version and has its place in all versions: a damaged blob is never
    // mistaken for a newer one.
    match need(header.u32(), "version")? {
        0 => Err(Error::corrupt(READING, "there is no format version 0").at(VERSION_AT as u64)),
        version if version > FORMAT_VERSION => {
            let detail = format!(
                "it has format version {version}, this engine reads up to version {FORMAT_VERSION}"
            );
            Err(Error::new(ErrorKind::Newer, READING, detail))
        }
        _ => Ok(&blob[BODY_AT..]),
    }
}

fn damaged(blob: &[u8], input: &Decoder<'_>, detail: &str) -> Error {
    Error::corrupt(READING, detail).at((blob.len() - input.rest().len()) as u64)
}

fn need<T>(found: Option<T>, what: &str) -> Result<T> {
    found.ok_or_else(|| Error::corrupt(READING, format!("it ends within, or has no valid, {what}")))
}

fn number(input: &mut Decoder<'_>, what: &str) -> Result<u64> {
    need(input.varint(), what)
}

fn small_number(input: &mut Decoder<'_>, what: &str) -> Result<u32> {
    need(
        input.varint().and_then(|number| u32::try_from(number).ok()),
        what,
    )
}

/// The sum of a number and a difference that follows it.
fn sum(base: u64, input: &mut Decoder<'_>, what: &str) -> Result<u64> {
    need(input.varint().and_then(|more| base.checked_add(more)), what)
}

fn take_bytes(input: &mut Decoder<'_>, what: &str) -> Result<Bytes> {
    Ok(Bytes::copy_from_slice(need(input.bytes(), what)?))
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put_range(out: &mut Vec<u8>, range: &RangeRecord) {
    put_varint(out, u64::from(range.range));
    put_varint(out, range.term);
    out.push(u8::from(range.vote.is_some()));
    if let Some(vote) = range.vote {
        put_varint(out, vote);
    }
    put_bytes(out, &range.configuration);
    put_varint(out, range.applied_index);
    put_varint(out, range.applied_term);
    put_varint(out, range.applied_time_ms);
    put_varint(out, range.log_start_index);
    put_varint(out, (range.incarnation >> 64) as u64);
    put_varint(out, range.incarnation as u64);
    put_varint(out, zigzag(range.keys));
    put_varint(out, u64::from(range.flags));
}

fn take_range(input: &mut Decoder<'_>) -> Result<RangeRecord> {
    Ok(RangeRecord {
        range: small_number(input, "range")?,
        term: number(input, "term")?,
        vote: match need(input.u8(), "vote")? {
            0 => None,
            1 => Some(number(input, "vote")?),
            _ => {
                return Err(Error::corrupt(
                    READING,
                    "a vote is neither there nor absent",
                ));
            }
        },
        configuration: take_bytes(input, "configuration")?,
        applied_index: number(input, "applied index")?,
        applied_term: number(input, "applied term")?,
        applied_time_ms: number(input, "applied time")?,
        log_start_index: number(input, "log start index")?,
        incarnation: u128::from(number(input, "incarnation")?) << 64
            | u128::from(number(input, "incarnation")?),
        keys: unzigzag(number(input, "number of keys")?),
        flags: small_number(input, "range flags")?,
    })
}

fn put_levels(out: &mut Vec<u8>, levels: &Levels) {
    put_varint(out, levels.values().len() as u64);
    for (&id, file) in levels.values() {
        put_varint(out, id);
        put_varint(out, file.bytes);
    }
    put_varint(out, LEVELS as u64);
    for level in 0..LEVELS {
        put_varint(out, levels.tables(level).len() as u64);
        for table in levels.tables(level) {
            put_table(out, table);
        }
    }
}

fn take_levels(input: &mut Decoder<'_>) -> Result<Levels> {
    let mut edit = Edit::default();
    for _ in 0..number(input, "number of values files")? {
        edit.values.push(ValuesFile {
            id: number(input, "values file id")?,
            bytes: number(input, "values file length")?,
        });
    }
    if number(input, "number of levels")? != LEVELS as u64 {
        let detail = format!("it does not have {LEVELS} levels");
        return Err(Error::corrupt(READING, detail));
    }
    for level in 0..LEVELS {
        for _ in 0..number(input, "number of tables")? {
            edit.add.push((level, Arc::new(take_table(input)?)));
        }
    }
    let applied = Levels::default().apply(&edit)?;
    match applied.dead_values.first() {
        None => Ok(applied.levels),
        Some(&id) => {
            Err(Error::corrupt(READING, "no table refers to a values file").on(Object::Table(id)))
        }
    }
}

fn put_table(out: &mut Vec<u8>, table: &TableMeta) {
    put_varint(out, table.id);
    put_varint(out, table.bytes);
    put_bytes(out, &table.smallest);
    match &table.largest {
        Bound::Included(key) => {
            out.push(0);
            put_bytes(out, key);
        }
        Bound::Excluded(key) => {
            out.push(1);
            put_bytes(out, key);
        }
        Bound::Unbounded => out.push(2),
    }
    put_varint(out, table.smallest_seq);
    put_varint(out, table.largest_seq.saturating_sub(table.smallest_seq));
    put_varint(out, table.entries);
    put_varint(out, table.deletes);
    put_varint(out, table.range_deletes);
    let deadlines = table.deadlines;
    put_varint(out, deadlines.count);
    if deadlines.count > 0 {
        put_varint(out, deadlines.min_ms);
        put_varint(out, deadlines.max_ms.saturating_sub(deadlines.min_ms));
    }
    put_varint(out, table.values.len() as u64);
    for used in &table.values {
        put_varint(out, used.id);
        put_varint(out, used.bytes);
    }
}

fn take_table(input: &mut Decoder<'_>) -> Result<TableMeta> {
    let id = number(input, "table id")?;
    let bytes = number(input, "table length")?;
    let smallest = need(input.bytes(), "smallest key")?.into();
    let largest = match need(input.u8(), "kind of largest key")? {
        0 => Bound::Included(need(input.bytes(), "largest key")?.into()),
        1 => Bound::Excluded(need(input.bytes(), "end of keys")?.into()),
        2 => Bound::Unbounded,
        _ => return Err(Error::corrupt(READING, "a largest key is of no known kind")),
    };
    let smallest_seq = number(input, "smallest sequence number")?;
    let largest_seq = sum(smallest_seq, input, "largest sequence number")?;
    let entries = number(input, "number of records")?;
    let deletes = number(input, "number of tombstones")?;
    let range_deletes = number(input, "number of range deletes")?;
    let deadlines = match number(input, "number of deadlines")? {
        0 => Deadlines::default(),
        count => {
            let min_ms = number(input, "earliest deadline")?;
            let max_ms = sum(min_ms, input, "latest deadline")?;
            Deadlines {
                count,
                min_ms,
                max_ms,
            }
        }
    };
    let mut values = Vec::new();
    for _ in 0..number(input, "number of values references")? {
        values.push(ValuesRef {
            id: number(input, "values reference")?,
            bytes: number(input, "values reference")?,
        });
    }
    Ok(TableMeta {
        id,
        bytes,
        smallest,
        largest,
        smallest_seq,
        largest_seq,
        entries,
        deletes,
        range_deletes,
        deadlines,
        values,
    })
}

#[cfg(test)]
mod tests;
