//! Who holds a store that lives in memory: the first to load it, until all its handles are gone.
//!
//! A handle that has loaded shares its hold with its clones; one that has not shares nothing. So a
//! test keeps one handle back, gives clones away, and finds the store free when those are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// The one lock of a store: the token of who holds it, zero when nobody does.
#[derive(Debug, Default)]
pub(super) struct Lock {
    holder: Arc<AtomicU64>,
    last: AtomicU64,
}

impl Lock {
    fn take(&self) -> Result<Arc<Held>> {
        let token = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let taken = self
            .holder
            .compare_exchange(0, token, Ordering::Relaxed, Ordering::Relaxed);
        match taken {
            Ok(_) => Ok(Arc::new(Held {
                holder: self.holder.clone(),
                token,
            })),
            Err(_) => Err(Error::new(
                ErrorKind::Locked,
                "loading the store",
                "it is already open",
            )),
        }
    }

    /// Frees the store, whoever holds it.
    pub(super) fn force(&self) {
        self.holder.store(0, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Held {
    holder: Arc<AtomicU64>,
    token: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        // A forced lock may be somebody else's by now.
        let _ = self
            .holder
            .compare_exchange(self.token, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A handle's share of the hold, if it has one.
#[derive(Debug, Default)]
pub(super) struct Hold(Mutex<Option<Arc<Held>>>);

impl Hold {
    /// Takes the lock for this handle and the clones made of it from now on.
    pub(super) fn take(&self, lock: &Lock) -> Result<()> {
        let held = lock.take()?;
        // What was here before a forced unlock is dropped after the guard is gone.
        let _before = self.0.lock().replace(held);
        Ok(())
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().clone()))
    }
}
