//! One client's connection: read what is there, run all complete commands as one batch, write the replies.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use trilith::command::{Command, Encoder, Parsed, Reply, Session, parse};
use trilith::ring::driver::View;

use super::backend::Backend;
use super::cluster::{self, Figures};
use super::info;
use super::session::{Answer, Client, waits_for_replies};
use super::shared::{Shared, stopped};
use crate::resp::{RequestReader, Requests};

/// The most commands in a batch: others get their turn, and replies begin to flow.
const BATCH_MAX: usize = 1024;

/// Room for a read, at least.
const READ_BYTES: usize = 16 * 1024;

/// Replies are sent once so many bytes of them have gathered.
const SEND_BYTES: usize = 256 * 1024;

/// A value from this size on is sent from where it lies instead of being copied among the replies.
const COPY_BYTES_MAX: usize = 64 * 1024;

/// Buffers beyond this are given back when they are empty.
const KEEP_BYTES: usize = 64 * 1024;

/// How much a client may send ahead while it does not read its replies.
const AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One client's connection.
pub struct Connection<B> {
    backend: B,
    shared: Arc<Shared>,
    client: Client,
    wire: Wire,
    reader: RequestReader,
    /// Commands that wait to be run.
    batch: Vec<Command>,
    /// Where their replies go, and the replies of others among them.
    slots: Vec<Slot>,
    /// The cluster as it was when the first command of the batch was looked at.
    view: Option<Arc<View>>,
    closing: bool,
}

/// The place of one reply.
enum Slot {
    /// The next reply of the batch.
    Batch,
    /// A reply that is known already.
    Known(Reply),
}

/// The socket and what waits on either side of it.
struct Wire {
    stream: TcpStream,
    input: BytesMut,
    out: Vec<u8>,
    /// The client has sent its last byte.
    ended: bool,
    /// Input was taken in while replies were sent, and nobody has looked at it.
    unread: bool,
    bytes_in: u64,
    bytes_out: u64,
}

impl<B: Backend> Connection<B> {
    /// For a client that has just connected.
    pub fn new(
        stream: TcpStream,
        address: SocketAddr,
        id: u64,
        backend: B,
        shared: Arc<Shared>,
    ) -> Self {
        let mode = match backend.cluster() {
            Some(_) => "cluster",
            None => "standalone",
        };
        Self {
            backend,
            shared,
            client: Client::new(id, address, mode),
            wire: Wire {
                stream,
                input: BytesMut::new(),
                out: Vec::new(),
                ended: false,
                unread: false,
                bytes_in: 0,
                bytes_out: 0,
            },
            reader: RequestReader::default(),
            batch: Vec::new(),
            slots: Vec::new(),
            view: None,
            closing: false,
        }
    }

    /// Serves the client until one side ends it.
    pub async fn run(mut self) -> io::Result<()> {
        let mut stopping = self.shared.stopping();
        let mut requests = Requests::default();
        let mut words = Vec::new();
        loop {
            self.reader.read(&self.wire.input, BATCH_MAX);
            let more = self.reader.complete() == BATCH_MAX;
            self.reader.take(&mut self.wire.input, &mut requests);
            let commands = requests.len() as u64;
            while !self.closing && requests.next_into(&mut words) {
                self.take_command(&mut words).await?;
            }
            // Let go of the input, so that its room can be used again.
            words.clear();
            requests.clear();
            self.settle().await?;
            if let Some(error) = self.reader.error() {
                let reply = Reply::Error(format!("ERR {error}").into());
                self.wire.encoder(&self.client).reply(&reply);
                self.closing = true;
            }
            self.wire.send().await?;
            self.count(commands);
            if self.closing || stopping.has_changed().unwrap_or(true) {
                return Ok(());
            }
            if more || std::mem::take(&mut self.wire.unread) {
                continue;
            }
            if self.wire.ended {
                return Ok(());
            }
            tokio::select! {
                biased;
                read = self.wire.receive(self.reader.bytes_wanted(self.wire.input.len())) => read?,
                () = stopped(&mut stopping) => return Ok(()),
                () = self.client.stance.lapse() => {}
            }
        }
    }

    fn count(&mut self, commands: u64) {
        let counters = &self.shared.counters;
        counters.commands.fetch_add(commands, Relaxed);
        counters
            .bytes_in
            .fetch_add(std::mem::take(&mut self.wire.bytes_in), Relaxed);
        counters
            .bytes_out
            .fetch_add(std::mem::take(&mut self.wire.bytes_out), Relaxed);
    }

    /// Answers a command if that can be done at once, else adds it to the batch.
    async fn take_command(&mut self, words: &mut [Bytes]) -> io::Result<()> {
        match parse(words) {
            Ok(Parsed::Store(command)) => {
                if let Some(reply) = self.redirect(&command) {
                    self.reply(reply);
                    return Ok(());
                }
                // Only what nothing waits for: replies keep the order of their commands.
                if self.slots.is_empty()
                    && !command.is_write()
                    && self.backend.execute_now(
                        &command,
                        self.client.stance.consistency,
                        &mut self.wire.encoder(&self.client),
                    )
                {
                    if self.wire.out.len() >= SEND_BYTES {
                        self.wire.send().await?;
                    }
                    return Ok(());
                }
                self.batch.push(command);
                self.slots.push(Slot::Batch);
            }
            Ok(Parsed::Session(session)) => self.take_own(session, words).await?,
            Err(reply) => self.reply(reply),
        }
        Ok(())
    }

