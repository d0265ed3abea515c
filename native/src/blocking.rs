//! Calling the engine without an async runtime, and telling the code below whether it may block.
//!
//! A thread that may block does its own reads and syncs inside `poll`: handing them to another thread
//! would only add two switches. A worker of an async runtime must never be marked so.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

thread_local! {
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
    static PARKED: Cell<Option<Parker>> = const { Cell::new(None) };
}

/// Whether this thread may wait for the disk inside `poll`.
#[inline]
pub fn is_allowed() -> bool {
    ALLOWED.get()
}

/// Marks this thread as one that may block, until the guard is dropped.
pub fn allow() -> Allowed {
    Allowed {
        before: ALLOWED.replace(true),
    }
}

/// While it lives, its thread may block. See [`allow`].
#[must_use]
#[derive(Debug)]
pub struct Allowed {
    before: bool,
}

impl Drop for Allowed {
    fn drop(&mut self) {
        ALLOWED.set(self.before);
    }
}

/// Runs `future` to its end on this thread, which may block meanwhile. A future that is ready at once
/// costs a few nanoseconds beyond its own poll.
///
/// ```
/// assert_eq!(trilith_server::block_on(async { 40 + 2 }), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let _allowed = allow();
    // Taken rather than borrowed: a nested call makes its own and eats no wake-up of the outer one.
    let parker = PARKED.take().unwrap_or_else(Parker::new);
    let mut future = pin!(future);
    let mut context = Context::from_waker(&parker.waker);
    let output = loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            break output;
        }
        parker.park();
    };
    PARKED.set(Some(parker));
    output
}

struct Parker {
    signal: Arc<Signal>,
    waker: Waker,
}

impl Parker {
    fn new() -> Self {
        let signal = Arc::new(Signal {
            thread: thread::current(),
            woken: AtomicBool::new(false),
        });
        Self {
            waker: Waker::from(signal.clone()),
            signal,
        }
    }

    fn park(&self) {
        while !self.signal.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

struct Signal {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The second of two wake-ups has nothing to add.
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wake_from_another_thread_resumes_the_future() {
        let mut started = false;
        let answer = block_on(poll_fn(|context| {
            if started {
                return Poll::Ready(7);
            }
            started = true;
            let waker = context.waker().clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                waker.wake();
            });
            Poll::Pending
        }));
        assert_eq!(answer, 7);
    }

    #[test]
    fn nesting_eats_no_wake_up_of_the_outer_call() {
        let mut started = false;
        block_on(poll_fn(|context| {
            if started {
                return Poll::Ready(());
            }
            started = true;
            context.waker().wake_by_ref();
            let mut inner_started = false;
            block_on(poll_fn(|context| {
                if inner_started {
                    return Poll::Ready(());
                }
                inner_started = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }));
            Poll::Pending
        }));
    }

    #[test]
    fn blocking_is_allowed_inside_only() {
        assert!(!is_allowed());
        block_on(async {
            assert!(is_allowed());
            block_on(async {});
            assert!(is_allowed());
        });
        assert!(!is_allowed());
    }
}
