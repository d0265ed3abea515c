//! Reads that were behind, for each type of key.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::{History, NEVER, OpId, Value};
use super::{Put, Writes, as_register};

/// A read, what it saw, and what it missed.
pub(super) type Missed<'a> = (OpId, Option<&'a Value>, OpId);

impl Writes<'_> {
    pub(super) fn stale_registers<'a>(&'a self, history: &History, stale: &mut Vec<Missed<'a>>) {
        let ops = history.operations();
        let mut writers: BTreeMap<Option<u64>, Vec<&Put>> = BTreeMap::new();
        for put in &self.puts {
            writers.entry(put.value).or_default().push(put);
        }
        let mut first_read: BTreeMap<u64, u64> = BTreeMap::new();
        for (id, value) in &self.reads {
            if let Some(value) = as_register(*value) {
                let by = first_read.entry(value).or_insert(NEVER);
                *by = ops[*id].returned.min(*by);
            }
        }
        // When it was known that a write had been done, and the latest call among those known by then.
        let mut known: Vec<(u64, u64, OpId)> = Vec::new();
        for put in &self.puts {
            // Of a value written twice, a read does not tell by whom.
            let only = put.value.filter(|_| writers[&put.value].len() == 1);
            let read = only.and_then(|value| first_read.get(&value).copied());
            let by = read.map_or(put.by, |read| read.min(put.by));
            if by != NEVER {
                known.push((by, put.invoked, put.op));
            }
        }
        known.sort_unstable();
        carry_the_most(&mut known);
        for &(id, value) in &self.reads {
            if !matches!(value, None | Some(Value::Register(_))) {
                continue;
            }
            let (from, to) = (ops[id].invoked, ops[id].returned);
            let before = known.partition_point(|&(by, ..)| by < from);
            let Some(&(_, newer, missed)) = known[..before].last() else {
                continue;
            };
            let seen = as_register(value);
            let of_seen = writers.get(&seen).map_or(&[][..], Vec::as_slice);
            let by = of_seen
                .iter()
                .filter(|put| put.invoked < to)
                .map(|put| put.by);
            let by = by.max().max(seen.is_none().then_some(0));
            if by.is_some_and(|by| by < newer) {
                stale.push((id, value, missed));
            }
        }
    }

    pub(super) fn stale_counters<'a>(&'a self, history: &History, stale: &mut Vec<Missed<'a>>) {
        let count = |value: Option<&Value>| match value {
            Some(Value::Counter(count)) => Some(*count),
            None => Some(0),
            _ => None,
        };
        let reads = self
            .reads
            .iter()
            .filter_map(|(id, value)| Some((*id, count(*value)?)));
        let ops = history.operations();
        let told = self.increments.iter().copied().chain(reads);
        let mut told: Vec<_> = told
            .map(|(id, count)| (ops[id].returned, count, id))
            .collect();
        told.sort_unstable();
        carry_the_most(&mut told);
        for &(id, value) in &self.reads {
            let before = told.partition_point(|&(at, ..)| at < ops[id].invoked);
            if let (Some(seen), Some(&(_, most, missed))) = (count(value), told[..before].last())
                && seen < most
            {
                stale.push((id, value, missed));
            }
        }
    }

    pub(super) fn stale_lists<'a>(&'a self, history: &History, stale: &mut Vec<Missed<'a>>) {
        let ops = history.operations();
        // When an element was first known to be there, and from whom.
        let mut known: BTreeMap<u64, (u64, OpId)> = BTreeMap::new();
        let mut note = |element, id: OpId| {
            let first = known.entry(element).or_insert((NEVER, id));
            *first = (*first).min((ops[id].returned, id));
        };
        self.appends
            .iter()
            .for_each(|&(id, element)| note(element, id));
        for (id, value) in &self.reads {
            if let Some(Value::List(list)) = value {
                list.iter().for_each(|&element| note(element, *id));
            }
        }
        let mut known: Vec<_> = known
            .into_iter()
            .map(|(of, (at, id))| (at, of, id))
            .collect();
        known.sort_unstable();
        for &(id, value) in &self.reads {
            let seen: BTreeSet<u64> = match value {
                Some(Value::List(list)) => list.iter().copied().collect(),
                None => BTreeSet::new(),
                Some(_) => continue,
            };
            let before = known.partition_point(|&(at, ..)| at < ops[id].invoked);
            let missed = known[..before]
                .iter()
                .find(|(_, element, _)| !seen.contains(element));
            if let Some(&(_, _, missed)) = missed {
                stale.push((id, value, missed));
            }
        }
    }
}

/// Gives each entry, sorted by event, the greatest second field so far and what belongs to it.
fn carry_the_most<T: Copy + PartialOrd>(entries: &mut [(u64, T, OpId)]) {
    for place in 1..entries.len() {
        let (_, most, of) = entries[place - 1];
        if most >= entries[place].1 {
            (entries[place].1, entries[place].2) = (most, of);
        }
    }
}
