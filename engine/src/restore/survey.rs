//! What a log's files hold, and what time they cover together.

use std::collections::BTreeMap;

use super::load::begins_with_rdb;
use crate::archive::aof::{Chain, Covered, File, Positions, Reader, Scan, Scanner};
use crate::archive::{POSITIONS_FIELD, rdb};
use crate::storage::{self, Object};
use crate::{Error, Result};

/// What was found in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFound {
    /// The version of its format.
    pub version: u16,
    /// When it was made, in seconds: the newest change in it, if it is our own.
    pub seconds: Option<u64>,
    /// Up to which entries it has everything, if it is our own.
    pub at: Option<Positions>,
    /// What is in it; `None` where only its beginning was read.
    pub whole: Option<SnapshotCounts>,
}

/// What a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotCounts {
    /// Strings.
    pub keys: u64,
    /// Those of them that expire.
    pub keys_with_deadline: u64,
    /// What Trilith does not hold, by its type.
    pub unsupported: BTreeMap<String, u64>,
    /// Whether it had a checksum, which then was right.
    pub checked: bool,
    /// Where it ends.
    pub end: u64,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The snapshot that it is, or begins with.
    pub snapshot: Option<SnapshotFound>,
    /// The commands in it.
    pub commands: Option<Scan>,
}

impl Found {
    /// The newest second that it tells of.
    pub fn last(&self) -> Option<u64> {
        let snapshot = self.snapshot.as_ref().and_then(|snapshot| snapshot.seconds);
        let commands = self.commands.as_ref().and_then(|scan| scan.times);
        snapshot.max(commands.map(|(_, last)| last))
    }
}

/// A file of a log, and what was found in it.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// As the manifest names it.
    pub file: File,
    /// Its length in bytes.
    pub bytes: u64,
    /// What was found, or what is wrong with it.
    pub found: Result<Found>,
}

/// What a log holds.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Its files that were looked at.
    pub files: Vec<Surveyed>,
    /// What can be loaded, the newest first.
    pub(super) chains: Vec<Chain>,
    /// The second that was asked for.
    pub(super) until: Option<u64>,
}

impl Survey {
    /// What was found in a file.
    pub fn of(&self, name: &str) -> Option<&Surveyed> {
        self.files
            .iter()
            .find(|surveyed| surveyed.file.name == name)
    }

    /// The seconds whose state can be loaded.
    pub fn covered(&self) -> Vec<Covered> {
        let chains = self.chains.iter();
        Covered::merged(chains.filter_map(|chain| self.covered_by(chain)).collect())
    }

    /// What is loaded for the state of a second, or for the newest; `None` if that second is not covered.
    pub fn chain(&self, seconds: Option<u64>) -> Option<&Chain> {
        let Some(seconds) = seconds else {
            return self.chains.first();
        };
        let covers = |chain: &&Chain| {
            let covered = self.covered_by(chain);
            covered.is_some_and(|covered| covered.has(seconds))
        };
        self.chains.iter().find(covers)
    }

    /// What a chain covers; `None` if it is not known of which time it is.
    fn covered_by(&self, chain: &Chain) -> Option<Covered> {
        let mut from = None;
        if let Some(base) = &chain.base {
            let found = self.of(&base.name)?.found.as_ref().ok()?;
            from = base.time.or(found.last());
        }
        let mut to = from;
        for (place, file) in chain.increments.iter().enumerate() {
            let Some(Ok(found)) = self.of(&file.name).map(|surveyed| &surveyed.found) else {
                break;
            };
            let Some(scan) = &found.commands else { break };
            if let Some((first, mut last)) = scan.times {
                let is_last = place + 1 == chain.increments.len();
                if scan.tear.is_some() && !is_last {
                    last = last.saturating_sub(1);
                }
                from.get_or_insert(first);
                if scan.gaps.is_empty() {
                    to = to.max(Some(last));
                }
            } else if scan.commands > 0 {
                // Nobody knows when.
                break;
            }
            if let Some(gap) = scan.gaps.first() {
                to = to.max(Some(gap.seconds.saturating_sub(1)));
                break;
            }
            if scan.tear.is_some() {
                break;
            }
        }
        Some(Covered {
            from: from?,
            to: to.or(from)?,
        })
    }

