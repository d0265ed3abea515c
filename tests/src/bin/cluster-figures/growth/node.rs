//! The load's connections to one node. Requests are sent without waiting for replies, which a thread of each
//! connection reads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trilith_tests::client::{Replies, encode};
use trilith_tests::{Client, Reply};

use super::keys::{Keys, name};
use crate::router::ask_map;

/// A reply that takes longer is a failure, and its connection is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// A write on its way.
#[derive(Clone, Copy)]
pub struct Request {
    pub key: u32,
    pub write: u32,
    /// When it should have been sent.
    pub due: Instant,
    /// The phase that this was in.
    pub phase: usize,
    pub redirects: u8,
}

/// A node.
pub struct Node {
    pub address: SocketAddr,
    pub lines: Vec<Line>,
    /// Whether nobody has to connect to it any more.
    pub left: AtomicBool,
}

/// One connection.
pub struct Line {
    writer: Mutex<Option<TcpStream>>,
    /// In the order in which they were sent.
    waiting: Mutex<VecDeque<Request>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    pub fn new(address: SocketAddr, connections: usize) -> Self {
        let line = |_| Line {
            writer: Mutex::new(None),
            waiting: Mutex::new(VecDeque::new()),
        };
        Self {
            address,
            lines: (0..connections).map(line).collect(),
            left: AtomicBool::new(false),
        }
    }

    /// Ends all connections for good.
    pub fn leave(&self) {
        self.left.store(true, Relaxed);
        for line in &self.lines {
            line.hang_up();
        }
    }

    /// The phase of the oldest request that waits for a reply.
    pub fn oldest_phase(&self) -> Option<usize> {
        let oldest = |line: &Line| lock(&line.waiting).iter().map(|waits| waits.phase).min();
        self.lines.iter().filter_map(oldest).min()
    }

    /// Whether nobody waits for a reply.
    pub fn is_idle(&self) -> bool {
        self.lines.iter().all(|line| lock(&line.waiting).is_empty())
    }
}

impl Line {
    /// Connects, as one that knows the topology.
    pub fn open(&self, address: SocketAddr) -> io::Result<Replies> {
        let mut client = Client::connect(address)?;
        ask_map(&mut client)?;
        client.set_limit(LIMIT)?;
        let (writer, replies) = client.split();
        *lock(&self.writer) = Some(writer);
        Ok(replies)
    }

    /// Sends requests; without a connection they come back.
    pub fn send(&self, keys: &Keys, requests: Vec<Request>) -> Result<(), Vec<Request>> {
        let mut writer = lock(&self.writer);
        let Some(stream) = &mut *writer else {
            return Err(requests);
        };
        let bytes: Vec<u8> = requests
            .iter()
            .flat_map(|request| {
                let value = keys.value(request.key, request.write);
                encode(&[b"SET".to_vec(), name(request.key), value])
            })
            .collect();
        // Before the bytes leave, for the replies may be there at once.
        lock(&self.waiting).extend(requests);
        if stream.write_all(&bytes).is_err() {
            // The thread that reads will notice, and give up what waits.
            let _ = stream.shutdown(Shutdown::Both);
        }
        Ok(())
    }

    /// The next reply and what it answers, or the end of the connection. `None` if nothing was asked.
    pub fn receive(&self, replies: &mut Replies) -> io::Result<Option<(Request, Reply)>> {
        match replies.receive() {
            Ok(reply) => {
                let request = lock(&self.waiting).pop_front();
                let asked = request.ok_or_else(|| io::Error::other("a reply to nothing"))?;
                Ok(Some((asked, reply)))
            }
            Err(error) if is_limit(&error) && lock(&self.waiting).is_empty() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the connection. What was still waiting for a reply.
    pub fn close(&self) -> Vec<Request> {
        let mut writer = lock(&self.writer);
        if let Some(stream) = writer.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        lock(&self.waiting).drain(..).collect()
    }

    fn hang_up(&self) {
        if let Some(stream) = &*lock(&self.writer) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn is_limit(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
