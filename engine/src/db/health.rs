//! What a store can still do. Background work reports here; writers ask before they append.

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

const WELL: u8 = 0;
const READ_ONLY: u8 = 1;
const FAILED: u8 = 2;
const CLOSED: u8 = 3;

/// See the module. Asking costs one load while all is well.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: AtomicU8,
    error: Mutex<Option<Error>>,
}

impl Health {
    /// Whether a write may be appended.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            WELL => Ok(()),
            _ => Err(self.refusal()),
        }
    }

    /// Whether reads and settled writes still go on.
    pub(crate) fn check_alive(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            FAILED => Err(self.refusal()),
            _ => Ok(()),
        }
    }

    /// Whether the store has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) == CLOSED
    }

    /// The error that stopped the store, if one did.
    pub(crate) fn failure(&self) -> Option<Error> {
        match self.state.load(Ordering::Acquire) {
            FAILED | CLOSED => Some(self.refusal()),
            _ => None,
        }
    }

    /// What keeps the store from taking writes, if anything.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.error.lock().clone()
    }

    /// No writes until [`Health::recover`].
    pub(crate) fn refuse_writes(&self, because: Error) {
        self.raise(READ_ONLY, because);
    }

    /// Writes are taken again.
    pub(crate) fn recover(&self) {
        let mut error = self.error.lock();
        if self.state.load(Ordering::Acquire) == READ_ONLY {
            *error = None;
            self.state.store(WELL, Ordering::Release);
        }
    }

    /// Nothing is applied any more until the store is opened again.
    pub(crate) fn fail(&self, because: Error) {
        self.raise(FAILED, because);
    }

    /// The store has been closed.
    pub(crate) fn close(&self) {
        let because = Error::new(ErrorKind::Closed, "using the store", "it has been closed");
        self.raise(CLOSED, because);
    }

    fn raise(&self, state: u8, because: Error) {
        let mut error = self.error.lock();
        if self.state.load(Ordering::Acquire) < state {
            *error = Some(because);
            self.state.store(state, Ordering::Release);
        }
    }

    fn refusal(&self) -> Error {
        let error = self.error.lock().clone();
        match error {
            Some(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::Closed) => error,
            Some(error) => error.into_kind(ErrorKind::ReadOnly),
            // It recovered between the two looks.
            None => Error::new(
                ErrorKind::ReadOnly,
                "writing",
                "the store was being repaired: try again",
            ),
        }
    }
}
