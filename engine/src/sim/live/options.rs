//! What a ring is opened with. Together with what is done to it, this decides everything.

use std::fmt;
use std::str::FromStr;

use crate::db::Sync;
use crate::ring::Quorum;
use crate::{Error, ErrorKind, Result};

/// Machines that there may be in all, those that are gone included: the network has so many places.
pub const MACHINES_MOST: usize = 32;
/// Nodes that a ring may begin with.
const NODES_MOST: u32 = 16;
/// The least memory of a store.
const MEMORY_LEAST: u32 = 1 << 20;
/// The most: a page has to hold that many times over.
const MEMORY_MOST: u32 = 256 << 20;
/// The smallest memtable.
const MEMTABLE_LEAST: u32 = 4 << 10;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Nodes that found it.
    pub nodes: u32,
    /// Copies, and how many of them write and read.
    pub quorum: Quorum,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// When an entry counts as stored.
    pub sync: Sync,
    /// Memory of each node's store.
    pub memory_bytes: u32,
    /// What a memtable holds before it is frozen: small, so that there is something to be seen.
    pub memtable_bytes: u32,
    /// Whether each node writes append-only files and snapshots.
    pub archive: bool,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            nodes: 5,
            quorum: Quorum::new(3, 2, 2).unwrap_or(Quorum::ALONE),
            seed: 1,
            sync: Sync::Always,
            memory_bytes: 4 << 20,
            memtable_bytes: 64 << 10,
            archive: false,
        }
    }
}

pub(super) fn invalid(doing: &'static str, detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, doing, detail)
}

impl RingOptions {
    /// Whether a ring can be opened with them.
    ///
    /// # Errors
    /// `Invalid`, with what is wrong.
    pub fn check(&self) -> Result<()> {
        let wrong = |detail: String| Err(invalid("opening a ring", detail));
        if !(1..=NODES_MOST).contains(&self.nodes) {
            return wrong(format!(
                "{} nodes: a ring begins with 1 to {NODES_MOST}",
                self.nodes
            ));
        }
        let n = u32::from(self.quorum.replicas());
        if n > self.nodes {
            return wrong(format!("N is {n}, and there are {} nodes", self.nodes));
        }
        if !(MEMORY_LEAST..=MEMORY_MOST).contains(&self.memory_bytes) {
            return wrong(format!(
                "{} bytes of memory a node: {MEMORY_LEAST} to {MEMORY_MOST} will do",
                self.memory_bytes
            ));
        }
        if !(MEMTABLE_LEAST..=self.memory_bytes / 8).contains(&self.memtable_bytes) {
            return wrong(format!(
                "memtables of {} bytes: {MEMTABLE_LEAST} to an eighth of the memory will do",
                self.memtable_bytes
            ));
        }
        Ok(())
    }
}

fn name_of(sync: Sync) -> &'static str {
    match sync {
        Sync::Always => "always",
        Sync::EverySecond => "everysec",
        Sync::No => "no",
    }
}

impl fmt::Display for RingOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nodes={} quorum={} seed={}",
            self.nodes, self.quorum, self.seed
        )?;
        let usual = Self::default();
        if self.sync != usual.sync {
            write!(f, " sync={}", name_of(self.sync))?;
        }
        if self.memory_bytes != usual.memory_bytes {
            write!(f, " memory={}", self.memory_bytes)?;
        }
        if self.memtable_bytes != usual.memtable_bytes {
            write!(f, " memtable={}", self.memtable_bytes)?;
        }
        if self.archive {
            write!(f, " archive=yes")?;
        }
        Ok(())
    }
}

impl FromStr for RingOptions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut options = Self::default();
        for word in text.split_ascii_whitespace() {
            let wrong = || invalid("reading a ring's options", format!("{word:?} is none"));
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            match name {
                "nodes" => options.nodes = value.parse().map_err(|_| wrong())?,
                "quorum" => options.quorum = quorum_of(value.split(',')).ok_or_else(wrong)?,
                "seed" => options.seed = value.parse().map_err(|_| wrong())?,
                "sync" => {
                    let all = [Sync::Always, Sync::EverySecond, Sync::No];
                    let named = all.into_iter().find(|&sync| name_of(sync) == value);
                    options.sync = named.ok_or_else(wrong)?;
                }
                "memory" => options.memory_bytes = value.parse().map_err(|_| wrong())?,
                "memtable" => options.memtable_bytes = value.parse().map_err(|_| wrong())?,
                "archive" => options.archive = value == "yes",
                _ => return Err(wrong()),
            }
        }
        options.check()?;
        Ok(options)
    }
}

/// N, W and R from their digits.
pub(super) fn quorum_of<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Quorum> {
    let mut next = || words.next()?.parse().ok();
    let (n, w, r) = (next()?, next()?, next()?);
    Quorum::new(n, w, r).ok()
}
