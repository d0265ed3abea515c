//! Reading requests out of a connection's buffer.
//!
//! A reader remembers where it stands, so no byte is looked at twice however the input is cut. The words
//! of a request are slices of the buffer that it came in; only inline requests, which people type, are
//! copied, because their quotes have to be undone.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use trilith::command::parse_integer;

use super::line::line_end;

/// The most words in a request.
const WORDS_MAX: i64 = 1024 * 1024;

/// The longest word, in bytes.
const WORD_BYTES_MAX: i64 = 512 * 1024 * 1024;

/// The longest line, in bytes: an inline request, or the head of a word.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The longest request, in bytes: what one connection may make the server hold before it is a command.
const REQUEST_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// What makes a connection unreadable; it is told and closed. The texts are Redis's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(String);

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol error: {}", self.0)
    }
}

impl std::error::Error for ProtocolError {}

/// Where a word lies.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    /// Whether in the copies of inline words rather than in the input.
    copied: bool,
}

/// Reads requests; one for each connection.
#[derive(Debug, Default)]
pub struct RequestReader {
    /// Everything before this has been read.
    at: usize,
    /// How far the line at `at` was searched for its end.
    seen: usize,
    /// Words of the current request that are still to come.
    words_left: usize,
    /// The length of the word that is being read.
    word_bytes: Option<usize>,
    /// The words of all requests not yet taken; those of an unfinished one last.
    spans: Vec<Span>,
    /// For each complete request the number of spans up to its end.
    ends: Vec<usize>,
    /// Where in the input the last complete request ends.
    complete: usize,
    /// Inline words, their quotes undone.
    copies: BytesMut,
    error: Option<ProtocolError>,
}

/// Complete requests, in the order they came.
#[derive(Debug, Default)]
pub struct Requests {
    input: Bytes,
    copies: Bytes,
    spans: Vec<Span>,
    ends: Vec<usize>,
    next: usize,
}

impl Requests {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.ends.len() - self.next
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets go of the input, so that its room can be used again.
    pub fn clear(&mut self) {
        self.input = Bytes::new();
        self.copies = Bytes::new();
        self.spans.clear();
        self.ends.clear();
        self.next = 0;
    }

    /// Puts the words of the next request into `words`, which need not be empty. False if there is none.
    pub fn next_into(&mut self, words: &mut Vec<Bytes>) -> bool {
        words.clear();
        let Some(&end) = self.ends.get(self.next) else {
            return false;
        };
        let start = if self.next == 0 {
            0
        } else {
            self.ends[self.next - 1]
        };
        self.next += 1;
        words.extend(self.spans[start..end].iter().map(|span| {
            let from = if span.copied {
                &self.copies
            } else {
                &self.input
            };
            from.slice(span.start..span.end)
        }));
        true
    }
}

