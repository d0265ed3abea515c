//! What a crash leaves of a disk.
//!
//! The exact modes leave what the contract promises and nothing else; the torn ones draw from all
//! that it allows, file by file and name by name, by their seed.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::{Disk, File, FileId};
use crate::random::Random;
use crate::storage::Object;

/// A disk writes these whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What ends, and how much of what was not promised survives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrashMode {
    /// The process: all that was written survives, and nothing that was only appended.
    ProcessKilled,
    /// The process, in the middle of its work: a prefix of what was only appended may survive, and
    /// removed objects may come back.
    ProcessKilledTorn {
        /// Draws what survives.
        seed: u64,
    },
    /// The machine: all that was synced survives, and nothing else.
    PowerLoss,
    /// The machine, with its disk at work: anything may survive of what was not synced.
    PowerLossTorn {
        /// Draws what survives.
        seed: u64,
    },
}

impl CrashMode {
    /// The exact modes, and the torn ones with each of these seeds.
    pub fn all(seeds: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Self> {
        let torn = seeds.into_iter().flat_map(|seed| {
            [
                Self::ProcessKilledTorn { seed },
                Self::PowerLossTorn { seed },
            ]
        });
        [Self::ProcessKilled, Self::PowerLoss]
            .into_iter()
            .chain(torn)
    }

    /// Whether what was not synced may be lost.
    pub fn loses_power(self) -> bool {
        matches!(self, Self::PowerLoss | Self::PowerLossTorn { .. })
    }

    /// Whether something may survive in part.
    pub fn is_torn(self) -> bool {
        self.dice().is_some()
    }

    fn dice(self) -> Option<Random> {
        match self {
            Self::ProcessKilled | Self::PowerLoss => None,
            Self::ProcessKilledTorn { seed } | Self::PowerLossTorn { seed } => {
                Some(Random::new(seed))
            }
        }
    }
}

impl Disk {
    /// The disk as the next process finds it.
    pub(super) fn survivor(&self, mode: CrashMode) -> Self {
        let mut dice = mode.dice();
        if mode.loses_power() {
            self.after_power_loss(&mut dice)
        } else {
            self.after_kill(&mut dice)
        }
    }

    fn after_kill(&self, dice: &mut Option<Random>) -> Self {
        let mut disk = self.clone();
        if let Some(dice) = dice {
            for (object, id) in &self.removed {
                if !disk.live.contains_key(object) && dice.coin() {
                    disk.live.insert(object.clone(), *id);
                    disk.removed.remove(&(object.clone(), *id));
                }
            }
        }
        for file in disk.files.values_mut() {
            *file = file.after_kill(dice);
        }
        disk.collect();
        disk
    }

    fn after_power_loss(&self, dice: &mut Option<Random>) -> Self {
        let mut disk = Self {
            meta: self.meta.clone(),
            host_epoch: self.host_epoch + 1,
            capacity_bytes: self.capacity_bytes,
            full: self.full,
            last_id: self.last_id,
            ..Self::default()
        };
        disk.live = match dice {
            None => self.durable.clone(),
            Some(dice) => self.drawn_names(dice),
        };
        disk.durable = disk.live.clone();
        let found: BTreeSet<FileId> = disk.live.values().copied().collect();
        for id in found {
            let live = self.files[&id].after_power_loss(dice);
            let file = File {
                synced: live.len(),
                live,
                named: true,
                ..File::default()
            };
            disk.files.insert(id, file);
        }
        disk
    }

    fn drawn_names(&self, dice: &mut Random) -> BTreeMap<Object, FileId> {
        let names: BTreeSet<&Object> = self.live.keys().chain(self.durable.keys()).collect();
        let mut drawn = BTreeMap::new();
        for name in names {
            let (live, durable) = (self.live.get(name), self.durable.get(name));
            let survivor = if live == durable || dice.coin() {
                live
            } else {
                durable
            };
            if let Some(id) = survivor {
                drawn.insert(name.clone(), *id);
            }
        }
        drawn
    }
}

impl File {
    fn after_kill(&self, dice: &mut Option<Random>) -> Self {
        let mut live = self.live.clone();
        let broken = self.broken.is_some();
        if let Some(dice) = dice.as_mut().filter(|_| !broken && !self.buffer.is_empty()) {
            let kept = dice.index(self.buffer.len() + 1);
            live.extend_from_slice(&self.buffer[..kept]);
        }
        let len = live.len();
        let ends = self.appends.iter().map(|&end| end.min(len));
        let mut appends: Vec<usize> = ends.filter(|&end| end > self.synced).collect();
        appends.dedup();
        Self {
            live,
            cut_tail: self.cut_tail.clone(),
            appends,
            synced: self.synced,
            unsyncable: self.unsyncable.clone(),
            named: self.named,
            writer: self.writer,
            ..Self::default()
        }
    }

    fn after_power_loss(&self, dice: &mut Option<Random>) -> Vec<u8> {
        let Some(dice) = dice else {
            return self.durable();
        };
        if self.cut_tail.is_some() && dice.coin() {
            return self.durable();
        }
        let appended = [self.live.as_slice(), self.buffer.as_slice()].concat();
        let mut torn = Torn::new(&appended, self.synced);
        let mut start = self.synced;
        for &end in self.appends.iter().filter(|&&end| end <= appended.len()) {
            if end > start {
                torn.draw(start, end, dice);
                start = end;
            }
        }
        if start < appended.len() {
            torn.draw(start, appended.len(), dice);
        }
        torn.finish(dice)
    }
}

/// A file whose unsynced part reaches the disk piece by piece.
struct Torn<'a> {
    appended: &'a [u8],
    survived: Vec<u8>,
    /// The file's end; what lies before it and did not survive reads as zeros or garbage.
    len: usize,
    holes: Vec<(usize, usize)>,
}

impl<'a> Torn<'a> {
    fn new(appended: &'a [u8], synced: usize) -> Self {
        Self {
            appended,
            survived: appended.to_vec(),
            len: synced,
            holes: Vec::new(),
        }
    }

    /// Draws the fate of one append.
    fn draw(&mut self, start: usize, end: usize, dice: &mut Random) {
        match dice.below(4) {
            0 => self.holes.push((start, end)),
            1 => self.len = end,
            2 => {
                let cut = start + dice.index(end - start);
                if cut > start {
                    self.len = cut;
                }
                self.holes.push((cut, end));
            }
            _ => self.draw_sectors(start, end, dice),
        }
    }

    fn draw_sectors(&mut self, start: usize, end: usize, dice: &mut Random) {
        let mut at = start;
        while at < end {
            let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            match dice.below(3) {
                0 => self.holes.push((at, next)),
                1 => self.len = next,
                // The length has reached the disk before the bytes.
                _ => {
                    self.holes.push((at, next));
                    self.len = next;
                }
            }
            at = next;
        }
    }

    fn finish(mut self, dice: &mut Random) -> Vec<u8> {
        self.survived.truncate(self.len.min(self.appended.len()));
        for (start, end) in self.holes {
            let end = end.min(self.survived.len());
            if start >= end {
                continue;
            }
            let hole = &mut self.survived[start..end];
            if dice.coin() {
                hole.fill(0);
            } else {
                hole.fill_with(|| dice.next() as u8);
            }
        }
        self.survived
    }
}
