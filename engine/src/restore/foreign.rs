//! Commands on strings and keys that Redis's logs have and our table of commands does not: each is made of such as it has.
//!
//! A log tells what was done, so that those with a condition are carried out.

use bytes::Bytes;

use crate::command::{Expiry, parse_integer};
use crate::record::VALUE_BYTES_MAX;

/// What a foreign command does, with what it needs of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// Several keys are set.
    MSet(Vec<Bytes>),
    /// A value is changed by [`Change`], and the key keeps its deadline.
    Change { key: Bytes, change: Change },
    /// One key becomes what another one is.
    Copy { from: Bytes, to: Bytes, moves: bool },
}

/// A change of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These bytes at this place.
    Bytes { at: usize, bytes: Bytes },
    /// This bit at this place.
    Bit { at: u64, is_set: bool },
}

/// Whether a command of this name, in any case, is known here.
pub(super) fn knows(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"setrange",
        b"setbit",
        b"msetnx",
        b"rename",
        b"renamenx",
        b"copy",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// What the command of these words does; `None` if the words do not fit it.
pub(super) fn read(words: &[Bytes]) -> Option<Foreign> {
    let (name, rest) = words.split_first()?;
    Some(match (name.to_ascii_lowercase().as_slice(), rest) {
        (b"setrange", [key, at, bytes]) => {
            let at = usize::try_from(parse_integer(at)?).ok()?;
            (at.checked_add(bytes.len())? <= VALUE_BYTES_MAX).then_some(())?;
            let bytes = bytes.clone();
            changed(key, Change::Bytes { at, bytes })
        }
        (b"setbit", [key, at, bit]) => {
            let at = u64::try_from(parse_integer(at)?).ok()?;
            (at / 8 < VALUE_BYTES_MAX as u64).then_some(())?;
            let is_set = match &bit[..] {
                b"0" => false,
                b"1" => true,
                _ => return None,
            };
            changed(key, Change::Bit { at, is_set })
        }
        (b"msetnx", pairs) if !pairs.is_empty() && pairs.len().is_multiple_of(2) => {
            Foreign::MSet(pairs.to_vec())
        }
        (b"rename" | b"renamenx", [from, to]) => copied(from, to, true),
        (b"copy", [from, to, options @ ..]) => {
            let is_plain = |word: &Bytes| word.eq_ignore_ascii_case(b"replace");
            options
                .iter()
                .all(is_plain)
                .then(|| copied(from, to, false))?
        }
        _ => return None,
    })
}

fn changed(key: &Bytes, change: Change) -> Foreign {
    let key = key.clone();
    Foreign::Change { key, change }
}

fn copied(from: &Bytes, to: &Bytes, moves: bool) -> Foreign {
    let (from, to) = (from.clone(), to.clone());
    Foreign::Copy { from, to, moves }
}

impl Change {
    /// What becomes of a value; `None` if there is none and none comes about.
    pub(super) fn apply(&self, value: Option<&[u8]>) -> Option<Vec<u8>> {
        if let Self::Bytes { bytes, .. } = self
            && bytes.is_empty()
        {
            return value.map(<[u8]>::to_vec);
        }
        let mut value = value.unwrap_or_default().to_vec();
        let mut grow = |end: usize| {
            if value.len() < end {
                value.resize(end, 0);
            }
        };
        match self {
            Self::Bytes { at, bytes } => {
                grow(at + bytes.len());
                value[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Bit { at, is_set } => {
                let (place, mask) = ((at / 8) as usize, 0x80 >> (at % 8));
                grow(place + 1);
                match is_set {
                    true => value[place] |= mask,
                    false => value[place] &= !mask,
                }
            }
        }
        Some(value)
    }
}

/// A deadline as SET wants it: 0 is never.
pub(super) fn expiry_of(deadline_ms: u64) -> Expiry {
    match i64::try_from(deadline_ms) {
        Ok(0) => Expiry::Clear,
        Ok(ms) => Expiry::Set(crate::command::Deadline::At(ms)),
        Err(_) => Expiry::Set(crate::command::Deadline::At(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::words;

    fn change(line: &str) -> Change {
        change_of(&words(line))
    }

    fn change_of(words: &[Bytes]) -> Change {
        match read(words) {
            Some(Foreign::Change { change, .. }) => change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ranges_are_written_into_values_which_grow_by_zeros() {
        let change = change("SETRANGE k 2 xy");
        assert_eq!(change.apply(None).unwrap(), b"\0\0xy");
        assert_eq!(change.apply(Some(b"abcdef")).unwrap(), b"abxyef");
        assert_eq!(change.apply(Some(b"abc")).unwrap(), b"abxy");
    }

    #[test]
    fn nothing_written_makes_no_key() {
        let mut words = words("setrange k 9");
        words.push(Bytes::new());
        let nothing = change_of(&words);
        assert_eq!(nothing.apply(None), None);
        assert_eq!(nothing.apply(Some(b"a")).unwrap(), b"a");
    }

    #[test]
    fn bits_are_counted_from_the_highest() {
        assert_eq!(change("SETBIT k 0 1").apply(None).unwrap(), [0x80]);
        assert_eq!(change("SETBIT k 9 1").apply(Some(&[1])).unwrap(), [1, 0x40]);
        assert_eq!(change("SETBIT k 7 0").apply(Some(&[0xff])).unwrap(), [0xfe]);
    }

    #[test]
    fn words_that_do_not_fit_are_refused() {
        for line in [
            "SETRANGE k -1 x",
            "SETRANGE k 536870912 x",
            "SETRANGE k 1",
            "SETBIT k 4294967296 1",
            "SETBIT k 1 2",
            "MSETNX a",
            "RENAME a",
            "COPY a b DB 3",
            "BITOP AND a b",
        ] {
            assert_eq!(read(&words(line)), None, "{line}");
        }
    }
}
