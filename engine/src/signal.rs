//! Waiting for a condition that somebody else will make true.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// Wakes all who wait whenever the state that they look at has changed.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waiting: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl Signal {
    /// Call after changing the state. Costs one load when nobody waits.
    pub(crate) fn notify(&self) {
        // Orders the caller's change before the look at who waits; `wait` registers before it looks
        // at the state again, so one of the two sees the other.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let wakers = {
            let mut wakers = self.wakers.lock();
            self.waiting.store(0, Ordering::Relaxed);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready with what `look` finds, as soon as it finds something.
    pub(crate) fn wait<T>(&self, mut look: impl FnMut() -> Option<T>) -> impl Future<Output = T> {
        poll_fn(move |context| {
            if let Some(found) = look() {
                return Poll::Ready(found);
            }
            {
                let mut wakers = self.wakers.lock();
                if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                    wakers.push(context.waker().clone());
                }
                self.waiting.store(wakers.len(), Ordering::Relaxed);
            }
            std::sync::atomic::fence(Ordering::SeqCst);
            look().map_or(Poll::Pending, Poll::Ready)
        })
    }
}
