//! Commands and annotations as bytes: appended to a buffer, without an allocation of their own.

use super::number;

/// The longest line that is written, its end included. Redis reads lines of up to 1023 bytes.
pub const LINE_BYTES_MAX: usize = 1000;

/// Appends `SET key value`, with `PXAT deadline_ms` unless that is 0.
///
/// ```
/// let mut out = Vec::new();
/// trilith::archive::aof::encode::set(&mut out, b"k", b"v", 1500);
/// assert_eq!(out, b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$4\r\n1500\r\n");
/// ```
pub fn set(out: &mut Vec<u8>, key: &[u8], value: &[u8], deadline_ms: u64) {
    out.reserve(key.len() + value.len() + 96);
    let begin: &[u8] = match deadline_ms {
        0 => b"*3\r\n$3\r\nSET\r\n",
        _ => b"*5\r\n$3\r\nSET\r\n",
    };
    out.extend_from_slice(begin);
    bulk(out, key);
    bulk(out, value);
    if deadline_ms != 0 {
        out.extend_from_slice(b"$4\r\nPXAT\r\n");
        let mut digits = [0; number::DIGITS];
        // The signed numbers that Redis reads end here.
        let deadline_ms = deadline_ms.min(i64::MAX as u64);
        bulk(out, number::format(deadline_ms, &mut digits));
    }
}

/// Appends `DEL key`.
pub fn del(out: &mut Vec<u8>, key: &[u8]) {
    out.reserve(key.len() + 48);
    out.extend_from_slice(b"*2\r\n$3\r\nDEL\r\n");
    bulk(out, key);
}

/// Appends `FLUSHALL`.
pub fn flush_all(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$8\r\nFLUSHALL\r\n");
}

/// Appends any command of these words.
pub fn command(out: &mut Vec<u8>, words: &[impl AsRef<[u8]>]) {
    let mut digits = [0; number::DIGITS];
    out.push(b'*');
    out.extend_from_slice(number::format(words.len() as u64, &mut digits));
    out.extend_from_slice(b"\r\n");
    for word in words {
        bulk(out, word.as_ref());
    }
}

/// Appends `#TS:seconds`: what follows was applied in that second of Unix time, or later.
pub fn timestamp(out: &mut Vec<u8>, seconds: u64) {
    line(out, b"#TS:", seconds);
}

/// Appends `#GAP:seconds`: what follows is incomplete, as something changed in that second which commands do not tell.
pub fn gap(out: &mut Vec<u8>, seconds: u64) {
    line(out, b"#GAP:", seconds);
}

fn line(out: &mut Vec<u8>, begin: &[u8], number: u64) {
    let mut digits = [0; number::DIGITS];
    out.extend_from_slice(begin);
    out.extend_from_slice(number::format(number, &mut digits));
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut digits = [0; number::DIGITS];
    out.push(b'$');
    out.extend_from_slice(number::format(bytes.len() as u64, &mut digits));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(make: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        make(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(
            made(|out| set(out, b"key", b"", 0)),
            "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n"
        );
        assert_eq!(made(|out| del(out, b"k")), "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
        assert_eq!(made(flush_all), "*1\r\n$8\r\nFLUSHALL\r\n");
        assert_eq!(
            made(|out| command(out, &["SELECT", "0"])),
            "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
        );
    }

    #[test]
    fn a_deadline_beyond_signed_numbers_is_the_last_there_is() {
        let text = made(|out| set(out, b"k", b"v", u64::MAX));
        assert!(text.ends_with("$19\r\n9223372036854775807\r\n"), "{text}");
    }

    #[test]
    fn annotations_are_lines() {
        assert_eq!(
            made(|out| timestamp(out, 1_700_000_000)),
            "#TS:1700000000\r\n"
        );
        assert_eq!(made(|out| gap(out, 0)), "#GAP:0\r\n");
    }
}
