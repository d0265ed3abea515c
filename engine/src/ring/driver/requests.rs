//! Who waits for what: requests that the shards have been given, and the answers that have come.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::ring::effect::Outcome;
use crate::ring::ids::RequestId;

/// Requests that were made together, and are awaited together.
pub(super) struct Round(Mutex<Answers>);

struct Answers {
    outcomes: Vec<Option<Outcome>>,
    open: usize,
    waker: Option<Waker>,
}

impl Round {
    pub(super) fn new(requests: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Answers {
            outcomes: vec![None; requests],
            open: requests,
            waker: None,
        })))
    }

    /// Notes what became of one of them. Whoever waits is to be woken, if it was the last.
    pub(super) fn put(&self, place: usize, outcome: Outcome) -> Option<Waker> {
        let mut answers = self.0.lock();
        let slot = answers.outcomes.get_mut(place)?;
        if slot.replace(outcome).is_some() {
            return None;
        }
        answers.open -= 1;
        if answers.open == 0 {
            answers.waker.take()
        } else {
            None
        }
    }

    /// What became of all of them.
    pub(super) async fn all(&self) -> Vec<Outcome> {
        poll_fn(|context| {
            let mut answers = self.0.lock();
            if answers.open == 0 {
                let outcomes = std::mem::take(&mut answers.outcomes);
                return Poll::Ready(outcomes.into_iter().flatten().collect());
            }
            match &mut answers.waker {
                Some(waker) => waker.clone_from(context.waker()),
                waker => *waker = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

/// One who waits.
pub(super) struct Waiter {
    pub(super) round: Arc<Round>,
    pub(super) place: usize,
    /// When it has waited long enough, by the monotonic clock.
    pub(super) until_ms: u64,
    /// What it hears then, or if the node stops.
    pub(super) at_last: Outcome,
}

/// Those who wait for one shard, or for other nodes.
#[derive(Default)]
pub(super) struct Waiting {
    by_request: BTreeMap<RequestId, Waiter>,
    next: RequestId,
}

impl Waiting {
    /// Requests are numbered from `first` on.
    pub(super) fn new(first: RequestId) -> Self {
        Self {
            by_request: BTreeMap::new(),
            next: first,
        }
    }

    /// Numbers a request.
    pub(super) fn add(&mut self, waiter: Waiter) -> RequestId {
        let request = self.next;
        self.next += 1;
        self.by_request.insert(request, waiter);
        request
    }

    pub(super) fn answer(&mut self, request: RequestId, outcome: Outcome) -> Option<Waker> {
        let waiter = self.by_request.remove(&request)?;
        waiter.round.put(waiter.place, outcome)
    }

    /// Those who have waited long enough.
    pub(super) fn expire(&mut self, now_ms: u64, wakers: &mut Vec<Waker>) {
        let late = self
            .by_request
            .extract_if(.., |_, waiter| waiter.until_ms <= now_ms);
        wakers
            .extend(late.filter_map(|(_, waiter)| waiter.round.put(waiter.place, waiter.at_last)));
    }

    pub(super) fn give_up(&mut self, wakers: &mut Vec<Waker>) {
        self.expire(u64::MAX, wakers);
    }
}
