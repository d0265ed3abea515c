//! Integers as Redis reads and writes them: strictly, so that a text has one number and a number one text.

/// The number that `text` spells, if it spells one exactly: no blanks, no plus sign, no leading
/// zeros, no `-0`.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // Nineteen digits fit an unsigned word.
    let mut magnitude = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Appends `number` in decimal.
pub fn format_integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_reads_back_from_its_text() {
        for number in [
            0,
            1,
            -1,
            9,
            10,
            -10,
            1_234_567_890_123,
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
        ] {
            let mut text = Vec::new();
            format_integer(&mut text, number);
            assert_eq!(parse_integer(&text), Some(number));
        }
    }

    #[test]
    fn what_is_not_exactly_a_number_is_refused() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "a",
            "00",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
