//! Driving a real node: the ring over a store, a network and a clock that are the host's.
//!
//! The ranges are spread over shards, each of which is a [`Node`](super::node::Node) of its own behind a lock: it
//! is stepped by whoever has something for it, never across an await. What it asks for is carried out outside of
//! the lock, at once where that does not have to wait, else by a task; the end of it is another step.
//!
//! Nothing here decides anything about a range: a driver that is slow, or does things in another order than it
//! might, is no more than a slow node.

mod admin;
mod backup;
mod clients;
mod counters;
mod execute;
mod inner;
mod job;
mod lane;
mod lent;
mod map;
mod open;
mod options;
mod others;
mod read;
mod requests;
mod settling;
mod shard;
mod spread;
mod tick;
mod view;
mod whole;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::command::{Command, Encoder, Reply};
use crate::ring::ids::{NodeId, RangeId};
use crate::ring::meta::Proposal;
use crate::ring::node::Packet;
use crate::ring::store::{RangeBackup, RangeStore};
use crate::{Error, Result, Runtime, Storage};

use inner::Inner;

pub use counters::DriverStats;
pub use open::Opened;
pub use options::{DriverOptions, Observer, Start, Transport};
pub use view::{Consistency, RangeStatus, View};

/// A node that runs. Cloning shares it.
pub struct Driver<S: Storage, R: Runtime, T: Transport> {
    inner: Arc<Inner<S, R, T>>,
}

impl<S: Storage, R: Runtime, T: Transport> Clone for Driver<S, R, T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S: Storage, R: Runtime, T: Transport> Driver<S, R, T> {
    /// Opens the store that is in `storage`, or makes one there, and starts its node. Where the transport has to
    /// know the node's id first, see [`Opened`].
    ///
    /// # Errors
    /// As [`RangeStore::open`].
    pub async fn open(
        storage: S,
        runtime: R,
        transport: T,
        options: DriverOptions,
    ) -> Result<Self> {
        let opened = Opened::open(storage, runtime, options.store.clone()).await?;
        Self::start(opened, transport, options).await
    }

    /// Starts the node of a store that is open.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn start(opened: Opened<S, R>, transport: T, options: DriverOptions) -> Result<Self> {
        let inner = open::start(opened, transport, options).await?;
        Ok(Self { inner })
    }

    /// The node: its store's own identity.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// The store underneath, all copies of ranges that are here.
    pub fn store(&self) -> &RangeStore<S, R> {
        &self.inner.store
    }

    /// Names nodes of the cluster that this one is to join: one that can be reached will do.
    pub fn meet(&self, contacts: Vec<NodeId>) {
        self.inner.meet(contacts);
    }

    /// Takes a packet that another node has sent.
    pub fn receive(&self, packet: Packet) {
        self.inner.receive(packet);
    }

    /// What is known of the cluster now.
    pub fn view(&self) -> Arc<View> {
        self.inner.view.load_full()
    }

    /// Whether a range is mastered here at this moment.
    pub fn masters(&self, range: RangeId) -> bool {
        self.inner.masters(range)
    }

    /// The copies of ranges that are here.
    pub fn ranges(&self) -> Vec<RangeStatus> {
        self.inner.range_statuses()
    }

    /// Waits until everything is applied that was in the log of ranges which this node holds alone: after a restart,
    /// whoever counts or walks keys before that finds some of them missing. Ends early if the node fails.
    pub async fn catch_up(&self) {
        self.inner.catch_up().await;
    }

    /// Runs commands and answers each, wherever its range is mastered. Commands about one range take effect in
    /// their order. What fails is answered with an error; it is awaited for five seconds that a range has a master.
    pub async fn execute(&self, batch: Vec<Command>, how: Consistency) -> Vec<Reply> {
        self.inner.execute(batch, how).await
    }

    /// Answers a GET at once, if memory suffices and nobody else has to be asked. False, and nothing written, if not.
    pub fn execute_now(&self, command: &Command, how: Consistency, out: &mut Encoder<'_>) -> bool {
        self.inner.execute_now(command, how, out)
    }

    /// Has the meta range's master change the map.
    ///
    /// # Errors
    /// `Invalid` if the proposal was refused, `Unknown` if it may or may not have been taken, `Failed` if nobody
    /// took it in time.
    pub async fn propose(&self, proposal: Proposal) -> Result<()> {
        self.inner.propose(&proposal).await
    }

    /// Asks another voter to become the master of a range that is mastered here.
    pub fn hand_over(&self, range: RangeId, to: Option<NodeId>) {
        self.inner.hand_over(range, to);
    }

    /// Hands over all that is mastered here and has another voter. Returns when that is done, or after three seconds.
    pub async fn leave_office(&self) {
        self.inner.leave_office().await;
    }

    /// Makes the copy that is here the whole range, whatever other copies hold: when too many of these are gone
    /// for good. What only they knew is lost.
    ///
    /// # Errors
    /// `Invalid` if the range has a master or this copy holds nothing; `Unknown` if it did not come about in time.
    pub async fn recover(&self, range: RangeId) -> Result<()> {
        self.inner.recover(range).await
    }

    /// Pins a range's keys as they are at one index, to be read from the first to the last: with everything in them that
    /// was acknowledged before this was called. Any copy that follows the range's master will do.
    ///
    /// # Errors
    /// `Invalid` if no copy is here; `Failed` if nobody confirmed in time that this copy is not behind; those of
    /// storage.
    pub async fn backup(&self, range: RangeId) -> Result<RangeBackup<S, R>> {
        self.inner.backup(range).await
    }

    /// Numbers about the node.
    pub fn stats(&self) -> DriverStats {
        self.inner.stats()
    }

    /// What has stopped the node, if anything has: its storage failed. It has to be opened anew.
    pub fn failure(&self) -> Option<Error> {
        self.inner.failure()
    }

    /// Why the node takes no writes at present, if there is a reason that may pass by itself: its disk is full, or its
    /// log is being mended.
    pub fn trouble(&self) -> Option<Error> {
        self.inner.store.trouble()
    }

    /// Ends the node in good order: it hands over what it masters, and closes its store.
    ///
    /// # Errors
    /// As [`RangeStore::close`].
    pub async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
