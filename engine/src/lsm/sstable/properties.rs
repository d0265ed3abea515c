//! What a table says about itself: what the levels, compaction and expiry need to know without reading it.
//!
//! ```text
//! properties = varints: entries, deletes, values apart, range deletes, entries with a deadline,
//!                smallest deadline_ms, largest deadline_ms, smallest seq, largest seq,
//!                key bytes, value bytes, data blocks, data bytes, filter bytes, index bytes,
//!                created_ms
//!            | smallest key: length varint, bytes | largest key: length varint, bytes
//!            | creator: length varint, UTF-8
//!            | number of values files varint | (file id varint, bytes varint, count varint) (each)
//! ```
//!
//! Counts are of entries (versions), range deletes apart. Deadlines are 0 where there is none, and only
//! entries that have one count. Key and value bytes are uncompressed; data, filter and index bytes are as
//! stored, trailers included. Sequence numbers include those of range deletes, keys do not.

use std::collections::BTreeMap;

use super::Damage;
use crate::codec::{Decoder, put_bytes, put_varint};
use crate::lsm::values::ValueRef;
use crate::record::{Kind, RangeDelete, Record};

/// The references of a table into one values file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApartUse {
    /// The values file.
    pub file: u64,
    /// Bytes of it that the table's references take up.
    pub bytes: u64,
    /// Number of references.
    pub count: u64,
}

/// What a table says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Entries: versions of keys, tombstones included.
    pub entries: u64,
    /// Entries that are tombstones.
    pub deletes: u64,
    /// Entries whose value lies in a values file.
    pub values_apart: u64,
    /// Range deletes.
    pub range_deletes: u64,
    /// Entries that expire.
    pub with_deadline: u64,
    /// The earliest deadline among those; 0 if there are none.
    pub smallest_deadline_ms: u64,
    /// The latest deadline among those; 0 if there are none.
    pub largest_deadline_ms: u64,
    /// The smallest sequence number, range deletes included.
    pub smallest_seq: u64,
    /// The largest sequence number, range deletes included.
    pub largest_seq: u64,
    /// Bytes of all keys, uncompressed.
    pub key_bytes: u64,
    /// Bytes of all values (of references, where the value lies apart), uncompressed.
    pub value_bytes: u64,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// Bytes of the data blocks, as stored.
    pub data_bytes: u64,
    /// Bytes of the filter, as stored.
    pub filter_bytes: u64,
    /// Bytes of both levels of the index, as stored.
    pub index_bytes: u64,
    /// When the table was made, by its maker's wall clock.
    pub created_ms: u64,
    /// The first key of the entries; empty if there are none.
    pub smallest_key: Box<[u8]>,
    /// The last key of the entries; empty if there are none.
    pub largest_key: Box<[u8]>,
    /// What made the table, for people: "flush", "compaction to level 3".
    pub creator: Box<str>,
    /// Values files that entries refer to, by file.
    pub apart: Vec<ApartUse>,
}

impl Properties {
    const NUMBERS: usize = 16;

    fn numbers(&mut self) -> [&mut u64; Self::NUMBERS] {
        [
            &mut self.entries,
            &mut self.deletes,
            &mut self.values_apart,
            &mut self.range_deletes,
            &mut self.with_deadline,
            &mut self.smallest_deadline_ms,
            &mut self.largest_deadline_ms,
            &mut self.smallest_seq,
            &mut self.largest_seq,
            &mut self.key_bytes,
            &mut self.value_bytes,
            &mut self.data_blocks,
            &mut self.data_bytes,
            &mut self.filter_bytes,
            &mut self.index_bytes,
            &mut self.created_ms,
        ]
    }

    pub(crate) fn encode(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in self.numbers() {
            put_varint(&mut out, *number);
        }
        put_bytes(&mut out, &self.smallest_key);
        put_bytes(&mut out, &self.largest_key);
        put_bytes(&mut out, self.creator.as_bytes());
        put_varint(&mut out, self.apart.len() as u64);
        for file in &self.apart {
            put_varint(&mut out, file.file);
            put_varint(&mut out, file.bytes);
            put_varint(&mut out, file.count);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        Self::try_decode(bytes).ok_or(Damage("malformed properties"))
    }

    fn try_decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let mut properties = Self::default();
        for number in properties.numbers() {
            *number = decoder.varint()?;
        }
        properties.smallest_key = decoder.bytes()?.into();
        properties.largest_key = decoder.bytes()?.into();
        properties.creator = std::str::from_utf8(decoder.bytes()?).ok()?.into();
        let files = usize::try_from(decoder.varint()?).ok()?;
        if files > decoder.rest().len() / 3 {
            return None;
        }
        for _ in 0..files {
            let (file, bytes, count) = (decoder.varint()?, decoder.varint()?, decoder.varint()?);
            properties.apart.push(ApartUse { file, bytes, count });
        }
        decoder.is_empty().then_some(properties)
    }
}

