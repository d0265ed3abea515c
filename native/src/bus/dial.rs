//! The connection that this node makes to another, to send to it. It is made again whenever it is lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use trilith::random::Random;

use super::address::bus_address;
use super::frame::{FrameReader, Kind, Sealer};
use super::handshake::{self, Session, Wanted};
use super::packets::parts;
use super::peer::{LinkState, Peer};
use super::refusal::{Broken, Refusal};
use super::shared::Shared;
use super::stream::Stream;

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 256 << 10;

/// Connects to a node, says who this one is, and hears who is there.
pub(super) async fn connect(
    shared: &Shared,
    address: &str,
    wanted: Wanted,
) -> Result<(Stream, Session), Broken> {
    let attempt = async {
        let stream = open(shared, address).await?;
        let mut stream = match &shared.identity.tls {
            Some(tls) => tls.dial(stream).await?,
            None => Stream::Plain(stream),
        };
        let session = handshake::dial(&mut stream, &shared.identity, wanted).await?;
        Ok((stream, session))
    };
    match tokio::time::timeout(shared.limits.handshake, attempt).await {
        Ok(connected) => connected,
        Err(_late) => Err(Broken::Lost(io::ErrorKind::TimedOut.into())),
    }
}

async fn open(shared: &Shared, address: &str) -> Result<TcpStream, Broken> {
    let address = bus_address(address).map_err(io::Error::other)?;
    let mut found: Vec<_> = tokio::net::lookup_host(address).await?.collect();
    if shared.identity.is_open() {
        found.retain(|address| address.ip().to_canonical().is_loopback());
        if found.is_empty() {
            let detail =
                "without one, or a certificate, a node speaks to nodes on this machine only";
            return Err(Broken::Refused(Refusal::Secret, detail.into()));
        }
    }
    let stream = TcpStream::connect(&found[..]).await?;
    // What is written together is sent together already.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Keeps a connection to `peer` and sends what is queued for it, until nobody has any use for it.
pub(super) async fn keep(shared: Arc<Shared>, peer: Arc<Peer>) {
    let mut random = Random::new(shared.identity.node.0 ^ peer.node.0.rotate_left(32) ^ entropy());
    let mut backoff = shared.limits.backoff_least;
    let mut attempts = 0;
    let mut is_quiet = false;
    loop {
        let addresses = peer.addresses();
        let Some(address) = addresses.get(attempts % addresses.len().max(1)) else {
            break;
        };
        attempts += 1;
        let began = Instant::now();
        peer.set_state(LinkState::Connecting);
        match attempt(&shared, &peer, address).await {
            Ok(()) => break,
            Err(broken) => {
                peer.is_cut.store(true, Relaxed);
                let was_connected = peer.state() == LinkState::Connected;
                report(&shared, &peer, address, &broken, is_quiet && !was_connected);
                is_quiet = true;
                if was_connected {
                    // The same address has worked.
                    attempts -= 1;
                    if began.elapsed() > shared.limits.backoff_most {
                        backoff = shared.limits.backoff_least;
                    }
                }
            }
        }
        if !peer.is_member() && peer.queue.bytes() == 0 {
            break;
        }
        peer.set_state(LinkState::Waiting);
        let most_ms = backoff.as_millis() as u64;
        let pause_ms = most_ms / 2 + random.below(most_ms / 2 + 1);
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_millis(pause_ms)) => {}
            () = peer.nudge.notified() => {}
        }
        backoff = (backoff * 2).min(shared.limits.backoff_most);
        peer.queue.drop_stale();
    }
    peer.set_state(LinkState::Idle);
}

/// Enough that two nodes do not try in step; nothing is kept secret by it.
fn entropy() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

fn report(shared: &Shared, peer: &Peer, address: &str, broken: &Broken, is_quiet: bool) {
    let node = peer.node;
    shared
        .refusals
        .note(&format_args!("{node} at {address}"), broken);
    if is_quiet || matches!(broken, Broken::Refused(..)) {
        tracing::debug!(%node, address, "no connection to a node: {broken}");
    } else {
        tracing::warn!(%node, address, "no connection to a node: {broken}");
    }
}

/// Connects once and sends until the connection is lost, or nobody has any use for it.
async fn attempt(shared: &Shared, peer: &Peer, address: &str) -> Result<(), Broken> {
    let wanted = Wanted {
        node: Some(peer.node),
        introduction: false,
    };
    let (stream, session) = connect(shared, address, wanted).await?;
    peer.set_state(LinkState::Connected);
    peer.is_cut.store(false, Relaxed);
    tracing::info!(node = %peer.node, address, "connected to a node");
    peer.queue.drop_stale();
    let (read, write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read, session.hears, shared.limits.silence);
    let mut sender = Sender {
        io: write,
        sealer: Sealer::new(session.sends),
        buffer: Vec::new(),
        peer,
    };
    tokio::select! {
        sent = sender.run(shared) => Ok(sent?),
        broken = hear_life(&mut reader) => Err(broken),
    }
}

/// Hears the other side answer signs of life. It has nothing else to say here.
async fn hear_life(reader: &mut FrameReader<impl tokio::io::AsyncRead + Unpin>) -> Broken {
    loop {
        match reader.next(|_bytes| ()).await {
            Ok(frame) if frame.kind == Kind::Alive => {}
            Ok(_) => {
                let detail = "on a connection where it only listens";
                return Broken::Refused(Refusal::Packet, detail.into());
            }
            Err(broken) => return broken,
        }
    }
}

/// Writes what is queued.
struct Sender<'a, W> {
    io: W,
    sealer: Sealer,
    buffer: Vec<u8>,
    peer: &'a Peer,
}

impl<W: AsyncWrite + Unpin> Sender<'_, W> {
    async fn run(&mut self, shared: &Shared) -> io::Result<()> {
        let limits = &shared.limits;
        let mut last_packet = Instant::now();
        let mut last_alive = Instant::now();
        loop {
            let batch = self.peer.queue.take(WRITE_BYTES);
            let is_idle = batch.is_empty();
            for packet in batch {
                for (kind, part) in parts(&packet) {
                    self.sealer.put(&mut self.buffer, kind, part);
                    if self.buffer.len() >= WRITE_BYTES {
                        self.add_life(&mut last_alive, limits.alive);
                        self.write().await?;
                    }
                }
            }
            if !is_idle {
                last_packet = Instant::now();
            }
            self.add_life(&mut last_alive, limits.alive);
            self.write().await?;
            if is_idle {
                if !self.peer.is_member() && last_packet.elapsed() > limits.idle {
                    return Ok(());
                }
                let rest = limits.alive.saturating_sub(last_alive.elapsed());
                tokio::select! {
                    () = self.peer.queue.filled() => {}
                    () = tokio::time::sleep(rest) => {}
                }
            }
        }
    }

    /// Adds a sign of life, if it is time for one. The answer to it shows that the other side lives.
    fn add_life(&mut self, last: &mut Instant, every: std::time::Duration) {
        if last.elapsed() >= every {
            *last = Instant::now();
            self.sealer.put(&mut self.buffer, Kind::Alive, b"");
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.io.write_all(&self.buffer).await?;
        // TLS keeps back what the connection does not take at once.
        self.io.flush().await?;
        let sent = self.buffer.len() as u64;
        self.peer.sent_bytes.fetch_add(sent, Relaxed);
        self.buffer.clear();
        self.buffer.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }
}