impl RequestReader {
    /// Reads on in `input`, which begins with what was not taken yet, until `limit` requests are
    /// complete or the input ends. An error stays: what came before it can still be taken.
    pub fn read(&mut self, input: &[u8], limit: usize) {
        while self.error.is_none() && self.ends.len() < limit {
            match self.step(input) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.error = Some(error),
            }
        }
        if self.error.is_none()
            && input.len() - self.complete > REQUEST_BYTES_MAX
            && self.ends.is_empty()
        {
            self.error = Some(ProtocolError("request too large".to_owned()));
        }
    }

    /// Moves what is complete from `input` to `requests`, replacing what was there.
    pub fn take(&mut self, input: &mut BytesMut, requests: &mut Requests) {
        let words = self.ends.last().copied().unwrap_or(0);
        requests.next = 0;
        requests.ends.clear();
        requests.spans.clear();
        std::mem::swap(&mut requests.ends, &mut self.ends);
        std::mem::swap(&mut requests.spans, &mut self.spans);
        // The words of the request that is still under way stay here.
        let complete = std::mem::take(&mut self.complete);
        self.spans
            .extend(requests.spans.drain(words..).map(|span| Span {
                start: span.start - complete,
                end: span.end - complete,
                ..span
            }));
        self.at -= complete;
        self.seen = self.seen.saturating_sub(complete);
        if words == 0 {
            // Blank lines only, or nothing.
            input.advance(complete);
            requests.input = Bytes::new();
        } else {
            requests.input = input.split_to(complete).freeze();
        }
        requests.copies = self.copies.split().freeze();
    }

    /// How many requests are complete.
    pub fn complete(&self) -> usize {
        self.ends.len()
    }

    /// What makes the rest unreadable, once what came before it has been taken.
    pub fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref()
    }

    /// How many more bytes the word under way needs, so that room for them is made at once.
    pub fn bytes_wanted(&self, have: usize) -> usize {
        match self.word_bytes {
            Some(len) => (self.at + len + 2).saturating_sub(have),
            None => 0,
        }
    }

    /// Reads one thing: a word, a head or an inline request. False if it has not all arrived.
    fn step(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        if let Some(len) = self.word_bytes {
            let end = self.at + len;
            if input.len() < end + 2 {
                return Ok(false);
            }
            self.spans.push(Span {
                start: self.at,
                end,
                copied: false,
            });
            self.word_bytes = None;
            self.at = end + 2;
            self.words_left -= 1;
            if self.words_left == 0 {
                self.finish();
            }
            return Ok(true);
        }
        let Some(&first) = input.get(self.at) else {
            return Ok(false);
        };
        if self.words_left > 0 {
            return self.word_head(input, first);
        }
        if first == b'*' {
            self.request_head(input)
        } else {
            self.inline(input)
        }
    }

    fn finish(&mut self) {
        self.ends.push(self.spans.len());
        self.complete = self.at;
    }

    /// The number behind the mark of a head line; `None` if the line has not all arrived.
    fn head<'a>(
        &mut self,
        input: &'a [u8],
        too_big: &str,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        match line_end(input, self.at, &mut self.seen) {
            Some(end) => {
                let number = &input[self.at + 1..end];
                self.at = end + 2;
                Ok(Some(number))
            }
            None if input.len() - self.at > LINE_BYTES_MAX => {
                Err(ProtocolError(too_big.to_owned()))
            }
            None => Ok(None),
        }
    }

    fn request_head(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let Some(number) = self.head(input, "too big mbulk count string")? else {
            return Ok(false);
        };
        match parse_integer(number) {
            Some(words) if words <= WORDS_MAX => {
                // None, or fewer: nothing is asked, nothing is answered.
                self.words_left = usize::try_from(words).unwrap_or(0);
                if self.words_left == 0 {
                    self.complete_nothing();
                }
                Ok(true)
            }
            _ => Err(ProtocolError("invalid multibulk length".to_owned())),
        }
    }

    fn word_head(&mut self, input: &[u8], first: u8) -> Result<bool, ProtocolError> {
        if first != b'$' {
            let shown = char::from(first).escape_default();
            return Err(ProtocolError(format!("expected '$', got '{shown}'")));
        }
        let Some(number) = self.head(input, "too big bulk count string")? else {
            return Ok(false);
        };
        match parse_integer(number) {
            Some(len) if (0..=WORD_BYTES_MAX).contains(&len) => {
                self.word_bytes = usize::try_from(len).ok();
                Ok(true)
            }
            _ => Err(ProtocolError("invalid bulk length".to_owned())),
        }
    }

    fn inline(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let from = self.seen.max(self.at);
        let Some(offset) = input[from..].iter().position(|&byte| byte == b'\n') else {
            self.seen = input.len();
            if input.len() - self.at > LINE_BYTES_MAX {
                return Err(ProtocolError("too big inline request".to_owned()));
            }
            return Ok(false);
        };
        let line = &input[self.at..from + offset];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let before = self.spans.len();
        if !split_words(line, &mut self.copies, &mut self.spans) {
            self.spans.truncate(before);
            return Err(ProtocolError("unbalanced quotes in request".to_owned()));
        }
        self.at = from + offset + 1;
        if self.spans.len() == before {
            self.complete_nothing();
        } else {
            self.finish();
        }
        Ok(true)
    }

    /// What was read is no request; it goes with the next [`RequestReader::take`].
    fn complete_nothing(&mut self) {
        self.complete = self.at;
    }
}

/// Splits a typed line into words, undoing quotes and escapes as Redis does. False if a quote is not closed
/// or something other than a blank follows it.
fn split_words(line: &[u8], copies: &mut BytesMut, spans: &mut Vec<Span>) -> bool {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return true;
        }
        let start = copies.len();
        loop {
            rest = match rest {
                [] => break,
                [blank, ..] if blank.is_ascii_whitespace() => break,
                [b'"', quoted @ ..] => match double_quoted(quoted, copies) {
                    Some(rest) => rest,
                    None => return false,
                },
                [b'\'', quoted @ ..] => match single_quoted(quoted, copies) {
                    Some(rest) => rest,
                    None => return false,
                },
                [byte, rest @ ..] => {
                    copies.extend_from_slice(&[*byte]);
                    rest
                }
            };
        }
        spans.push(Span {
            start,
            end: copies.len(),
            copied: true,
        });
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], copies: &mut BytesMut) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'"', after @ ..] => return closed(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), after)
            }
            [b'\\', escaped, after @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                };
                (byte, after)
            }
            [byte, after @ ..] => (*byte, after),
        };
        copies.extend_from_slice(&[byte]);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], copies: &mut BytesMut) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'\'', after @ ..] => return closed(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
        };
        copies.extend_from_slice(&[byte]);
        rest = after;
    }
}

/// Behind a closing quote a blank or the end must follow.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(rest),
        [next, ..] => next.is_ascii_whitespace().then_some(rest),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
