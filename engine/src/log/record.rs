//! One record of the log, byte by byte.
//!
//! ```text
//! crc32   u32   over `len`, `body` and the position, so that a record found elsewhere is not one
//! len     u32   bytes of body; 0 marks the clean end of what was written
//! body    kind u8 · range · term · index · time - base · seed · watermark · payload
//! ```
//!
//! All fields of the body but the kind and the payload are varints. `base` is the time in the segment's
//! header. The watermark is 0, or 1 + position - synced_upto: how far the log was known to be synced when this
//! was written, said once after each sync. The fields are the ring's from the first day: a store that is alone writes range 0, term 1.

use crate::codec::{Decoder, put_varint};

/// Bytes of `crc32` and `len`.
pub(crate) const PREFIX_BYTES: usize = 8;

/// The longest body: what a length field may claim before it is called damage.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 30;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogKind {
    /// A command or a batch, to be applied once it is committed.
    Entry = 1,
    /// A range's term and vote.
    HardState = 2,
    /// A range's entries from an index on are void.
    Truncate = 3,
    /// A range's members and quorums.
    Config = 4,
    /// A range's state was replaced as of an index.
    Snapshot = 5,
}

impl LogKind {
    fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Entry),
            2 => Some(Self::HardState),
            3 => Some(Self::Truncate),
            4 => Some(Self::Config),
            5 => Some(Self::Snapshot),
            _ => None,
        }
    }
}

/// A record of the log, its payload borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// What it is for.
    pub kind: LogKind,
    /// The range (the arc) whose log this belongs to.
    pub range: u32,
    /// The leader's term.
    pub term: u64,
    /// The record's index in its range's log; the first is 1.
    pub index: u64,
    /// The entry's time, in milliseconds since the Unix epoch: the only clock that apply sees.
    pub time_ms: u64,
    /// The entry's randomness; 0 where its command draws none.
    pub seed: u64,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// A length of zero: nothing was ever written here.
    Blank,
    /// The bytes end before the record does; it would need this many.
    Short(usize),
    /// The checksum or the structure is wrong.
    Broken(&'static str),
    /// The record is sound but of a kind that this version does not know.
    UnknownKind(u8),
}

/// Where a record stands, as its encoding needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Bytes of log before the record, over all segments.
    pub position: u64,
    /// The time in the segment's header.
    pub base_time_ms: u64,
}

/// Appends the encoding of `record` to `out`.
pub(crate) fn encode(
    record: &LogRecord<'_>,
    frame: Frame,
    synced_upto: Option<u64>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.push(record.kind as u8);
    put_varint(out, u64::from(record.range));
    put_varint(out, record.term);
    put_varint(out, record.index);
    put_varint(out, record.time_ms.wrapping_sub(frame.base_time_ms));
    put_varint(out, record.seed);
    let watermark = synced_upto.map_or(0, |upto| 1 + frame.position.saturating_sub(upto));
    put_varint(out, watermark);
    out.extend_from_slice(record.payload);
    let len = (out.len() - start - PREFIX_BYTES) as u32;
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let crc = checksum(&out[start + 4..], frame.position);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// A decoded record, the watermark it carries (0 for none), and the bytes it takes.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    pub record: LogRecord<'a>,
    pub synced_upto: u64,
    pub bytes: usize,
}

/// Reads the record at the front of `bytes`.
pub(crate) fn decode(bytes: &[u8], frame: Frame) -> Result<Decoded<'_>, Damage> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(if bytes.iter().all(|&byte| byte == 0) {
            Damage::Blank
        } else {
            Damage::Short(PREFIX_BYTES)
        });
    };
    let crc = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
    let len = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]) as usize;
    if len == 0 {
        return Err(if crc == 0 {
            Damage::Blank
        } else {
            Damage::Broken("a length of zero under a checksum")
        });
    }
    if len > BODY_BYTES_MAX {
        return Err(Damage::Broken("an impossible length"));
    }
    let Some(body) = rest.get(..len) else {
        return Err(Damage::Short(PREFIX_BYTES + len));
    };
    if checksum(&bytes[4..PREFIX_BYTES + len], frame.position) != crc {
        return Err(Damage::Broken("the checksum differs"));
    }
    let (record, watermark) = decode_body(body, frame.base_time_ms)?;
    let synced_upto = match watermark {
        0 => 0,
        watermark => frame.position.saturating_sub(watermark - 1),
    };
    Ok(Decoded {
        record,
        synced_upto,
        bytes: PREFIX_BYTES + len,
    })
}

