//! Steps, drawn by proptest so that a failure shrinks.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use trilith::Range;

use super::steps::{KEYS, Step, Write, key};

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
