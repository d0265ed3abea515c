//! What happens because time has passed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::clients::Op;
use super::inner::Inner;
use super::options::Transport;
use super::view::Consistency;
use crate::command::Reply;
use crate::ring::effect::{Input, Outcome};
use crate::ring::ids::RangeId;
use crate::ring::node::NodeInput;
use crate::{Runtime, Storage};

/// How often the ranges are ticked: half as often as masters let themselves be heard.
const TICK: Duration = Duration::from_millis(25);
/// Ticks from one look at who leads what to the next.
const LOOK: u64 = 4;
/// From one look for late requests, expired keys and flushes to the next.
const UPKEEP: u64 = 10;
/// From one wish to join to the next, and from one move of clocks to the next: a second.
const JOIN: u64 = 40;
/// From the scrub of one range to that of the next: all of them in some ten minutes.
const SCRUB: u64 = 100;

/// After a sweep that came too early by the log's clock, milliseconds to the next.
const TOO_EARLY_MS: u64 = 1_000;

/// Ticks until the driver is closed or gone. One that has failed only sees to it that clients are sent elsewhere.
pub(super) async fn tick_forever<S: Storage, R: Runtime, T: Transport>(
    inner: Weak<Inner<S, R, T>>,
    runtime: R,
) {
    let flushes_seen = AtomicU64::new(u64::MAX);
    for tick in 1_u64.. {
        runtime.sleep(TICK).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        if inner.is_closed() {
            return;
        }
        if inner.failure().is_some() {
            if tick.is_multiple_of(LOOK) {
                inner.look();
            }
            continue;
        }
        inner.tick(tick, &flushes_seen);
    }
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    fn tick(self: &Arc<Self>, tick: u64, flushes_seen: &AtomicU64) {
        self.look_at_store();
        for shard in 0..self.shards.len() {
            self.step(shard, |shard, now| {
                shard.lend(&self.lent);
                shard.step(now, NodeInput::Tick);
            });
        }
        if tick.is_multiple_of(LOOK) || self.must_look.load(SeqCst) {
            self.look();
        }
        if tick.is_multiple_of(UPKEEP) {
            self.expire_requests();
            self.tell_flushed(flushes_seen);
            self.sweep();
        }
        if tick.is_multiple_of(JOIN) {
            self.lent.slew(self.now());
            self.join();
        }
        if tick.is_multiple_of(SCRUB) {
            self.scrub(tick / SCRUB);
        }
    }

    fn expire_requests(&self) {
        let mut wakers = Vec::new();
        for shard in &self.shards {
            let now_ms = self.now_ms();
            shard.lock().waiting.expire(now_ms, &mut wakers);
        }
        wakers.into_iter().for_each(|waker| waker.wake());
        self.expire_remote();
    }

    /// Ranges need not keep what is in tables.
    fn tell_flushed(self: &Arc<Self>, seen: &AtomicU64) {
        let (flushes, upto) = self.store.flushed();
        if seen.swap(flushes, Relaxed) == flushes {
            return;
        }
        for shard in 0..self.shards.len() {
            let its = upto
                .iter()
                .filter(|&&(range, _)| self.shard_of(range) == shard);
            self.step(shard, |shard, now| {
                for &(range, upto) in its {
                    shard.step(now, NodeInput::Range(range, Input::Flushed { upto }));
                }
            });
        }
    }

    /// Has the copies of one of the ranges that are mastered here compared.
    fn scrub(self: &Arc<Self>, turn: u64) {
        let mastered = self.mastered();
        if let Some(place) = turn.checked_rem(mastered.len() as u64) {
            let range = mastered[place as usize];
            self.step(self.shard_of(range), |shard, now| {
                shard.step(now, NodeInput::Range(range, Input::Scrub));
            });
        }
    }

    /// Removes keys whose time has come, in the ranges that are mastered here.
    fn sweep(self: &Arc<Self>) {
        let commands = self.store.db().machine();
        let now_ms = self.runtime.wall_ms();
        if !commands.may_have_expired(now_ms) || self.is_sweeping.swap(true, SeqCst) {
            return;
        }
        commands.begin_sweep();
        let this = Arc::clone(self);
        self.run(async move {
            for range in this.mastered() {
                this.sweep_range(range, now_ms).await;
            }
            this.is_sweeping.store(false, SeqCst);
        });
    }

    async fn sweep_range(self: &Arc<Self>, range: RangeId, now_ms: u64) {
        let commands = self.store.db().machine();
        loop {
            let (payload, next_ms) = match self.store.due(range, now_ms).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "could not look for expired keys");
                    return commands.note_deadline(now_ms + TOO_EARLY_MS);
                }
            };
            if let Some(next_ms) = next_ms {
                commands.note_deadline(next_ms);
            }
            let Some(payload) = payload else {
                return;
            };
            let mut op = [Op::own(range, payload)];
            let outcome = self.ask(&mut op, Consistency::default()).await.pop();
            match outcome.unwrap_or(Outcome::Unknown) {
                Outcome::Done {
                    reply: Reply::Int(1..),
                    ..
                } if next_ms.is_some_and(|next_ms| next_ms <= now_ms) => {}
                Outcome::Done {
                    reply: Reply::Int(1..),
                    ..
                } => return,
                // By the log's clock their time has not come, or there is no master any more.
                _ => return commands.note_deadline(now_ms + TOO_EARLY_MS),
            }
        }
    }
}