    /// In a cluster, the reply to a command that is for another node to run.
    fn redirect(&mut self, command: &Command) -> Option<Reply> {
        let cluster = self.backend.cluster()?;
        let stance = &mut self.client.stance;
        let reply = cluster::redirect(command, stance, cluster, &mut self.view);
        if reply.is_none() && command.is_write() {
            stance.writes();
        }
        reply
    }

    /// Answers a command about the connection or the server.
    async fn take_own(&mut self, session: Session, words: &mut [Bytes]) -> io::Result<()> {
        if waits_for_replies(session) {
            self.settle().await?;
        }
        match self.client.answer(session, words, &self.shared) {
            Answer::Reply(reply) => self.reply(reply),
            Answer::Info(sections) => {
                let stats = self.backend.stats().await;
                let figures = self.backend.cluster().map(Figures::of);
                let text = info::text(&sections, &self.shared, &stats, figures.as_ref());
                self.reply(Reply::text(text));
            }
            Answer::Archive(asked) => {
                let reply = self.backend.archive(asked).await;
                self.reply(reply);
            }
            Answer::Cluster => {
                let stance = &mut self.client.stance;
                let reply = cluster::answer(session, words, stance, &self.backend).await;
                self.reply(reply);
            }
            Answer::Quit => {
                self.reply(Reply::OK);
                self.closing = true;
            }
            Answer::Shutdown => {
                tracing::info!("SHUTDOWN was sent by a client");
                self.shared.stop();
                self.closing = true;
            }
        }
        Ok(())
    }

    /// Puts a reply behind those that wait.
    fn reply(&mut self, reply: Reply) {
        if reply.is_error() {
            self.shared.counters.errors.fetch_add(1, Relaxed);
        }
        if self.slots.is_empty() {
            self.wire.encoder(&self.client).reply(&reply);
        } else {
            self.slots.push(Slot::Known(reply));
        }
    }

    /// Runs the batch and writes all replies that waited for it.
    async fn settle(&mut self) -> io::Result<()> {
        self.view = None;
        if self.slots.is_empty() {
            return Ok(());
        }
        let count = self.batch.len();
        let batch = std::mem::take(&mut self.batch);
        let replies = self
            .backend
            .execute(batch, self.client.stance.consistency)
            .await;
        debug_assert_eq!(replies.len(), count, "one reply a command");
        let mut replies = replies.into_iter();
        let mut errors = 0;
        for slot in self.slots.drain(..) {
            let reply = match slot {
                Slot::Known(reply) => reply,
                Slot::Batch => {
                    let reply = replies
                        .next()
                        .unwrap_or(Reply::error("ERR the store gave no reply"));
                    errors += u64::from(reply.is_error());
                    reply
                }
            };
            match reply {
                Reply::Bulk(value) if value.len() > COPY_BYTES_MAX => {
                    self.wire.encoder(&self.client).bulk_header(value.len());
                    self.wire.send().await?;
                    self.wire.send_bytes(&value).await?;
                    self.wire.out.extend_from_slice(b"\r\n");
                }
                reply => self.wire.encoder(&self.client).reply(&reply),
            }
            if self.wire.out.len() >= SEND_BYTES {
                self.wire.send().await?;
            }
        }
        self.shared.counters.errors.fetch_add(errors, Relaxed);
        Ok(())
    }
}

impl Wire {
    fn encoder(&mut self, client: &Client) -> Encoder<'_> {
        Encoder::new(&mut self.out, client.protocol)
    }

    /// Waits for input. `wanted` more bytes are known to come.
    async fn receive(&mut self, wanted: usize) -> io::Result<()> {
        if self.input.is_empty() && self.input.capacity() > KEEP_BYTES {
            self.input = BytesMut::new();
        }
        // Room grows with what has arrived: a length alone reserves no memory.
        self.input.reserve(
            wanted
                .min(self.input.len().max(4 * READ_BYTES))
                .max(READ_BYTES / 4),
        );
        if self.input.capacity() < READ_BYTES {
            self.input.reserve(READ_BYTES);
        }
        let count = self.stream.read_buf(&mut self.input).await?;
        self.ended = count == 0;
        self.bytes_in += count as u64;
        Ok(())
    }

    /// Sends the replies that have gathered.
    async fn send(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.out);
        let sent = self.send_bytes(&out).await;
        if out.capacity() <= 2 * SEND_BYTES {
            out.clear();
            self.out = out;
        }
        sent
    }

    /// Sends bytes. While the client does not take them, what it sends is taken in: many send all of a
    /// long pipeline before they read the first reply, and both sides would wait for ever.
    async fn send_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.bytes_out += bytes.len() as u64;
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_to_write().await?
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn wait_to_write(&mut self) -> io::Result<()> {
        let may_read = !self.ended && self.input.len() < AHEAD_BYTES_MAX;
        let interest = if may_read {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::WRITABLE
        };
        let ready = self.stream.ready(interest).await?;
        if may_read && ready.is_readable() {
            self.input.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.input) {
                Ok(count) => {
                    self.ended = count == 0;
                    self.unread = true;
                    self.bytes_in += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
