//! What clients ask for: drawn from their own dice, as a command for the ring and as an operation for the
//! checkers.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::checkers::{Key, Op, Reply as Seen, Ttl, Value};
use super::keys::{KINDS, Keys, Kind, Named};
use crate::command::{Command, Deadline, Expiry, Reply, TtlForm};
use crate::random::Random;
use crate::ring::RangeId;
use crate::ring::effect::ReadLevel;

/// Digits of a list's element.
const ELEMENT_BYTES: usize = 8;

/// What a node is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Command(Command),
    /// Every key of the range, with its value.
    Scan,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) range: RangeId,
    pub(super) slot: u16,
    pub(super) op: Op,
    pub(super) ask: Ask,
    /// How to read; none for a write.
    pub(super) level: Option<ReadLevel>,
    /// Replicas that a write must be stored by at least.
    pub(super) at_least: u8,
}

/// Draws wishes.
pub(super) struct Workload {
    keys: Keys,
    /// Every value is written once.
    next_value: u64,
    replicas: u8,
    /// Reads may be asked to be weak or stronger than configured.
    vary: bool,
}

impl Workload {
    pub(super) fn new(keys: Keys, replicas: u8, vary: bool) -> Self {
        Self {
            keys,
            next_value: 1,
            replicas,
            vary,
        }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    pub(super) fn draw(&mut self, random: &mut Random) -> Wish {
        let slot = random.index(self.keys.slots.len());
        let place = random.index(KINDS.len());
        let key = self.keys.take(slot, place);
        let (op, command, is_read) = match KINDS[place] {
            Kind::Register => self.draw_register(slot, key, random),
            Kind::Counter if random.below(10) < 6 => (
                Op::Incr(key.key),
                Command::IncrBy {
                    key: key.name,
                    by: 1,
                },
                false,
            ),
            Kind::List if random.below(10) < 6 => {
                let element = self.value();
                let value = format!("{element:0ELEMENT_BYTES$}").into();
                (
                    Op::Append(key.key, element),
                    Command::Append {
                        key: key.name,
                        value,
                    },
                    false,
                )
            }
            Kind::Fleeting => self.draw_fleeting(key, random),
            _ => (Op::Get(key.key), Command::Get(key.name), true),
        };
        // Some of those who read several registers read everything.
        let (op, ask) = match op {
            Op::Multi(_) if is_read && self.next_value.is_multiple_of(4) => (Op::Scan, Ask::Scan),
            op => (op, Ask::Command(command)),
        };
        let level = is_read.then(|| self.draw_level(random));
        let more = self.vary && level.is_none() && random.below(20) == 0;
        let slot = &self.keys.slots[slot];
        Wish {
            range: slot.range,
            slot: slot.slot,
            op,
            ask,
            level,
            at_least: if more { self.replicas } else { 0 },
        }
    }

    fn draw_level(&self, random: &mut Random) -> ReadLevel {
        match random.below(20) {
            0 if self.vary => ReadLevel::Strong {
                at_least: self.replicas,
            },
            1 if self.vary => ReadLevel::Strong {
                at_least: 2.min(self.replicas),
            },
            2 if self.vary => ReadLevel::Weak,
            _ => ReadLevel::Configured,
        }
    }

    fn draw_register(
        &mut self,
        slot: usize,
        key: Named,
        random: &mut Random,
    ) -> (Op, Command, bool) {
        let value = self.value();
        let text = padded(value, random);
        match random.below(20) {
            0..=6 => (
                Op::Set(key.key, value),
                Command::set(key.name, text, Expiry::Clear),
                false,
            ),
            7..=12 => (Op::Get(key.key), Command::Get(key.name), true),
            13 => {
                let op = Op::Cas {
                    key: key.key,
                    expected: None,
                    value,
                };
                (
                    op,
                    Command::SetNx {
                        key: key.name,
                        value: text,
                    },
                    false,
                )
            }
            14 => {
                let op = Op::Multi(vec![Op::Get(key.key), Op::Set(key.key, value)]);
                (
                    op,
                    Command::GetSet {
                        key: key.name,
                        value: text,
                    },
                    false,
                )
            }
            15 => (Op::Delete(key.key), Command::Del(vec![key.name]), false),
            16..=17 => self.draw_many(slot, true, random),
            _ => self.draw_many(slot, false, random),
        }
    }

    /// Several registers of a slot at once.
    fn draw_many(&mut self, slot: usize, write: bool, random: &mut Random) -> (Op, Command, bool) {
        let registers = (0..KINDS.len()).filter(|&place| KINDS[place] == Kind::Register);
        let keys: Vec<Named> = registers.map(|place| self.keys.take(slot, place)).collect();
        if !write {
            let ops = keys.iter().map(|key| Op::Get(key.key)).collect();
            let names = keys.into_iter().map(|key| key.name).collect();
            return (Op::Multi(ops), Command::MGet(names), true);
        }
        let (mut ops, mut words) = (Vec::new(), Vec::new());
        for key in keys {
            let value = self.value();
            ops.push(Op::Set(key.key, value));
            words.extend([key.name, padded(value, random)]);
        }
        (Op::Multi(ops), Command::MSet(words), false)
    }

    fn draw_fleeting(&mut self, key: Named, random: &mut Random) -> (Op, Command, bool) {
        match random.below(10) {
            0..=2 => {
                let (value, ttl_ms) = (self.value(), 20 + random.below(1_500));
                let expiry = Expiry::Set(Deadline::In(ttl_ms as i64));
                let command = Command::set(key.name, padded(value, random), expiry);
                (
                    Op::SetWithTtl {
                        key: key.key,
                        value,
                        ttl_ms,
                    },
                    command,
                    false,
                )
            }
            3..=5 => {
                let command = Command::Ttl {
                    key: key.name,
                    form: TtlForm::Millis,
                };
                (Op::Ttl(key.key), command, true)
            }
            _ => (Op::Get(key.key), Command::Get(key.name), true),
        }
    }

    /// What a reply means to the checkers; none if it makes no sense.
    pub(super) fn seen(&self, op: &Op, reply: &Reply) -> Option<Seen> {
        Some(match (op, reply) {
            (Op::Set(..) | Op::SetWithTtl { .. }, Reply::Simple(_)) => Seen::Done,
            (Op::Get(key), reply) => Seen::Value(self.value_of(*key, reply)?),
            (Op::Incr(_), Reply::Int(count)) => Seen::Count(*count),
            (Op::Append(..), Reply::Int(len)) => {
                Seen::Length(u64::try_from(*len).ok()? / ELEMENT_BYTES as u64)
            }
            (Op::Cas { .. }, Reply::Int(swapped)) => Seen::Swapped(*swapped == 1),
            (Op::Delete(_), Reply::Int(removed)) => Seen::Existed(*removed == 1),
            (Op::Ttl(_), Reply::Int(-2)) => Seen::Ttl(Ttl::Missing),
            (Op::Ttl(_), Reply::Int(-1)) => Seen::Ttl(Ttl::Forever),
            (Op::Ttl(_), Reply::Int(left)) => Seen::Ttl(Ttl::LeftMs(u64::try_from(*left).ok()?)),
            (Op::Scan, Reply::Array(words)) => Seen::Scan(self.values_of(words)?),
            (Op::Multi(ops), Reply::Simple(_)) => {
                Seen::Many(ops.iter().map(|_| Seen::Done).collect())
            }
            (Op::Multi(ops), Reply::Array(replies)) if ops.len() == replies.len() => {
                let parts = ops.iter().zip(replies);
                Seen::Many(
                    parts
                        .map(|(op, reply)| self.seen(op, reply))
                        .collect::<Option<_>>()?,
                )
            }
            (Op::Multi(ops), reply) => match ops.as_slice() {
                [get @ Op::Get(_), Op::Set(..)] => {
                    Seen::Many(vec![self.seen(get, reply)?, Seen::Done])
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The keys and values in a reply, but for those that expire, which are judged apart.
    fn values_of(&self, words: &[Reply]) -> Option<BTreeMap<Key, Value>> {
        let mut values = BTreeMap::new();
        for pair in words.chunks_exact(2) {
            let Reply::Bulk(name) = &pair[0] else {
                return None;
            };
            let Some(key) = self.keys.number_of(name) else {
                continue;
            };
            if self.keys.all[key as usize].1 != Kind::Fleeting {
                values.insert(key, self.value_of(key, &pair[1])??);
            }
        }
        Some(values)
    }

    /// The value in a reply; none inside if there is no such key.
    pub(super) fn value_of(&self, key: u32, reply: &Reply) -> Option<Option<Value>> {
        let text = match reply {
            Reply::Null => return Some(None),
            Reply::Bulk(bytes) => std::str::from_utf8(bytes).ok()?,
            _ => return None,
        };
        let value = match self.keys.all[key as usize].1 {
            Kind::Register | Kind::Fleeting => Value::Register(text.trim_end().parse().ok()?),
            Kind::Counter => Value::Counter(text.parse().ok()?),
            Kind::List => {
                let elements = text.as_bytes().chunks(ELEMENT_BYTES);
                let parsed =
                    elements.map(|element| std::str::from_utf8(element).ok()?.parse().ok());
                Value::List(parsed.collect::<Option<_>>()?)
            }
        };
        Some(Some(value))
    }
}

/// A value as it is stored: some are long, so that tables and segments fill.
fn padded(value: u64, random: &mut Random) -> Bytes {
    let width = if random.below(4) == 0 {
        random.index(800)
    } else {
        0
    };
    format!("{value:<width$}").into()
}