fn decode_body(body: &[u8], base_time_ms: u64) -> Result<(LogRecord<'_>, u64), Damage> {
    const SHORT: Damage = Damage::Broken("fields run past the end of the record");
    let mut fields = Decoder::new(body);
    let kind = fields.u8().ok_or(SHORT)?;
    let kind = LogKind::from_u8(kind).ok_or(Damage::UnknownKind(kind))?;
    let range = u32::try_from(fields.varint().ok_or(SHORT)?).map_err(|_| SHORT)?;
    let term = fields.varint().ok_or(SHORT)?;
    let index = fields.varint().ok_or(SHORT)?;
    let time_ms = base_time_ms.wrapping_add(fields.varint().ok_or(SHORT)?);
    let seed = fields.varint().ok_or(SHORT)?;
    let watermark = fields.varint().ok_or(SHORT)?;
    let record = LogRecord {
        kind,
        range,
        term,
        index,
        time_ms,
        seed,
        payload: fields.rest(),
    };
    Ok((record, watermark))
}

/// What the bytes at some place claim to be, if they may be a record: nothing is checked yet.
pub(super) struct Claimed {
    pub crc: u32,
    pub synced_upto: u64,
    pub bytes: usize,
}

/// Reads what a record at the front of `bytes` would say of itself.
pub(super) fn peek(bytes: &[u8], frame: Frame) -> Option<Claimed> {
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
    let crc = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
    let len = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]) as usize;
    let body = rest.get(..len)?;
    let (_, watermark) = decode_body(body, frame.base_time_ms).ok()?;
    // A record without a watermark promises nothing.
    let behind = watermark.checked_sub(1)?;
    Some(Claimed {
        crc,
        synced_upto: frame.position.checked_sub(behind)?,
        bytes: PREFIX_BYTES + len,
    })
}

pub(super) fn checksum(len_and_body: &[u8], position: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(place_of(position));
    hasher.update(len_and_body);
    hasher.finalize()
}

/// What the checksum of a record that stands there begins with.
pub(super) fn checksum_start(frame: Frame) -> u32 {
    place_of(frame.position)
}

/// The position goes in as the initial value: a stale or misplaced record never checks out.
fn place_of(position: u64) -> u32 {
    (position as u32) ^ (position >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        position: 5000,
        base_time_ms: 1_700_000_000_000,
    };

    fn sample(payload: &[u8]) -> LogRecord<'_> {
        LogRecord {
            kind: LogKind::Entry,
            range: 7,
            term: 3,
            index: 99,
            time_ms: FRAME.base_time_ms + 12,
            seed: u64::MAX,
            payload,
        }
    }

    #[test]
    fn a_record_reads_back_as_written() {
        let mut out = Vec::new();
        encode(&sample(b"payload"), FRAME, Some(4200), &mut out);
        out.extend_from_slice(b"the next record");
        let decoded = decode(&out, FRAME).unwrap();
        assert_eq!(decoded.record, sample(b"payload"));
        assert_eq!(decoded.synced_upto, 4200);
        assert_eq!(decoded.bytes, out.len() - b"the next record".len());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut out = Vec::new();
        encode(&sample(b"payload"), FRAME, Some(4200), &mut out);
        for bit in 0..out.len() * 8 {
            let mut flipped = out.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, FRAME).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_found_at_another_position_is_no_record() {
        let mut out = Vec::new();
        encode(&sample(b"payload"), FRAME, Some(4200), &mut out);
        let elsewhere = Frame {
            position: FRAME.position + 64,
            ..FRAME
        };
        assert!(matches!(decode(&out, elsewhere), Err(Damage::Broken(_))));
    }

    #[test]
    fn every_truncation_is_short_or_blank() {
        let mut out = Vec::new();
        encode(&sample(b"payload"), FRAME, Some(4200), &mut out);
        for len in 1..out.len() {
            assert!(matches!(decode(&out[..len], FRAME), Err(Damage::Short(_))));
        }
        assert_eq!(decode(&[0; 64], FRAME).unwrap_err(), Damage::Blank);
        assert_eq!(decode(&[0; 3], FRAME).unwrap_err(), Damage::Blank);
    }
}
