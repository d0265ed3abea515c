//! The one log of a store: the LSM's write-ahead log and the ring's replication log are the same bytes.
//!
//! A log is a row of segments. Positions count bytes over all of them, headers included, so that a
//! watermark is one number. A segment is synced whole before its successor's bytes are written: only the
//! last one can have a tail.
//!
//! This module encodes, appends and replays. When to settle, rotate and heal is the store's business.

mod behind;
#[doc(hidden)]
pub mod fuzz;
mod record;
mod replay;
mod segment;

use crate::storage::{Durability, MaybeSend, Writer};
use crate::{Error, ErrorKind, Object, Result};

pub use record::{LogKind, LogRecord};
pub use replay::Cut;
pub(crate) use replay::{Expected, Replayed, SegmentEnd, SegmentReader, is_unbegun};
pub(crate) use segment::HEADER_BYTES;
use segment::SegmentHeader;

/// The longest payload of one record.
pub(crate) const PAYLOAD_BYTES_MAX: usize = record::BODY_BYTES_MAX - 64;

/// The segment that is being appended to.
pub(crate) struct Log<W> {
    /// `None` while the log is being replayed.
    writer: Option<W>,
    segment: u64,
    /// Position of the segment's first byte.
    start: u64,
    /// Bytes of the segment, appended so far.
    bytes: u64,
    base_time_ms: u64,
    /// Position up to which everything is known to be synced.
    synced_upto: u64,
    /// The watermark that a record of this segment has already told.
    told_upto: u64,
    /// Records are kept in `buffer` until released.
    held: bool,
    /// The header, until it is written.
    header: Option<[u8; HEADER_BYTES]>,
    buffer: Vec<u8>,
}

/// Where a new segment begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    pub segment: u64,
    pub start: u64,
    pub base_time_ms: u64,
    pub store: u128,
    /// Position up to which the log is known to be synced.
    pub synced_upto: u64,
}

impl<W: Writer> Log<W> {
    /// Stands in while the log is being replayed: nothing can be appended.
    pub(crate) fn unopened(segment: u64) -> Self {
        Self {
            writer: None,
            segment,
            start: 0,
            bytes: 0,
            base_time_ms: 0,
            synced_upto: 0,
            told_upto: 0,
            held: true,
            header: None,
            buffer: Vec::new(),
        }
    }

    /// Begins a segment in a fresh object. Nothing reaches it before [`Self::write_header`]: where a header
    /// is found, the segment before must be whole. Records that are appended are held back until
    /// [`Self::release`]: first the header must be synced, so that a missing header means that nothing
    /// was promised, and first the segment before must be synced, so that only the last has a tail.
    pub(crate) fn begin(writer: W, beginning: Beginning) -> Result<Self> {
        let mut log = Self::prepare(writer, beginning);
        log.write_header()?;
        Ok(log)
    }

    /// As [`Self::begin`], for a segment with a predecessor: nothing, not even the header, may reach the
    /// storage before the predecessor is synced. [`Self::write_header`] comes then.
    pub(crate) fn prepare(writer: W, beginning: Beginning) -> Self {
        let header = SegmentHeader {
            segment: beginning.segment,
            start: beginning.start,
            base_time_ms: beginning.base_time_ms,
            store: beginning.store,
        };
        Self {
            writer: Some(writer),
            segment: beginning.segment,
            start: beginning.start,
            bytes: HEADER_BYTES as u64,
            base_time_ms: beginning.base_time_ms,
            synced_upto: beginning.synced_upto,
            told_upto: 0,
            held: true,
            header: Some(header.encode()),
            buffer: Vec::new(),
        }
    }

    /// Hands the header to the writer, unless that has been done.
    pub(crate) fn write_header(&mut self) -> Result<()> {
        if let Some(header) = self.header.take() {
            self.writer()?.append(&header)?;
        }
        Ok(())
    }

    /// Whether records are being held back; [`Self::settle`] serves the header only as long as they are.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Hands the records that were held back to the writer.
    pub(crate) fn release(&mut self) -> Result<()> {
        if !self.held {
            // The buffer then is the last record's, which the writer has.
            return Ok(());
        }
        self.held = false;
        let held = std::mem::take(&mut self.buffer);
        if !held.is_empty() {
            self.writer()?.append(&held)?;
        }
        Ok(())
    }

    /// Goes on behind the sound part of a segment that was replayed.
    pub(crate) fn resume(writer: W, segment: u64, end: &SegmentEnd) -> Self {
        Self {
            writer: Some(writer),
            segment,
            start: end.position - end.bytes,
            bytes: end.bytes,
            base_time_ms: end.base_time_ms,
            synced_upto: end.synced_upto,
            told_upto: 0,
            held: false,
            header: None,
            buffer: Vec::new(),
        }
    }

    /// Goes on with another writer of the same segment, which has cut it at `bytes`.
    pub(crate) fn cut_back(&mut self, writer: W, bytes: u64) {
        self.writer = Some(writer);
        self.bytes = bytes;
        self.synced_upto = self.synced_upto.min(self.end());
        self.told_upto = 0;
    }

    /// Appends a record and returns the position behind it. Never waits.
    pub(crate) fn append(&mut self, record: &LogRecord<'_>) -> Result<u64> {
        let frame = record::Frame {
            position: self.end(),
            base_time_ms: self.base_time_ms,
        };
        if !self.held {
            self.buffer.clear();
        }
        let before = self.buffer.len();
        let news = (self.synced_upto > self.told_upto).then_some(self.synced_upto);
        self.told_upto = self.synced_upto;
        record::encode(record, frame, news, &mut self.buffer);
        if self.held {
            self.bytes += (self.buffer.len() - before) as u64;
            return Ok(self.end());
        }
        let writer = self.writer.as_mut().ok_or_else(|| unopened(self.segment))?;
        self.bytes = writer
            .append(&self.buffer)
            .map_err(|error| error.on(Object::Segment(self.segment)))?;
        // A rare huge record must not pin its memory.
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        Ok(self.end())
    }

    /// Ready when everything up to `position`, which lies in this segment, has reached `to`.
    pub(crate) fn settle(
        &self,
        position: u64,
        to: Durability,
    ) -> impl Future<Output = Result<()>> + MaybeSend + use<W> {
        let settled = self
            .writer
            .as_ref()
            .ok_or_else(|| unopened(self.segment))
            .map(|writer| writer.settle(position.saturating_sub(self.start), to));
        async move { settled?.await }
    }

    fn writer(&mut self) -> Result<&mut W> {
        self.writer.as_mut().ok_or_else(|| unopened(self.segment))
    }

    /// Takes note of a successful sync. Later records carry it as their watermark.
    pub(crate) fn note_synced(&mut self, position: u64) {
        self.synced_upto = self.synced_upto.max(position);
    }

    /// Position behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes
    }

    /// Position of the segment's first byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes appended to this segment, its header included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The segment's number.
    pub(crate) fn segment(&self) -> u64 {
        self.segment
    }

    /// Position up to which everything is known to be synced.
    pub(crate) fn synced_upto(&self) -> u64 {
        self.synced_upto
    }
}

fn unopened(segment: u64) -> Error {
    Error::new(
        ErrorKind::Closed,
        "appending to the log",
        "it is still being replayed",
    )
    .on(Object::Segment(segment))
}
