//! What the tasks of one bus share: who it is, its limits, and the nodes that it knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use trilith::ring::NodeId;
use trilith::ring::meta::Map;

use super::dial;
use super::handshake::Identity;
use super::peer::Peer;
use super::refusal::Refusals;

/// Nodes that are no members and are kept in mind, at most.
const STRANGERS_MOST: usize = 1024;

/// Times and bounds of a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A handshake takes no longer.
    pub handshake: Duration,
    /// A connection on which nothing was heard for so long is closed.
    pub silence: Duration,
    /// A sign of life is sent, and answered, this often.
    pub alive: Duration,
    /// A connection to a node that is no member is closed when nothing was sent for so long.
    pub idle: Duration,
    /// The pause after the first failure to connect, at most.
    pub backoff_least: Duration,
    /// The pause after many, at most.
    pub backoff_most: Duration,
    /// Bytes that wait for one node. The oldest packets are dropped to stay below.
    pub queue_bytes: usize,
    /// Connections that have not shown yet who they are.
    pub unauthenticated: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            alive: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            backoff_least: Duration::from_millis(50),
            backoff_most: Duration::from_secs(2),
            queue_bytes: 32 << 20,
            unauthenticated: 64,
        }
    }
}

/// See the module.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) limits: Limits,
    pub(super) refusals: Refusals,
    /// Packets for nodes that nobody knows the address of.
    pub(super) unaddressed: AtomicU64,
    pub(super) handle: Handle,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    peers: BTreeMap<NodeId, Arc<Peer>>,
    is_closed: bool,
}

impl Book {
    fn add(&mut self, node: NodeId, queue_bytes: usize) -> Arc<Peer> {
        let peer = self.peers.entry(node);
        Arc::clone(peer.or_insert_with(|| Peer::new(node, queue_bytes)))
    }

    fn sweep(&mut self) {
        self.peers.retain(|_, peer| peer.is_wanted());
    }
}

impl Shared {
    pub(super) fn new(identity: Identity, limits: Limits, handle: Handle) -> Self {
        Self {
            identity,
            limits,
            refusals: Refusals::default(),
            unaddressed: AtomicU64::new(0),
            handle,
            book: Mutex::default(),
        }
    }

    /// A node that is known.
    pub(super) fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.book.lock().peers.get(&node).cloned()
    }

    /// All nodes that are known.
    pub(super) fn peers(&self) -> Vec<Arc<Peer>> {
        self.book.lock().peers.values().cloned().collect()
    }

    /// A node that has just been heard of; `None` if there are too many of the kind, or the bus is closed. `with`
    /// says what is known of it, so that it is not forgotten at once.
    pub(super) fn acquaint<T>(
        &self,
        node: NodeId,
        with: impl FnOnce(&Peer) -> T,
    ) -> Option<(Arc<Peer>, T)> {
        let mut book = self.book.lock();
        if !book.peers.contains_key(&node) {
            book.sweep();
            let strangers = book.peers.values().filter(|peer| !peer.is_member());
            if strangers.count() >= STRANGERS_MOST {
                return None;
            }
        }
        if book.is_closed {
            return None;
        }
        let peer = book.add(node, self.limits.queue_bytes);
        let known = with(&peer);
        Some((peer, known))
    }

    /// Takes note of the members and drops those that are none any more.
    pub(super) fn learn(self: &Arc<Self>, map: &Map) {
        let mut book = self.book.lock();
        if book.is_closed {
            return;
        }
        for peer in book.peers.values() {
            if !map.members.contains_key(&peer.node) {
                if peer.is_member() {
                    peer.stop_sending();
                }
                peer.set_mapped(None);
            }
        }
        for (&node, member) in &map.members {
            if node == self.identity.node {
                continue;
            }
            let peer = book.add(node, self.limits.queue_bytes);
            peer.set_mapped(Some(member.address.clone()));
            self.keep_sending(&peer);
        }
        book.sweep();
    }

    /// Has a node's packets sent. Whether there is an address to send them to.
    pub(super) fn keep_sending(self: &Arc<Self>, peer: &Arc<Peer>) -> bool {
        peer.keep_sending(|| {
            let task = dial::keep(Arc::clone(self), Arc::clone(peer));
            self.handle.spawn(task).abort_handle()
        })
    }

    /// Ends all connections; no new ones are made.
    pub(super) fn close(&self) {
        let mut book = self.book.lock();
        book.is_closed = true;
        for peer in std::mem::take(&mut book.peers).into_values() {
            peer.stop();
        }
    }
}
