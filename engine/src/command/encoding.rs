//! A command as the payload of a log entry.
//!
//! ```text
//! semantics u8 | operation u8 | fields
//! ```
//!
//! Lengths and counts are varints, byte strings carry their length in front, signed numbers are
//! zigzag varints. The number of an operation is never given to another. Decoding takes any bytes
//! whatever and never panics: they may come from a damaged file.

use bytes::Bytes;

use super::{
    Command, Condition, Deadline, Expire, ExpireCondition, Expiry, ScanArgs, Set, TtlForm,
};
use crate::codec::{Decoder, put_bytes, put_varint};
use crate::{Error, ErrorKind, Result};

/// What commands mean, by number. Raised when the same bytes come to mean something else, and only
/// once every member of a cluster knows the new meaning.
pub const SEMANTICS: u8 = 1;

/// The numbers of the operations, as they stand in logs.
mod operation {
    pub(super) const GET: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const SET_NX: u8 = 3;
    pub(super) const GET_SET: u8 = 4;
    pub(super) const GET_DEL: u8 = 5;
    pub(super) const GET_EX: u8 = 6;
    pub(super) const APPEND: u8 = 7;
    pub(super) const STR_LEN: u8 = 8;
    pub(super) const INCR_BY: u8 = 9;
    pub(super) const M_GET: u8 = 10;
    pub(super) const M_SET: u8 = 11;
    pub(super) const DEL: u8 = 12;
    pub(super) const EXISTS: u8 = 13;
    pub(super) const TYPE: u8 = 14;
    pub(super) const EXPIRE: u8 = 15;
    pub(super) const PERSIST: u8 = 16;
    pub(super) const TTL: u8 = 17;
    pub(super) const CLEAR: u8 = 18;
    pub(super) const SCAN: u8 = 19;
    pub(super) const KEYS: u8 = 20;
    pub(super) const DB_SIZE: u8 = 21;
    pub(super) const EXPLAIN: u8 = 22;
}

impl Command {
    /// Appends the command as a log entry holds it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(SEMANTICS);
        self.encode_operation(out);
    }

    fn encode_operation(&self, out: &mut Vec<u8>) {
        match self {
            Self::Get(key) => put_words(out, operation::GET, &[key]),
            Self::Set(set) => {
                put_words(out, operation::SET, &[&set.key, &set.value]);
                // One byte for a plain SET: what it does not say is 0.
                let condition = match set.condition {
                    Condition::Always => 0,
                    Condition::Absent => 1,
                    Condition::Present => 2,
                };
                out.push(condition | u8::from(set.get) << 2);
                put_expiry(out, set.expiry);
            }
            Self::SetNx { key, value } => put_words(out, operation::SET_NX, &[key, value]),
            Self::GetSet { key, value } => put_words(out, operation::GET_SET, &[key, value]),
            Self::GetDel(key) => put_words(out, operation::GET_DEL, &[key]),
            Self::GetEx { key, expiry } => {
                put_words(out, operation::GET_EX, &[key]);
                put_expiry(out, *expiry);
            }
            Self::Append { key, value } => put_words(out, operation::APPEND, &[key, value]),
            Self::StrLen(key) => put_words(out, operation::STR_LEN, &[key]),
            Self::IncrBy { key, by } => {
                put_words(out, operation::INCR_BY, &[key]);
                put_signed(out, *by);
            }
            Self::MGet(keys) => put_list(out, operation::M_GET, keys),
            Self::MSet(pairs) => put_list(out, operation::M_SET, pairs),
            Self::Del(keys) => put_list(out, operation::DEL, keys),
            Self::Exists(keys) => put_list(out, operation::EXISTS, keys),
            Self::Type(key) => put_words(out, operation::TYPE, &[key]),
            Self::Expire(expire) => {
                put_words(out, operation::EXPIRE, &[&expire.key]);
                let condition = expire.condition;
                out.push(
                    u8::from(condition.absent)
                        | u8::from(condition.present) << 1
                        | u8::from(condition.later) << 2
                        | u8::from(condition.earlier) << 3,
                );
                put_deadline(out, expire.deadline);
            }
            Self::Persist(key) => put_words(out, operation::PERSIST, &[key]),
            Self::Ttl { key, form } => {
                put_words(out, operation::TTL, &[key]);
                out.push(match form {
                    TtlForm::Seconds => 0,
                    TtlForm::Millis => 1,
                    TtlForm::AtSeconds => 2,
                    TtlForm::AtMillis => 3,
                });
            }
            Self::Clear => out.push(operation::CLEAR),
            Self::Scan(scan) => {
                out.push(operation::SCAN);
                put_varint(out, scan.cursor);
                put_varint(out, scan.count);
                put_optional(out, scan.pattern.as_ref());
                put_optional(out, scan.of_type.as_ref());
            }
            Self::Keys(pattern) => put_words(out, operation::KEYS, &[pattern]),
            Self::DbSize => out.push(operation::DB_SIZE),
            Self::Explain(inner) => {
                out.push(operation::EXPLAIN);
                inner.encode_operation(out);
            }
        }
    }

    /// The command that `bytes` hold, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        const DOING: &str = "reading a command";
        let Some((&semantics, rest)) = bytes.split_first() else {
            return Err(Error::corrupt(DOING, "no bytes"));
        };
        if semantics > SEMANTICS {
            return Err(Error::new(
                ErrorKind::Newer,
                DOING,
                format!("semantics {semantics}, this program knows {SEMANTICS}"),
            ));
        }
        let mut decoder = Decoder::new(rest);
        match decode_operation(&mut decoder, true) {
            Some(command) if semantics != 0 && decoder.is_empty() => Ok(command),
            _ => Err(Error::corrupt(DOING, "the bytes are no command")),
        }
    }
}

