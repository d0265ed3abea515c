//! Handing clients' requests to the shards, and waiting for what becomes of them.

use std::sync::Arc;

use super::inner::Inner;
use super::options::Transport;
use super::requests::{Round, Waiter};
use super::shard::Shard;
use super::view::Consistency;
use crate::command::Command;
use crate::ring::effect::{Input, Now, Outcome, ReadLevel};
use crate::ring::ids::{NodeId, RangeId, RequestId};
use crate::ring::node::NodeInput;
use crate::{Runtime, Storage};

use bytes::Bytes;

/// How long a request waits that a shard has taken, at most. Forwarded ones are given up on before.
pub(super) const PATIENCE_MS: u64 = 10_000;

/// What is done about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is appended to its range's log.
    Write,
    /// Its range's state is read.
    Read,
    /// Its range's clock is moved on first, as a key's time may have come.
    Elapse,
}

/// A command on its way.
#[derive(Clone, Debug)]
pub(super) struct Op<'a> {
    /// Its place among those that are answered together.
    pub(super) place: usize,
    pub(super) range: RangeId,
    pub(super) command: &'a Command,
    pub(super) payload: Bytes,
    pub(super) kind: Kind,
    /// The range's clock has been moved on for it.
    pub(super) has_elapsed: bool,
    /// How often it was asked in vain.
    pub(super) tries: usize,
    /// Who is to be asked next.
    pub(super) hint: Option<NodeId>,
}

impl Consistency {
    /// How reads are done.
    pub(super) fn level(self) -> ReadLevel {
        match self {
            Self { weak: true, .. } => ReadLevel::Weak,
            Self { r: 0, .. } => ReadLevel::Configured,
            Self { r, .. } => ReadLevel::Strong { at_least: r },
        }
    }
}

impl<S: Storage, R: Runtime> Shard<S, R> {
    /// Takes a command, unless it is to be read elsewhere.
    fn submit(
        &mut self,
        now: Now,
        op: &Op<'_>,
        how: Consistency,
        place: usize,
        round: &Arc<Round>,
    ) -> bool {
        let is_write = op.kind == Kind::Write;
        let range = op.range;
        if !is_write && (op.hint.is_some() || self.node.range(range).is_none()) {
            return false;
        }
        if let Some(lane) = self.lanes.get_mut(&range)
            && op.tries == 0
        {
            lane.writes += u64::from(is_write);
            lane.reads += u64::from(op.kind == Kind::Read);
        }
        let request = self.waiting.add(Waiter {
            round: Arc::clone(round),
            place,
            until_ms: now.monotonic_ms + PATIENCE_MS,
            at_last: if is_write {
                Outcome::Unknown
            } else {
                Outcome::NotMaster(None)
            },
        });
        let input = match op.kind {
            Kind::Write => NodeInput::Write {
                request,
                range,
                payload: op.payload.clone(),
                at_least: how.w,
            },
            Kind::Read => NodeInput::Read {
                request,
                range,
                level: how.level(),
            },
            Kind::Elapse => NodeInput::Range(range, Input::Elapse { request }),
        };
        self.step(now, input);
        true
    }
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    /// Has commands done, and tells what became of each. Those of one range take effect in their order.
    pub(super) async fn ask(self: &Arc<Self>, ops: &[Op<'_>], how: Consistency) -> Vec<Outcome> {
        let round = Round::new(ops.len());
        let mut elsewhere = Vec::new();
        let mut failure = None;
        for shard in 0..self.shards.len() {
            let is_its = |(_, op): &(usize, &Op<'_>)| self.shard_of(op.range) == shard;
            let mut its = ops.iter().enumerate().filter(is_its).peekable();
            if its.peek().is_none() {
                continue;
            }
            self.step(shard, |shard, now| {
                for (place, op) in its {
                    let entered = match op.kind {
                        // More copies than one is more than there are.
                        Kind::Write if how.w <= 1 => {
                            let alone = &mut self.alone.lock();
                            shard.enter_alone(now, op, alone, &round, place)
                        }
                        _ => Ok(false),
                    };
                    match entered {
                        Ok(true) => {}
                        Ok(false) if shard.submit(now, op, how, place, &round) => {}
                        Ok(false) => elsewhere.push(place),
                        Err(error) => {
                            failure = Some(error);
                            round.put(place, Outcome::Unknown);
                        }
                    }
                }
            });
        }
        if let Some(error) = failure {
            self.fail(error);
        }
        self.carry_alone();
        for place in elsewhere {
            self.read_elsewhere(&ops[place], how.level(), place, &round);
        }
        round.all().await
    }

    /// Has one thing done by a range.
    pub(super) async fn ask_one(
        self: &Arc<Self>,
        range: RangeId,
        at_last: Outcome,
        input: impl FnOnce(RequestId) -> NodeInput,
    ) -> Outcome {
        let round = Round::new(1);
        self.step(self.shard_of(range), |shard, now| {
            let request = shard.waiting.add(Waiter {
                round: Arc::clone(&round),
                place: 0,
                until_ms: now.monotonic_ms + PATIENCE_MS,
                at_last,
            });
            shard.step(now, input(request));
        });
        let outcome = round.all().await.pop();
        outcome.unwrap_or(Outcome::Unknown)
    }

    /// The ranges of keys that are mastered here, in order.
    pub(super) fn mastered(&self) -> Vec<RangeId> {
        let mut mastered = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let ranges = shard.node.ranges().filter(|range| range.is_master());
            mastered.extend(ranges.map(|range| range.id()));
        }
        mastered.retain(|&range| u16::try_from(range).is_ok());
        mastered.sort_unstable();
        mastered
    }

    /// Whether a range is mastered here.
    pub(super) fn masters(&self, range: RangeId) -> bool {
        let shard = self.shards[self.shard_of(range)].lock();
        shard.node.master_of(range) == Some(self.id)
    }
}
