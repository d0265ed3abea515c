//! The server: it accepts clients, limits them, and stops when asked to.
//!
//! It parses, routes and prints. What commands do is the engine's; the store behind it is a [`Backend`].

mod archive;
mod backend;
mod cluster;
mod config;
mod connection;
mod failure;
mod http;
mod info;
mod last_map;
mod member;
mod membership;
mod recovery;
mod session;
mod shared;
mod signal;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod volatile;

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use archive::{ArchiveSettings, Asked};
pub use backend::{Backend, Figure, Stats};
pub use cluster::{Cluster, Link};
#[cfg(feature = "operate")]
pub(crate) use config::parse_size;
pub use config::{Action, AppendFsync, Cli, Config, LogLevel, RecoverWhen};
pub use failure::Failure;
pub use info::human;
pub use member::Member;
pub use membership::Membership;
pub use signal::signalled;

use connection::Connection;
use shared::{Shared, stopped};

/// How long connections may take to finish what they are at when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Ports that are tried where the system chooses one.
const PAIRS_MOST: usize = 64;

/// How long a server that cannot accept (no descriptors are left) waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that listens but serves nobody yet.
pub struct Server {
    listener: TcpListener,
    /// The port that goes with the clients', if that was for the system to choose.
    bus: Option<net::TcpListener>,
    http: Option<TcpListener>,
    shared: Arc<Shared>,
}

impl Server {
    /// Takes the ports. Before the store is opened: a busy port is told at once.
    pub async fn bind(config: Config) -> Result<Self, Failure> {
        let (listener, bus) = listen_for_clients(&config).await?;
        let http = match config.http_port {
            0 => None,
            port => {
                let address = SocketAddr::new(config.http_bind, port);
                Some(listen(address, "--http-port", "--http-bind").await?)
            }
        };
        let port = listener
            .local_addr()
            .map_or(config.port, |address| address.port());
        Ok(Self {
            listener,
            bus,
            http,
            shared: Arc::new(Shared::new(config, port)),
        })
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Opens the node that is to be served, on the bus's port that goes with this server's.
    ///
    /// # Errors
    /// As [`Member::open`].
    pub async fn open(&mut self) -> Result<Member, Failure> {
        Member::open(&self.shared.config, self.port(), self.bus.take()).await
    }

    /// Serves until `stop` is ready or a client sends SHUTDOWN; then lets connections finish what they
    /// are at and closes the store.
    pub async fn run<B: Backend>(
        self,
        backend: B,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let Self {
            listener,
            http,
            shared,
            ..
        } = self;
        let measuring = {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { shared.measure().await })
        };
        if let Some(listener) = http {
            tokio::spawn(http::serve(listener, backend.clone(), Arc::clone(&shared)));
        }
        let room = Arc::new(Semaphore::new(shared.config.maxclients as usize));
        let mut stopping = shared.stopping();
        tokio::select! {
            () = accept(&listener, &backend, &shared, &room) => {}
            () = stop => shared.stop(),
            () = stopped(&mut stopping) => {}
        }
        drop(listener);
        tracing::info!("stopping: no more connections are taken");
        // All places are free once all connections have ended.
        let drained =
            tokio::time::timeout(DRAIN, room.acquire_many(shared.config.maxclients)).await;
        if drained.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
        }
        measuring.abort();
        backend
            .close()
            .await
            .map_err(|error| Failure::of_close(&error))
    }
}

/// Takes the port for clients. One that the system chooses comes with the bus's, which has to be free as well.
async fn listen_for_clients(
    config: &Config,
) -> Result<(TcpListener, Option<net::TcpListener>), Failure> {
    let address = SocketAddr::new(config.bind, config.port);
    let mut listener = listen(address, "--port", "--bind").await?;
    if config.port != 0 {
        return Ok((listener, None));
    }
    // Held until there is a pair, so that the system offers another one each time.
    let mut unpaired = Vec::new();
    for _ in 0..PAIRS_MOST {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let bus = member::bus_address(config, port).and_then(|address| {
            net::TcpListener::bind(address)
                .map_err(|error| Failure::of_bind(&error, address, "--port", "--bind"))
        });
        if let Ok(bus) = bus {
            return Ok((listener, Some(bus)));
        }
        unpaired.push(listener);
        listener = listen(address, "--port", "--bind").await?;
    }
    // Opening the bus will say what is wrong.
    Ok((listener, None))
}

/// The options are those that choose the port and the address.
async fn listen(
    address: SocketAddr,
    port_option: &str,
    address_option: &str,
) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::of_bind(&error, address, port_option, address_option))
}

/// Takes clients, for ever.
async fn accept<B: Backend>(
    listener: &TcpListener,
    backend: &B,
    shared: &Arc<Shared>,
    room: &Arc<Semaphore>,
) {
    let ids = AtomicU64::new(1);
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(room).try_acquire_owned() else {
            shared.counters.connections_rejected.fetch_add(1, Relaxed);
            tokio::spawn(reject(stream));
            continue;
        };
        // Replies are written whole: to wait for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        let id = ids.fetch_add(1, Relaxed);
        let shared = Arc::clone(shared);
        let connection = Connection::new(stream, address, id, backend.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            shared.counters.connections.fetch_add(1, Relaxed);
            shared.counters.clients.fetch_add(1, Relaxed);
            let counted = Counted(shared);
            report(id, connection.run().await);
            drop((counted, place));
        });
    }
}

/// Counts a client out however its task ends.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.clients.fetch_sub(1, Relaxed);
    }
}

fn report(id: u64, ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(id, %error, "a connection was lost");
    }
}

async fn reject(mut stream: TcpStream) {
    // It is closed either way.
    let _told = stream
        .write_all(b"-ERR max number of clients reached\r\n")
        .await;
}
