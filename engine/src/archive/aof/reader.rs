//! Reading an append-only file in order, with bounded memory, and telling a torn tail from damage.
//!
//! A file that was being written when its process or machine died ends within a command, within a transaction
//! (between MULTI and EXEC), or in zeros that a file system has put where bytes had not arrived. That is a torn tail:
//! everything before it is whole. Anything else that is no command and no annotation is damage, and an error.

use std::ops::Range;

use bytes::Bytes;

use super::line::Line;
use super::{checksum, number};
use crate::storage::{self, Object};
use crate::{Error, Result};

/// How much is read at once, unless a command is longer.
const WINDOW_BYTES: u64 = 256 << 10;
/// The longest command: as long as Redis takes one.
const COMMAND_BYTES_MAX: u64 = 1 << 30;
/// The longest line, its end included: Redis reads no longer one.
const LINE_BYTES_MAX: usize = 1023;
/// The most bytes of a number's line, its end included.
const COUNT_BYTES_MAX: usize = 32;

const DOING: &str = "reading the append-only file";

/// A command and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its words: never none.
    pub args: Vec<Bytes>,
}

impl Command {
    /// Whether its name is `name`, which is in lower case.
    pub fn is(&self, name: &str) -> bool {
        self.args[0].eq_ignore_ascii_case(name.as_bytes())
    }
}

/// What stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A command, MULTI and EXEC included.
    Command(Command),
    /// An annotation.
    Annotation {
        /// Its first byte in the file.
        offset: u64,
        /// The line without its end.
        text: Bytes,
        /// What it says.
        line: Line,
    },
}

/// How a file's tail is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// The file ends within a command or an annotation.
    Command,
    /// The file ends between MULTI and EXEC.
    Transaction,
    /// From somewhere on there are only zeros.
    Zeros,
    /// What was written last has no checksum behind it, or a wrong one. A [`Reader`] alone does not look at them.
    Checksum,
}

impl Tear {
    /// In words, behind "it".
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "ends within a command",
            Self::Transaction => "ends within a transaction",
            Self::Zeros => "ends in zeros",
            Self::Checksum => "ends without a right checksum",
        }
    }
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Everything before this offset is whole commands, transactions and annotations.
    pub whole: u64,
    /// Why there is more, if there is.
    pub tear: Option<Tear>,
}

/// Reads one file, from the front.
#[derive(Debug)]
pub struct Reader<R> {
    reader: R,
    object: Object,
    /// Where reading ends.
    len: u64,
    window: Bytes,
    /// Where the window begins in the file, and how far it has been read.
    start: u64,
    at: usize,
    /// Where the words of the command lie in the window that is being looked at.
    words: Vec<Range<usize>>,
    /// Where the transaction begins that has not ended.
    multi: Option<u64>,
    tear: Option<Tear>,
}

/// What the bytes at the front of a window are.
enum Front {
    Command {
        bytes: usize,
    },
    Line {
        bytes: usize,
        text: usize,
    },
    /// It is not to be known before there are so many bytes.
    Needs(u64),
    /// They are nothing, from this one on.
    Wrong(usize, &'static str),
}

impl<R: storage::Reader> Reader<R> {
    /// Reads what `reader` has of `object`.
    pub fn new(reader: R, object: Object) -> Self {
        let len = reader.len();
        Self {
            reader,
            object,
            len,
            window: Bytes::new(),
            start: 0,
            at: 0,
            words: Vec::new(),
            multi: None,
            tear: None,
        }
    }

    /// Reads from `offset` on: behind an RDB file that the file begins with.
    #[must_use]
    pub fn from(mut self, offset: u64) -> Self {
        self.start = offset.min(self.len);
        self
    }

    /// Reads no further than `offset`, as if the file ended there.
    #[must_use]
    pub fn upto(mut self, offset: u64) -> Self {
        self.len = self.len.min(offset);
        self
    }

