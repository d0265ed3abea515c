//! Replies, and their bytes on the wire (RESP2 and RESP3).

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::number::format_integer;
use crate::{Error, ErrorKind};

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Reply {
    /// A short status, such as `OK`.
    Simple(Cow<'static, str>),
    /// An error: a code in capitals, a blank, and a sentence.
    Error(Cow<'static, str>),
    /// A number.
    Int(i64),
    /// Bytes.
    Bulk(Bytes),
    /// No value.
    Null,
    /// No list.
    NullArray,
    /// A list.
    Array(Vec<Reply>),
    /// Pairs; a flat list in RESP2.
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    /// The status `OK`.
    pub const OK: Self = Self::Simple(Cow::Borrowed("OK"));

    /// An error of a fixed text, code included.
    pub const fn error(text: &'static str) -> Self {
        Self::Error(Cow::Borrowed(text))
    }

    /// The words do not fit the command.
    pub const SYNTAX: Self = Self::error("ERR syntax error");

    /// A word that should be a number is none.
    pub const NOT_AN_INTEGER: Self = Self::error("ERR value is not an integer or out of range");

    /// Too few or too many words for `command` (a subcommand as `client|setname`).
    pub fn wrong_arity(command: &str) -> Self {
        Self::Error(format!("ERR wrong number of arguments for '{command}' command").into())
    }

    /// A time to live that cannot be.
    pub fn invalid_expire(command: &str) -> Self {
        Self::Error(format!("ERR invalid expire time in '{command}' command").into())
    }

    /// A bulk of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into().into_bytes()))
    }

    /// A bulk of fixed bytes.
    pub const fn fixed(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Appends its bytes in RESP2.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Encoder::new(out, Protocol::Resp2).reply(self);
    }
}

/// What a client is told of an error of the engine: what happened to its request, then what to do.
impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let text = match error.kind() {
            ErrorKind::Full => format!(
                "READONLY no space is left, so nothing was written: free some space, writes resume by themselves ({error})"
            ),
            ErrorKind::ReadOnly => format!(
                "READONLY the store takes no writes at present and nothing was written: try again later, and see the server's log ({error})"
            ),
            ErrorKind::Unknown => format!(
                "UNKNOWN the outcome of this write is not known: read the key back before deciding ({error})"
            ),
            ErrorKind::Closed => {
                "IOERR the store is closed: connect again when the server is back".to_owned()
            }
            ErrorKind::Invalid => format!("ERR {error}"),
            ErrorKind::Corrupt | ErrorKind::Missing => format!(
                "IOERR stored data is damaged: run `trilith verify` to learn how much, and restore it ({error})"
            ),
            ErrorKind::Failed | ErrorKind::Locked | ErrorKind::Lost | ErrorKind::Newer => {
                format!("IOERR the storage failed: check the disk and the server's log ({error})")
            }
        };
        Self::Error(text.into())
    }
}

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The protocol every client knows.
    #[default]
    Resp2,
    /// The protocol that HELLO 3 asks for: it has maps, and one kind of null.
    Resp3,
}

/// Writes replies behind one another into a buffer.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Encoder<'a> {
    /// Appends to `out` in `protocol`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// A whole reply.
    pub fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Simple(text) => self.line(b'+', text),
            Reply::Error(text) => self.line(b'-', text),
            Reply::Int(number) => self.int(*number),
            Reply::Bulk(bytes) => self.bulk(bytes),
            Reply::Null => self.null(),
            Reply::NullArray => match self.protocol {
                Protocol::Resp2 => self.out.extend_from_slice(b"*-1\r\n"),
                Protocol::Resp3 => self.null(),
            },
            Reply::Array(items) => {
                self.header(b'*', items.len());
                for item in items {
                    self.reply(item);
                }
            }
            Reply::Map(pairs) => {
                match self.protocol {
                    Protocol::Resp2 => self.header(b'*', 2 * pairs.len()),
                    Protocol::Resp3 => self.header(b'%', pairs.len()),
                }
                for (key, value) in pairs {
                    self.reply(key);
                    self.reply(value);
                }
            }
        }
    }

    /// Bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.bulk_header(bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The beginning of a bulk: its `len` bytes and a line end must follow.
    #[inline]
    pub fn bulk_header(&mut self, len: usize) {
        self.header(b'$', len);
    }

    /// A number.
    #[inline]
    pub fn int(&mut self, number: i64) {
        self.out.push(b':');
        format_integer(self.out, number);
        self.out.extend_from_slice(b"\r\n");
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The beginning of a list: `len` replies must follow.
    #[inline]
    pub fn array_header(&mut self, len: usize) {
        self.header(b'*', len);
    }

    fn header(&mut self, mark: u8, len: usize) {
        self.out.push(mark);
        self.out
            .extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, mark: u8, text: &str) {
        self.out.push(mark);
        // A line end would let a text that quotes a client forge a reply.
        self.out.extend(text.bytes().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        }));
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resp2(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn resp3(reply: &Reply) -> String {
        let mut out = Vec::new();
        Encoder::new(&mut out, Protocol::Resp3).reply(reply);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_of_reply_has_its_bytes() {
        assert_eq!(resp2(&Reply::OK), "+OK\r\n");
        assert_eq!(resp2(&Reply::SYNTAX), "-ERR syntax error\r\n");
        assert_eq!(resp2(&Reply::Int(i64::MIN)), ":-9223372036854775808\r\n");
        assert_eq!(resp2(&Reply::fixed("a\r\nb")), "$4\r\na\r\nb\r\n");
        assert_eq!(resp2(&Reply::fixed("")), "$0\r\n\r\n");
        assert_eq!(resp2(&Reply::Null), "$-1\r\n");
        assert_eq!(resp2(&Reply::NullArray), "*-1\r\n");
        assert_eq!(
            resp2(&Reply::Array(vec![Reply::Int(1), Reply::Array(vec![])])),
            "*2\r\n:1\r\n*0\r\n"
        );
    }

    #[test]
    fn a_map_is_flat_in_resp2_and_a_map_in_resp3() {
        let map = Reply::Map(vec![(Reply::fixed("a"), Reply::Null)]);
        assert_eq!(resp2(&map), "*2\r\n$1\r\na\r\n$-1\r\n");
        assert_eq!(resp3(&map), "%1\r\n$1\r\na\r\n_\r\n");
        assert_eq!(resp3(&Reply::NullArray), "_\r\n");
    }

    #[test]
    fn an_error_that_quotes_a_line_end_stays_one_line() {
        let reply = Reply::Error("ERR no 'x\r\n+OK'".to_owned().into());
        assert_eq!(resp2(&reply), "-ERR no 'x  +OK'\r\n");
    }

    #[test]
    fn an_unknown_outcome_has_its_own_code() {
        let error = Error::new(ErrorKind::Unknown, "syncing", "gone");
        let Reply::Error(text) = Reply::from(&error) else {
            panic!("not an error");
        };
        assert!(text.starts_with("UNKNOWN the outcome of this write is not known"));
    }
}
