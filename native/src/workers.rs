//! A few threads that run jobs which wait for the disk, for callers that must not.
//!
//! Started when first needed, ended (after the jobs that are queued) when the owner is dropped. A job
//! that cannot be handed over runs where it was submitted: late is better than never.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use trilith::{Error, ErrorKind, Result};

type Job = Box<dyn FnOnce() + Send>;

/// Owns the threads; dropping it ends them.
pub(crate) struct Workers {
    queue: Arc<Queue>,
}

/// What jobs are submitted to. Outlives its threads: then jobs run where they are submitted.
pub(crate) struct Queue {
    name: &'static str,
    threads_max: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
}

impl Workers {
    pub fn new(name: &'static str, threads_max: usize) -> Self {
        let queue = Queue {
            name,
            threads_max,
            state: Mutex::default(),
            work: Condvar::new(),
        };
        Self {
            queue: Arc::new(queue),
        }
    }

    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let threads = {
            let mut state = self.queue.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.threads)
        };
        self.queue.work.notify_all();
        for thread in threads {
            // The last owner may be dropped by a task that one of these threads has just woken.
            if thread.thread().id() != thread::current().id() {
                // A panic was reported where it happened.
                let _ = thread.join();
            }
        }
    }
}

impl Queue {
    pub fn submit(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let job: Job = Box::new(job);
        let mut state = self.state.lock();
        let busy = state.idle <= state.jobs.len();
        if !state.is_closed && busy && state.threads.len() < self.threads_max {
            self.start(&mut state);
        }
        if state.is_closed || state.threads.is_empty() {
            drop(state);
            return job();
        }
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
    }

    /// Runs `job` on one of the threads; ready with what it returned.
    pub fn run<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Completion<T> {
        let outcome = Arc::new(Mutex::new(Outcome {
            value: None,
            waker: None,
        }));
        let completion = Completion {
            outcome: outcome.clone(),
        };
        self.submit(move || {
            // The call consumes the job: what it held is released before the caller goes on.
            let value = panic::catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
                let detail = "a job of the storage panicked";
                Err(Error::new(
                    ErrorKind::Failed,
                    "waiting for the disk",
                    detail,
                ))
            });
            let waker = {
                let mut outcome = outcome.lock();
                outcome.value = Some(value);
                outcome.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        completion
    }

    /// Starts one more thread; where that fails the queue is only longer.
    fn start(self: &Arc<Self>, state: &mut State) {
        let queue = self.clone();
        let builder = thread::Builder::new().name(self.name.to_owned());
        match builder.spawn(move || queue.serve()) {
            Ok(thread) => state.threads.push(thread),
            Err(error) => tracing::warn!(%error, name = self.name, "a thread could not be started"),
        }
    }

    fn serve(&self) {
        let _allowed = crate::blocking::allow();
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock();
            } else if state.is_closed {
                return;
            } else {
                state.idle += 1;
                self.work.wait(&mut state);
                state.idle -= 1;
            }
        }
    }
}

struct Outcome<T> {
    value: Option<Result<T>>,
    waker: Option<Waker>,
}

/// The result of a job. Dropping it abandons the wait, not the job.
pub(crate) struct Completion<T> {
    outcome: Arc<Mutex<Outcome<T>>>,
}

impl<T> Future for Completion<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let mut outcome = self.outcome.lock();
        if let Some(value) = outcome.value.take() {
            return Poll::Ready(value);
        }
        match &mut outcome.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::block_on;

    #[test]
    fn queued_jobs_are_done_before_the_threads_end() {
        let done = Arc::new(AtomicUsize::new(0));
        let workers = Workers::new("test", 2);
        for _ in 0..100 {
            let done = done.clone();
            workers.queue().submit(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        drop(workers);
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn without_threads_a_job_runs_where_it_is_submitted() {
        let workers = Workers::new("test", 1);
        let queue = workers.queue().clone();
        drop(workers);
        let here = thread::current().id();
        let there = block_on(queue.run(move || Ok(thread::current().id())));
        assert_eq!(there.unwrap(), here);
    }

    #[test]
    fn a_panicking_job_is_an_error_to_its_caller() {
        let workers = Workers::new("test", 1);
        let outcome = block_on(workers.queue().run::<()>(|| panic!("on purpose")));
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Failed);
        assert_eq!(block_on(workers.queue().run(|| Ok(1))).unwrap(), 1);
    }
}
