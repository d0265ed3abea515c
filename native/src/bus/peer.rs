//! Another node: where it may be reached, what waits for it, and what was counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use trilith::ring::NodeId;

use super::queue::Queue;

/// The way to another node, and what has passed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The node.
    pub node: NodeId,
    /// Its clients' address, as far as known; its bus is ten thousand ports above.
    pub address: String,
    /// How the connection to it is.
    pub state: LinkState,
    /// Bytes sent to it since this node started, or first heard of it.
    pub sent_bytes: u64,
    /// Bytes that were heard from it on connections that it made.
    pub received_bytes: u64,
    /// Packets that were dropped for want of room or of a connection.
    pub dropped: u64,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// How long the connection to it has stood; 0 without one.
    pub connected_for_ms: u64,
}

/// How the connection to another node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// None is wanted: there is nothing to be said to it.
    #[default]
    Idle,
    /// It is being made.
    Connecting,
    /// It stands.
    Connected,
    /// It could not be made, or was lost; it is tried again in a moment.
    Waiting,
}

impl LinkState {
    /// A stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Waiting => "waiting",
        }
    }
}

/// Where a node may be reached, by whom it was said. Clients' addresses all.
#[derive(Clone, Debug, Default)]
struct Addresses {
    /// By the node itself, when it last connected. It knows best.
    told: Option<String>,
    /// By the map; who has none is no member.
    map: Option<String>,
    /// By whoever asked for it to be met there.
    met: Option<String>,
}

#[derive(Debug, Default)]
struct Changing {
    addresses: Addresses,
    state: LinkState,
    connected_since: Option<Instant>,
    /// The task that connects to it and sends.
    sending: Option<AbortHandle>,
    /// Dropped, it ends the task that hears the connection which the node made last.
    hearing: Option<oneshot::Sender<()>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) queue: Queue,
    pub(super) sent_bytes: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    /// It has just been heard, so that another attempt to connect need not wait.
    pub(super) nudge: Notify,
    /// Whether the last connection has broken, or could not be made.
    pub(super) is_cut: AtomicBool,
    changing: Mutex<Changing>,
}

impl Peer {
    pub(super) fn new(node: NodeId, queue_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            node,
            queue: Queue::new(queue_bytes),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            nudge: Notify::new(),
            is_cut: AtomicBool::new(false),
            changing: Mutex::default(),
        })
    }

    /// Where to try, the best first.
    pub(super) fn addresses(&self) -> Vec<String> {
        let changing = self.changing.lock();
        let Addresses { told, map, met } = &changing.addresses;
        let mut all: Vec<String> = Vec::new();
        for address in [told, map, met].into_iter().flatten() {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// The map has been learned: what it says of this node's address, if it is a member. Only members are kept in
    /// mind without a connection.
    pub(super) fn set_mapped(&self, address: Option<String>) {
        let mut changing = self.changing.lock();
        if address.is_none() {
            changing.addresses.met = None;
        }
        changing.addresses.map = address;
    }

    pub(super) fn set_met(&self, address: String) {
        self.changing.lock().addresses.met = Some(address);
    }

    pub(super) fn is_member(&self) -> bool {
        self.changing.lock().addresses.map.is_some()
    }

    /// Whether it is a member, was met, or has a connection.
    pub(super) fn is_wanted(&self) -> bool {
        let changing = self.changing.lock();
        changing.addresses.map.is_some()
            || changing.addresses.met.is_some()
            || is_running(&changing.sending)
            || changing
                .hearing
                .as_ref()
                .is_some_and(|end| !end.is_closed())
    }

    /// Has `start` start the task that sends, unless it runs. Whether there is an address to send to.
    pub(super) fn keep_sending(&self, start: impl FnOnce() -> AbortHandle) -> bool {
        let mut changing = self.changing.lock();
        let Addresses { told, map, met } = &changing.addresses;
        if told.is_none() && map.is_none() && met.is_none() {
            return false;
        }
        if !is_running(&changing.sending) {
            changing.sending = Some(start());
        }
        true
    }

    /// Ends the connection to it.
    pub(super) fn stop_sending(&self) {
        let task = self.changing.lock().sending.take();
        if let Some(task) = task {
            task.abort();
        }
        self.queue.clear();
        self.set_state(LinkState::Idle);
    }

    /// It has connected. Ready when the connection is to end: an earlier one of its own is of no use any more.
    pub(super) fn begin_hearing(&self, address: &str) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        let mut changing = self.changing.lock();
        if !address.is_empty() {
            changing.addresses.told = Some(address.to_owned());
        }
        changing.hearing = Some(end);
        drop(changing);
        self.nudge.notify_one();
        ended
    }

    /// Ends all that goes on with it.
    pub(super) fn stop(&self) {
        self.stop_sending();
        self.changing.lock().hearing = None;
    }

    pub(super) fn set_state(&self, state: LinkState) {
        let mut changing = self.changing.lock();
        changing.state = state;
        changing.connected_since = (state == LinkState::Connected).then(Instant::now);
    }

    pub(super) fn state(&self) -> LinkState {
        self.changing.lock().state
    }

    pub(super) fn link(&self) -> Link {
        let changing = self.changing.lock();
        let Addresses { told, map, met } = &changing.addresses;
        let address = map.as_ref().or(told.as_ref()).or(met.as_ref());
        let since = changing.connected_since;
        Link {
            node: self.node,
            address: address.cloned().unwrap_or_default(),
            state: changing.state,
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            dropped: self.queue.dropped(),
            queued_bytes: self.queue.bytes(),
            connected_for_ms: since.map_or(0, |since| since.elapsed().as_millis() as u64),
        }
    }
}

fn is_running(task: &Option<AbortHandle>) -> bool {
    task.as_ref().is_some_and(|task| !task.is_finished())
}
