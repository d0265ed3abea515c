//! The archive of a node's store: what is applied goes to an AOF, and now and then to a snapshot (RDB).
//!
//! Whoever applies an entry adds its effects to a [`Feed`] ([`tap`]). A task writes what has gathered ([`task`]), and has
//! the AOF rewritten and snapshots written where they are due ([`job`], [`base`]). Nobody's answer waits for it. Apply
//! waits only while too much is yet to be written, or while it is being found out which keys a range had that were
//! all removed at once ([`clear`]).
//!
//! A flush is made known only once the AOF has, synced, what the memtable holds: so what the log no longer has the
//! AOF has. If the AOF cannot be written the store goes on without it, says so, and begins it anew from a snapshot
//! when that is possible.

mod base;
mod clear;
mod job;
mod open;
mod save;
mod stats;
mod tap;
mod task;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use parking_lot::Mutex;

use super::machine::Machine;
use crate::archive::{Appender, ArchiveOptions, Feed};
use crate::signal::Signal;
use crate::{Error, Runtime, Storage};

pub use job::{Began, Busy};
pub(super) use open::Reach;

/// What of the store's memory may wait to be written.
const WAITING_SHARE: usize = 16;
/// But not more than this.
const WAITING_MOST: usize = 64 << 20;

/// See the [module](self).
pub(crate) struct Archive<S: Storage, R: Runtime, M: Machine> {
    options: ArchiveOptions,
    pub(super) feed: Feed,
    appender: async_lock::Mutex<Option<Appender<S>>>,
    /// Ranges whose keys are being found out.
    clears: Mutex<BTreeMap<u32, clear::Clear<S, R, M>>>,
    /// They are to be found out now.
    must_resolve: AtomicBool,
    /// All of the first so many entries of the feed are synced.
    synced: AtomicU64,
    /// Somebody waits until so many are.
    sync_wanted: AtomicU64,
    /// The task has something to do.
    wanted: Signal,
    /// So many bytes may wait to be written.
    waiting_most: usize,
    jobs: Mutex<job::Jobs>,
    standing: Mutex<Standing>,
}

/// How things stand with the files.
#[derive(Default)]
struct Standing {
    /// Why the AOF cannot be written, if it cannot.
    trouble: Option<Error>,
    /// Counts how often it came to that.
    breaks: u64,
    gap_s: Option<u64>,
    base_bytes: u64,
    bytes: u64,
    rewritten_bytes: u64,
    history_bytes: u64,
    written_bytes: u64,
    /// When the last snapshot was complete, by the host's clock.
    saved_s: u64,
    /// Changes that it has, of those that the feed has counted.
    saved_changes: u64,
    /// The store had changed since the last snapshot when it was opened.
    was_changed: bool,
    /// When the AOF may be rewritten next without being asked to, by the monotonic clock.
    rewrite_from: Duration,
    /// And because something is missing in it.
    gap_from: Duration,
    /// When the next snapshot may be written without being asked to.
    save_from: Duration,
}

impl<S: Storage, R: Runtime, M: Machine> Archive<S, R, M> {
    pub(super) fn new(options: ArchiveOptions, memory_bytes: usize) -> Self {
        Self {
            options,
            feed: Feed::default(),
            appender: async_lock::Mutex::default(),
            clears: Mutex::default(),
            must_resolve: AtomicBool::new(false),
            synced: AtomicU64::new(0),
            sync_wanted: AtomicU64::new(0),
            wanted: Signal::default(),
            waiting_most: (memory_bytes / WAITING_SHARE).min(WAITING_MOST),
            jobs: Mutex::default(),
            standing: Mutex::default(),
        }
    }

    /// Has the task look for work, also to end.
    pub(super) fn wake(&self) {
        self.wanted.notify();
    }
}
