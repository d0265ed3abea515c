//! Connections that other nodes make, to be heard.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use trilith::ring::node::Packet;

use super::frame::{FrameReader, Kind, Sealer};
use super::handshake::{self, Session};
use super::packets::Gather;
use super::peer::Peer;
use super::refusal::{Broken, Refusal, Seldom};
use super::shared::Shared;
use super::strangers::{Stranger, Strangers};
use super::stream::Stream;

/// How long a bus that cannot accept (no descriptors are left) waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is done with a packet that has come.
pub(super) type Deliver = Arc<dyn Fn(Packet) + Send + Sync>;

/// Takes connections, for ever. They end with it.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener, deliver: Deliver) {
    let strangers = Strangers::new(shared.limits.unauthenticated);
    let mut connections = JoinSet::new();
    let mut failures = Seldom::default();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if failures.is_due(Instant::now()) {
                    tracing::warn!(%error, "a node's connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let stranger = strangers.admit();
        let serving = serve(
            Arc::clone(&shared),
            stream,
            from,
            stranger,
            Arc::clone(&deliver),
        );
        connections.spawn(serving);
    }
}

async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
    mut stranger: Stranger,
    deliver: Deliver,
) {
    let met = tokio::select! {
        met = meet(&shared, stream) => met,
        () = stranger.crowded_out() => Err(Broken::refused(Refusal::Crowded)),
    };
    drop(stranger);
    let broken = match met {
        Ok((_, session)) if session.introduction => return,
        Ok((stream, session)) => {
            let Some((peer, ended)) =
                shared.acquaint(session.node, |peer| peer.begin_hearing(&session.address))
            else {
                let broken = Broken::refused(Refusal::Crowded);
                return shared.refusals.note(&from, &broken);
            };
            tracing::info!(node = %peer.node, %from, "a node has connected");
            tokio::select! {
                broken = hear(&shared, &peer, stream, session, &deliver) => broken,
                // It has made another connection, or the bus is closing.
                _replaced = ended => return,
            }
        }
        Err(broken) => broken,
    };
    shared.refusals.note(&from, &broken);
    tracing::debug!(%from, "a node's connection has ended: {broken}");
}

async fn meet(shared: &Shared, stream: TcpStream) -> Result<(Stream, Session), Broken> {
    let identity = &shared.identity;
    let met = async {
        stream.set_nodelay(true)?;
        let mut stream = match &identity.tls {
            Some(tls) => tls.accept(stream).await?,
            None => Stream::Plain(stream),
        };
        let session = handshake::accept(&mut stream, identity).await?;
        Ok((stream, session))
    };
    match tokio::time::timeout(shared.limits.handshake, met).await {
        Ok(met) => met,
        Err(_late) => Err(Broken::refused(Refusal::Silent)),
    }
}

/// Delivers what a node says, until the connection ends.
async fn hear(
    shared: &Shared,
    peer: &Peer,
    stream: Stream,
    session: Session,
    deliver: &Deliver,
) -> Broken {
    let silence = shared.limits.silence;
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read, session.hears, silence);
    let mut sealer = Sealer::new(session.sends);
    let mut gather = Gather::default();
    let received = |bytes| {
        peer.received_bytes.fetch_add(bytes as u64, Relaxed);
    };
    loop {
        let heard = reader.next(received).await;
        let frame = match heard {
            Ok(frame) => frame,
            Err(broken) => return broken,
        };
        if frame.kind == Kind::Alive {
            let mut answer = Vec::new();
            sealer.put(&mut answer, Kind::Alive, b"");
            let answered = async {
                write.write_all(&answer).await?;
                write.flush().await
            };
            match tokio::time::timeout(silence, answered).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => return error.into(),
                Err(_late) => return io::Error::from(io::ErrorKind::TimedOut).into(),
            }
        }
        match gather.take(frame) {
            Ok(None) => {}
            Ok(Some(packet)) if packet.from == peer.node && packet.to == shared.identity.node => {
                deliver(packet);
            }
            Ok(Some(packet)) => {
                let detail = format!("it is from {} to {}", packet.from, packet.to);
                return Broken::Refused(Refusal::Packet, detail);
            }
            Err(broken) => return broken,
        }
    }
}