fn put_words(out: &mut Vec<u8>, operation: u8, words: &[&Bytes]) {
    let len: usize = words.iter().map(|word| word.len() + 10).sum();
    out.reserve(len + 24);
    out.push(operation);
    for word in words {
        put_bytes(out, word);
    }
}

fn put_list(out: &mut Vec<u8>, operation: u8, words: &[Bytes]) {
    out.push(operation);
    put_varint(out, words.len() as u64);
    for word in words {
        put_bytes(out, word);
    }
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, (number << 1 ^ number >> 63) as u64);
}

fn put_optional(out: &mut Vec<u8>, word: Option<&Bytes>) {
    match word {
        None => out.push(0),
        Some(word) => {
            out.push(1);
            put_bytes(out, word);
        }
    }
}

fn put_expiry(out: &mut Vec<u8>, expiry: Expiry) {
    match expiry {
        Expiry::Clear => out.push(0),
        Expiry::Keep => out.push(1),
        Expiry::Set(deadline) => put_deadline(out, deadline),
    }
}

fn put_deadline(out: &mut Vec<u8>, deadline: Deadline) {
    let (kind, ms) = match deadline {
        Deadline::In(ms) => (2, ms),
        Deadline::At(ms) => (3, ms),
    };
    out.push(kind);
    put_signed(out, ms);
}

fn decode_operation(from: &mut Decoder<'_>, may_explain: bool) -> Option<Command> {
    Some(match from.u8()? {
        operation::GET => Command::Get(word(from)?),
        operation::SET => {
            let (key, value) = (word(from)?, word(from)?);
            let flags = from.u8()?;
            let condition = match flags & 3 {
                0 => Condition::Always,
                1 => Condition::Absent,
                2 => Condition::Present,
                _ => return None,
            };
            if flags > 7 {
                return None;
            }
            let get = flags & 4 != 0;
            Command::Set(Set {
                key,
                value,
                expiry: expiry(from)?,
                condition,
                get,
            })
        }
        operation::SET_NX => Command::SetNx {
            key: word(from)?,
            value: word(from)?,
        },
        operation::GET_SET => Command::GetSet {
            key: word(from)?,
            value: word(from)?,
        },
        operation::GET_DEL => Command::GetDel(word(from)?),
        operation::GET_EX => Command::GetEx {
            key: word(from)?,
            expiry: expiry(from)?,
        },
        operation::APPEND => Command::Append {
            key: word(from)?,
            value: word(from)?,
        },
        operation::STR_LEN => Command::StrLen(word(from)?),
        operation::INCR_BY => Command::IncrBy {
            key: word(from)?,
            by: signed(from)?,
        },
        operation::M_GET => Command::MGet(list(from)?),
        operation::M_SET => {
            let pairs = list(from)?;
            if !pairs.len().is_multiple_of(2) {
                return None;
            }
            Command::MSet(pairs)
        }
        operation::DEL => Command::Del(list(from)?),
        operation::EXISTS => Command::Exists(list(from)?),
        operation::TYPE => Command::Type(word(from)?),
        operation::EXPIRE => {
            let (key, flags) = (word(from)?, from.u8()?);
            if flags > 15 {
                return None;
            }
            let condition = ExpireCondition {
                absent: flags & 1 != 0,
                present: flags & 2 != 0,
                later: flags & 4 != 0,
                earlier: flags & 8 != 0,
            };
            Command::Expire(Expire {
                key,
                deadline: deadline(from)?,
                condition,
            })
        }
        operation::PERSIST => Command::Persist(word(from)?),
        operation::TTL => {
            let key = word(from)?;
            let form = match from.u8()? {
                0 => TtlForm::Seconds,
                1 => TtlForm::Millis,
                2 => TtlForm::AtSeconds,
                3 => TtlForm::AtMillis,
                _ => return None,
            };
            Command::Ttl { key, form }
        }
        operation::CLEAR => Command::Clear,
        operation::SCAN => Command::Scan(ScanArgs {
            cursor: from.varint()?,
            count: from.varint()?,
            pattern: optional(from)?,
            of_type: optional(from)?,
        }),
        operation::KEYS => Command::Keys(word(from)?),
        operation::DB_SIZE => Command::DbSize,
        // Not one within another: bytes that say EXPLAIN a million times must not exhaust the stack.
        operation::EXPLAIN if may_explain => {
            Command::Explain(Box::new(decode_operation(from, false)?))
        }
        _ => return None,
    })
}

