//! Reading segments back after a restart, and telling a torn tail from damage.
//!
//! A tail is what a crash leaves behind: bytes that nobody was promised. Damage is anything else, and an
//! error that names segment and offset. What tells them apart is the durable watermark: every record
//! carries how far the log was synced when it was written, and so does the manifest. Bytes below a
//! watermark were promised; so was everything in a segment that has a successor.

use bytes::{Buf, Bytes};

use super::LogKind;
use super::behind::Behind;
use super::record::{Damage, Frame, PREFIX_BYTES, decode};
use super::segment::{HEADER_BYTES, SegmentHeader};
use crate::{Error, ErrorKind, Object, Reader, Result};

/// How much is read at once. Large, as replay is sequential and each read may be a transaction.
const READ_BYTES: u64 = 1 << 20;

/// Bytes that a crash left behind the last whole record, and that were cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment they were in.
    pub segment: u64,
    /// Where they began.
    pub offset: u64,
    /// What was wrong there.
    pub why: String,
}

/// What replay knows of a segment before reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub segment: u64,
    pub store: u128,
    /// Position of the segment's first byte, where the segment before told it.
    pub start: Option<u64>,
    /// Position up to which the log is known to be durable: damage below is corruption.
    pub synced_upto: u64,
    /// The same, as an offset in this segment.
    pub synced_offset: u64,
    /// Whether a tail is allowed here.
    pub last: bool,
}

/// A record as it comes back from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub kind: LogKind,
    pub range: u32,
    pub term: u64,
    pub index: u64,
    pub time_ms: u64,
    pub seed: u64,
    pub payload: Bytes,
    /// Position behind the record.
    pub position: u64,
}

/// How a segment ended.
#[derive(Debug)]
pub(crate) struct SegmentEnd {
    /// Length of its sound part; 0 when not even its header was.
    pub bytes: u64,
    /// Position behind its last record.
    pub position: u64,
    pub base_time_ms: u64,
    /// The highest watermark that was met.
    pub synced_upto: u64,
    pub cut: Option<Cut>,
}

/// Whether a segment was created and nothing of it, header included, was ever promised to anyone. Such a
/// segment is no successor: the one before it may still have a tail.
pub(crate) async fn is_unbegun<R: Reader>(reader: &R, segment: u64, store: u128) -> Result<bool> {
    let len = reader.len().min(READ_BYTES);
    let bytes = match len {
        0 => return Ok(true),
        len => reader.read_at(0, len as u32).await?,
    };
    if SegmentHeader::decode(&bytes, segment, store)?.is_some() {
        return Ok(false);
    }
    let behind = bytes.get(HEADER_BYTES..).unwrap_or_default();
    Ok(behind.iter().all(|&byte| byte == 0))
}

/// Walks the records of one segment.
pub(crate) struct SegmentReader<R> {
    reader: R,
    expected: Expected,
    header: SegmentHeader,
    /// Bytes of the segment from `offset` on.
    buffer: Bytes,
    offset: u64,
    synced_upto: u64,
    end: Option<SegmentEnd>,
}

impl<R: Reader> SegmentReader<R> {
    pub(crate) async fn open(reader: R, expected: Expected) -> Result<Self> {
        let head = (reader.len()).min(HEADER_BYTES as u64) as u32;
        let bytes = match head {
            0 => Bytes::new(),
            _ => reader.read_at(0, head).await?,
        };
        let header = SegmentHeader::decode(&bytes, expected.segment, expected.store)?;
        let mut this = Self {
            reader,
            expected,
            header: header.unwrap_or(SegmentHeader {
                segment: expected.segment,
                start: expected.start.unwrap_or(0),
                base_time_ms: 0,
                store: expected.store,
            }),
            buffer: Bytes::new(),
            offset: HEADER_BYTES as u64,
            synced_upto: expected.synced_upto,
            end: None,
        };
        match header {
            Some(header) => {
                this.check_start(header.start)?;
                let synced = header.start + expected.synced_offset;
                this.synced_upto = this.synced_upto.max(synced);
            }
            None => this.end_without_header().await?,
        }
        Ok(this)
    }

    fn check_start(&self, start: u64) -> Result<()> {
        match self.expected.start {
            Some(expected) if expected != start => Err(self.corrupt(
                0,
                format!("it begins at position {start}, but the log before it ends at {expected}"),
            )),
            _ => Ok(()),
        }
    }

    /// The header is synced before any record is promised, so without one there must be nothing else.
    async fn end_without_header(&mut self) -> Result<()> {
        let durable =
            self.expected.synced_upto > self.header.start || self.expected.synced_offset > 0;
        if !self.expected.last || durable || !self.is_blank_from(HEADER_BYTES as u64).await? {
            return Err(self.corrupt(0, "the header is damaged".into()));
        }
        self.end = Some(SegmentEnd {
            bytes: 0,
            position: self.header.start,
            base_time_ms: 0,
            synced_upto: self.synced_upto,
            cut: None,
        });
        Ok(())
    }

