//! The tasks of one kind of work and the threads that run them.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_task::{Runnable, Task};
use parking_lot::{Condvar, Mutex};

use crate::blocking;

pub(super) struct Lane {
    queue: Arc<Queue>,
    threads_max: usize,
    owned: Mutex<Owned>,
}

#[derive(Default)]
struct Owned {
    /// Dropping a task cancels it. Those that are done go when the next one comes.
    tasks: Vec<Task<()>>,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
}

struct Queue {
    name: &'static str,
    may_block: bool,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Runnable>,
    is_closed: bool,
}

impl Lane {
    pub(super) fn new(name: &'static str, threads_max: usize) -> Self {
        Self::with(name, threads_max, true)
    }

    /// One thread, on which nothing waits for the disk.
    pub(super) fn unblocked(name: &'static str) -> Self {
        Self::with(name, 1, false)
    }

    fn with(name: &'static str, threads_max: usize, may_block: bool) -> Self {
        Self {
            queue: Arc::new(Queue {
                name,
                may_block,
                state: Mutex::default(),
                work: Condvar::new(),
            }),
            threads_max: threads_max.max(1),
            owned: Mutex::default(),
        }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut owned = self.owned.lock();
        if owned.is_closed {
            drop(owned);
            return drop(task);
        }
        owned.tasks.retain(|task| !task.is_finished());
        if owned.threads.len() < self.threads_max {
            self.start(&mut owned);
        }
        let queue = self.queue.clone();
        let (runnable, task) = async_task::spawn(task, move |runnable| queue.push(runnable));
        owned.tasks.push(task);
        drop(owned);
        runnable.schedule();
    }

    fn start(&self, owned: &mut Owned) {
        let queue = self.queue.clone();
        let builder = thread::Builder::new().name(queue.name.to_owned());
        match builder.spawn(move || queue.serve()) {
            Ok(thread) => owned.threads.push(thread),
            // The next task tries again; until then this one waits, or shares a thread.
            Err(error) => {
                tracing::error!(%error, name = self.queue.name, "a thread could not be started");
            }
        }
    }

    /// Cancels the tasks and ends the threads.
    pub(super) fn close(&self) {
        let (tasks, threads) = {
            let mut owned = self.owned.lock();
            owned.is_closed = true;
            (
                std::mem::take(&mut owned.tasks),
                std::mem::take(&mut owned.threads),
            )
        };
        // Schedules each once more, for its future to be dropped by a thread of the lane.
        drop(tasks);
        self.queue.state.lock().is_closed = true;
        self.queue.work.notify_all();
        for thread in threads {
            if thread.thread().id() != thread::current().id() {
                // Panics of tasks do not come this far.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    fn push(&self, runnable: Runnable) {
        let mut state = self.state.lock();
        state.ready.push_back(runnable);
        drop(state);
        self.work.notify_one();
    }

    fn serve(&self) {
        let _allowed = self.may_block.then(blocking::allow);
        let mut state = self.state.lock();
        loop {
            if let Some(runnable) = state.ready.pop_front() {
                drop(state);
                self.run(runnable);
                state = self.state.lock();
            } else if state.is_closed {
                return;
            } else {
                self.work.wait(&mut state);
            }
        }
    }

    fn run(&self, runnable: Runnable) {
        // The panic's message has been printed by the hook; the other tasks of this thread go on.
        if panic::catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err() {
            tracing::error!(name = self.name, "a background task panicked");
        }
    }
}
