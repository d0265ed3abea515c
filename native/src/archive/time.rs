//! Seconds of Unix time, read and written as RFC 3339.

/// Reads a moment as RFC 3339 has it (`2026-11-22T10:00:00Z`, `2026-11-22 11:00:00+01:00`) or as seconds of Unix time.
/// Fractions of a second are left out.
pub fn parse_moment(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .map_err(|_| "that second is too far off".to_owned());
    }
    rfc3339(text).ok_or_else(|| {
        "a time is like 2026-11-22T10:00:00Z, 2026-11-22T11:00:00+01:00 or 1795341600".to_owned()
    })
}

fn rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let behind = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            (behind.len() < fraction.len()).then_some(behind)?
        }
        None => rest,
    };
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let [hours, minutes] = numbers(&rest[1..], ':', [2, 2])?;
            (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))?
        }
    };
    // A leap second counts as the one behind it.
    let is_clock = hour < 24 && minute < 60 && second <= 60;
    let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !is_clock || !is_date {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    u64::try_from(seconds - offset).ok()
}

/// Numbers of so many digits with `between` between them, and nothing else.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the first of January 1970; years count from March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// A second as RFC 3339 has it, in UTC.
pub fn show(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Beyond this, years have more than four digits.
    if days > 2_932_896 {
        return seconds.to_string();
    }
    let days = days as i64;
    let mut year = 1970 + days / 366;
    while days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_since_1970(year, month + 1, 1) <= days {
        month += 1;
    }
    let day = days - days_since_1970(year, month, 1) + 1;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_rfc_3339_has_them() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-22T10:00:00Z", 1_795_341_600),
            ("2026-11-22t10:00:00z", 1_795_341_600),
            ("2026-11-22 11:30:00.25+01:30", 1_795_341_600),
            ("2026-11-22T05:00:00-05:00", 1_795_341_600),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
            ("1795341600", 1_795_341_600),
            ("0", 0),
        ] {
            assert_eq!(parse_moment(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "-1",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00+1:00",
            "1969-12-31T23:59:59Z",
            "99999999999999999999",
            "2026-11-22T10:00:00ZZ",
            "+026-11-22T10:00:00Z",
            "2026-11-22T10:00:00+24:00",
            "ääääääääää",
        ] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_shown_as_they_are_read() {
        for seconds in [
            0,
            86_399,
            86_400,
            951_782_400,
            951_868_800,
            1_795_341_600,
            253_402_300_799,
        ] {
            assert_eq!(
                parse_moment(&show(seconds)),
                Ok(seconds),
                "{}",
                show(seconds)
            );
        }
        let mut seconds = 1;
        while seconds < 253_402_300_799 {
            assert_eq!(parse_moment(&show(seconds)), Ok(seconds));
            seconds += 86_400 * 29 + 12_345;
        }
        assert_eq!(show(253_402_300_800), "253402300800");
    }
}
