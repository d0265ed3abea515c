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
    /// None if it is the node's own write.
    pub(super) command: Option<&'a Command>,
    pub(super) payload: Bytes,
    pub(super) kind: Kind,
    /// The range's clock has been moved on for it.
    pub(super) has_elapsed: bool,
    /// How often it was asked in vain.
    pub(super) tries: usize,
    /// Who is to be asked next.
    pub(super) hint: Option<NodeId>,
}

impl Op<'_> {
    /// A write of the node's own.
    pub(super) fn own(range: RangeId, payload: Bytes) -> Self {
        Self {
            place: 0,
            range,
            command: None,
            payload,
            kind: Kind::Write,
            has_elapsed: false,
            tries: 0,
            hint: None,
        }
    }
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
    pub(super) async fn ask(
        self: &Arc<Self>,
        ops: &mut [Op<'_>],
        how: Consistency,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; ops.len()];
        // Where more copies are wanted than one, what is lent is too few.
        let entered = (how.w <= 1).then(|| self.enter(ops)).flatten();
        let has_entered = |&place: &usize| entered.as_ref().is_some_and(|all| all.has(place));
        let rest: Vec<usize> = (0..ops.len()).filter(|place| !has_entered(place)).collect();
        let round = self.hand_in(ops, &rest, how);
        if let Some(entered) = entered {
            self.finish_entered(ops, entered, &mut outcomes).await;
        }
        for (place, outcome) in rest.into_iter().zip(round.all().await) {
            outcomes[place] = Some(outcome);
        }
        let outcomes = outcomes.into_iter();
        outcomes
            .map(|outcome| outcome.unwrap_or(Outcome::Unknown))
            .collect()
    }

    /// Hands those in whose places are given, to the shards and to other nodes.
    fn hand_in(self: &Arc<Self>, ops: &[Op<'_>], places: &[usize], how: Consistency) -> Arc<Round> {
        let round = Round::new(places.len());
        if places.is_empty() {
            return round;
        }
        let mut elsewhere = Vec::new();
        for shard in 0..self.shards.len() {
            let ops = places.iter().map(|&place| &ops[place]).enumerate();
            let mut its = ops
                .filter(|(_, op)| self.shard_of(op.range) == shard)
                .peekable();
            if its.peek().is_none() {
                continue;
            }
            self.step(shard, |shard, now| {
                elsewhere
                    .extend(its.filter(|(place, op)| !shard.submit(now, op, how, *place, &round)));
            });
        }
        for (place, op) in elsewhere {
            self.read_elsewhere(op, how.level(), place, &round);
        }
        round
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
