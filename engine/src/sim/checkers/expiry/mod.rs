//! Keys with a time to live: once seen gone they stay gone, and they go about when they should.
//!
//! Only keys that are ever written with a time to live are judged, and only single reads and writes of
//! theirs. That a key is gone for good rests on the order of operations alone. When it goes rests on
//! the clocks of the ring, which may be skewed: the caller says by how much.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::history::{History, Key, NEVER, Op, OpId, Reply, Ttl, Value};

/// Something wrong with a key that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A read saw the key gone, a later one saw it alive, and nothing can have written it between.
    AliveAgain {
        /// The key.
        key: Key,
        /// The read that saw it gone.
        gone: OpId,
        /// The read that saw it alive.
        alive: OpId,
    },
    /// A read saw a value long past its deadline.
    Overdue {
        /// The key.
        key: Key,
        /// The write of the value.
        write: OpId,
        /// The read.
        alive: OpId,
    },
    /// A read saw nothing long before the deadline of what was written.
    Vanished {
        /// The key.
        key: Key,
        /// The write.
        write: OpId,
        /// The read.
        gone: OpId,
    },
}

struct Write {
    op: OpId,
    /// None, if it removes the key.
    value: Option<u64>,
    invoked: u64,
    /// The event by which it took effect; never, if that is unknown and nobody saw it.
    by: u64,
    /// Lives for so many microseconds, if not forever.
    life_us: Option<u64>,
}

#[derive(Clone, Copy)]
enum Sight {
    Gone,
    Alive(Option<u64>),
}

#[derive(Default)]
struct Track {
    expires: bool,
    writes: Vec<Write>,
    reads: Vec<(OpId, Sight)>,
}

/// Finds faults. Clocks may differ from virtual time by `tolerance_us`, delays of ticks included; with
/// `u64::MAX` only [`Fault::AliveAgain`] is looked for.
pub fn check(history: &History, tolerance_us: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, mut track) in gather(history) {
        if track.expires {
            track.credit_reads(history);
            track.find_alive_again(history, key, &mut faults);
            track.find_mistimed(history, key, tolerance_us, &mut faults);
        }
    }
    faults
}

fn gather(history: &History) -> BTreeMap<Key, Track> {
    let mut tracks: BTreeMap<Key, Track> = BTreeMap::new();
    for leaf in history.leaves() {
        let op = &history.operations()[leaf.id];
        let mut write = |key: &Key, value, life_us| {
            tracks.entry(*key).or_default().writes.push(Write {
                op: leaf.id,
                value,
                invoked: op.invoked,
                by: op.effective_by(),
                life_us,
            });
        };
        let (key, sight) = match (leaf.op, leaf.reply) {
            (Op::SetWithTtl { key, value, ttl_ms }, _) => {
                write(key, Some(*value), Some(ttl_ms.saturating_mul(1000)));
                tracks.entry(*key).or_default().expires = true;
                continue;
            }
            (Op::Cas { .. }, Some(Reply::Swapped(false))) => continue,
            (Op::Set(key, value) | Op::Cas { key, value, .. }, _) => {
                write(key, Some(*value), None);
                continue;
            }
            (Op::Delete(key), Some(Reply::Existed(false))) => (key, Sight::Gone),
            (Op::Delete(key), _) => {
                write(key, None, None);
                continue;
            }
            (Op::Get(key), Some(Reply::Value(None))) => (key, Sight::Gone),
            (Op::Get(key), Some(Reply::Value(Some(Value::Register(value))))) => {
                (key, Sight::Alive(Some(*value)))
            }
            (Op::Ttl(key), Some(Reply::Ttl(Ttl::Missing))) => (key, Sight::Gone),
            (Op::Ttl(key), Some(Reply::Ttl(_))) => (key, Sight::Alive(None)),
            _ => continue,
        };
        // Within a transaction, what it did itself comes between: it is not a read of others.
        if !matches!(op.op, Op::Multi(_) | Op::Exec { .. }) {
            tracks.entry(*key).or_default().reads.push((leaf.id, sight));
        }
    }
    tracks
}

