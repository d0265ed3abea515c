//! Where entries come in as they are applied.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::super::batch::{Op, Ops};
use super::super::core::Core;
use super::super::machine::{Entry, Machine};
use super::super::ranges::OfRange;
use super::clear::Clear;
use super::task::WRITE_BYTES;
use crate::archive::{Effect, Fsync};
use crate::{Result, Runtime, Storage};

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Whether what a range's entries do is archived.
    #[inline]
    pub(in crate::db) fn is_archived(&self, range: u32) -> bool {
        self.archive.feed.is_on() && self.machine.is_archived(range)
    }

    /// Waits, if it must, until an entry of a range may be applied.
    #[inline]
    pub(in crate::db) async fn await_archive(&self, of: &OfRange, entry: &Entry) -> Result<()> {
        let archive = &self.archive;
        if archive.feed.waiting() < archive.waiting_most && !archive.feed.any_held() {
            return Ok(());
        }
        self.await_archive_slowly(of, entry).await
    }

    #[cold]
    async fn await_archive_slowly(&self, of: &OfRange, entry: &Entry) -> Result<()> {
        let feed = &self.archive.feed;
        let does_something = !of.configures && !entry.payload.is_empty();
        let is_ready = || {
            let is_held = does_something && feed.is_held(of.range);
            feed.waiting() < self.archive.waiting_most && !is_held
        };
        if is_ready() {
            return Ok(());
        }
        self.archive.must_resolve.store(true, SeqCst);
        self.archive.wake();
        self.changed
            .wait(|| {
                if let Some(error) = self.health.failure()
                    && self.health.check_alive().is_err()
                {
                    return Some(Err(error));
                }
                is_ready().then_some(Ok(()))
            })
            .await
    }

    /// Before an entry takes effect that removes all keys of its range, of which there are `keys`: they are pinned, so
    /// that they can be told afterwards.
    pub(in crate::db) fn archive_clear(&self, of: &OfRange, entry: &Entry, keys: i64) {
        let feed = &self.archive.feed;
        if keys > 0
            && let Some(clear) = Clear::pin(self, of)
            && feed.hold(of.range, entry.index, entry.time_ms)
        {
            self.archive.clears.lock().insert(of.range, clear);
        }
    }

    /// After an entry has taken effect.
    #[inline]
    pub(in crate::db) fn archive_entry(&self, of: &OfRange, entry: &Entry, ops: Ops<'_>) {
        let feed = &self.archive.feed;
        let effects = ops.filter_map(|op| match op {
            Ok(Op::Put {
                key,
                value,
                deadline_ms,
            }) => self.machine.key_of(key).map(|key| Effect::Set {
                key,
                value,
                deadline_ms,
            }),
            Ok(Op::Delete { key }) => self.machine.key_of(key).map(|key| Effect::Del { key }),
            // What was not well formed was not applied.
            Ok(Op::DeleteRange { .. }) | Err(_) => None,
        });
        let waiting = feed.add(of.range, entry.index, entry.time_ms, effects);
        let is_always = self.archive.options.fsync == Fsync::Always;
        if waiting >= WRITE_BYTES || (is_always && waiting > 0) {
            self.archive.wake();
        }
    }

    /// After an entry that has removed all keys of its range.
    pub(in crate::db) fn archive_cleared(&self) {
        let keys = self.ranges.book.lock().counts().keys;
        if keys == 0 && self.archive.feed.any_held() {
            self.archive.feed.clear();
            self.archive.clears.lock().clear();
        }
    }

    /// What was applied and is not archived counts as changes all the same.
    pub(in crate::db) fn note_unarchived(&self, changes: u64) {
        self.archive.feed.note_changes(changes);
    }

    /// Waits until the first `entries` of the feed are synced, or nobody can tell when they will be.
    pub(in crate::db) async fn await_archived(&self, entries: u64) {
        let archive = &self.archive;
        let is_done = || archive.synced.load(SeqCst) >= entries || !archive.feed.is_on();
        if is_done() {
            return;
        }
        archive.sync_wanted.fetch_max(entries, SeqCst);
        archive.wake();
        self.changed.wait(|| is_done().then_some(())).await;
    }

    /// Ranges are about to be replaced, by no entry: the AOF says so, and has it synced, before it happens.
    pub(in crate::db) async fn archive_gap(&self, changes_keys: bool) {
        if changes_keys && self.archive.feed.is_on() {
            let entries = self.archive.feed.gap(self.runtime.wall_ms());
            self.await_archived(entries).await;
        }
    }

    /// A range has been replaced, and stands at `index` now.
    pub(in crate::db) fn archive_replaced(&self, range: u32, index: u64) {
        if self.is_archived(range) {
            self.archive.clears.lock().remove(&range);
            self.archive.feed.replace(range, index);
        }
    }

    /// Entries of the feed so far.
    pub(in crate::db) fn archive_entries(&self) -> u64 {
        if self.archive.feed.is_on() {
            self.archive.feed.entries()
        } else {
            0
        }
    }

    /// Keys that were set or removed since the last snapshot.
    pub(super) fn changes_since_saved(&self) -> u64 {
        let standing = self.archive.standing.lock();
        let changes = self.archive.feed.changes() - standing.saved_changes;
        changes + u64::from(standing.was_changed)
    }

    pub(super) fn note_synced(&self, entries: u64) {
        self.archive.synced.fetch_max(entries, Relaxed);
        self.changed.notify();
    }
}
