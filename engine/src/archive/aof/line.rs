//! Annotations: lines that tell something about the commands around them.

use super::number;

/// What an annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// `#TS:`: what follows was applied in this second of Unix time, or later.
    Timestamp(u64),
    /// `#AT:` or `#ATALL:`: see [`Positions`](super::Positions).
    Positions,
    /// `#GAP:`: what follows is incomplete, as something changed in this second that commands do not tell.
    Gap(u64),
    /// Something that others may understand.
    Other,
    /// One of ours or of Redis's, that does not hold what it should.
    Damaged,
}

impl Line {
    /// What `line` says, which begins with `#` and comes without its end.
    pub fn of(line: &[u8]) -> Self {
        let number = |digits: &[u8], kind: fn(u64) -> Self| {
            number::parse(digits).map_or(Self::Damaged, kind)
        };
        if let Some(digits) = line.strip_prefix(b"#TS:") {
            return number(digits, Self::Timestamp);
        }
        if let Some(digits) = line.strip_prefix(b"#GAP:") {
            return number(digits, Self::Gap);
        }
        if line.starts_with(b"#AT:") || line.starts_with(b"#ATALL:") {
            return Self::Positions;
        }
        Self::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_known_by_what_they_begin_with() {
        for (text, line) in [
            ("#TS:1700000000", Line::Timestamp(1_700_000_000)),
            ("#TS:", Line::Damaged),
            ("#TS:1700000000 ", Line::Damaged),
            ("#TS:-1", Line::Damaged),
            ("#GAP:7", Line::Gap(7)),
            ("#GAP:x", Line::Damaged),
            ("#AT:1=2", Line::Positions),
            ("#ATALL:0;", Line::Positions),
            ("#", Line::Other),
            ("# Written by hand.", Line::Other),
        ] {
            assert_eq!(Line::of(text.as_bytes()), line, "{text}");
        }
    }
}
