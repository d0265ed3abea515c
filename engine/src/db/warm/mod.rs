//! A store that is opened again is warm: the keys that were in use are read back into memory.
//!
//! Now and then, and when the store is closed, one task notes which keys the hash table would spare at eviction
//! (`note`): keys without values, in order, in one small file (`format`). After the store has been opened the
//! same task reads them in that order, as cold reads do, until all are there or a quarter of memory is left (`load`).
//!
//! The file is a hint. It is never waited for, never synced, and changes no answer: what it names is looked up in the
//! tables as if a client had asked. If it is missing or damaged, the store is as warm as its clients make it. While
//! keys are being read back none are noted, so that what is cut short leaves the older, better note.

mod format;
pub mod fuzz;
mod gather;
mod load;
mod note;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Core;
use super::machine::Machine;
use crate::archive::draft_of;
use crate::signal::Signal;
use crate::storage::Contents;
use crate::{Runtime, Storage, Work};

/// A close waits so long, about, for the keys to be noted; then the note before has to do.
const CLOSE_MOST: Duration = Duration::from_millis(500);

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Warm {
    /// The store is being closed.
    wanted: Signal,
    /// Which keys the file has, by their fingerprint, if that is known.
    noted: Mutex<Option<u64>>,
    /// When the task first saw that it is to end.
    ending_since: Mutex<Option<Duration>>,
    keys_noted: AtomicU64,
    keys_loaded: AtomicU64,
    is_loading: AtomicBool,
}

/// How warm restarts stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmStats {
    /// Keys that were noted last.
    pub keys_noted: u64,
    /// Keys that were read back into memory since the store was opened.
    pub keys_loaded: u64,
    /// Keys are being read back.
    pub is_loading: bool,
}

impl Warm {
    /// Has the task look whether it is to end.
    pub(super) fn wake(&self) {
        self.wanted.notify();
    }

    pub(super) fn stats(&self) -> WarmStats {
        WarmStats {
            keys_noted: self.keys_noted.load(Relaxed),
            keys_loaded: self.keys_loaded.load(Relaxed),
            is_loading: self.is_loading.load(Relaxed),
        }
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Begins to read back what was in use, and to note what is. Waits for nothing.
    pub(super) fn open_warm(&self, contents: &Contents) {
        let Some(every) = self.options.warm_restart_every else {
            return;
        };
        let has = |object| contents.objects.iter().any(|(other, _)| *other == object);
        let (has_note, has_draft) = (has(format::object()), has(draft_of(format::NAME)));
        if has_note {
            self.warm.is_loading.store(true, Relaxed);
        } else {
            // Nothing is noted, and so long as nothing is in use that is right.
            *self.warm.noted.lock() = Some(0);
        }
        self.spawn(Work::Warm, move |this| async move {
            if has_draft && let Err(error) = this.storage.remove(vec![draft_of(format::NAME)]).await
            {
                tracing::debug!(%error, "could not remove a draft");
            }
            if has_note && !this.load_hot_keys().await {
                return;
            }
            this.note_forever(every).await;
        });
    }

    /// Notes the keys in use now and then, and when the store is closed.
    async fn note_forever(self: &Arc<Self>, every: Duration) {
        loop {
            self.await_note_time(every).await;
            let is_last = self.stopping.load(SeqCst);
            // A store that is dropped is to be let go of at once.
            if is_last && !self.health.is_closed() {
                return;
            }
            if let Err(error) = self.note_hot_keys().await {
                tracing::warn!(%error, "the keys in use could not be noted");
            }
            if is_last {
                return;
            }
        }
    }

    /// Ready after `every`, or when the store is being closed.
    async fn await_note_time(&self, every: Duration) {
        let mut slept = pin!(self.runtime.sleep(every));
        let is_stopping = || self.stopping.load(SeqCst).then_some(());
        let mut stopped = pin!(self.warm.wanted.wait(is_stopping));
        poll_fn(|context| {
            if stopped.as_mut().poll(context).is_ready() || slept.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether there is time to go on noting keys.
    fn may_go_on_noting(&self) -> bool {
        if !self.stopping.load(SeqCst) {
            return true;
        }
        let now = self.runtime.monotonic();
        let since = *self.warm.ending_since.lock().get_or_insert(now);
        self.health.is_closed() && now < since + CLOSE_MOST
    }
}

#[cfg(test)]
mod tests;