impl Track {
    /// A write that was seen took effect before the read returned, even if its outcome is unknown.
    fn credit_reads(&mut self, history: &History) {
        let mut writers: BTreeMap<u64, usize> = BTreeMap::new();
        for value in self.writes.iter().filter_map(|write| write.value) {
            *writers.entry(value).or_default() += 1;
        }
        let mut seen_by: BTreeMap<u64, u64> = BTreeMap::new();
        for &(id, sight) in &self.reads {
            if let Sight::Alive(Some(value)) = sight
                && writers.get(&value) == Some(&1)
            {
                let by = seen_by.entry(value).or_insert(NEVER);
                *by = history.operations()[id].returned.min(*by);
            }
        }
        for write in &mut self.writes {
            let seen = write.value.and_then(|value| seen_by.get(&value));
            write.by = seen.map_or(write.by, |&seen| write.by.min(seen));
        }
    }

    fn find_alive_again(&self, history: &History, key: Key, faults: &mut Vec<Fault>) {
        let ops = history.operations();
        // By return, the read that saw the key gone and was called last among those so far.
        let mut gone: Vec<(u64, u64, OpId)> = Vec::new();
        for &(id, sight) in &self.reads {
            if matches!(sight, Sight::Gone) {
                gone.push((ops[id].returned, ops[id].invoked, id));
            }
        }
        gone.sort_unstable();
        for place in 1..gone.len() {
            let (_, invoked, id) = gone[place - 1];
            if invoked > gone[place].1 {
                (gone[place].1, gone[place].2) = (invoked, id);
            }
        }
        for &(id, sight) in &self.reads {
            let Sight::Alive(value) = sight else {
                continue;
            };
            let before = gone.partition_point(|&(returned, ..)| returned < ops[id].invoked);
            let Some(&(_, gone_from, gone)) = gone[..before].last() else {
                continue;
            };
            let may_have_left_it = |write: &&Write| {
                let same = value.is_none_or(|value| write.value == Some(value));
                same && write.value.is_some() && write.invoked < ops[id].returned
            };
            let writers = self.writes.iter().filter(may_have_left_it);
            if writers
                .map(|write| write.by)
                .max()
                .is_some_and(|by| by < gone_from)
            {
                faults.push(Fault::AliveAgain {
                    key,
                    gone,
                    alive: id,
                });
            }
        }
    }

    fn find_mistimed(
        &self,
        history: &History,
        key: Key,
        tolerance_us: u64,
        faults: &mut Vec<Fault>,
    ) {
        let ops = history.operations();
        for &(id, sight) in &self.reads {
            let read = &ops[id];
            match sight {
                Sight::Alive(None) => {}
                Sight::Alive(Some(value)) => {
                    // Each write of the value must have ended and its time be over.
                    let mut writers = self
                        .writes
                        .iter()
                        .filter(|write| write.value == Some(value));
                    let over = |write: &Write| {
                        let end = ops[write.op].reply().and(ops[write.op].returned_at);
                        let deadline = end.zip(write.life_us);
                        let deadline = deadline.map(|(end, life)| end.saturating_add(life));
                        deadline.is_some_and(|at| read.invoked_at > at.saturating_add(tolerance_us))
                    };
                    if let Some(first) = writers.next()
                        && over(first)
                        && writers.all(over)
                    {
                        let write = first.op;
                        faults.push(Fault::Overdue {
                            key,
                            write,
                            alive: id,
                        });
                    }
                }
                Sight::Gone => {
                    if let Some(write) = self.still_due(history, id, tolerance_us) {
                        faults.push(Fault::Vanished {
                            key,
                            write,
                            gone: id,
                        });
                    }
                }
            }
        }
    }

    /// A write that the read `gone` ought to have seen.
    fn still_due(&self, history: &History, gone: OpId, tolerance_us: u64) -> Option<OpId> {
        let ops = history.operations();
        let read = &ops[gone];
        let known = self.writes.iter().filter(|write| write.by < read.invoked);
        // Whatever else may have come after this one comes too late to matter or is itself judged.
        let last = known.max_by_key(|write| write.invoked)?;
        let replaced = self.writes.iter().any(|write| {
            write.op != last.op && write.by > last.invoked && write.invoked < read.returned
        });
        let deadline = ops[last.op]
            .invoked_at
            .saturating_add(last.life_us.unwrap_or(u64::MAX));
        let due = read.returned_at?.saturating_add(tolerance_us) < deadline;
        (last.value.is_some() && !replaced && due).then_some(last.op)
    }
}
