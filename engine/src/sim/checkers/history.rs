//! What clients asked for, when, and what they heard.
//!
//! The recorder notes calls and returns in the order in which they happen; that order, not the times,
//! decides what came before what, so two events in one microsecond are still told apart. Values written
//! to a register and elements appended to a list should be unique: checks are then exact and fast.

use std::collections::BTreeMap;

/// A key, by the number the workload gave it. A key belongs to one slot and holds one type of value.
pub type Key = u32;

/// The place of an operation in its history.
pub type OpId = usize;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Written whole.
    Register(u64),
    /// Counts increments, from zero.
    Counter(i64),
    /// Grows at its end.
    List(Vec<u64>),
}

/// What a client asks for; one operation stays within a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a key, whatever its type; answered with [`Reply::Value`].
    Get(Key),
    /// Writes a register; [`Reply::Done`].
    Set(Key, u64),
    /// Writes a register that expires. Judged by [`expiry`](super::expiry) alone. [`Reply::Done`].
    SetWithTtl {
        /// The register.
        key: Key,
        /// What is written.
        value: u64,
        /// How long it lives.
        ttl_ms: u64,
    },
    /// Asks how long a key has to live. Judged by [`expiry`](super::expiry) alone. [`Reply::Ttl`].
    Ttl(Key),
    /// Removes a key; [`Reply::Existed`].
    Delete(Key),
    /// Adds one to a counter; [`Reply::Count`] tells the new value.
    Incr(Key),
    /// Appends an element to a list; [`Reply::Length`] tells the new length.
    Append(Key, u64),
    /// Writes a register if it holds what is expected; [`Reply::Swapped`].
    Cas {
        /// The register.
        key: Key,
        /// What it must hold.
        expected: Option<u64>,
        /// What is written.
        value: u64,
    },
    /// Reads every key of the slot at once; [`Reply::Scan`].
    Scan,
    /// Several operations in one atomic step; [`Reply::Many`].
    Multi(Vec<Op>),
    /// A `MULTI` behind a `WATCH`: [`Reply::Many`], or [`Reply::Aborted`].
    Exec {
        /// The watched keys, with what the client read in them after it began to watch.
        watched: Vec<(Key, Option<Value>)>,
        /// The call of the `WATCH`.
        watched_by: OpId,
        /// What the transaction does.
        ops: Vec<Op>,
    },
    /// Begins to watch keys for an [`Op::Exec`]; [`Reply::Done`].
    Watch(Vec<Key>),
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// What a key holds.
    Value(Option<Value>),
    /// Whether there was a key to remove.
    Existed(bool),
    /// A counter's new value.
    Count(i64),
    /// A list's new length.
    Length(u64),
    /// Whether the register held what was expected, and so was written.
    Swapped(bool),
    /// The life a key has left.
    Ttl(Ttl),
    /// Each present key of the slot.
    Scan(BTreeMap<Key, Value>),
    /// The replies to the operations of a transaction.
    Many(Vec<Reply>),
    /// A watched key was modified, so nothing was done.
    Aborted,
}

/// The life a key has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key.
    Missing,
    /// The key does not expire.
    Forever,
    /// The key expires after so many milliseconds.
    LeftMs(u64),
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with this reply.
    Ok(Reply),
    /// Surely not done, and never will be.
    Failed,
    /// Perhaps done, perhaps never, perhaps later.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// The slot of all keys concerned.
    pub slot: u16,
    /// What was asked.
    pub op: Op,
    /// How it ended; unknown until it returns.
    pub outcome: Outcome,
    /// Virtual microseconds of the call.
    pub invoked_at: u64,
    /// Virtual microseconds of the return; none while it is pending.
    pub returned_at: Option<u64>,
    pub(super) invoked: u64,
    pub(super) returned: u64,
}

/// The event of what never happens.
pub(super) const NEVER: u64 = u64::MAX;

impl Operation {
    /// The reply, if it is known.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.outcome {
            Outcome::Ok(reply) => Some(reply),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    /// Whether it may have had an effect.
    pub fn may_count(&self) -> bool {
        self.outcome != Outcome::Failed
    }

    /// The event by which it surely took effect; never, if the outcome is unknown.
    pub(super) fn effective_by(&self) -> u64 {
        match self.outcome {
            Outcome::Ok(_) => self.returned,
            Outcome::Failed | Outcome::Unknown => NEVER,
        }
    }
}

/// All operations of a run, in the order of their calls.
#[derive(Clone, Debug, Default)]
pub struct History {
    ops: Vec<Operation>,
    events: u64,
}

impl History {
    /// No operations yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a call.
    pub fn invoke(&mut self, client: u32, slot: u16, op: Op, now: u64) -> OpId {
        let invoked = self.next_event();
        self.ops.push(Operation {
            client,
            slot,
            op,
            outcome: Outcome::Unknown,
            invoked_at: now,
            returned_at: None,
            invoked,
            returned: NEVER,
        });
        self.ops.len() - 1
    }

    /// Notes a return. What has returned already, or was never called, is left as it is.
    pub fn finish(&mut self, id: OpId, outcome: Outcome, now: u64) {
        let returned = self.next_event();
        if let Some(op) = self.ops.get_mut(id).filter(|op| op.returned_at.is_none()) {
            op.outcome = outcome;
            op.returned_at = Some(now);
            op.returned = returned;
        }
    }

    /// The operations, in the order of their calls.
    pub fn operations(&self) -> &[Operation] {
        &self.ops
    }

    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Each operation that is no transaction, taken out of its transaction, with its part of the reply.
    /// What surely did nothing is left out.
    pub(super) fn leaves(&self) -> impl Iterator<Item = Leaf<'_>> {
        self.ops.iter().enumerate().flat_map(|(id, op)| {
            let mut leaves = Vec::new();
            if op.may_count() {
                push_leaves(&op.op, op.reply(), &mut |op, reply| {
                    leaves.push(Leaf { id, op, reply });
                });
            }
            leaves
        })
    }

    #[cfg(test)]
    pub(super) fn set_reply(&mut self, id: OpId, reply: Reply) {
        self.ops[id].outcome = Outcome::Ok(reply);
    }
}

/// A part of an operation that concerns one key, or a scan.
pub(super) struct Leaf<'a> {
    pub(super) id: OpId,
    pub(super) op: &'a Op,
    pub(super) reply: Option<&'a Reply>,
}

pub(super) fn push_leaves<'a>(
    op: &'a Op,
    reply: Option<&'a Reply>,
    push: &mut impl FnMut(&'a Op, Option<&'a Reply>),
) {
    match op {
        Op::Multi(ops) | Op::Exec { ops, .. } => {
            if reply == Some(&Reply::Aborted) {
                return;
            }
            let replies = match reply {
                Some(Reply::Many(replies)) => replies.as_slice(),
                _ => &[],
            };
            for (place, op) in ops.iter().enumerate() {
                push_leaves(op, replies.get(place), push);
            }
        }
        _ => push(op, reply),
    }
}
