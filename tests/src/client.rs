//! A blocking RESP2 client: one socket, requests as arrays of bulk strings, replies as a tree.
//!
//! It must stay independent of the server's own RESP code: two halves that share a mistake agree.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply no server of ours sends: a length beyond it is a protocol error, not an allocation.
const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

/// One RESP2 reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR what went wrong`, without the dash.
    Error(String),
    /// `:42`
    Integer(i64),
    /// `$3` and three bytes.
    Bulk(Vec<u8>),
    /// `$-1` or `*-1`
    Nil,
    /// `*2` and two replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// The reply `+OK`.
    pub fn ok() -> Self {
        Self::Simple("OK".into())
    }

    /// A bulk reply of these bytes.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }
}

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Client {
    /// Connects. A server that does not answer within 30 s fails the test instead of hanging it.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_within(address, Duration::from_secs(5), Duration::from_secs(30))
    }

    /// Connects, with limits of one's own to connecting and to each wait for the server.
    pub fn connect_within(
        address: SocketAddr,
        connect: Duration,
        reply: Duration,
    ) -> io::Result<Self> {
        let writer = TcpStream::connect_timeout(&address, connect)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(reply))?;
        writer.set_write_timeout(Some(reply))?;
        Ok(Self {
            reader: BufReader::with_capacity(64 * 1024, writer.try_clone()?),
            writer,
        })
    }

    /// Sends one command and waits for its reply. An error reply is a [`Reply::Error`], not an `Err`:
    /// `Err` means that the connection broke, and so that the outcome is not known.
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<Reply> {
        self.send(&encode(command))?;
        self.receive()
    }

    /// Sends commands in one piece and returns their replies in order.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Reply>> {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend_from_slice(&encode(command));
        }
        self.send(&bytes)?;
        commands.iter().map(|_| self.receive()).collect()
    }

    /// Sends raw bytes, well formed or not.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Reads one reply.
    pub fn receive(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.reader)
    }

    /// Sets how long a reply may take. After one that took longer the connection is of no use.
    pub fn set_limit(&mut self, limit: Duration) -> io::Result<()> {
        self.writer.set_read_timeout(Some(limit))
    }

    /// The two directions apart, for who sends more before it has read the replies.
    pub fn split(self) -> (TcpStream, Replies) {
        (self.writer, Replies(self.reader))
    }
}

/// The replies of a [`Client`] that was split.
pub struct Replies(BufReader<TcpStream>);

impl Replies {
    /// Reads the next one.
    pub fn receive(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.0)
    }
}

/// A command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(command: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn read_reply(reader: &mut impl BufRead) -> io::Result<Reply> {
    let line = read_line(reader)?;
    let Some((&tag, rest)) = line.split_first() else {
        return Err(malformed("an empty line where a reply should begin"));
    };
    let text = || String::from_utf8_lossy(rest).into_owned();
    match tag {
        b'+' => Ok(Reply::Simple(text())),
        b'-' => Ok(Reply::Error(text())),
        b':' => Ok(Reply::Integer(number(rest)?)),
        b'$' => read_bulk(reader, number(rest)?),
        b'*' => read_array(reader, number(rest)?),
        _ => Err(malformed(format!(
            "a reply of unknown type: {:?}",
            String::from_utf8_lossy(&line)
        ))),
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection",
        ));
    }
    if !line.ends_with(b"\r\n") {
        return Err(malformed("a line that does not end in CR LF"));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn read_bulk(reader: &mut impl BufRead, len: i64) -> io::Result<Reply> {
    if len == -1 {
        return Ok(Reply::Nil);
    }
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= BULK_BYTES_MAX);
    let len = len.ok_or_else(|| malformed("a bulk string of impossible length"))?;
    let mut bytes = vec![0; len + 2];
    reader.read_exact(&mut bytes)?;
    if !bytes.ends_with(b"\r\n") {
        return Err(malformed("a bulk string that does not end in CR LF"));
    }
    bytes.truncate(len);
    Ok(Reply::Bulk(bytes))
}

fn read_array(reader: &mut impl BufRead, len: i64) -> io::Result<Reply> {
    match len {
        -1 => Ok(Reply::Nil),
        0.. => (0..len)
            .map(|_| read_reply(reader))
            .collect::<io::Result<_>>()
            .map(Reply::Array),
        _ => Err(malformed("an array of impossible length")),
    }
}

fn number(digits: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| {
            malformed(format!(
                "not a number: {:?}",
                String::from_utf8_lossy(digits)
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut &bytes[..])
    }

    #[test]
    fn every_type_of_reply_is_read() {
        assert_eq!(parse(b"+OK\r\n").unwrap(), Reply::ok());
        assert_eq!(
            parse(b"-ERR no\r\n").unwrap(),
            Reply::Error("ERR no".into())
        );
        assert_eq!(parse(b":-42\r\n").unwrap(), Reply::Integer(-42));
        assert_eq!(parse(b"$4\r\na\r\nb\r\n").unwrap(), Reply::bulk("a\r\nb"));
        assert_eq!(parse(b"$-1\r\n").unwrap(), Reply::Nil);
        assert_eq!(
            parse(b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n").unwrap(),
            Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![Reply::bulk("")])])
        );
    }

    #[test]
    fn a_broken_reply_is_an_error_and_not_a_value() {
        for bytes in [
            &b""[..],
            b"OK\r\n",
            b"+OK\n",
            b"+OK",
            b":1x\r\n",
            b"$3\r\nab\r\n",
            b"$-2\r\n",
            b"$99999999999\r\n",
            b"*-2\r\n",
            b"*2\r\n:1\r\n",
        ] {
            assert!(
                parse(bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        assert_eq!(encode(&["GET", "a b"]), b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }
}