fn word(from: &mut Decoder<'_>) -> Option<Bytes> {
    from.bytes().map(Bytes::copy_from_slice)
}

fn list(from: &mut Decoder<'_>) -> Option<Vec<Bytes>> {
    let len = usize::try_from(from.varint()?).ok()?;
    // Each takes at least its length's byte, so a count beyond that is a lie.
    if len > from.rest().len() {
        return None;
    }
    (0..len).map(|_| word(from)).collect()
}

fn signed(from: &mut Decoder<'_>) -> Option<i64> {
    let number = from.varint()?;
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
}

fn optional(from: &mut Decoder<'_>) -> Option<Option<Bytes>> {
    match from.u8()? {
        0 => Some(None),
        1 => word(from).map(Some),
        _ => None,
    }
}

fn expiry(from: &mut Decoder<'_>) -> Option<Expiry> {
    let mut ahead = *from;
    match ahead.u8()? {
        0 => {
            *from = ahead;
            Some(Expiry::Clear)
        }
        1 => {
            *from = ahead;
            Some(Expiry::Keep)
        }
        _ => deadline(from).map(Expiry::Set),
    }
}

fn deadline(from: &mut Decoder<'_>) -> Option<Deadline> {
    match from.u8()? {
        2 => signed(from).map(Deadline::In),
        3 => signed(from).map(Deadline::At),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{LINES, parse};
    use super::*;

    #[test]
    fn every_command_decodes_to_itself() {
        for line in LINES {
            let command = parse(line).unwrap();
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            assert_eq!(Command::decode(&bytes).unwrap(), command, "{line}");
        }
    }

    #[test]
    fn a_plain_set_costs_six_bytes_beyond_its_words() {
        let mut bytes = Vec::new();
        parse("SET key value").unwrap().encode(&mut bytes);
        assert_eq!(bytes.len(), "key".len() + "value".len() + 6);
    }

    #[test]
    fn bytes_cut_anywhere_or_followed_by_more_are_no_command() {
        for line in LINES {
            let mut bytes = Vec::new();
            parse(line).unwrap().encode(&mut bytes);
            for len in 0..bytes.len() {
                assert!(
                    Command::decode(&bytes[..len]).is_err(),
                    "{line} cut at {len}"
                );
            }
            bytes.push(0);
            assert!(Command::decode(&bytes).is_err(), "{line} with a byte more");
        }
    }

    #[test]
    fn newer_semantics_are_told_from_damage() {
        let error = Command::decode(&[SEMANTICS + 1, operation::DB_SIZE]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Newer);
        let error = Command::decode(&[SEMANTICS, 255]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn nested_explains_are_refused_before_they_nest() {
        let mut bytes = vec![operation::EXPLAIN; 1_000_000];
        bytes[0] = SEMANTICS;
        assert!(Command::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_and_what_decodes_encodes_again(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64),
            operation in 0u8..24,
        ) {
            if bytes.len() > 1 {
                bytes[0] = SEMANTICS;
                bytes[1] = operation;
            }
            if let Ok(command) = Command::decode(&bytes) {
                let mut again = Vec::new();
                command.encode(&mut again);
                prop_assert_eq!(Command::decode(&again).unwrap(), command);
            }
        }
    }
}
