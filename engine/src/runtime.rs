//! What the engine asks of its host besides storage: time, randomness, tasks.

use std::time::Duration;

use crate::storage::{MaybeSend, MaybeSync};

/// What a spawned task is for, so that a host can give each its own thread or priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// Turning a frozen memtable into tables. Writers wait for it when it falls behind.
    Flush,
    /// Merging tables. Long, and never urgent.
    Compaction,
    /// Short periodic duties: the sync of each second, expiry, probing for space.
    Upkeep,
    /// A ring's ticks, and what follows when its storage is done with something. Short, and must not be held up
    /// by anything that blocks: a node that is late is taken for dead.
    Ring,
    /// Writing the archive: a task that writes a little each second, and one at a time that writes for long.
    Archive,
    /// Noting which keys are in use, and reading them back into memory after a restart. Never urgent; one task.
    Warm,
}

/// The host's clock, dice and scheduler. Nothing else in the engine may tell time, draw or spawn.
pub trait Runtime: Clone + MaybeSend + MaybeSync + 'static {
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since the Unix epoch. May be coarse (a cached millisecond or so): it is asked on
    /// every read of a key that expires.
    fn wall_ms(&self) -> u64;

    /// Fresh random bits.
    fn seed(&self) -> u64;

    /// Ready after `time`.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + MaybeSend;

    /// A slice boundary in long work: ready at once where work has its own thread, after the event
    /// loop has turned in a page.
    fn breathe(&self) -> impl Future<Output = ()> + MaybeSend;

    /// Runs `task` beside the caller, on the thread or queue that the host keeps for `work`.
    fn spawn<F: Future<Output = ()> + MaybeSend + 'static>(&self, work: Work, task: F);

    /// Told once of each large, long-lived, randomly accessed region, so that a host that knows how
    /// may ask for huge pages. Must not change what the region holds.
    fn advise_huge(&self, start: *const u8, bytes: usize) {
        let _ = (start, bytes);
    }
}
