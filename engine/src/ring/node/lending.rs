//! Ranges that are lent to the driver: see [`Range::lend`](crate::ring::range::Range::lend).
//!
//! What happens to one meanwhile is kept back, and the driver is asked to give it back.

use super::{Node, NodeEffect};
use crate::ring::effect::{Input, Now};
use crate::ring::ids::{META, RangeId};
use crate::ring::range::{Loan, Range};

impl Node {
    /// Lends a range, if it can be lent.
    pub fn lend(&mut self, range: RangeId) -> Option<Loan> {
        if range == META || self.lent.contains_key(&range) {
            return None;
        }
        let loan = self.ranges.get_mut(&range)?.lend()?;
        self.lent.insert(range, Vec::new());
        Some(loan)
    }

    /// Takes a loan back. What was kept back happens now.
    pub fn take_back(&mut self, now: Now, range: RangeId, loan: &Loan, out: &mut Vec<NodeEffect>) {
        let kept_back = self.lent.remove(&range);
        if let Some(replica) = self.ranges.get_mut(&range) {
            replica.take_back(loan);
        }
        for input in kept_back.into_iter().flatten() {
            self.step_range(now, range, input, out);
        }
    }

    /// Whether a range is lent.
    pub fn is_lent(&self, range: RangeId) -> bool {
        self.lent.contains_key(&range)
    }

    /// Keeps an input back that a range which is lent must not hear; gives back any other.
    pub(super) fn keep_back(
        &mut self,
        range: RangeId,
        input: Input,
        out: &mut Vec<NodeEffect>,
    ) -> Option<Input> {
        let Some(kept_back) = self.lent.get_mut(&range) else {
            return Some(input);
        };
        match input {
            Input::Read { .. } | Input::Flushed { .. } | Input::ReadOnly(_) | Input::Failed => {
                Some(input)
            }
            // It only refuses, at once.
            Input::Propose { .. } | Input::Elapse { .. }
                if (self.ranges.get(&range)).is_some_and(Range::is_read_only) =>
            {
                Some(input)
            }
            // Nobody has to hear of it, and there is no other copy to compare it with.
            Input::Tick | Input::Scrub => None,
            input => {
                if kept_back.is_empty() {
                    out.push(NodeEffect::Recall(range));
                }
                kept_back.push(input);
                None
            }
        }
    }
}
