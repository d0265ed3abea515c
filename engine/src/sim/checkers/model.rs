//! The slot as it ought to be: what each operation does and answers when it is alone.
//!
//! Nothing expires here, and a key of the wrong type is left as it is.

use std::collections::BTreeMap;

use super::history::{Key, Op, Reply, Ttl, Value};

/// The contents of one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// What each present key holds.
    pub values: BTreeMap<Key, Value>,
}

impl Model {
    /// Does `op` and tells its reply.
    pub fn apply(&mut self, op: &Op) -> Reply {
        match op {
            Op::Get(key) => Reply::Value(self.values.get(key).cloned()),
            Op::Set(key, value) | Op::SetWithTtl { key, value, .. } => {
                self.values.insert(*key, Value::Register(*value));
                Reply::Done
            }
            Op::Ttl(key) if self.values.contains_key(key) => Reply::Ttl(Ttl::Forever),
            Op::Ttl(_) => Reply::Ttl(Ttl::Missing),
            Op::Delete(key) => Reply::Existed(self.values.remove(key).is_some()),
            Op::Incr(key) => self.increment(*key),
            Op::Append(key, element) => self.append(*key, *element),
            Op::Cas {
                key,
                expected,
                value,
            } => {
                let swapped = self.values.get(key) == expected.map(Value::Register).as_ref();
                if swapped {
                    self.values.insert(*key, Value::Register(*value));
                }
                Reply::Swapped(swapped)
            }
            Op::Scan => Reply::Scan(self.values.clone()),
            Op::Multi(ops) => self.apply_all(ops),
            Op::Exec { watched, ops, .. } => {
                let as_seen =
                    |(key, seen): &(Key, Option<Value>)| self.values.get(key) == seen.as_ref();
                if watched.iter().all(as_seen) {
                    self.apply_all(ops)
                } else {
                    Reply::Aborted
                }
            }
            Op::Watch(_) => Reply::Done,
        }
    }

    fn apply_all(&mut self, ops: &[Op]) -> Reply {
        Reply::Many(ops.iter().map(|op| self.apply(op)).collect())
    }

    fn increment(&mut self, key: Key) -> Reply {
        let value = self.values.entry(key).or_insert(Value::Counter(0));
        if let Value::Counter(count) = value {
            *count += 1;
            return Reply::Count(*count);
        }
        Reply::Done
    }

    fn append(&mut self, key: Key, element: u64) -> Reply {
        let value = self.values.entry(key).or_insert(Value::List(Vec::new()));
        if let Value::List(list) = value {
            list.push(element);
            return Reply::Length(list.len() as u64);
        }
        Reply::Done
    }
}
