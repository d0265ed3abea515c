//! What clients have asked and heard, as the checkers want it: a history a slot, so that a look at everything done so
//! far costs what was done since the last look.
//!
//! GET, SET, DEL, MGET and MSET are judged. A slot to which anything else is written is left out from then on; so are
//! reads that were told to answer at once.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::command::{Command, Condition, Expiry, Reply};
use crate::sim::checkers::{History, Key, Op, OpId, Outcome, Reply as Seen, Value};
use crate::slot::slot_of;

/// What is known of a slot.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) history: History,
    /// Its keys, by number.
    pub(super) keys: Vec<Bytes>,
    numbers: BTreeMap<Bytes, Key>,
    /// Its values, each with the number by which the checkers know it.
    values: BTreeMap<Bytes, u64>,
    texts: Vec<Bytes>,
    /// Something was written to it that the checkers do not know.
    pub(super) is_left_out: bool,
    /// Something has happened since it was looked at.
    pub(super) is_new: bool,
}

/// A part of a request: what became of it is yet to be heard.
pub(super) struct Part {
    slot: u16,
    op: OpId,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Get,
    Set,
    Delete,
}

/// See the module.
#[derive(Default)]
pub(super) struct Record {
    pub(super) slots: BTreeMap<u16, Slot>,
}

impl Slot {
    fn key(&mut self, name: &Bytes) -> Key {
        let next = self.keys.len() as Key;
        let key = *self.numbers.entry(name.clone()).or_insert(next);
        if key == next {
            self.keys.push(name.clone());
        }
        key
    }

    pub(super) fn value(&mut self, bytes: &Bytes) -> u64 {
        let next = self.texts.len() as u64;
        let number = *self.values.entry(bytes.clone()).or_insert(next);
        if number == next {
            self.texts.push(bytes.clone());
        }
        number
    }

    /// What a reply to a GET means to the checkers; none if it is none.
    pub(super) fn seen(&mut self, reply: &Reply) -> Option<Option<Value>> {
        match reply {
            Reply::Null => Some(None),
            Reply::Bulk(bytes) => Some(Some(Value::Register(self.value(bytes)))),
            _ => None,
        }
    }

    /// A value, for people.
    pub(super) fn text(&self, value: Option<&Value>) -> String {
        let Some(Value::Register(number)) = value else {
            return "nothing".to_owned();
        };
        let bytes = self.texts.get(*number as usize);
        bytes.map_or_else(String::new, |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    }

    fn leave_out(&mut self) {
        *self = Self {
            is_left_out: true,
            is_new: true,
            ..Self::default()
        };
    }
}

impl Record {
    /// Takes note that a client asks something of a node.
    pub(super) fn invoke(&mut self, node: u32, command: &Command, now_us: u64) -> Vec<Part> {
        let set = |set: &crate::command::Set| {
            set.expiry == Expiry::Clear && set.condition == Condition::Always && !set.get
        };
        match command {
            Command::Get(key) => vec![self.note(node, key, None, Kind::Get, now_us)],
            Command::MGet(keys) => keys
                .iter()
                .map(|key| self.note(node, key, None, Kind::Get, now_us))
                .collect(),
            Command::Set(it) if set(it) => {
                vec![self.note(node, &it.key, Some(&it.value), Kind::Set, now_us)]
            }
            Command::MSet(pairs) => pairs
                .chunks_exact(2)
                .map(|pair| self.note(node, &pair[0], Some(&pair[1]), Kind::Set, now_us))
                .collect(),
            Command::Del(keys) if keys.len() == 1 => {
                vec![self.note(node, &keys[0], None, Kind::Delete, now_us)]
            }
            Command::Clear => {
                self.slots.values_mut().for_each(Slot::leave_out);
                Vec::new()
            }
            command if command.is_write() => {
                for key in command.keys() {
                    self.slots.entry(slot_of(key)).or_default().leave_out();
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn note(
        &mut self,
        node: u32,
        key: &Bytes,
        value: Option<&Bytes>,
        kind: Kind,
        now_us: u64,
    ) -> Part {
        let number = slot_of(key);
        let slot = self.slots.entry(number).or_default();
        slot.is_new = true;
        let key = slot.key(key);
        let op = match (kind, value) {
            (Kind::Set, Some(value)) => Op::Set(key, slot.value(value)),
            (Kind::Delete, _) => Op::Delete(key),
            _ => Op::Get(key),
        };
        let op = if slot.is_left_out {
            OpId::MAX
        } else {
            slot.history.invoke(node, number, op, now_us)
        };
        Part {
            slot: number,
            op,
            kind,
        }
    }

    /// Takes note of what became of a request; no reply if the connection broke.
    pub(super) fn finish(&mut self, parts: Vec<Part>, reply: Option<&Reply>, now_us: u64) {
        let (count, is_spread) = (parts.len(), parts.len() > 1);
        for (place, part) in parts.into_iter().enumerate() {
            let Some(slot) = self.slots.get_mut(&part.slot) else {
                continue;
            };
            // It was called before its slot was left out.
            if slot.is_left_out || part.op == OpId::MAX {
                continue;
            }
            slot.is_new = true;
            let outcome = match (reply, part.kind) {
                (None, Kind::Get) => Outcome::Failed,
                (Some(Reply::Error(_)), Kind::Get) => Outcome::Failed,
                (Some(Reply::Error(text)), _) if !text.starts_with("UNKNOWN") && !is_spread => {
                    Outcome::Failed
                }
                (None | Some(Reply::Error(_)), _) => Outcome::Unknown,
                (Some(Reply::Array(replies)), Kind::Get) if replies.len() == count => {
                    let seen = slot.seen(&replies[place]);
                    seen.map_or(Outcome::Unknown, |value| Outcome::Ok(Seen::Value(value)))
                }
                (Some(reply), Kind::Get) => {
                    let seen = slot.seen(reply);
                    seen.map_or(Outcome::Unknown, |value| Outcome::Ok(Seen::Value(value)))
                }
                (Some(Reply::Int(removed)), Kind::Delete) => {
                    Outcome::Ok(Seen::Existed(*removed == 1))
                }
                (Some(_), Kind::Set) => Outcome::Ok(Seen::Done),
                (Some(_), Kind::Delete) => Outcome::Unknown,
            };
            slot.history.finish(part.op, outcome, now_us);
        }
    }
}
