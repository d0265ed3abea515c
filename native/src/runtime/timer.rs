//! Waking futures after a time, on any thread and under any executor.
//!
//! One thread wakes them all. It runs while somebody sleeps or may soon, and no longer.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The thread ends after so long without sleepers; the next one starts it again.
const IDLE_MAX: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Timer {
    state: Mutex<State>,
    earlier: Condvar,
}

#[derive(Default)]
struct State {
    sleepers: BTreeMap<(Instant, u64), Waker>,
    last_id: u64,
    is_running: bool,
}

impl Timer {
    fn register(self: &Arc<Self>, deadline: Instant, waker: Waker) -> u64 {
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.sleepers.insert((deadline, id), waker);
        if !state.is_running {
            state.is_running = self.start();
        } else if state.sleepers.first_key_value().map(|(key, _)| key.1) == Some(id) {
            self.earlier.notify_one();
        }
        id
    }

    fn start(self: &Arc<Self>) -> bool {
        let timer = self.clone();
        let builder = thread::Builder::new().name("trilith-timer".to_owned());
        let started = builder.spawn(move || timer.serve());
        if let Err(error) = &started {
            // The next sleeper tries again.
            tracing::error!(%error, "the timer's thread could not be started");
        }
        started.is_ok()
    }

    fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            let due = state.take_due(now);
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(Waker::wake);
                state = self.state.lock();
                continue;
            }
            let next = state.sleepers.first_key_value().map(|(key, _)| key.0);
            let until = next.unwrap_or(now + IDLE_MAX);
            let is_over = self.earlier.wait_until(&mut state, until).timed_out();
            if is_over && state.sleepers.is_empty() {
                state.is_running = false;
                return;
            }
        }
    }
}

impl State {
    fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let later = self.sleepers.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.sleepers, later)
            .into_values()
            .collect()
    }
}

/// Ready at its deadline.
pub(super) struct Sleep {
    timer: Arc<Timer>,
    /// `None` lies beyond what the clock can tell.
    deadline: Option<Instant>,
    id: Option<u64>,
}

impl Sleep {
    pub(super) fn new(timer: Arc<Timer>, time: Duration) -> Self {
        Self {
            timer,
            deadline: Instant::now().checked_add(time),
            id: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        if let Some(id) = self.id {
            let mut state = self.timer.state.lock();
            if let Some(waker) = state.sleepers.get_mut(&(deadline, id)) {
                waker.clone_from(context.waker());
                return Poll::Pending;
            }
        }
        self.id = Some(self.timer.register(deadline, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(deadline), Some(id)) = (self.deadline, self.id) {
            // Dropped outside the lock: a waker may own a task that sleeps itself.
            let waker = self.timer.state.lock().sleepers.remove(&(deadline, id));
            drop(waker);
        }
    }
}
