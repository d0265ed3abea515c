//! Appends on their way to the storage. Those that have to be synced are settled apart, so that entries, which
//! usually need not be, do not wait for the disk.
//!
//! What a range appends settles in its order: what it appends behind something that is being synced waits for that, and
//! no longer. Were it synced itself, a range that appends more often than the disk syncs would never get off that way.

use std::collections::BTreeMap;

use super::job::Batch;
use crate::ring::ids::{LogId, RangeId};
use crate::ring::store::Ticket;

/// A copy of a range.
type Copy = (RangeId, LogId);

/// See the module.
#[derive(Default)]
pub(super) struct Settling {
    written: Way,
    synced: Way,
    /// The last append of each copy that is on the way of the synced.
    on_synced: BTreeMap<Copy, u64>,
    /// What was appended behind those.
    behind: BTreeMap<Copy, (u64, Ticket)>,
}

/// What is being settled, and what is to be when that has been.
#[derive(Default)]
struct Way {
    gathering: Option<Batch>,
    is_busy: bool,
}

impl Way {
    fn add(&mut self, copy: Copy, append: u64, ticket: Ticket, synced: bool) {
        let batch = self.gathering.get_or_insert_with(|| Batch {
            ticket,
            synced,
            appends: BTreeMap::new(),
        });
        batch.ticket = batch.ticket.max(ticket);
        batch.appends.insert(copy, append);
    }

    fn begin(&mut self) -> Option<Batch> {
        if self.is_busy {
            return None;
        }
        let batch = self.gathering.take()?;
        self.is_busy = true;
        Some(batch)
    }

    fn is_idle(&self) -> bool {
        !self.is_busy && self.gathering.is_none()
    }
}

impl Settling {
    /// A copy has appended something.
    pub(super) fn add(&mut self, copy: Copy, append: u64, ticket: Ticket, synced: bool) {
        if synced {
            self.on_synced.insert(copy, append);
            // What is before it in the log is synced with it.
            self.behind.remove(&copy);
            self.synced.add(copy, append, ticket, true);
        } else if self.on_synced.contains_key(&copy) {
            self.behind.insert(copy, (append, ticket));
        } else {
            self.written.add(copy, append, ticket, false);
        }
    }

    /// What is to be settled now.
    pub(super) fn begin(&mut self) -> impl Iterator<Item = Batch> + use<> {
        let batches = [self.written.begin(), self.synced.begin()];
        batches.into_iter().flatten()
    }

    /// A batch has been settled.
    pub(super) fn ended(&mut self, batch: &Batch) {
        if !batch.synced {
            self.written.is_busy = false;
            return;
        }
        self.synced.is_busy = false;
        for (copy, upto) in &batch.appends {
            let is_last = self.on_synced.get(copy).is_some_and(|last| last <= upto);
            if !is_last {
                continue;
            }
            self.on_synced.remove(copy);
            if let Some((append, ticket)) = self.behind.remove(copy) {
                self.written.add(*copy, append, ticket, false);
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        // What is behind something has something on its way.
        self.written.is_idle() && self.synced.is_idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(range: RangeId) -> Copy {
        (range, LogId::default())
    }

    fn begun(settling: &mut Settling) -> Vec<(bool, Vec<(RangeId, u64)>)> {
        let appends = |batch: &Batch| {
            let appends = batch.appends.iter();
            appends
                .map(|(&(range, _), &append)| (range, append))
                .collect()
        };
        let batches = settling.begin();
        batches
            .map(|batch| (batch.synced, appends(&batch)))
            .collect()
    }

    fn batch(synced: bool, appends: &[(RangeId, u64)]) -> Batch {
        Batch {
            ticket: Ticket::default(),
            synced,
            appends: appends
                .iter()
                .map(|&(range, append)| (copy(range), append))
                .collect(),
        }
    }

    #[test]
    fn entries_do_not_wait_for_the_sync_of_another_range() {
        let mut settling = Settling::default();
        settling.add(copy(1), 1, Ticket::default(), true);
        assert_eq!(begun(&mut settling), [(true, vec![(1, 1)])]);
        settling.add(copy(2), 1, Ticket::default(), false);
        assert_eq!(begun(&mut settling), [(false, vec![(2, 1)])]);
        settling.add(copy(2), 2, Ticket::default(), false);
        assert_eq!(begun(&mut settling), []);
        settling.ended(&batch(false, &[(2, 1)]));
        assert_eq!(begun(&mut settling), [(false, vec![(2, 2)])]);
        assert!(!settling.is_idle());
    }

    #[test]
    fn what_a_range_appends_settles_behind_what_it_has_synced() {
        let mut settling = Settling::default();
        settling.add(copy(1), 1, Ticket::default(), true);
        assert_eq!(begun(&mut settling), [(true, vec![(1, 1)])]);
        settling.add(copy(1), 2, Ticket::default(), false);
        assert_eq!(begun(&mut settling), []);
        assert!(!settling.is_idle());
        settling.ended(&batch(true, &[(1, 1)]));
        assert_eq!(begun(&mut settling), [(false, vec![(1, 2)])]);
        settling.ended(&batch(false, &[(1, 2)]));
        assert!(settling.is_idle());
    }

    #[test]
    fn a_range_that_never_rests_is_not_synced_for_ever() {
        let mut settling = Settling::default();
        settling.add(copy(1), 1, Ticket::default(), true);
        assert_eq!(begun(&mut settling), [(true, vec![(1, 1)])]);
        settling.add(copy(1), 2, Ticket::default(), false);
        settling.ended(&batch(true, &[(1, 1)]));
        // Before anything else has settled.
        settling.add(copy(1), 3, Ticket::default(), false);
        assert_eq!(begun(&mut settling), [(false, vec![(1, 3)])]);
    }

    #[test]
    fn what_is_synced_next_takes_what_is_before_it_along() {
        let mut settling = Settling::default();
        settling.add(copy(1), 1, Ticket::default(), true);
        assert_eq!(begun(&mut settling), [(true, vec![(1, 1)])]);
        settling.add(copy(1), 2, Ticket::default(), false);
        settling.add(copy(1), 3, Ticket::default(), true);
        settling.add(copy(1), 4, Ticket::default(), false);
        settling.ended(&batch(true, &[(1, 1)]));
        assert_eq!(begun(&mut settling), [(true, vec![(1, 3)])]);
        settling.ended(&batch(true, &[(1, 3)]));
        assert_eq!(begun(&mut settling), [(false, vec![(1, 4)])]);
        settling.ended(&batch(false, &[(1, 4)]));
        assert!(settling.is_idle());
    }
}
