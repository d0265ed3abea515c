//! What a file holds, without knowing what its commands do: how much, of which time, and how far it is whole.

use super::checksum;
use super::line::Line;
use super::positions::Positions;
use super::reader::{Command, Ending, Item, Reader, Tear};
use crate::{Error, Result, storage};

const DOING: &str = "reading the append-only file";

/// A place from which on a file is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where the annotation stands.
    pub offset: u64,
    /// The second in which something changed.
    pub seconds: u64,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that are whole commands, transactions and annotations.
    pub whole: u64,
    /// Why there are more bytes, if there are.
    pub tear: Option<Tear>,
    /// Commands, MULTI and EXEC included.
    pub commands: u64,
    /// The first and the last time that it tells, in seconds.
    pub times: Option<(u64, u64)>,
    /// From where on it is incomplete.
    pub gaps: Vec<Gap>,
    /// Up to where it has everything.
    pub positions: Positions,
    /// Where the time begins that was asked for; nothing, unless it has later times than that.
    pub cut: Option<u64>,
}

impl Scan {
    /// Where what is to be read ends.
    pub fn end(&self) -> u64 {
        self.cut.map_or(self.whole, |cut| cut.min(self.whole))
    }
}

/// Walks a file.
#[derive(Debug)]
pub struct Scanner<R> {
    reader: Reader<R>,
    /// The last second that is of interest.
    until: Option<u64>,
    /// What the next checksum is of begins here.
    summed: u64,
    /// The last checksum was wrong: what it is of begins here.
    wrong: Option<u64>,
    found: Scan,
}

impl<R: storage::Reader> Scanner<R> {
    /// Walks what `reader` reads.
    pub fn new(reader: Reader<R>) -> Self {
        Self {
            summed: reader.offset(),
            wrong: None,
            reader,
            until: None,
            found: Scan::default(),
        }
    }

    /// Also finds where the file has to be cut so that it holds nothing later than this second: before the first
    /// annotation of a later one, as redis-check-aof cuts it; if that is within a transaction, before the transaction.
    #[must_use]
    pub fn until(mut self, seconds: Option<u64>) -> Self {
        self.until = seconds;
        self
    }

    /// Takes one step: the command that was passed, `None` for an annotation.
    /// `Ok(None)` where the file ends.
    ///
    /// # Errors
    /// As [`Reader::next`]; `Corrupt` too if a checksum was wrong and a right one follows. Where none follows the tail is
    /// torn, as a loss of power may leave it.
    pub async fn step(&mut self) -> Result<Option<Option<Command>>> {
        let whole = self.reader.ending().whole;
        Ok(match self.reader.next().await? {
            None => None,
            Some(Item::Command(command)) => {
                self.found.commands += 1;
                Some(Some(command))
            }
            Some(Item::Annotation { offset, text, line }) => {
                match line {
                    Line::Timestamp(seconds) => self.at_time(seconds, whole),
                    Line::Gap(seconds) => {
                        self.found.gaps.push(Gap { offset, seconds });
                        self.cut_if_later(seconds, whole);
                    }
                    Line::Positions => {
                        self.found.positions.read(&text);
                    }
                    Line::Other => self.check(&text, offset).await?,
                    Line::Damaged => {}
                }
                Some(None)
            }
        })
    }

    /// If an annotation is a checksum, sees whether it is right.
    async fn check(&mut self, text: &[u8], offset: u64) -> Result<()> {
        let Some(sum) = checksum::of_line(text) else {
            return Ok(());
        };
        let is_right = sum == self.reader.checksum(self.summed, offset).await?;
        match (is_right, self.wrong) {
            (true, Some(wrong)) => {
                let error = Error::corrupt(DOING, "its checksum differs");
                return Err(error.on(self.reader.object().clone()).at(wrong));
            }
            (false, None) => self.wrong = Some(self.summed),
            _ => {}
        }
        self.summed = self.reader.offset();
        Ok(())
    }

    fn at_time(&mut self, seconds: u64, whole: u64) {
        let (first, last) = self.found.times.unwrap_or((seconds, seconds));
        self.found.times = Some((first.min(seconds), last.max(seconds)));
        self.cut_if_later(seconds, whole);
    }

    fn cut_if_later(&mut self, seconds: u64, whole: u64) {
        if self.until.is_some_and(|until| seconds > until) {
            self.found.cut.get_or_insert(whole);
        }
    }

    /// How far it has got.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// What was found.
    pub fn finish(mut self) -> Scan {
        let Ending { whole, tear } = self.reader.ending();
        self.found.whole = whole;
        self.found.tear = tear;
        if let Some(wrong) = self.wrong {
            self.found.whole = wrong;
            self.found.tear = Some(Tear::Checksum);
        }
        self.found
    }

    /// Walks to the end, telling `progress` how far it has got.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub async fn run(mut self, mut progress: impl FnMut(u64)) -> Result<Scan> {
        let mut told = 0;
        while self.step().await?.is_some() {
            if self.offset() - told >= PROGRESS_BYTES {
                told = self.offset();
                progress(told);
            }
        }
        Ok(self.finish())
    }
}

/// How often progress is told.
const PROGRESS_BYTES: u64 = 1 << 20;
