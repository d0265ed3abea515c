//! The annotation that ends what was written at a time: a CRC-32 over everything since the one before it.

use crate::{Result, storage};

const LINE: &[u8] = b"#CRC:";
/// How much is read at once to check one.
const PIECE_BYTES: u64 = 256 << 10;

/// Ends what is written at a time, of which `last` is the last part and `before` what comes before that.
pub fn end(last: &mut Vec<u8>, before: &[u8]) {
    let mut sum = crc32fast::Hasher::new();
    sum.update(before);
    sum.update(last);
    last.extend_from_slice(LINE);
    let sum = sum.finalize();
    for digit in (0..8).rev() {
        last.push(b"0123456789abcdef"[(sum >> (4 * digit)) as usize & 15]);
    }
    last.extend_from_slice(b"\r\n");
}

/// The checksum that an annotation holds, if it holds one. It comes without its line's end.
///
/// ```
/// use trilith::archive::aof::checksum;
/// let mut out = Vec::new();
/// checksum::end(&mut out, b"#TS:1700000000\r\n");
/// assert_eq!(checksum::of_line(out.trim_ascii_end()), Some(0x7134_c5bc));
/// assert_eq!(checksum::of_line(b"#TS:1700000000"), None);
/// ```
pub fn of_line(line: &[u8]) -> Option<u32> {
    let digits = line.strip_prefix(LINE).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The checksum of what a file holds from one offset to another.
///
/// # Errors
/// Those of storage.
pub async fn of_bytes<R: storage::Reader>(reader: &R, from: u64, to: u64) -> Result<u32> {
    let mut sum = crc32fast::Hasher::new();
    let mut at = from;
    while at < to {
        let len = (to - at).min(PIECE_BYTES) as u32;
        let bytes = match reader.read_now(at, len) {
            Some(read) => read?,
            None => reader.read_at(at, len).await?,
        };
        sum.update(&bytes);
        at += u64::from(len);
    }
    Ok(sum.finalize())
}