    /// What is read.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Where the next item begins.
    pub fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// The checksum of what stands between two offsets.
    pub(super) async fn checksum(&self, from: u64, to: u64) -> Result<u32> {
        checksum::of_bytes(&self.reader, from, to).await
    }

    /// How the file ends, as far as it has been read: the truth once [`Reader::next`] has returned `None`.
    pub fn ending(&self) -> Ending {
        Ending {
            whole: self.multi.unwrap_or(self.offset()),
            tear: self.tear,
        }
    }

    /// The next item; `None` where the file ends or its tail is torn.
    ///
    /// # Errors
    /// `Corrupt` where there is neither a command nor an annotation, and more follows. Those of storage.
    pub async fn next(&mut self) -> Result<Option<Item>> {
        if self.tear.is_some() {
            return Ok(None);
        }
        loop {
            let left = self.len - self.offset();
            if left == 0 {
                self.tear = self.multi.map(|_| Tear::Transaction);
                return Ok(None);
            }
            match front(&self.window[self.at..], &mut self.words) {
                Front::Command { bytes } => return self.take_command(bytes).map(Some),
                Front::Line { bytes, text } => return self.take_line(bytes, text).map(Some),
                Front::Needs(bytes) if bytes > left => {
                    self.tear = Some(match self.is_zero_from(self.offset()).await? {
                        true => Tear::Zeros,
                        false => Tear::Command,
                    });
                    return Ok(None);
                }
                Front::Needs(bytes) => self.refill(bytes, left).await?,
                Front::Wrong(behind, why) => {
                    let wrong = self.offset() + behind as u64;
                    if self.is_zero_from(wrong).await? {
                        self.tear = Some(Tear::Zeros);
                        return Ok(None);
                    }
                    return Err(self.corrupt(wrong, why));
                }
            }
        }
    }

    fn corrupt(&self, offset: u64, why: impl Into<String>) -> Error {
        Error::corrupt(DOING, why)
            .on(self.object.clone())
            .at(offset)
    }

    fn take_command(&mut self, bytes: usize) -> Result<Item> {
        let offset = self.offset();
        let words = self.words.iter();
        let words = words.map(|word| self.window.slice(self.at + word.start..self.at + word.end));
        let command = Command {
            offset,
            args: words.collect(),
        };
        if command.is("multi") && self.multi.replace(offset).is_some() {
            return Err(self.corrupt(offset, "MULTI within a transaction"));
        }
        if command.is("exec") && self.multi.take().is_none() {
            return Err(self.corrupt(offset, "EXEC without MULTI"));
        }
        self.at += bytes;
        Ok(Item::Command(command))
    }

    fn take_line(&mut self, bytes: usize, text: usize) -> Result<Item> {
        let offset = self.offset();
        let text = self.window.slice(self.at..self.at + text);
        let line = Line::of(&text);
        if line == Line::Damaged {
            return Err(self.corrupt(offset, "an annotation without its number"));
        }
        self.at += bytes;
        Ok(Item::Annotation { offset, text, line })
    }

    /// Has a window that begins with the next item and holds `needed` bytes of the `left` that there are.
    async fn refill(&mut self, needed: u64, left: u64) -> Result<()> {
        if needed > COMMAND_BYTES_MAX {
            return Err(self.corrupt(self.offset(), "a command of more than 1 GiB"));
        }
        // Twice what was not enough, so that a command of many words is not looked at once for each window.
        let before = (self.window.len() - self.at) as u64;
        let wanted = needed.max(2 * before).max(WINDOW_BYTES);
        let wanted = wanted.min(left).min(u64::from(u32::MAX)) as u32;
        self.start = self.offset();
        self.at = 0;
        self.window = Bytes::new();
        self.window = read(&self.reader, self.start, wanted).await?;
        Ok(())
    }

