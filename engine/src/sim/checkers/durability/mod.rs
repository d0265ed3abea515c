//! Acknowledged writes that are missing in the end, and reads that were behind: counted by name where
//! neither is promised not to happen, and zero where both are.
//!
//! Only what must be wrong is named. A write that another may have replaced is not called lost, and a
//! list or counter that may have been removed is not judged.

mod stale;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Key, NEVER, Op, OpId, Reply, Value};

/// An acknowledged write of which nothing is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostWrite {
    /// The operation that was acknowledged.
    pub op: OpId,
    /// The key it wrote.
    pub key: Key,
    /// What it wrote: a register's value, a list's element, the count it was told; none, a deletion.
    pub wrote: Option<Value>,
}

/// A read that was behind something acknowledged, or read by another, before it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleRead {
    /// The read.
    pub op: OpId,
    /// The key it read.
    pub key: Key,
    /// What it saw there.
    pub saw: Option<Value>,
    /// The write it should have seen, or the read that saw more.
    pub missed: OpId,
}

/// What is known of one key.
#[derive(Default)]
struct Writes<'a> {
    /// Registers: whole writes, deletions among them.
    puts: Vec<Put>,
    appends: Vec<(OpId, u64)>,
    increments: Vec<(OpId, i64)>,
    reads: Vec<(OpId, Option<&'a Value>)>,
    /// Calls and latest ends of what may have removed the key.
    removals: Vec<(u64, u64)>,
}

struct Put {
    op: OpId,
    value: Option<u64>,
    invoked: u64,
    /// The event by which it took effect; never, if the outcome is unknown.
    by: u64,
    acknowledged: bool,
}

/// Acknowledged writes that a final state has lost.
///
/// `last` holds for each key that was read in the end, after all faults were healed and all operations
/// over, what it held; keys that are not in it are not judged. Call it where nothing expires.
pub fn lost_writes(history: &History, last: &BTreeMap<Key, Option<Value>>) -> Vec<LostWrite> {
    let mut lost = Vec::new();
    for (key, writes) in gather(history) {
        let Some(value) = last.get(&key) else {
            continue;
        };
        let mut name = |op, wrote| lost.push(LostWrite { op, key, wrote });
        for put in writes.lost_puts(value.as_ref()) {
            name(put.op, put.value.map(Value::Register));
        }
        for (op, element) in writes.lost_appends(history, value.as_ref()) {
            name(op, Some(Value::List(vec![element])));
        }
        for (op, count) in writes.lost_increments(value.as_ref()) {
            name(op, Some(Value::Counter(count)));
        }
    }
    lost.sort_by_key(|lost| (lost.op, lost.key));
    lost
}

/// Reads that were behind. Reads that do not ask to be strong are judged alike: leave them out of the
/// history where that matters.
pub fn stale_reads(history: &History) -> Vec<StaleRead> {
    let mut stale = Vec::new();
    for (key, writes) in gather(history) {
        let mut missed = Vec::new();
        writes.stale_registers(history, &mut missed);
        if writes.removals.is_empty() {
            writes.stale_counters(history, &mut missed);
            writes.stale_lists(history, &mut missed);
        }
        stale.extend(missed.into_iter().map(|(op, saw, missed)| StaleRead {
            op,
            key,
            saw: saw.cloned(),
            missed,
        }));
    }
    stale.sort_by_key(|stale| (stale.op, stale.key));
    stale
}

