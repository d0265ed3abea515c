//! How many clusters run at once: each is busy, and all share a small machine.

use std::sync::{Condvar, Mutex};

const AT_ONCE: usize = 2;

static RUNNING: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// Leave to run a cluster, until it is dropped.
pub struct Turn(());

impl Turn {
    pub fn wait() -> Self {
        let running = RUNNING.lock().unwrap();
        let full = |running: &mut usize| *running == AT_ONCE;
        let mut running = FREED.wait_while(running, full).unwrap();
        *running += 1;
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Nobody can have panicked while it was locked.
        if let Ok(mut running) = RUNNING.lock() {
            *running -= 1;
        }
        FREED.notify_one();
    }
}
