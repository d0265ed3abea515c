//! What one range asks for, in its order, with as much going on at once as that allows.
//!
//! Entries are applied one batch after the other. Records are logged at once, past what is to be applied; they wait
//! for what replaces the range's log or state, and for what has to be on the disk before them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::ring::effect::Effect;
use crate::ring::ids::LogId;
use crate::ring::membership::{Configuration, Member};
use crate::ring::store::RangeSnapshot;
use crate::{Runtime, Storage};

/// Something to be done for a range.
pub(super) enum Order {
    /// Make room for a copy.
    Begin(Member, Configuration),
    /// What its core asks for.
    Effect(Effect),
}

impl Order {
    /// Whether nothing may be logged before it is done.
    fn is_barrier(&self) -> bool {
        matches!(
            self,
            Self::Begin(..)
                | Self::Effect(
                    Effect::SnapshotInstall { .. } | Effect::WriteLost { .. } | Effect::Destroy
                )
        )
    }

    fn is_append(&self) -> bool {
        matches!(self, Self::Effect(Effect::Append { .. }))
    }
}

/// See the module.
pub(super) struct Lane<S: Storage, R: Runtime> {
    pub(super) incarnation: LogId,
    queue: VecDeque<Order>,
    /// An order is being carried out that the next one waits for.
    is_busy: bool,
    /// That order is a barrier.
    is_barred: bool,
    /// Barriers in the queue and under way.
    barriers: usize,
    pub(super) snapshots: BTreeMap<u64, Arc<RangeSnapshot<S, R>>>,
    /// Clients' writes that were taken here.
    pub(super) writes: u64,
    /// And reads.
    pub(super) reads: u64,
}

impl<S: Storage, R: Runtime> Lane<S, R> {
    pub(super) fn new(incarnation: LogId) -> Self {
        Self {
            incarnation,
            queue: VecDeque::new(),
            is_busy: false,
            is_barred: false,
            barriers: 0,
            snapshots: BTreeMap::new(),
            writes: 0,
            reads: 0,
        }
    }

    /// Whether records may be logged now.
    pub(super) fn may_append(&self) -> bool {
        self.barriers == 0
    }

    pub(super) fn push(&mut self, order: Order) {
        self.barriers += usize::from(order.is_barrier());
        match (self.queue.back_mut(), order) {
            (
                Some(Order::Effect(Effect::Apply(waiting))),
                Order::Effect(Effect::Apply(entries)),
            ) => waiting.extend(entries),
            (_, order) => self.queue.push_back(order),
        }
    }

    /// The next order, if it can begin.
    pub(super) fn next(&mut self) -> Option<Order> {
        if self.queue.front()?.is_append() {
            return if self.is_barred {
                None
            } else {
                self.queue.pop_front()
            };
        }
        if self.is_busy {
            return None;
        }
        let order = self.queue.pop_front()?;
        self.is_busy = true;
        self.is_barred = order.is_barrier();
        Some(order)
    }

    /// Whether nothing is under way or waits.
    pub(super) fn is_clear(&self) -> bool {
        !self.is_busy && self.queue.is_empty()
    }

    /// The order that the others wait for is done.
    pub(super) fn done(&mut self) {
        self.barriers -= usize::from(self.is_barred);
        self.is_busy = false;
        self.is_barred = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStorage;
    use crate::sim::TestRuntime;

    fn lane() -> Lane<MemoryStorage, TestRuntime> {
        Lane::new(LogId::default())
    }

    fn append() -> Order {
        Order::Effect(Effect::Append {
            append: 1,
            records: Vec::new(),
            synced: false,
        })
    }

    #[test]
    fn what_is_to_be_applied_gathers_while_something_is_applied() {
        let mut lane = lane();
        for _ in 0..3 {
            lane.push(Order::Effect(Effect::Apply(Vec::new())));
            assert!(lane.may_append());
        }
        assert!(lane.next().is_some(), "one, of all three");
        lane.push(Order::Effect(Effect::Apply(Vec::new())));
        assert!(lane.next().is_none());
        lane.done();
        assert!(lane.next().is_some());
    }

    #[test]
    fn nothing_is_logged_before_a_state_is_replaced() {
        let mut lane = lane();
        lane.push(Order::Effect(Effect::Apply(Vec::new())));
        lane.push(Order::Effect(Effect::Destroy));
        assert!(!lane.may_append());
        lane.push(append());
        assert!(lane.next().is_some(), "applies");
        assert!(lane.next().is_none());
        lane.done();
        assert!(lane.next().is_some(), "destroys");
        assert!(lane.next().is_none() && !lane.may_append());
        lane.done();
        assert!(lane.next().is_some_and(|order| order.is_append()));
        assert!(lane.may_append());
    }
}
