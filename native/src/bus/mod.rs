//! The bus between nodes: it carries the ring's packets over TCP.
//!
//! Each node connects to each other one and sends on the connection that it has made. What cannot be sent is
//! dropped and counted: the ring takes loss in its stride. The bus must never block a sender, and never believe
//! a peer that has not shown that it is a node: by the cluster's secret, by a certificate, or, where a node has both, by
//! both. Without either it listens on loopback addresses only. A secret seals what the bus carries and does not hide it;
//! TLS hides it.

mod accept;
mod address;
mod dial;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod kept;
mod packets;
mod peer;
mod queue;
mod refusal;
mod secret;
mod shared;
mod strangers;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use trilith::ring::NodeId;
use trilith::ring::driver::Transport;
use trilith::ring::meta::Map;
use trilith::ring::node::Packet;
use trilith::{Error, ErrorKind, Result};

use crate::server::Failure;

pub use address::{PORT_OFFSET, bus_address};
pub use handshake::PROTOCOL;
pub use peer::{Link, LinkState};
pub use refusal::Refusal;
pub use secret::Secret;
pub use shared::Limits;
pub use tls::Tls;

use handshake::{Identity, Wanted};
use peer::Peer;
use refusal::Broken;
use shared::Shared;

/// How long a bus that closes waits for what is queued to leave.
const LEAVE: Duration = Duration::from_millis(500);

/// How a bus is made.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// This node.
    pub node: NodeId,
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Where clients reach this node, HOST:PORT; its bus should be ten thousand ports above. Other nodes are told,
    /// so that they can answer before a map tells them. Without it they are told of where this one listens, if that
    /// is a single address.
    pub announce: Option<String>,
    /// What all nodes of the cluster know.
    pub secret: Option<Secret>,
    /// What all nodes of the cluster can show.
    pub tls: Option<Tls>,
    /// Times and bounds.
    pub limits: Limits,
}

impl BusConfig {
    /// A bus without a secret and without certificates, with the usual limits.
    pub fn new(node: NodeId, listen: SocketAddr) -> Self {
        Self {
            node,
            listen,
            announce: None,
            secret: None,
            tls: None,
            limits: Limits::default(),
        }
    }

    /// Refuses to be open to other machines without anything that they would have to know or show.
    fn check(&self) -> Result<(), Failure> {
        let is_open = self.secret.is_none() && self.tls.is_none();
        if !is_open || self.listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(Failure::new(
            format!(
                "The bus between nodes may not listen on {} without a secret or a certificate: whoever reaches it \
                 could change everything.",
                self.listen
            ),
            "Give every node the same secret with --secret-file FILE (make one: openssl rand -hex 32), or \
             certificates with --bus-tls-cert, --bus-tls-key and --bus-tls-ca, or listen on 127.0.0.1",
        ))
    }
}

/// The bus. Clones share it; it works until it is [closed](Self::close).
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    local: SocketAddr,
    listening: Mutex<Listening>,
}

enum Listening {
    /// Nobody is heard yet.
    Bound(TcpListener),
    Started(JoinHandle<()>),
    Closed,
}

impl Bus {
    /// Takes the port. Nobody is heard before [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// The port cannot be had, or is open to other machines and there is neither a secret nor a certificate.
    ///
    /// # Panics
    ///
    /// If it is not called within a tokio runtime.
    pub fn bind(config: BusConfig) -> Result<Self, Failure> {
        // Before the port is taken.
        config.check()?;
        let listener = TcpListener::bind(config.listen);
        let listener = listener.map_err(|error| of_bind(&error, config.listen))?;
        Self::on(listener, config)
    }

    /// As [`bind`](Self::bind), on a port that is taken already.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// As [`bind`](Self::bind).
    pub fn on(listener: TcpListener, config: BusConfig) -> Result<Self, Failure> {
        config.check()?;
        let taken = listener.set_nonblocking(true);
        taken.map_err(|error| of_bind(&error, config.listen))?;
        let mut identity = Identity {
            node: config.node,
            announce: config.announce.unwrap_or_default(),
            secret: config.secret,
            tls: config.tls,
        };
        let local = listener.local_addr().unwrap_or(config.listen);
        if identity.announce.is_empty() {
            identity.announce = own_address(local).unwrap_or_default();
        }
        let shared = Shared::new(identity, config.limits, Handle::current());
        Ok(Self(Arc::new(Inner {
            shared: Arc::new(shared),
            local,
            listening: Mutex::new(Listening::Bound(listener)),
        })))
    }

    /// Hears other nodes from now on. `deliver` gets their packets, in the order in which each has sent them, and
    /// must not block. Only the first call counts.
    pub fn start(&self, deliver: impl Fn(Packet) + Send + Sync + 'static) {
        let mut listening = self.0.listening.lock();
        let Listening::Bound(listener) = &*listening else {
            return;
        };
        let shared = &self.0.shared;
        let _within = shared.handle.enter();
        let listener = listener
            .try_clone()
            .and_then(tokio::net::TcpListener::from_std);
        match listener {
            Ok(listener) => {
                let task = accept::listen(Arc::clone(shared), listener, Arc::new(deliver));
                *listening = Listening::Started(shared.handle.spawn(task));
            }
            Err(error) => tracing::error!(%error, "the bus cannot hear other nodes"),
        }
    }

