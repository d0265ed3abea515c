//! Decimal numbers: written without an allocation, and read strictly.

/// The most digits that a number has.
pub(super) const DIGITS: usize = 20;

/// The digits of `number`, at the end of `buffer`.
pub(super) fn format(mut number: u64, buffer: &mut [u8; DIGITS]) -> &[u8] {
    let mut at = DIGITS;
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

/// The number that all of `digits` make; `None` if they are none, or too many.
pub(super) fn parse(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        let number = number.checked_mul(10)?.checked_add(digit.into())?;
        (digit < 10).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_they_were_written() {
        for number in [0, 7, 10, 99, 100, 1_700_000_000, u64::MAX - 1, u64::MAX] {
            let mut buffer = [0; DIGITS];
            let digits = format(number, &mut buffer);
            assert_eq!(digits, number.to_string().as_bytes());
            assert_eq!(parse(digits), Some(number));
        }
        for text in ["", "-1", "+1", " 1", "1 ", "18446744073709551616", "a"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
