//! The range deletes of a table, as they are stored.
//!
//! ```text
//! range deletes = count varint | range delete (each)
//! range delete  = start length varint | start | has end u8 (0 or 1) | [end length varint | end]
//!               | seq varint
//! ```

use super::Damage;
use crate::codec::{Decoder, put_bytes, put_varint};
use crate::record::{KEY_BYTES_MAX, RangeDelete, SEQ_MAX};

/// The fewest bytes a range delete takes: what a count is checked against.
const RANGE_DELETE_BYTES_MIN: usize = 3;

pub(crate) fn encode(ranges: &[RangeDelete]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, ranges.len() as u64);
    for range in ranges {
        put_bytes(&mut out, &range.start);
        out.push(u8::from(range.end.is_some()));
        if let Some(end) = &range.end {
            put_bytes(&mut out, end);
        }
        put_varint(&mut out, range.seq);
    }
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<RangeDelete>, Damage> {
    try_decode(bytes).ok_or(Damage("malformed range deletes"))
}

fn try_decode(bytes: &[u8]) -> Option<Vec<RangeDelete>> {
    let mut decoder = Decoder::new(bytes);
    let count = usize::try_from(decoder.varint()?).ok()?;
    if count > decoder.rest().len() / RANGE_DELETE_BYTES_MIN {
        return None;
    }
    let mut ranges = Vec::with_capacity(count);
    for _ in 0..count {
        let start = decoder.bytes()?.into();
        let end = match decoder.u8()? {
            0 => None,
            1 => Some(decoder.bytes()?.into()),
            _ => return None,
        };
        let range = RangeDelete {
            start,
            end,
            seq: decoder.varint()?,
        };
        if !is_sound(&range) {
            return None;
        }
        ranges.push(range);
    }
    decoder.is_empty().then_some(ranges)
}

/// Whether a range delete respects the limits and covers anything.
pub(crate) fn is_sound(range: &RangeDelete) -> bool {
    range.seq <= SEQ_MAX
        && range.start.len() <= KEY_BYTES_MAX
        && range
            .end
            .as_ref()
            .is_none_or(|end| end.len() <= KEY_BYTES_MAX && *end > range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_deletes_come_back_and_nothing_shorter_does() {
        let ranges = vec![
            RangeDelete {
                start: b"a".as_slice().into(),
                end: Some(b"b".as_slice().into()),
                seq: 300,
            },
            RangeDelete {
                start: b"".as_slice().into(),
                end: None,
                seq: 1,
            },
        ];
        let bytes = encode(&ranges);
        assert_eq!(decode(&bytes).unwrap(), ranges);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn an_impossible_count_is_refused_before_anything_is_allocated() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::MAX);
        assert!(decode(&bytes).is_err());
    }
}
