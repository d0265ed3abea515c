//! Operations and their replies as steps on cells: what each demands of a key, and what it leaves.
//!
//! What the whole history tells about a key (the longest list seen, whether its values are unique) is
//! used here, so that a step demands as exactly as it can.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};

use super::super::history::{History, Key, Op, OpId, Operation, Reply, Value, push_leaves};
use super::cell::Cell;

pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;
pub(super) type Set<K> = HashSet<K, foldhash::fast::FixedState>;

/// One demand or effect on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) key: u32,
    pub(super) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// The key holds just this.
    Expect(Cell),
    /// The key does not hold this.
    Differ(Cell),
    /// The key holds something.
    Present,
    /// The list is this long.
    Length(u32),
    /// The list is at least this long.
    AtLeast(u32),
    Put(Cell),
    /// Puts the second if the key holds the first.
    PutIf(Cell, Cell),
    Remove,
    Incr,
    Append(u64),
    /// No state allows the reply.
    Never,
}

impl Action {
    pub(super) fn writes(self) -> bool {
        match self {
            Self::Put(_) | Self::PutIf(..) | Self::Remove | Self::Incr | Self::Append(_) => true,
            Self::Expect(_) | Self::Differ(_) | Self::Present => false,
            Self::Length(_) | Self::AtLeast(_) | Self::Never => false,
        }
    }
}

/// What is known of a key from the whole history.
pub(super) struct KeyFacts<'a> {
    pub(super) key: Key,
    /// No value comes back once it is gone.
    pub(super) unique: bool,
    /// Some operation may depend on a value in other ways than by expecting it.
    pub(super) conditional: bool,
    /// Its values expire, which is not judged here.
    expires: bool,
    /// The longest list that was read, where each of its elements stands, and all its prefixes.
    known: &'a [u64],
    places: Map<u64, u32>,
    prefixes: Vec<Cell>,
}

/// The keys of one slot and how to find them.
pub(super) struct Slot<'a> {
    pub(super) keys: Vec<KeyFacts<'a>>,
    places: BTreeMap<Key, u32>,
}

/// The operations of each slot that may have had an effect.
pub(super) fn by_slot(history: &History) -> BTreeMap<u16, Vec<(OpId, &Operation)>> {
    let mut slots: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for (id, op) in history.operations().iter().enumerate() {
        if op.may_count() {
            slots.entry(op.slot).or_default().push((id, op));
        }
    }
    slots
}

