//! What the model test does, drawn by proptest so that a failure shrinks.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use trilith::random::Random;
use trilith::{Batch, Range};

/// How many keys there are.
pub const KEYS: u16 = 300;

/// A write and what it says.
#[derive(Clone, Debug)]
pub enum Write {
    Put {
        at: u16,
        len: u16,
        seed: u64,
    },
    PutFor {
        at: u16,
        len: u16,
        seed: u64,
        ttl_ms: u64,
    },
    Delete {
        at: u16,
    },
    DeleteRange {
        start: u16,
        end: Option<u16>,
    },
    Batch(Vec<Write>),
}

/// One step of the model test.
#[derive(Clone, Debug)]
pub enum Step {
    Write(Write),
    /// Many writes in a row, so that memory fills up.
    Fill {
        first: u16,
        count: u16,
        len: u16,
    },
    /// Writers that wait together: keys and lengths of values.
    Together(BTreeMap<u16, u16>),
    /// A writer that does not wait for its answer.
    Dropped((u16, u16)),
    Get(u16),
    GetAll,
    Scan {
        range: Range,
        writes: Vec<Write>,
    },
    Snapshot,
    ReadSnapshot {
        which: usize,
        range: Range,
    },
    DropSnapshot(usize),
    Pass(u64),
    Flush,
    Compact,
    Sync,
    Checkpoint,
    Reopen {
        close: bool,
    },
    Verify,
}

/// The key with this number. Some are empty, long, prefixes of others or at the very end.
pub fn key(at: u16) -> Vec<u8> {
    match at % KEYS {
        0 => Vec::new(),
        1 => vec![0],
        2 => vec![0xff],
        3 => vec![0xff; 40],
        at if at % 16 == 4 => [&b"k/"[..], &[at as u8; 70], &at.to_be_bytes()].concat(),
        at if at % 16 == 5 => format!("k/{:02}", at % 20).into_bytes(),
        at => format!("k/{:02}/{at:03}", at % 20).into_bytes(),
    }
}

/// A value; every other one can be compressed.
pub fn value(len: u16, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let letters = if seed.is_multiple_of(2) { 4 } else { 256 };
    (0..len).map(|_| random.below(letters) as u8).collect()
}

impl Write {
    /// Adds it to a batch that is made at `now_ms`.
    pub fn add_to(&self, batch: &mut Batch, now_ms: u64) {
        match self {
            Self::Put { at, len, seed } => _ = batch.put(&key(*at), &value(*len, *seed)),
            Self::PutFor {
                at,
                len,
                seed,
                ttl_ms,
            } => {
                batch.put_until(&key(*at), &value(*len, *seed), now_ms + ttl_ms);
            }
            Self::Delete { at } => _ = batch.delete(&key(*at)),
            Self::DeleteRange { start, end } => {
                batch.delete_range(&key(*start), end.map(key).as_deref());
            }
            Self::Batch(writes) => writes.iter().for_each(|write| write.add_to(batch, now_ms)),
        }
    }
}

fn len() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 0u16..120, 2 => 120u16..690, 1 => 700u16..2500]
}

fn plain_write() -> impl Strategy<Value = Write> {
    let at = 0..KEYS;
    // Some expire within the run, some never do.
    let ttl = prop_oneof![Just(1u64), 1u64..2000, Just(3_600_000)];
    prop_oneof![
        10 => (at.clone(), len(), any::<u64>()).prop_map(|(at, len, seed)| Write::Put { at, len, seed }),
        2 => (at.clone(), len(), any::<u64>(), ttl)
            .prop_map(|(at, len, seed, ttl_ms)| Write::PutFor { at, len, seed, ttl_ms }),
        4 => at.clone().prop_map(|at| Write::Delete { at }),
        1 => (at.clone(), option::weighted(0.9, at))
            .prop_map(|(start, end)| Write::DeleteRange { start, end }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![8 => plain_write(), 1 => vec(plain_write(), 1..12).prop_map(Write::Batch)]
}

fn range() -> impl Strategy<Value = Range> {
    let at = 0..KEYS;
    let range = prop_oneof![
        Just(Range::all()),
        at.clone().prop_map(|at| Range::from(&key(at))),
        (at.clone(), at).prop_map(|(a, b)| Range::between(&key(a), &key(b))),
        (0u16..20).prop_map(|group| Range::prefix(format!("k/{group:02}").as_bytes())),
        Just(Range::prefix(b"\xff")),
    ];
    (range, any::<bool>())
        .prop_map(|(range, reverse)| if reverse { range.reversed() } else { range })
}

fn step() -> impl Strategy<Value = Step> {
    let fill_len = prop_oneof![20u16..150, 300u16..600];
    prop_oneof![
        60 => write().prop_map(Step::Write),
        10 => (0..KEYS, 20u16..120, fill_len)
            .prop_map(|(first, count, len)| Step::Fill { first, count, len }),
        4 => btree_map(0..KEYS, len(), 1..20).prop_map(Step::Together),
        2 => (0..KEYS, len()).prop_map(Step::Dropped),
        20 => (0..KEYS).prop_map(Step::Get),
        2 => Just(Step::GetAll),
        8 => (range(), vec(write(), 0..12)).prop_map(|(range, writes)| Step::Scan { range, writes }),
        4 => Just(Step::Snapshot),
        4 => (0usize..3, range()).prop_map(|(which, range)| Step::ReadSnapshot { which, range }),
        2 => (0usize..3).prop_map(Step::DropSnapshot),
        4 => (0u64..1500).prop_map(Step::Pass),
        4 => Just(Step::Flush),
        2 => Just(Step::Compact),
        1 => Just(Step::Sync),
        1 => Just(Step::Checkpoint),
        3 => any::<bool>().prop_map(|close| Step::Reopen { close }),
        1 => Just(Step::Verify),
    ]
}

/// A run's steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..most)
}
