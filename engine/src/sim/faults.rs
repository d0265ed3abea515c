//! What goes wrong, as data: a schedule can be printed, read back, and cut down to what matters.

use std::fmt;
use std::str::FromStr;

use crate::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Packets are lost on some links.
    Loss,
    /// Packets take long on some links.
    Delay,
    /// Packets arrive twice.
    Duplicate,
    /// Packets overtake each other.
    Reorder,
    /// Some links stand still, and deliver everything afterwards.
    Clog,
    /// Some links lose everything, in one direction.
    OneWay,
    /// The nodes fall into two halves that do not hear each other.
    Partition,
    /// A node does nothing for a while.
    Pause,
    /// A process is killed; what it had written stays.
    Crash,
    /// A machine loses power, and with it what was not synced.
    Power,
    /// A bit of a stored object flips.
    BitRot,
    /// A value in one copy changes, and every checksum with it.
    StateRot,
    /// A write or sync fails.
    Eio,
    /// A disk is full.
    Enospc,
    /// A disk takes long to write.
    SlowDisk,
    /// A wall clock jumps.
    ClockJump,
    /// A wall clock runs fast or slow.
    ClockSkew,
    /// A machine loses its disk, and comes back as a new node.
    DiskSwap,
    /// Members, masters or quorums change.
    Members,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Loss,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::Clog,
        Self::OneWay,
        Self::Partition,
        Self::Pause,
        Self::Crash,
        Self::Power,
        Self::BitRot,
        Self::StateRot,
        Self::Eio,
        Self::Enospc,
        Self::SlowDisk,
        Self::ClockJump,
        Self::ClockSkew,
        Self::DiskSwap,
        Self::Members,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Clog => "clog",
            Self::OneWay => "one-way",
            Self::Partition => "partition",
            Self::Pause => "pause",
            Self::Crash => "crash",
            Self::Power => "power",
            Self::BitRot => "bit-rot",
            Self::StateRot => "state-rot",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::SlowDisk => "slow-disk",
            Self::ClockJump => "clock-jump",
            Self::ClockSkew => "clock-skew",
            Self::DiskSwap => "disk-swap",
            Self::Members => "members",
        }
    }

    /// How long it lasts at most, in milliseconds.
    fn most_ms(self) -> u64 {
        match self {
            Self::Loss | Self::Delay | Self::Duplicate | Self::Reorder => 2_000,
            Self::Clog | Self::OneWay | Self::Partition => 1_200,
            Self::Pause => 1_500,
            Self::Crash | Self::Power | Self::DiskSwap | Self::Eio => 800,
            Self::Enospc | Self::SlowDisk => 1_200,
            Self::ClockJump | Self::ClockSkew => 3_000,
            Self::BitRot | Self::StateRot | Self::Members => 100,
        }
    }

    /// How often it comes, compared with others: what hurts more comes less often.
    /// Whether it takes a node away for good, or changes who holds a range.
    pub(super) fn changes_members(self) -> bool {
        matches!(self, Self::DiskSwap | Self::BitRot | Self::Members)
    }

    fn weight(self) -> u64 {
        match self {
            Self::Power | Self::Crash | Self::Members => 4,
            Self::BitRot | Self::StateRot | Self::Eio | Self::Enospc => 1,
            _ => 2,
        }
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("there is no fault {name:?}; there are {}", names.join(", "))
        })
    }
}

/// A fault at its time. Whom it strikes and how hard is drawn from its own seed, so that taking other
/// faults out of a schedule changes nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// For how long.
    pub for_ms: u64,
    /// What.
    pub kind: FaultKind,
    /// Decides the rest.
    pub seed: u64,
}

/// The first fault comes no sooner, so that there is something to break.
const QUIET_MS: u64 = 600;
/// The mean time from one fault to the next.
const BETWEEN_MS: u64 = 600;

impl Fault {
    /// Faults of these kinds over so much time.
    pub fn schedule(seed: u64, kinds: &[FaultKind], millis: u64) -> Vec<Self> {
        let mut random = Random::new(seed ^ 0xfa17);
        let total: u64 = kinds.iter().map(|kind| kind.weight()).sum();
        let mut faults = Vec::new();
        let mut at_ms = QUIET_MS;
        while total > 0 && at_ms < millis {
            let mut draw = random.below(total);
            let chosen = kinds.iter().find(|kind| {
                let is_it = draw < kind.weight();
                draw = draw.saturating_sub(kind.weight());
                is_it
            });
            if let Some(&kind) = chosen {
                let for_ms = 50 + random.below(kind.most_ms());
                faults.push(Self {
                    at_ms,
                    for_ms,
                    kind,
                    seed: random.next() >> 32,
                });
            }
            at_ms += 1 + random.below(2 * BETWEEN_MS);
        }
        faults
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{}+{}:{:x}",
            self.kind.name(),
            self.at_ms,
            self.for_ms,
            self.seed
        )
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("{text:?} is no fault: it looks like crash@1200+300:5eed");
        let (kind, rest) = text.split_once('@').ok_or_else(malformed)?;
        let (at, rest) = rest.split_once('+').ok_or_else(malformed)?;
        let (time, seed) = rest.split_once(':').ok_or_else(malformed)?;
        Ok(Self {
            at_ms: at.parse().map_err(|_| malformed())?,
            for_ms: time.parse().map_err(|_| malformed())?,
            kind: kind.parse()?,
            seed: u64::from_str_radix(seed, 16).map_err(|_| malformed())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_reads_back_as_it_was_printed() {
        let faults = Fault::schedule(7, &FaultKind::ALL, 60_000);
        assert!(faults.len() > 50);
        for fault in faults {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert!("flood@1+1:0".parse::<Fault>().is_err());
        assert!("crash@1:0".parse::<Fault>().is_err());
    }

    #[test]
    fn without_kinds_nothing_goes_wrong() {
        assert!(Fault::schedule(7, &[], 60_000).is_empty());
    }
}
