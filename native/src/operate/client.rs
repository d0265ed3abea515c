//! A blocking client: one connection, one question at a time.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use trilith::command::Reply;

use crate::resp::read_reply;

/// The longest answer that is taken: more than the largest key and value together.
const REPLY_BYTES_MAX: usize = 1040 << 20;

/// How long a node is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer. A change of the map waits up to five seconds for meta's master.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(10),
        }
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects to `address`, a host and a port.
    pub fn connect(address: &str, patience: Patience) -> io::Result<Self> {
        let mut last = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, patience.connect) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(patience.answer))?;
                    stream.set_write_timeout(Some(patience.answer))?;
                    let input = Vec::new();
                    return Ok(Self { stream, input });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
    }

    /// Sends a command and waits for its reply.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        let word = |word: &&str| Reply::Bulk(Bytes::copy_from_slice(word.as_bytes()));
        let mut request = Vec::new();
        Reply::Array(words.iter().map(word).collect()).encode(&mut request);
        self.stream.write_all(&request)?;
        loop {
            let read = read_reply(&self.input);
            let read = read.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
            if let Some((reply, len)) = read {
                self.input.drain(..len);
                return Ok(reply);
            }
            if self.input.len() > REPLY_BYTES_MAX {
                return Err(io::Error::other("the answer does not end"));
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

/// What an error of the connection means, in words.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer".to_owned(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => "it closed the connection".to_owned(),
        io::ErrorKind::InvalidData => format!("it does not speak the Redis protocol: {error}"),
        _ => error.to_string(),
    }
}