    /// Why a chain cannot be loaded, if it cannot.
    pub(super) fn fault(&self, chain: &Chain, doing: &'static str) -> Option<Error> {
        let last = chain.increments.last();
        for file in chain.files() {
            let surveyed = self.of(&file.name)?;
            let found = match &surveyed.found {
                Ok(found) => found,
                Err(error) => return Some(error.clone()),
            };
            let Some(scan) = &found.commands else {
                continue;
            };
            if scan.cut.is_some() {
                return None;
            }
            if let Some(tear) = scan.tear
                && last != Some(file)
            {
                let why = format!("it {}, but is not the newest file", tear.name());
                return Some(Error::corrupt(doing, why).at(scan.whole));
            }
        }
        None
    }
}

/// Reads a file whole, a snapshot or commands, and says what it holds.
///
/// # Errors
/// `Corrupt` and `Newer`, naming object and offset; those of storage.
pub async fn inspect<R: storage::Reader>(
    reader: R,
    object: Object,
    is_rdb: bool,
    progress: impl FnMut(u64),
) -> Result<Found> {
    look(reader, object, is_rdb, None, true, progress).await
}

/// Looks through a file.
pub(super) async fn look<R: storage::Reader>(
    reader: R,
    object: Object,
    is_rdb: bool,
    until: Option<u64>,
    whole: bool,
    progress: impl FnMut(u64),
) -> Result<Found> {
    let mut found = Found::default();
    let mut start = 0;
    if is_rdb || begins_with_rdb(&reader).await? {
        let snapshot = look_at_rdb(reader.clone(), object.clone(), whole || !is_rdb).await?;
        start = snapshot.whole.as_ref().map_or(0, |whole| whole.end);
        found.snapshot = Some(snapshot);
    }
    if !is_rdb {
        let commands = Reader::new(reader, object).from(start);
        found.commands = Some(Scanner::new(commands).until(until).run(progress).await?);
    }
    Ok(found)
}

pub(super) async fn look_at_rdb<R: storage::Reader>(
    reader: R,
    object: Object,
    whole: bool,
) -> Result<SnapshotFound> {
    let mut rdb = rdb::Reader::open(reader, object).await?;
    let mut found = SnapshotFound {
        version: rdb.version(),
        ..SnapshotFound::default()
    };
    let mut counts = SnapshotCounts::default();
    while let Some(item) = rdb.next().await? {
        match item {
            rdb::Item::Aux { name, value } => {
                if name == b"ctime" {
                    found.seconds = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                } else if name == POSITIONS_FIELD.as_bytes() {
                    found.at = Positions::parse(value);
                }
                continue;
            }
            _ if !whole => return Ok(found),
            rdb::Item::Entry { deadline_ms, .. } => {
                counts.keys += 1;
                counts.keys_with_deadline += u64::from(deadline_ms != 0);
            }
            rdb::Item::Unsupported { kind, .. } => {
                *counts.unsupported.entry(kind.to_string()).or_default() += 1;
            }
            rdb::Item::Functions { .. } => {
                *counts
                    .unsupported
                    .entry("functions".to_owned())
                    .or_default() += 1;
            }
            rdb::Item::Module { .. } => {
                *counts
                    .unsupported
                    .entry("module data".to_owned())
                    .or_default() += 1;
            }
            rdb::Item::Select(_) | rdb::Item::Sizes(_) => {}
        }
    }
    if let Some(ending) = rdb.ending() {
        (counts.end, counts.checked) = (ending.offset, ending.checked);
    }
    found.whole = Some(counts);
    Ok(found)
}
