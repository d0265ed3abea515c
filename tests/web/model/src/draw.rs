//! Steps of the model test, drawn from a seed.

use std::collections::BTreeMap;

use trilith::Range;
use trilith::random::Random;

use crate::model::{KEYS, Step, Write, key};

/// So many steps.
pub(crate) fn steps(seed: u32, count: u32) -> Vec<Step> {
    let mut random = Random::new(u64::from(seed));
    (0..count).map(|_| step(&mut random)).collect()
}

fn at(random: &mut Random) -> u16 {
    random.index(usize::from(KEYS)) as u16
}

fn between(random: &mut Random, low: u64, high: u64) -> u64 {
    low + random.below(high - low)
}

fn len(random: &mut Random) -> u16 {
    let (low, high) = match random.below(11) {
        0..8 => (0, 120),
        8..10 => (120, 690),
        _ => (700, 2500),
    };
    between(random, low, high) as u16
}

fn plain_write(random: &mut Random) -> Write {
    match random.below(17) {
        0..10 => Write::Put {
            at: at(random),
            len: len(random),
            seed: random.next(),
        },
        10..12 => Write::PutFor {
            at: at(random),
            len: len(random),
            seed: random.next(),
            ttl_ms: match random.below(3) {
                0 => 1,
                1 => between(random, 1, 2000),
                _ => 3_600_000,
            },
        },
        12..16 => Write::Delete { at: at(random) },
        _ => Write::DeleteRange {
            start: at(random),
            end: (random.below(10) > 0).then(|| at(random)),
        },
    }
}

fn write(random: &mut Random) -> Write {
    if random.below(9) > 0 {
        return plain_write(random);
    }
    let count = between(random, 1, 12);
    Write::Batch((0..count).map(|_| plain_write(random)).collect())
}

fn range(random: &mut Random) -> Range {
    let range = match random.below(5) {
        0 => Range::all(),
        1 => Range::from(&key(at(random))),
        2 => Range::between(&key(at(random)), &key(at(random))),
        3 => Range::prefix(format!("k/{:02}", random.below(20)).as_bytes()),
        _ => Range::prefix(b"\xff"),
    };
    if random.coin() {
        range.reversed()
    } else {
        range
    }
}

fn step(random: &mut Random) -> Step {
    match random.below(128) {
        0..60 => Step::Write(write(random)),
        60..70 => {
            let (low, high) = if random.coin() { (20, 150) } else { (300, 600) };
            Step::Fill {
                first: at(random),
                count: between(random, 20, 120) as u16,
                len: between(random, low, high) as u16,
            }
        }
        70..74 => {
            let count = between(random, 1, 20);
            let puts: BTreeMap<_, _> = (0..count).map(|_| (at(random), len(random))).collect();
            Step::Together(puts)
        }
        74..76 => Step::Dropped((at(random), len(random))),
        76..96 => Step::Get(at(random)),
        96..98 => Step::GetAll,
        98..106 => {
            let count = random.below(12);
            let range = range(random);
            let writes = (0..count).map(|_| write(random)).collect();
            Step::Scan { range, writes }
        }
        106..110 => Step::Snapshot,
        110..114 => Step::ReadSnapshot {
            which: random.index(3),
            range: range(random),
        },
        114..116 => Step::DropSnapshot(random.index(3)),
        116..119 => Step::Pass(random.below(1500)),
        119..122 => Step::Flush,
        122 => Step::Compact,
        123 => Step::Sync,
        124 => Step::Checkpoint,
        125..127 => Step::Reopen {
            close: random.coin(),
        },
        _ => Step::Verify,
    }
}
