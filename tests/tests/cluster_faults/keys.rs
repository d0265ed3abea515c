//! The keys that clients share: what each holds, what is asked of it, and what an answer means.
//!
//! Every value written to a register, and every element appended to a list, is written once only: the checkers are then
//! exact.

use trilith::sim::checkers::{Key, Op, Reply as Seen, Value};
use trilith_tests::Reply;

/// How many keys there are, a third of each kind.
pub const KEYS: u32 = 36;

/// The length of an element in a list's text.
const ELEMENT_BYTES: usize = 9;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, written whole by SET and removed by DEL.
    Register,
    /// A number that INCR adds to.
    Counter,
    /// A text of elements that APPEND adds to.
    List,
}

pub fn kind(key: Key) -> Kind {
    match key % 3 {
        0 => Kind::Register,
        1 => Kind::Counter,
        _ => Kind::List,
    }
}

pub fn name(key: Key) -> String {
    let kind = match kind(key) {
        Kind::Register => "register",
        Kind::Counter => "counter",
        Kind::List => "list",
    };
    format!("{kind}:{key}")
}

/// The slot of a key's name, by CRC16 as Redis Cluster has it.
pub fn slot(key: Key) -> u16 {
    let mut crc = 0_u16;
    for byte in name(key).bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % 16_384
}

/// Something to ask of a key; `unique` is a number that was not drawn before.
pub fn draw(key: Key, choice: u64, unique: u64) -> Op {
    match (kind(key), choice % 10) {
        (_, 0..=3) => Op::Get(key),
        (Kind::Register, 4) => Op::Delete(key),
        (Kind::Register, _) => Op::Set(key, unique),
        (Kind::Counter, _) => Op::Incr(key),
        (Kind::List, _) => Op::Append(key, unique),
    }
}

pub fn key_of(op: &Op) -> Key {
    match op {
        Op::Get(key) | Op::Set(key, _) | Op::Delete(key) | Op::Incr(key) | Op::Append(key, _) => {
            *key
        }
        other => unreachable!("nobody draws {other:?}"),
    }
}

pub fn is_write(op: &Op) -> bool {
    !matches!(op, Op::Get(_))
}

/// The command that asks for it.
pub fn command(op: &Op) -> Vec<String> {
    let name = name(key_of(op));
    match op {
        Op::Set(_, value) => vec!["SET".into(), name, value.to_string()],
        Op::Delete(_) => vec!["DEL".into(), name],
        Op::Incr(_) => vec!["INCR".into(), name],
        Op::Append(_, element) => vec!["APPEND".into(), name, format!("{element:08};")],
        _ => vec!["GET".into(), name],
    }
}

/// What a reply says of an operation; none if it is none that the operation can have.
pub fn seen(op: &Op, reply: &Reply) -> Option<Seen> {
    match (op, reply) {
        (Op::Get(_), Reply::Nil) => Some(Seen::Value(None)),
        (Op::Get(key), Reply::Bulk(bytes)) => Some(Seen::Value(Some(value(*key, bytes)?))),
        (Op::Set(..), Reply::Simple(text)) if text == "OK" => Some(Seen::Done),
        (Op::Delete(_), Reply::Integer(count @ 0..=1)) => Some(Seen::Existed(*count == 1)),
        (Op::Incr(_), Reply::Integer(count)) => Some(Seen::Count(*count)),
        (Op::Append(..), Reply::Integer(bytes)) => {
            let bytes = usize::try_from(*bytes).ok()?;
            let whole = bytes.is_multiple_of(ELEMENT_BYTES);
            whole.then_some(Seen::Length((bytes / ELEMENT_BYTES) as u64))
        }
        _ => None,
    }
}

fn value(key: Key, bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    match kind(key) {
        Kind::Register => Some(Value::Register(text.parse().ok()?)),
        Kind::Counter => Some(Value::Counter(text.parse().ok()?)),
        Kind::List => {
            let elements = bytes.chunks(ELEMENT_BYTES).map(|element| {
                let (digits, end) = element.split_at_checked(ELEMENT_BYTES - 1)?;
                let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
                (end == b";").then_some(number)
            });
            elements.collect::<Option<_>>().map(Value::List)
        }
    }
}

#[test]
fn slots_are_those_that_redis_cluster_computes() {
    // By redis-cli: CLUSTER KEYSLOT register:0, counter:1, list:2.
    assert_eq!([0, 1, 2].map(slot), [3226, 10_293, 1141]);
}

#[test]
fn a_list_is_read_as_its_elements_and_a_torn_one_not_at_all() {
    let list = |elements: &[u64]| Some(Seen::Value(Some(Value::List(elements.to_vec()))));
    let read = |text: &str| seen(&Op::Get(2), &Reply::bulk(text));
    assert_eq!(read("00000007;00000012;"), list(&[7, 12]));
    assert_eq!(read("00000007;0000001"), None);
    assert_eq!(read("00000007,00000012;"), None);
    assert_eq!(
        command(&Op::Append(2, 7)),
        ["APPEND", "list:2", "00000007;"]
    );
    assert_eq!(
        seen(&Op::Append(2, 7), &Reply::Integer(18)),
        Some(Seen::Length(2))
    );
    assert_eq!(seen(&Op::Append(2, 7), &Reply::Integer(17)), None);
}