/// The keys that a table's range deletes reach over, all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSpan {
    /// The first key covered.
    pub start: Box<[u8]>,
    /// The first key past all of them; `None` if one has no end.
    pub end: Option<Box<[u8]>>,
}

impl RangeSpan {
    /// The span of some range deletes; `None` if there are none.
    pub fn of(ranges: &[RangeDelete]) -> Option<Self> {
        let start = ranges.iter().map(|range| &range.start).min()?.clone();
        // A missing end is the greatest of all.
        let end = if ranges.iter().any(|range| range.end.is_none()) {
            None
        } else {
            ranges.iter().filter_map(|range| range.end.clone()).max()
        };
        Some(Self { start, end })
    }
}

/// Counts properties up, entry by entry.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) properties: Properties,
    apart: BTreeMap<u64, (u64, u64)>,
}

impl Tally {
    /// Counts an entry; an error if its reference to a value is malformed.
    #[inline]
    pub(crate) fn add(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        if record.kind == Kind::PutApart {
            let reference = ValueRef::decode(record.value)?;
            let (bytes, count) = self.apart.entry(reference.file).or_default();
            *bytes = bytes.saturating_add(reference.stored_len);
            *count += 1;
        }
        self.see_seq(record.seq);
        let properties = &mut self.properties;
        properties.entries += 1;
        properties.deletes += u64::from(record.kind == Kind::Delete);
        properties.values_apart += u64::from(record.kind == Kind::PutApart);
        properties.key_bytes += record.key.len() as u64;
        properties.value_bytes += record.value.len() as u64;
        if record.deadline_ms != 0 {
            if properties.with_deadline == 0 {
                properties.smallest_deadline_ms = record.deadline_ms;
            }
            properties.with_deadline += 1;
            properties.smallest_deadline_ms =
                properties.smallest_deadline_ms.min(record.deadline_ms);
            properties.largest_deadline_ms = properties.largest_deadline_ms.max(record.deadline_ms);
        }
        Ok(())
    }

    pub(crate) fn add_range_delete(&mut self, range: &RangeDelete) {
        self.see_seq(range.seq);
        self.properties.range_deletes += 1;
    }

    #[inline]
    fn see_seq(&mut self, seq: u64) {
        let properties = &mut self.properties;
        if properties.entries + properties.range_deletes == 0 {
            properties.smallest_seq = seq;
        }
        properties.smallest_seq = properties.smallest_seq.min(seq);
        properties.largest_seq = properties.largest_seq.max(seq);
    }

    pub(crate) fn finish(mut self) -> Properties {
        let uses = self.apart.into_iter();
        self.properties.apart = uses
            .map(|(file, (bytes, count))| ApartUse { file, bytes, count })
            .collect();
        self.properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_come_back_and_nothing_shorter_does() {
        let mut properties = Properties {
            smallest_key: b"a".as_slice().into(),
            creator: "flush".into(),
            apart: vec![ApartUse {
                file: 9,
                bytes: 1 << 40,
                count: 3,
            }],
            ..Properties::default()
        };
        for (i, number) in properties.numbers().into_iter().enumerate() {
            *number = 1 << (4 * i);
        }
        let bytes = properties.encode();
        assert_eq!(Properties::decode(&bytes).unwrap(), properties);
        for len in 0..bytes.len() {
            assert!(Properties::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn the_span_of_range_deletes_holds_them_all() {
        let range = |start: &str, end: Option<&str>| RangeDelete {
            start: start.as_bytes().into(),
            end: end.map(|end| end.as_bytes().into()),
            seq: 1,
        };
        assert_eq!(RangeSpan::of(&[]), None);
        let span = RangeSpan::of(&[range("c", Some("d")), range("b", Some("x"))]).unwrap();
        assert_eq!(
            (&*span.start, span.end.as_deref()),
            (&b"b"[..], Some(&b"x"[..]))
        );
        assert_eq!(
            RangeSpan::of(&[range("c", Some("d")), range("a", None)])
                .unwrap()
                .end,
            None
        );
    }
}
