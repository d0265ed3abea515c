//! One fdatasync for all who wait for one.
//!
//! At most one thread syncs a file at a time. A waiter that may block takes that place itself when it
//! is free, and else sleeps until the sync in progress is over; the others leave a waker, and the
//! storage's sync thread takes the place for them. No waiter leads by duty: one that is dropped
//! strands nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};
use trilith::Result;

use super::append::AppendFile;
use crate::blocking;

pub(super) struct GroupSync {
    synced: AtomicU64,
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    is_syncing: bool,
    /// Whether the sync thread has been asked to look at this file.
    is_queued: bool,
    waiters: Vec<Waiter>,
    tickets: u64,
}

struct Waiter {
    ticket: u64,
    upto: u64,
    waker: Waker,
}

impl GroupSync {
    pub(super) fn new(synced: u64) -> Self {
        Self {
            synced: AtomicU64::new(synced),
            state: Mutex::default(),
            finished: Condvar::new(),
        }
    }

    /// Bytes that survive a power loss.
    #[inline]
    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }
}

impl AppendFile {
    /// Ready when the first `upto` bytes, which are written, are synced.
    pub(super) fn poll_synced(
        self: &Arc<Self>,
        upto: u64,
        ticket: &mut Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        if blocking::is_allowed() {
            return Poll::Ready(self.sync_here(upto));
        }
        let group = self.group();
        let mut state = group.state.lock();
        if let Some(outcome) = self.outcome(upto) {
            return Poll::Ready(outcome);
        }
        state.enlist(upto, ticket, context.waker());
        let must_ask = !state.is_syncing && !state.is_queued;
        state.is_queued |= must_ask;
        drop(state);
        if must_ask {
            self.ask_for_sync();
        }
        Poll::Pending
    }

    fn outcome(&self, upto: u64) -> Option<Result<()>> {
        if self.group().synced() >= upto {
            return Some(Ok(()));
        }
        self.sync_failure().map(Err)
    }

    /// Waits for a sync on this thread, doing it if nobody else is.
    fn sync_here(self: &Arc<Self>, upto: u64) -> Result<()> {
        let group = self.group();
        let mut state = group.state.lock();
        loop {
            if let Some(outcome) = self.outcome(upto) {
                return outcome;
            }
            if state.is_syncing {
                group.finished.wait(&mut state);
            } else {
                state.is_syncing = true;
                drop(state);
                self.sync_as_the_one();
                state = group.state.lock();
            }
        }
    }

    fn ask_for_sync(self: &Arc<Self>) {
        let file = self.clone();
        self.syncs.submit(move || {
            let mut state = file.group().state.lock();
            state.is_queued = false;
            // One that blocks may have come first: it has served them, or asks again when it is done.
            if state.is_syncing || state.waiters.is_empty() {
                return;
            }
            state.is_syncing = true;
            drop(state);
            file.sync_as_the_one();
        });
    }

    /// Syncs what is written by now and wakes those who waited for it. Called with `is_syncing` taken.
    fn sync_as_the_one(self: &Arc<Self>) {
        let group = self.group();
        let target = self.written();
        let outcome = self.sync();
        let mut state = group.state.lock();
        state.is_syncing = false;
        if outcome.is_ok() {
            group.synced.store(target, Ordering::Release);
        }
        let has_failed = outcome.is_err();
        let is_served = |waiter: &mut Waiter| has_failed || waiter.upto <= target;
        let served: Vec<Waiter> = state.waiters.extract_if(.., is_served).collect();
        let must_ask = !state.waiters.is_empty() && !state.is_queued;
        state.is_queued |= must_ask;
        drop(state);
        group.finished.notify_all();
        for waiter in served {
            waiter.waker.wake();
        }
        if must_ask {
            self.ask_for_sync();
        }
    }
}

impl State {
    fn enlist(&mut self, upto: u64, ticket: &mut Option<u64>, waker: &Waker) {
        let known = *ticket;
        if let Some(waiter) = self.waiters.iter_mut().find(|w| Some(w.ticket) == known) {
            waiter.waker.clone_from(waker);
            return;
        }
        self.tickets += 1;
        *ticket = Some(self.tickets);
        self.waiters.push(Waiter {
            ticket: self.tickets,
            upto,
            waker: waker.clone(),
        });
    }
}