impl<'a> Slot<'a> {
    pub(super) fn learn(ops: &[(OpId, &'a Operation)]) -> Self {
        let mut slot = Self {
            keys: Vec::new(),
            places: BTreeMap::new(),
        };
        let mut written = Set::default();
        for (_, op) in ops {
            if let Op::Exec { watched, .. } = &op.op {
                for (key, _) in watched {
                    slot.place(*key);
                }
            }
            push_leaves(&op.op, op.reply(), &mut |leaf, reply| {
                slot.learn_leaf(leaf, reply, &mut written);
            });
        }
        for facts in slot.keys.iter_mut().filter(|facts| facts.unique) {
            facts.lay_out_known();
        }
        slot
    }

    fn place(&mut self, key: Key) -> usize {
        let next = self.keys.len() as u32;
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.keys.push(KeyFacts {
                key,
                unique: true,
                conditional: false,
                expires: false,
                known: &[],
                places: Map::default(),
                prefixes: Vec::new(),
            });
        }
        place as usize
    }

    fn learn_leaf(&mut self, op: &'a Op, reply: Option<&'a Reply>, written: &mut Set<(Key, u64)>) {
        match op {
            Op::Set(key, value) | Op::Append(key, value) => {
                let place = self.place(*key);
                self.keys[place].unique &= written.insert((*key, *value));
            }
            Op::Cas { key, value, .. } => {
                let place = self.place(*key);
                let facts = &mut self.keys[place];
                facts.conditional |= reply != Some(&Reply::Swapped(true));
                if reply != Some(&Reply::Swapped(false)) {
                    facts.unique &= written.insert((*key, *value));
                }
            }
            Op::SetWithTtl { key, .. } => {
                let place = self.place(*key);
                self.keys[place].expires = true;
            }
            Op::Delete(key) => {
                let place = self.place(*key);
                self.keys[place].unique = false;
                self.keys[place].conditional = true;
            }
            Op::Incr(key) => {
                self.place(*key);
            }
            Op::Get(key) => {
                let place = self.place(*key);
                if let Some(Reply::Value(Some(value))) = reply {
                    self.keys[place].learn_value(value);
                }
            }
            Op::Scan => {
                if let Some(Reply::Scan(values)) = reply {
                    for (key, value) in values {
                        let place = self.place(*key);
                        self.keys[place].learn_value(value);
                    }
                }
            }
            Op::Ttl(_) | Op::Watch(_) | Op::Multi(_) | Op::Exec { .. } => {}
        }
    }

    /// What `op` does; `reply` is none where the outcome is unknown.
    pub(super) fn compile(&self, op: &Op, reply: Option<&Reply>) -> Vec<Step> {
        let mut steps = Vec::new();
        if let (
            Op::Cas {
                key,
                expected,
                value,
            },
            None,
        ) = (op, reply)
        {
            // Alone, a swap that did not happen is an operation that did not.
            let expected = Cell::of(expected.map(Value::Register).as_ref());
            self.push(*key, Action::Expect(expected), &mut steps);
            self.push(*key, Action::Put(Cell::Register(*value)), &mut steps);
        } else {
            self.compile_into(op, reply, &mut steps);
        }
        steps
    }

    fn push(&self, key: Key, action: Action, steps: &mut Vec<Step>) {
        if let Some(&place) = self.places.get(&key)
            && !self.keys[place as usize].expires
        {
            steps.push(Step { key: place, action });
        }
    }

    fn compile_into(&self, op: &Op, reply: Option<&Reply>, steps: &mut Vec<Step>) {
        use Action::{Differ, Expect, Incr, Never, Present, Put, PutIf, Remove};
        let mut push = |key: &Key, action| self.push(*key, action, steps);
        match (op, reply) {
            (Op::Get(key), Some(Reply::Value(value))) => {
                push(key, Expect(self.cell(*key, value.as_ref())))
            }
            (Op::Set(key, value), None | Some(Reply::Done)) => {
                push(key, Put(Cell::Register(*value)));
            }
            (Op::Delete(key), Some(Reply::Existed(true))) => {
                push(key, Present);
                push(key, Remove);
            }
            (Op::Delete(key), Some(Reply::Existed(false))) => push(key, Expect(Cell::Absent)),
            (Op::Delete(key), None) => push(key, Remove),
            (Op::Incr(key), Some(Reply::Count(count))) => {
                push(key, Expect(Cell::counted(count.wrapping_sub(1))));
                push(key, Put(Cell::Counter(*count)));
            }
            (Op::Incr(key), None) => push(key, Incr),
            (Op::Append(key, element), Some(Reply::Length(len))) => {
                self.compile_append(*key, *element, Some(*len), steps);
            }
            (Op::Append(key, element), None) => self.compile_append(*key, *element, None, steps),
            (
                Op::Cas {
                    key,
                    expected,
                    value,
                },
                swapped,
            ) => {
                let expected = Cell::of(expected.map(Value::Register).as_ref());
                let value = Cell::Register(*value);
                match swapped {
                    Some(Reply::Swapped(true)) => {
                        push(key, Expect(expected));
                        push(key, Put(value));
                    }
                    Some(Reply::Swapped(false)) => push(key, Differ(expected)),
                    None => push(key, PutIf(expected, value)),
                    Some(_) => push(key, Never),
                }
            }
            (Op::Scan, Some(Reply::Scan(values))) => {
                for key in self.places.keys() {
                    push(key, Expect(self.cell(*key, values.get(key))));
                }
            }
            (Op::Multi(ops), None) => ops.iter().for_each(|op| self.compile_into(op, None, steps)),
            (Op::Multi(ops), Some(Reply::Many(replies))) if ops.len() == replies.len() => {
                for (op, reply) in ops.iter().zip(replies) {
                    self.compile_into(op, Some(reply), steps);
                }
            }
            (Op::Exec { .. }, Some(Reply::Aborted)) => {}
            (Op::Exec { watched, ops, .. }, None) => {
                watched
                    .iter()
                    .for_each(|(key, seen)| push(key, Expect(Cell::of(seen.as_ref()))));
                ops.iter().for_each(|op| self.compile_into(op, None, steps));
            }
            (Op::Exec { watched, ops, .. }, Some(Reply::Many(replies)))
                if ops.len() == replies.len() =>
            {
                watched
                    .iter()
                    .for_each(|(key, seen)| push(key, Expect(Cell::of(seen.as_ref()))));
                for (op, reply) in ops.iter().zip(replies) {
                    self.compile_into(op, Some(reply), steps);
                }
            }
            (Op::Get(_) | Op::Scan, None) => {}
            (Op::Ttl(_) | Op::SetWithTtl { .. } | Op::Watch(_), _) => {}
            // A reply that does not fit its operation: no state gives it.
            (_, Some(_)) => {
                let key = keys_of(op).into_iter().next();
                if let Some(key) = key.or_else(|| self.places.keys().next().copied()) {
                    push(&key, Never);
                }
            }
        }
    }

    /// What a key was seen to hold. Most lists are the beginning of the longest, digested already.
    fn cell(&self, key: Key, value: Option<&Value>) -> Cell {
        if let Some(Value::List(list)) = value
            && let Some(&place) = self.places.get(&key)
            && let facts = &self.keys[place as usize]
            && let Some(&prefix) = facts.prefixes.get(list.len())
            && facts.known.starts_with(list)
        {
            return prefix;
        }
        Cell::of(value)
    }

    fn compile_append(&self, key: Key, element: u64, len: Option<u64>, steps: &mut Vec<Step>) {
        let Some(&place) = self.places.get(&key) else {
            return;
        };
        let facts = &self.keys[place as usize];
        let before = len.map(|len| u32::try_from(len.wrapping_sub(1)).unwrap_or(u32::MAX));
        if let Some(&at) = facts.places.get(&element) {
            let at = at as usize;
            if before.is_some_and(|before| before as usize != at) {
                self.push(key, Action::Never, steps);
            }
            self.push(key, Action::Expect(facts.prefixes[at]), steps);
            self.push(key, Action::Put(facts.prefixes[at + 1]), steps);
            return;
        }
        if let Some(before) = before {
            self.push(key, Action::Length(before), steps);
        }
        if !facts.places.is_empty() {
            self.push(key, Action::AtLeast(facts.known.len() as u32), steps);
        }
        // Elements that nobody saw, of unknown outcome, are all alike.
        let alike = before.is_none() && facts.unique;
        self.push(
            key,
            Action::Append(if alike { u64::MAX } else { element }),
            steps,
        );
    }
}

impl<'a> KeyFacts<'a> {
    fn learn_value(&mut self, value: &'a Value) {
        if let Value::List(list) = value
            && list.len() > self.known.len()
        {
            self.known = list;
        }
    }

    fn lay_out_known(&mut self) {
        let mut cell = Cell::Absent;
        self.prefixes.push(cell);
        for (place, &element) in self.known.iter().enumerate() {
            cell = cell.append(element).unwrap_or(cell);
            self.prefixes.push(cell);
            self.places.insert(element, place as u32);
        }
    }
}

/// The keys that an operation names.
pub(super) fn keys_of(op: &Op) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    if let Op::Exec { watched, .. } = op {
        keys.extend(watched.iter().map(|(key, _)| *key));
    }
    push_leaves(op, None, &mut |leaf, _| match leaf {
        Op::Get(key) | Op::Set(key, _) | Op::Delete(key) | Op::Incr(key) | Op::Ttl(key) => {
            keys.insert(*key);
        }
        Op::Append(key, _) | Op::Cas { key, .. } | Op::SetWithTtl { key, .. } => {
            keys.insert(*key);
        }
        Op::Watch(watched) => keys.extend(watched),
        Op::Scan | Op::Multi(_) | Op::Exec { .. } => {}
    });
    keys
}