    /// The next record; `None` at the end, which [`Self::finish`] then describes.
    pub(crate) async fn next(&mut self) -> Result<Option<Replayed>> {
        while self.end.is_none() {
            match decode(&self.buffer, self.frame()) {
                Ok(decoded) => {
                    let (bytes, record) = (decoded.bytes, decoded.record);
                    self.synced_upto = self.synced_upto.max(decoded.synced_upto);
                    let mut replayed = Replayed {
                        payload: self.buffer.slice(bytes - record.payload.len()..bytes),
                        kind: record.kind,
                        range: record.range,
                        term: record.term,
                        index: record.index,
                        time_ms: record.time_ms,
                        seed: record.seed,
                        position: 0,
                    };
                    self.buffer.advance(bytes);
                    self.offset += bytes as u64;
                    replayed.position = self.header.start + self.offset;
                    return Ok(Some(replayed));
                }
                Err(Damage::UnknownKind(kind)) => return Err(self.unknown_kind(kind)),
                Err(damage) => {
                    let wanted = match damage {
                        Damage::Short(wanted) => wanted,
                        _ => PREFIX_BYTES,
                    };
                    if !self.refill(wanted as u64).await? {
                        self.finish_at(damage).await?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// How the segment ended. Only after [`Self::next`] answered `None`.
    pub(crate) fn finish(self) -> SegmentEnd {
        self.end.expect("next() has answered None")
    }

    /// Position of the segment's first byte.
    pub(crate) fn start(&self) -> u64 {
        self.header.start
    }

    fn frame(&self) -> Frame {
        Frame {
            position: self.header.start + self.offset,
            base_time_ms: self.header.base_time_ms,
        }
    }

    /// Makes at least `wanted` bytes from `offset` on available; `false` if the segment has no more
    /// than are there already.
    async fn refill(&mut self, wanted: u64) -> Result<bool> {
        let available = self.reader.len().saturating_sub(self.offset);
        let have = self.buffer.len() as u64;
        if have >= wanted || have >= available {
            return Ok(false);
        }
        let len = wanted.max(READ_BYTES).min(available);
        self.buffer = self.reader.read_at(self.offset, len as u32).await?;
        Ok(true)
    }

    /// Decides what the first undecodable byte means.
    async fn finish_at(&mut self, damage: Damage) -> Result<()> {
        let position = self.header.start + self.offset;
        let blank = damage == Damage::Blank && self.is_blank_from(self.offset).await?;
        let why = match damage {
            Damage::Blank => "a record was never written, but something behind it was",
            Damage::Short(_) => "the last record is incomplete",
            Damage::Broken(why) => why,
            Damage::UnknownKind(_) => "a record of an unknown kind",
        };
        let promised = position < self.synced_upto
            || (!blank && (!self.expected.last || self.is_promised_behind().await?));
        if promised {
            return Err(self.corrupt(self.offset, format!("{why}, and it had been synced")));
        }
        let at_end = self.offset >= self.reader.len();
        self.end = Some(SegmentEnd {
            bytes: self.offset,
            position,
            base_time_ms: self.header.base_time_ms,
            synced_upto: self.synced_upto,
            cut: (!blank && !at_end).then(|| Cut {
                segment: self.expected.segment,
                offset: self.offset,
                why: why.into(),
            }),
        });
        Ok(())
    }

    /// Whether a sound record behind the damage says that what is damaged had been synced.
    async fn is_promised_behind(&self) -> Result<bool> {
        let available = self.reader.len().saturating_sub(self.offset);
        let len = u32::try_from(available).unwrap_or(u32::MAX);
        let rest = self.reader.read_at(self.offset, len).await?;
        let frame = self.frame();
        Ok(Behind::new(&rest, frame).any_promises(frame.position))
    }

    async fn is_blank_from(&self, from: u64) -> Result<bool> {
        let mut offset = from;
        while offset < self.reader.len() {
            let len = READ_BYTES.min(self.reader.len() - offset);
            let bytes = self.reader.read_at(offset, len as u32).await?;
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            offset += len;
        }
        Ok(true)
    }

    fn unknown_kind(&self, kind: u8) -> Error {
        Error::new(
            ErrorKind::Newer,
            "replaying the log",
            format!("a record of unknown kind {kind}: upgrade to open this store"),
        )
        .on(Object::Segment(self.expected.segment))
        .at(self.offset)
    }

    fn corrupt(&self, offset: u64, detail: String) -> Error {
        Error::corrupt("replaying the log", detail)
            .on(Object::Segment(self.expected.segment))
            .at(offset)
    }
}