fn gather(history: &History) -> BTreeMap<Key, Writes<'_>> {
    let mut keys: BTreeMap<Key, Writes<'_>> = BTreeMap::new();
    let mut scans = Vec::new();
    for leaf in history.leaves() {
        let op = &history.operations()[leaf.id];
        let acknowledged = leaf.reply.is_some();
        let mut put = |key: &Key, value| {
            keys.entry(*key).or_default().puts.push(Put {
                op: leaf.id,
                value,
                invoked: op.invoked,
                by: op.effective_by(),
                acknowledged,
            });
        };
        match (leaf.op, leaf.reply) {
            (Op::Set(key, value) | Op::SetWithTtl { key, value, .. }, _) => put(key, Some(*value)),
            (Op::Cas { .. }, Some(Reply::Swapped(false))) => {}
            (Op::Cas { key, value, .. }, _) => put(key, Some(*value)),
            (Op::Delete(_), Some(Reply::Existed(false))) => {}
            (Op::Delete(key), _) => {
                put(key, None);
                let window = (op.invoked, op.effective_by());
                keys.entry(*key).or_default().removals.push(window);
            }
            (Op::Append(key, element), Some(_)) => {
                let writes = keys.entry(*key).or_default();
                writes.appends.push((leaf.id, *element));
            }
            (Op::Incr(key), Some(Reply::Count(count))) => {
                let writes = keys.entry(*key).or_default();
                writes.increments.push((leaf.id, *count));
            }
            (Op::Get(key), Some(Reply::Value(value))) => {
                let writes = keys.entry(*key).or_default();
                writes.reads.push((leaf.id, value.as_ref()));
            }
            (Op::Scan, Some(Reply::Scan(values))) => scans.push((leaf.id, values)),
            _ => {}
        }
    }
    let slots: Vec<(Key, u16)> = slots_of(history);
    for (id, values) in scans {
        let slot = history.operations()[id].slot;
        for (key, _) in slots.iter().filter(|(_, of)| *of == slot) {
            let writes = keys.entry(*key).or_default();
            writes.reads.push((id, values.get(key)));
        }
    }
    keys
}

fn slots_of(history: &History) -> Vec<(Key, u16)> {
    let mut slots = BTreeSet::new();
    for leaf in history.leaves() {
        let key = match leaf.op {
            Op::Set(key, _) | Op::Append(key, _) | Op::Incr(key) => key,
            Op::SetWithTtl { key, .. } | Op::Cas { key, .. } => key,
            _ => continue,
        };
        slots.insert((*key, history.operations()[leaf.id].slot));
    }
    slots.into_iter().collect()
}

fn as_register(value: Option<&Value>) -> Option<u64> {
    match value {
        Some(Value::Register(value)) => Some(*value),
        _ => None,
    }
}

impl Writes<'_> {
    /// The latest event by which whatever left `value` took effect, if it was called before `event`:
    /// zero for what was there from the start, none if nothing wrote it.
    fn written_by(&self, value: Option<u64>, event: u64) -> Option<u64> {
        let writers = self
            .puts
            .iter()
            .filter(|put| put.value == value && put.invoked < event);
        let start = value.is_none().then_some(0);
        writers.map(|put| put.by).max().max(start)
    }

    fn lost_puts(&self, last: Option<&Value>) -> Vec<&Put> {
        // A value that nobody wrote tells nothing of when: all that was acknowledged is gone.
        let by = self.written_by(as_register(last), NEVER).unwrap_or(0);
        let later = |put: &&Put| put.acknowledged && put.invoked > by;
        self.puts.iter().filter(later).collect()
    }

    fn lost_appends(&self, history: &History, last: Option<&Value>) -> Vec<(OpId, u64)> {
        let present: BTreeSet<u64> = match last {
            Some(Value::List(list)) => list.iter().copied().collect(),
            _ => BTreeSet::new(),
        };
        let is_lost = |&&(op, element): &&(OpId, u64)| {
            !present.contains(&element) && !self.removed_since(history, op)
        };
        self.appends.iter().filter(is_lost).copied().collect()
    }

    /// Whether the key may have been removed after `op` was called.
    fn removed_since(&self, history: &History, op: OpId) -> bool {
        let since = history.operations()[op].invoked;
        self.removals.iter().any(|&(_, by)| by > since)
    }

    /// Increments told a count beyond the last, and those whose count was told again later.
    fn lost_increments(&self, last: Option<&Value>) -> Vec<(OpId, i64)> {
        if !self.removals.is_empty() {
            return Vec::new();
        }
        let last = match last {
            Some(Value::Counter(count)) => *count,
            _ => 0,
        };
        let mut told = BTreeSet::new();
        let backwards = self.increments.iter().rev();
        let mut lost: Vec<_> = backwards
            .filter(|&&(_, count)| !told.insert(count) || count > last)
            .copied()
            .collect();
        lost.reverse();
        lost
    }
}