    async fn is_zero_from(&self, mut offset: u64) -> Result<bool> {
        while offset < self.len {
            let bytes = (self.len - offset).min(WINDOW_BYTES) as u32;
            if read(&self.reader, offset, bytes)
                .await?
                .iter()
                .any(|&byte| byte != 0)
            {
                return Ok(false);
            }
            offset += u64::from(bytes);
        }
        Ok(true)
    }
}

async fn read<R: storage::Reader>(reader: &R, offset: u64, bytes: u32) -> Result<Bytes> {
    match reader.read_now(offset, bytes) {
        Some(read) => read,
        None => reader.read_at(offset, bytes).await,
    }
}

/// Looks at what `bytes` begin with; of a command it notes where its words lie.
fn front(bytes: &[u8], words: &mut Vec<Range<usize>>) -> Front {
    match bytes.first() {
        None => Front::Needs(1),
        Some(b'*') => command(bytes, words),
        Some(b'#') => line(bytes),
        Some(_) => Front::Wrong(0, "neither a command nor an annotation begins here"),
    }
}

fn line(bytes: &[u8]) -> Front {
    let looked_at = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let end = looked_at
        .iter()
        .position(|&byte| byte == b'\n' || byte == 0);
    match end {
        Some(end) if bytes[end] == 0 => Front::Wrong(end, "a zero within an annotation"),
        Some(end) => Front::Line {
            bytes: end + 1,
            text: end - usize::from(bytes[end - 1] == b'\r'),
        },
        None if bytes.len() >= LINE_BYTES_MAX => {
            Front::Wrong(0, "an annotation longer than Redis reads")
        }
        None => Front::Needs(bytes.len() as u64 + 1),
    }
}

fn command(bytes: &[u8], words: &mut Vec<Range<usize>>) -> Front {
    words.clear();
    let (count, mut at) = match count(bytes, 0, b'*') {
        Ok(found) => found,
        Err(front) => return front,
    };
    if count == 0 {
        return Front::Wrong(0, "a command without words");
    }
    for done in 0..count {
        let (length, start) = match self::count(bytes, at, b'$') {
            Ok(found) => found,
            // Each word that is to come takes six bytes at least.
            Err(Front::Needs(needed)) => {
                return Front::Needs(needed.saturating_add((count - done - 1).saturating_mul(6)));
            }
            Err(front) => return front,
        };
        let Some(end) = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length))
            .filter(|&end| end < bytes.len() - 1)
        else {
            let rest = (count - done - 1).saturating_mul(6);
            let needed = (start as u64 + 2).saturating_add(length);
            return Front::Needs(needed.saturating_add(rest));
        };
        if bytes[end..end + 2] != *b"\r\n" {
            let wrong = end + usize::from(bytes[end] == b'\r');
            return Front::Wrong(wrong, "a word does not end where it should");
        }
        words.push(start..end);
        at = end + 2;
    }
    Front::Command { bytes: at }
}

/// The number behind `mark`, which stands at `at`, and where its line ends.
fn count(bytes: &[u8], at: usize, mark: u8) -> Result<(u64, usize), Front> {
    let Some(line) = bytes.get(at..).filter(|line| !line.is_empty()) else {
        return Err(Front::Needs(at as u64 + 1));
    };
    if line[0] != mark {
        return Err(Front::Wrong(at, "a word's length is missing"));
    }
    let looked_at = &line[..line.len().min(COUNT_BYTES_MAX)];
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let end = 1 + looked_at[1..].iter().take_while(is_digit).count();
    match &looked_at[end..] {
        [] if looked_at.len() < COUNT_BYTES_MAX => Err(Front::Needs((at + end) as u64 + 2)),
        [] => Err(Front::Wrong(at, "a length that is no number")),
        [b'\r'] => Err(Front::Needs((at + end) as u64 + 2)),
        [b'\r', b'\n', ..] => match number::parse(&line[1..end]) {
            Some(number) => Ok((number, at + end + 2)),
            None => Err(Front::Wrong(at, "a length that is no number")),
        },
        [b'\r', ..] => Err(Front::Wrong(
            at + end + 1,
            "a line does not end where it should",
        )),
        _ => Err(Front::Wrong(at + end, "a length that is no number")),
    }
}
