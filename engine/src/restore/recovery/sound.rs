//! How far a file of commands can be relied on: up to its last sound checksum, if it has any, and else as far as it
//! reads as commands.

use crate::archive::aof::{Ending, Item, Line, Positions, Reader, Scan, Tear, checksum};
use crate::storage::{self, Object};
use crate::{Error, ErrorKind, Result};

const DOING: &str = "checking the append-only file";

/// How often progress is told.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Why a file is no use from somewhere on.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// Its tail is torn.
    Torn(Tear),
    /// What follows is not what was written.
    Damaged(Error),
    /// Something changed in this second that commands do not tell.
    Gap(u64),
}

/// What a file of commands has that can be relied on.
#[derive(Clone, Debug, Default)]
pub(super) struct Sound {
    /// Where that ends.
    pub upto: u64,
    /// The first and the last second that it tells.
    pub times: Option<(u64, u64)>,
    /// What had come before the file, if it says so.
    pub begins: Option<Positions>,
    /// Up to where it has everything, if it says so.
    pub at: Option<Positions>,
    /// Why there is more, if there is.
    pub stop: Option<Stop>,
}

impl Sound {
    /// As what is to be loaded of the file.
    pub(super) fn scan(&self) -> Scan {
        let (tear, cut) = match self.stop {
            None => (None, None),
            Some(Stop::Torn(tear)) => (Some(tear), None),
            Some(Stop::Damaged(_) | Stop::Gap(_)) => (None, Some(self.upto)),
        };
        Scan {
            whole: self.upto,
            tear,
            cut,
            ..Scan::default()
        }
    }
}

/// What has been read of a file.
#[derive(Clone, Default)]
struct Seen {
    upto: u64,
    times: Option<(u64, u64)>,
    begins: Option<Positions>,
    at: Positions,
    has_commands: bool,
}

impl Seen {
    fn line(&mut self, text: &[u8], line: Line) {
        match line {
            Line::Timestamp(second) => {
                let (first, last) = self.times.unwrap_or((second, second));
                self.times = Some((first.min(second), last.max(second)));
            }
            Line::Positions => {
                self.at.read(text);
                if self.begins.is_none() && !self.has_commands && self.at.is_complete() {
                    self.begins = Some(self.at.clone());
                }
            }
            Line::Gap(_) | Line::Other | Line::Damaged => {}
        }
    }

    fn sound(self, stop: Option<Stop>) -> Sound {
        Sound {
            upto: self.upto,
            times: self.times,
            begins: self.begins,
            at: Some(self.at).filter(Positions::is_complete),
            stop,
        }
    }
}

/// A file that is being read.
struct Looking {
    start: u64,
    seen: Seen,
    /// What checksums have been right for.
    kept: Option<Seen>,
    /// What was seen before the first gap, and its second.
    gap: Option<(Seen, u64)>,
}

impl Looking {
    fn line(&mut self, offset: u64, text: &[u8], line: Line) {
        if let (Line::Gap(second), None) = (line, &self.gap) {
            self.seen.upto = offset;
            self.gap = Some((self.seen.clone(), second));
        }
        self.seen.line(text, line);
    }

    /// A checksum was right; what it is of ends at `upto`.
    fn keep(&mut self, upto: u64) {
        self.seen.upto = upto;
        self.kept = Some(self.seen.clone());
    }

    /// The file has ended at the first gap that a checksum is right for; or what ends it is `stop`, and without
    /// checksums it is whole up to `whole`.
    fn ends(mut self, whole: u64, stop: Option<Stop>) -> Sound {
        let is_sealed = |before: &Seen, kept: &Seen| before.upto < kept.upto;
        match (self.gap, self.kept) {
            (Some((before, second)), Some(kept)) if is_sealed(&before, &kept) => {
                before.sound(Some(Stop::Gap(second)))
            }
            (_, Some(kept)) => kept.sound(stop),
            (Some((before, second)), None) => before.sound(Some(Stop::Gap(second))),
            (None, None) => {
                self.seen.upto = whole;
                self.seen.sound(stop)
            }
        }
    }

    /// The file ends. Whether that is behind a checksum is only asked if it has any.
    fn ended(self, ending: Ending, is_sealed: bool) -> Sound {
        let tear = match (&self.kept, is_sealed) {
            (Some(_), false) => Some(ending.tear.unwrap_or(Tear::Checksum)),
            _ => ending.tear,
        };
        self.ends(ending.whole, tear.map(Stop::Torn))
    }

    /// A checksum is wrong: nothing of what it is of can be relied on.
    fn differs(mut self, error: Error) -> Sound {
        let start = Seen {
            upto: self.start,
            ..Seen::default()
        };
        self.kept.get_or_insert(start);
        self.ends(0, Some(Stop::Damaged(error)))
    }
}

/// Reads a file of commands from `start` on.
///
/// # Errors
/// Those of storage; what is wrong with the file is found out and told.
pub(super) async fn look<R: storage::Reader>(
    reader: R,
    object: Object,
    start: u64,
    mut progress: impl FnMut(u64),
) -> Result<Sound> {
    let mut commands = Reader::new(reader.clone(), object.clone()).from(start);
    let mut looking = Looking {
        start,
        seen: Seen::default(),
        kept: None,
        gap: None,
    };
    let (mut told, mut summed) = (0, start);
    loop {
        if commands.offset() - told >= PROGRESS_BYTES {
            told = commands.offset();
            progress(told);
        }
        let (offset, text) = match commands.next().await {
            Ok(Some(Item::Command(_))) => {
                looking.seen.has_commands = true;
                continue;
            }
            Ok(Some(Item::Annotation { offset, text, line })) => {
                looking.line(offset, &text, line);
                (offset, text)
            }
            Ok(None) => break,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return Ok(looking.ends(commands.ending().whole, Some(Stop::Damaged(error))));
            }
            Err(error) => return Err(error),
        };
        let Some(sum) = checksum::of_line(&text) else {
            continue;
        };
        if sum != checksum::of_bytes(&reader, summed, offset).await? {
            let error = Error::corrupt(DOING, "its checksum differs");
            return Ok(looking.differs(error.on(object).at(summed)));
        }
        summed = commands.offset();
        looking.keep(summed);
    }
    Ok(looking.ended(commands.ending(), summed == commands.offset()))
}
