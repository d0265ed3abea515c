//! What is on its way to the storage, and the messages that wait for it (rule 1).

use std::collections::VecDeque;

use crate::ring::ids::Index;
use crate::ring::message::Message;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Appends {
    /// The number of the next append.
    next: u64,
    /// Appends up to here have settled.
    settled: u64,
    /// Appends that have not: the number, the last entry then, and when they were made.
    waiting: VecDeque<Waiting>,
    /// Messages that wait for an append.
    held: VecDeque<(u64, Message)>,
    /// Entries up to here have settled.
    stored: Index,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    append: u64,
    last: Index,
    since_ms: u64,
}

impl Appends {
    /// Everything up to `stored` has been found in the log.
    pub(super) fn new(stored: Index) -> Self {
        Self {
            next: 1,
            settled: 0,
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            stored,
        }
    }

    /// Numbers an append, after which `last` is the last entry.
    pub(super) fn begin(&mut self, last: Index, now_ms: u64) -> u64 {
        let append = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting {
            append,
            last,
            since_ms: now_ms,
        });
        append
    }

    /// The number that the next append will have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the append of this number has settled.
    pub(super) fn has_settled(&self, append: u64) -> bool {
        append <= self.settled
    }

    /// Since when the oldest append has been outstanding.
    pub(super) fn outstanding_since_ms(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.since_ms)
    }

    /// Entries up to here are stored.
    pub(super) fn stored(&self) -> Index {
        self.stored
    }

    /// Keeps a message back until the append of this number has settled.
    pub(super) fn hold(&mut self, append: u64, message: Message) {
        self.held.push_back((append, message));
    }

    /// Takes note that appends have settled; returns the messages that may leave.
    pub(super) fn settle(&mut self, upto: u64) -> Vec<Message> {
        self.settled = self.settled.max(upto);
        while let Some(waiting) = self.waiting.front()
            && waiting.append <= upto
        {
            self.stored = self.stored.max(waiting.last);
            self.waiting.pop_front();
        }
        let mut freed = Vec::new();
        while let Some((append, _)) = self.held.front()
            && *append <= self.settled
        {
            freed.extend(self.held.pop_front().map(|(_, message)| message));
        }
        freed
    }

    /// Entries from `from` on are void, stored or not.
    pub(super) fn truncate(&mut self, from: Index) {
        let last = from.saturating_sub(1);
        self.stored = self.stored.min(last);
        for waiting in &mut self.waiting {
            waiting.last = waiting.last.min(last);
        }
    }

    /// Nothing is stored but a snapshot up to `last`. What is outstanding does not matter any more, nor do
    /// the messages that waited for it.
    pub(super) fn replace(&mut self, last: Index) {
        self.settled = self.next - 1;
        self.waiting.clear();
        self.held.clear();
        self.stored = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_count_once_their_append_has_settled() {
        let mut appends = Appends::new(0);
        let first = appends.begin(3, 0);
        let second = appends.begin(5, 7);
        assert_eq!(appends.stored(), 0);
        appends.settle(first);
        assert_eq!(
            (appends.stored(), appends.outstanding_since_ms()),
            (3, Some(7))
        );
        appends.settle(second);
        assert!(appends.has_settled(second));
        assert_eq!(appends.stored(), 5);
    }

    #[test]
    fn what_was_cut_off_does_not_count_when_it_settles() {
        let mut appends = Appends::new(0);
        let first = appends.begin(5, 0);
        appends.truncate(4);
        let second = appends.begin(4, 0);
        appends.settle(first);
        assert_eq!(appends.stored(), 3);
        appends.settle(second);
        assert_eq!(appends.stored(), 4);
    }
}
