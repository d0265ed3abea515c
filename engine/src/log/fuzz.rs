//! Doors for the fuzzers: each takes any bytes, and must neither panic nor allocate out of proportion.

use super::record::{Frame, PREFIX_BYTES, checksum, decode};
use super::{Beginning, Expected, Log, LogRecord, SegmentReader};
use crate::storage::{Reader, Writer};
use crate::{Error, Result};

/// A whole segment, replayed to its end.
pub async fn replay<R: Reader>(reader: R, segment: u64, store: u128, last: bool) -> Result<()> {
    let expected = Expected {
        segment,
        store,
        start: None,
        synced_upto: 0,
        synced_offset: 0,
        last,
    };
    let len = reader.len();
    let mut records = SegmentReader::open(reader, expected).await?;
    while records.next().await?.is_some() {}
    match records.finish().bytes {
        sound if sound <= len => Ok(()),
        _ => Err(Error::corrupt(
            "replaying the log",
            "it ends behind its end",
        )),
    }
}

/// A record's body behind the checksum that it should have.
pub fn record_body(body: &[u8]) {
    let frame = Frame {
        position: 1 << 32,
        base_time_ms: 0,
    };
    let mut record = vec![0; PREFIX_BYTES];
    record.extend_from_slice(body);
    record[4..PREFIX_BYTES].copy_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = checksum(&record[4..], frame.position);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    if let Ok(decoded) = decode(&record, frame) {
        assert_eq!(decoded.bytes, record.len());
        assert!(decoded.synced_upto <= frame.position);
    }
}

/// Writes a sound segment of these records: what a corpus begins with.
pub fn write<W: Writer>(
    writer: W,
    segment: u64,
    store: u128,
    records: &[LogRecord<'_>],
) -> Result<()> {
    let beginning = Beginning {
        segment,
        start: 0,
        base_time_ms: records.first().map_or(0, |record| record.time_ms),
        store,
        synced_upto: 0,
    };
    let mut log = Log::begin(writer, beginning);
    log.write_header()?;
    log.release()?;
    for record in records {
        log.append(record)?;
    }
    Ok(())
}
