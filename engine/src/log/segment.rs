//! The header that opens every segment of the log.
//!
//! ```text
//! magic      8 bytes   "TRILLOG\n"
//! version    u32       1
//! zero       u32
//! segment    u64       this segment's number
//! start      u64       bytes of log before this segment, over all segments
//! base time  u64       milliseconds since the Unix epoch; records count from it
//! store      u128      the store's identity
//! zero       u32
//! crc32      u32       of all the above
//! ```

use crate::codec::Decoder;
use crate::{Error, ErrorKind, Object, Result};

const MAGIC: &[u8; 8] = b"TRILLOG\n";
const VERSION: u32 = 1;

/// Bytes of a segment's header.
pub(crate) const HEADER_BYTES: usize = 64;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub segment: u64,
    pub start: u64,
    pub base_time_ms: u64,
    pub store: u128,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&self.base_time_ms.to_le_bytes());
        out.extend_from_slice(&self.store.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&out);
        header
    }

    /// `Ok(None)` when the header was never completely written.
    pub(crate) fn decode(bytes: &[u8], segment: u64, store: u128) -> Result<Option<Self>> {
        let fail = |kind, detail: String| {
            Err(Error::new(kind, "reading the header", detail)
                .on(Object::Segment(segment))
                .at(0))
        };
        if bytes.len() < HEADER_BYTES || bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let (body, crc) = bytes[..HEADER_BYTES].split_at(HEADER_BYTES - 4);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Ok(None);
        }
        let header = Self::fields(body);
        match header {
            Some((MAGIC, VERSION, header))
                if header.segment == segment && header.store == store =>
            {
                Ok(Some(header))
            }
            Some((MAGIC, VERSION, header)) => fail(
                ErrorKind::Corrupt,
                format!(
                    "it is segment {} of store {:032x}, not of this store ({store:032x})",
                    header.segment, header.store
                ),
            ),
            Some((MAGIC, version, _)) => fail(
                ErrorKind::Newer,
                format!(
                    "log format {version}; this version reads up to {VERSION}: upgrade to open it"
                ),
            ),
            _ => fail(ErrorKind::Corrupt, "it is not a log segment".into()),
        }
    }

    fn fields(body: &[u8]) -> Option<(&[u8; 8], u32, Self)> {
        let mut fields = Decoder::new(body);
        let magic = fields.take(8)?.try_into().ok()?;
        let version = fields.u32()?;
        fields.u32()?;
        let header = Self {
            segment: fields.u64()?,
            start: fields.u64()?,
            base_time_ms: fields.u64()?,
            store: fields.u128()?,
        };
        Some((magic, version, header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        segment: 4,
        start: 1 << 40,
        base_time_ms: 1_700_000_000_000,
        store: 77,
    };

    #[test]
    fn a_header_reads_back_as_written() {
        assert_eq!(
            SegmentHeader::decode(&HEADER.encode(), 4, 77).unwrap(),
            Some(HEADER)
        );
    }

    #[test]
    fn a_torn_header_is_none_and_a_strange_one_is_an_error() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes[..63], 4, 77).unwrap(), None);
        assert_eq!(SegmentHeader::decode(&[0; 64], 4, 77).unwrap(), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(
                SegmentHeader::decode(&flipped, 4, 77).ok(),
                Some(Some(HEADER))
            );
        }
        let error = SegmentHeader::decode(&bytes, 5, 77).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        let error = SegmentHeader::decode(&bytes, 4, 77).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Newer);
        assert!(error.to_string().contains("log format 2"));
    }
}
