//! Which files are read for a moment: the newest base that is not later, and the commands since.

use super::manifest::{File, Manifest};
use crate::{Error, ErrorKind, Result};

const DOING: &str = "choosing files of the append-only log";

/// A base and what goes on from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The keyspace that it begins with; without one, an empty one.
    pub base: Option<File>,
    /// The commands since, in order.
    pub increments: Vec<File>,
}

impl Chain {
    /// All its files, in the order in which they are read.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.base.iter().chain(&self.increments)
    }
}

/// Seconds for which a log has everything, the first and the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

impl Covered {
    /// Whether a second is among them.
    pub fn has(&self, seconds: u64) -> bool {
        (self.from..=self.to).contains(&seconds)
    }

    /// Joins what overlaps or touches, in order.
    pub fn merged(mut all: Vec<Self>) -> Vec<Self> {
        all.retain(|covered| covered.from <= covered.to);
        all.sort_by_key(|covered| covered.from);
        let mut merged: Vec<Self> = Vec::new();
        for covered in all {
            match merged.last_mut() {
                Some(last) if covered.from <= last.to.saturating_add(1) => {
                    last.to = last.to.max(covered.to);
                }
                _ => merged.push(covered),
            }
        }
        merged
    }
}

impl Manifest {
    /// What is read for the newest state.
    pub fn newest(&self) -> Chain {
        Chain {
            base: self.base.clone(),
            increments: self.increments.clone(),
        }
    }

    /// Every chain that there is, the newest first: one for each base, replaced ones included. A replaced base of which
    /// it is not known what goes on from it has none.
    ///
    /// # Errors
    /// `Missing` where the newest has a hole.
    pub fn chains(&self) -> Result<Vec<Chain>> {
        let newest = self.newest();
        check_whole(&newest)?;
        let mut chains = vec![newest];
        let mut bases: Vec<&File> = self.history.iter().filter(|file| file.is_base()).collect();
        bases.sort_by_key(|base| std::cmp::Reverse(base.seq));
        let mut increments: Vec<&File> = self
            .history
            .iter()
            .filter(|file| !file.is_base())
            .chain(&self.increments)
            .collect();
        increments.sort_by_key(|file| file.seq);
        for base in bases {
            let Some(first) = base.incr else { continue };
            let since = increments.iter().filter(|file| file.seq >= first);
            let chain = Chain {
                base: Some(base.clone()),
                increments: since.map(|&file| file.clone()).collect(),
            };
            // What was replaced may be gone in part.
            if check_whole(&chain).is_ok() {
                chains.push(chain);
            }
        }
        Ok(chains)
    }
}

/// Fails if an incremental file is missing between others.
fn check_whole(chain: &Chain) -> Result<()> {
    let mut next = chain.base.as_ref().and_then(|base| base.incr);
    for file in &chain.increments {
        if let Some(next) = next
            && file.seq != next
        {
            let detail = format!("the manifest does not name incremental file {next}");
            return Err(Error::new(ErrorKind::Missing, DOING, detail));
        }
        next = file.seq.checked_add(1);
    }
    Ok(())
}
