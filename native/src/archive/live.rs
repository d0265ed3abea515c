//! A running server as a sink: commands are sent in batches over its port for clients.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use trilith::archive::aof::encode;
use trilith::command::{Command, Reply};
use trilith::restore::Sink;
use trilith::{Error, ErrorKind, Result};

use crate::resp::read_reply;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A server whose disk is slow may take its time over a large batch.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const DOING: &str = "sending to the server";

/// A connection. See the module.
pub struct Live {
    stream: TcpStream,
    input: Vec<u8>,
    /// How far the input has been read.
    at: usize,
    may_flush: bool,
}

impl Live {
    /// Connects to the server at `address`. FLUSHALL is sent only if the server is empty, or if `may_flush`.
    pub fn connect(address: &str, may_flush: bool) -> io::Result<Self> {
        let mut last = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
                    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
                    let mut live = Self {
                        stream,
                        input: Vec::new(),
                        at: 0,
                        may_flush,
                    };
                    live.may_flush |= live.keys()? == 0;
                    return Ok(live);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
    }

    /// How many keys the server holds.
    pub fn keys(&mut self) -> io::Result<u64> {
        match self.ask(&[Command::DbSize])?.pop() {
            Some(Reply::Int(keys)) => Ok(keys.try_into().unwrap_or(0)),
            other => Err(io::Error::other(format!(
                "it answered DBSIZE with {other:?}"
            ))),
        }
    }

    fn ask(&mut self, batch: &[Command]) -> io::Result<Vec<Reply>> {
        let mut request = Vec::new();
        for command in batch {
            encode::command(&mut request, &command.words());
        }
        self.stream.write_all(&request)?;
        batch.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        loop {
            let read = read_reply(&self.input[self.at..]);
            let read = read.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
            if let Some((reply, len)) = read {
                self.at += len;
                if self.at == self.input.len() {
                    self.input.clear();
                    self.at = 0;
                }
                return Ok(reply);
            }
            let mut piece = [0; 64 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.input.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Sink for Live {
    async fn run(&mut self, batch: Vec<Command>) -> Result<Vec<Reply>> {
        if !self.may_flush && batch.contains(&Command::Clear) {
            let why = "the source has a FLUSHALL, and the server is not empty: give --allow-flush to let it remove what the server holds";
            return Err(Error::new(ErrorKind::Invalid, DOING, why));
        }
        self.ask(&batch).map_err(|error| {
            let why = crate::operate::in_words(&error);
            Error::new(ErrorKind::Failed, DOING, why)
        })
    }
}