    /// Where it listens, with the port that the system has given.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local
    }

    /// Finds out which node's clients' address this is, HOST:PORT, and keeps it in mind: from then on packets can
    /// be sent to it.
    ///
    /// # Errors
    ///
    /// `Invalid` if the address is none, or one of the two nodes refuses the other; `Failed` if it cannot be
    /// reached, which may pass.
    pub async fn meet(&self, address: &str) -> Result<NodeId> {
        bus_address(address)?;
        let shared = Arc::clone(&self.0.shared);
        let address = address.to_owned();
        // As a task, so that the caller needs no tokio.
        let task = self.0.shared.handle.spawn(async move {
            let met = introduce(&shared, &address).await;
            met.map_err(|broken| {
                shared.refusals.note(&address, &broken);
                let kind = match broken {
                    Broken::Lost(_) => ErrorKind::Failed,
                    Broken::Refused(..) | Broken::RefusedBy(_) => ErrorKind::Invalid,
                };
                Error::new(kind, "meeting a node", format!("{address}: {broken}"))
            })
        });
        let ended = |_| {
            Error::new(
                ErrorKind::Closed,
                "meeting a node",
                "the runtime is closing",
            )
        };
        task.await.map_err(ended)?
    }

    /// The ways to all nodes that it knows.
    pub fn links(&self) -> Vec<Link> {
        let peers = self.0.shared.peers();
        peers.iter().map(|peer| peer.link()).collect()
    }

    /// How often connections were refused, by reason.
    pub fn refusals(&self) -> Vec<(Refusal, u64)> {
        self.0.shared.refusals.counts()
    }

    /// Packets that were dropped because nobody knows where their receiver is.
    pub fn unaddressed(&self) -> u64 {
        self.0.shared.unaddressed.load(Relaxed)
    }

    /// Lets what is queued leave, for half a second at most, then ends all connections and gives the port back.
    pub async fn close(&self) {
        let shared = Arc::clone(&self.0.shared);
        let listening = std::mem::replace(&mut *self.0.listening.lock(), Listening::Closed);
        let closing = self.0.shared.handle.spawn(async move {
            let late = tokio::time::timeout(LEAVE, leave(&shared)).await.is_err();
            if late {
                tracing::debug!("some packets did not leave before the bus was closed");
            }
            if let Listening::Started(task) = listening {
                task.abort();
                // It was aborted: that is its end.
                let _aborted = task.await;
            }
            shared.close();
        });
        // It fails only when the runtime is gone, and the bus with it.
        let _gone = closing.await;
    }
}

impl Transport for Bus {
    fn send(&self, packet: Packet) {
        let shared = &self.0.shared;
        let peer = shared.peer(packet.to);
        match peer.filter(|peer| shared.keep_sending(peer)) {
            Some(peer) => packets::encode(packet, &mut |bytes| peer.queue.push(bytes)),
            None => {
                shared.unaddressed.fetch_add(1, Relaxed);
            }
        }
    }

    fn learn(&self, map: &Map) {
        self.0.shared.learn(map);
    }

    fn is_cut(&self, node: NodeId) -> bool {
        self.0
            .shared
            .peer(node)
            .is_some_and(|peer| peer.is_cut.load(Relaxed))
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("identity", &self.0.shared.identity)
            .field("local", &self.0.local)
            .finish_non_exhaustive()
    }
}

/// Learns who is at an address, and keeps it in mind.
async fn introduce(shared: &Shared, address: &str) -> Result<NodeId, Broken> {
    let wanted = Wanted {
        node: None,
        introduction: true,
    };
    let (_stream, session) = dial::connect(shared, address, wanted).await?;
    let known = shared.acquaint(session.node, |peer| peer.set_met(address.to_owned()));
    known
        .map(|_peer| session.node)
        .ok_or(Broken::refused(Refusal::Crowded))
}

/// Ready when nothing is queued for nodes that are connected.
async fn leave(shared: &Shared) {
    let waits = |peer: &Arc<Peer>| peer.state() == LinkState::Connected && peer.queue.bytes() > 0;
    while shared.peers().iter().any(waits) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The clients' address that goes with where a bus listens.
fn own_address(local: SocketAddr) -> Option<String> {
    let port = local
        .port()
        .checked_sub(PORT_OFFSET)
        .filter(|port| *port > 0)?;
    (!local.ip().is_unspecified()).then(|| SocketAddr::new(local.ip(), port).to_string())
}

fn of_bind(error: &io::Error, listen: SocketAddr) -> Failure {
    if error.kind() != io::ErrorKind::AddrInUse {
        return Failure::of_bind(error, listen, "--port", "--bind");
    }
    Failure::new(
        format!(
            "The bus between nodes needs port {} on {}, {PORT_OFFSET} above the clients' port, and another program \
             uses it.",
            listen.port(),
            listen.ip()
        ),
        "Stop that program, or choose another port for clients with --port",
    )
}
