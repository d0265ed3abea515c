//! How fast copies are made from this node, of snapshots and of entries: no faster, all ranges together, than the
//! map allows.
//!
//! A bucket of tokens, a byte each. A part of a snapshot is read when there are any, and paid for when its size is
//! known, so that the bucket may run into debt by the parts that are being read. Entries for those who learn leave
//! as far as the tokens go.

use std::collections::VecDeque;

use super::{Node, NodeEffect};
use crate::ring::effect::{Effect, Now};
use crate::ring::ids::RangeId;

/// Tokens that gather while nothing is sent: those of so many milliseconds.
const BURST_MS: u64 = 100;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// Parts that are to be read: range, snapshot, number.
    waiting: VecDeque<(RangeId, u64, u64)>,
    tokens: i64,
    /// Thousandths of a token that are left over.
    rest: u64,
    filled_ms: u64,
    /// Bytes that copies elsewhere were made of.
    pub(super) sent_bytes: u64,
}

impl Throttle {
    pub(super) fn queue(&mut self, range: RangeId, id: u64, number: u64) {
        self.waiting.push_back((range, id, number));
    }

    pub(super) fn forget(&mut self, snapshot: u64) {
        self.waiting.retain(|&(_, id, _)| id != snapshot);
    }

    pub(super) fn charge(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.sent_bytes += bytes;
        self.tokens = self.tokens.saturating_sub_unsigned(bytes);
    }

    /// The bytes that may leave now.
    pub(super) fn left(&self) -> usize {
        // More than 32 bits can say is as good as any number.
        usize::try_from(self.tokens.max(0)).unwrap_or(usize::MAX)
    }

    fn fill(&mut self, now_ms: u64, bytes_per_second: u64) {
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let thousandths = bytes_per_second
            .saturating_mul(passed_ms)
            .saturating_add(self.rest);
        self.rest = thousandths % 1000;
        // At least one, or a slow enough node would never send anything.
        let most = (bytes_per_second.saturating_mul(BURST_MS) / 1000).max(1);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let filled = self.tokens.saturating_add_unsigned(thousandths / 1000);
        self.tokens = filled.min(most);
    }
}

impl Node {
    /// Lets tokens gather. Without a map nothing is held back.
    pub(super) fn fill_throttle(&mut self, now: Now) {
        let moving = self.map().map(|map| map.moving);
        let rate = moving.map_or(u64::MAX, |moving| {
            self.pace.rate(moving.bytes_per_second / self.share.1)
        });
        self.throttle.fill(now.monotonic_ms, rate);
    }

    /// Hands out parts to be read, as far as the map allows.
    pub(super) fn release_parts(&mut self, out: &mut Vec<NodeEffect>) {
        let moving = self.map().map(|map| map.moving);
        let may_send = |tokens: i64| moving.is_none_or(|moving| tokens > 0 && !moving.paused);
        while may_send(self.throttle.tokens)
            && let Some((range, id, number)) = self.throttle.waiting.pop_front()
        {
            // What is left of the bucket is shared by parts whose size is not known yet.
            let effect = Effect::SnapshotRead { id, number };
            out.push(NodeEffect::Range(range, effect));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_too_much_is_waited_for() {
        let mut throttle = Throttle::default();
        throttle.fill(1_000, 10_000);
        assert_eq!(throttle.tokens, 1_000);
        throttle.charge(3_000);
        throttle.fill(1_100, 10_000);
        assert_eq!(throttle.tokens, -1_000);
        throttle.fill(1_201, 10_000);
        assert_eq!(throttle.tokens, 10);
    }

    #[test]
    fn slow_rates_add_up_over_short_times() {
        let mut throttle = Throttle::default();
        throttle.charge(100);
        for now_ms in 1..=100 {
            throttle.fill(now_ms, 1_010);
        }
        assert_eq!(throttle.tokens, 1);
    }
}
