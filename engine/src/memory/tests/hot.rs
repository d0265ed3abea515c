//! Which keys are in use, and room for what is cached ahead of need.

use std::collections::BTreeSet;

use super::*;

fn hot(memory: &Memory) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    let mut from = Some(0);
    while let Some(bucket) = from {
        from = memory.hot_keys(bucket, |hot| {
            assert!(hot.record_bytes >= 16 + hot.key.len());
            keys.insert(hot.key.to_vec());
        });
    }
    keys
}

#[test]
fn hot_keys_are_those_that_were_read_and_have_their_values_with_them() {
    let memory = small();
    let mut set = memory.chunk_set();
    for i in 0..3000_u64 {
        let key = i.to_be_bytes();
        let kind = [Kind::Put, Kind::Delete, Kind::PutApart][(i % 3) as usize];
        let record = Record {
            kind,
            ..put(&key, i, &[7; 9])
        };
        apply(&memory, &mut set, &record);
    }
    assert!(hot(&memory).is_empty());
    let read: Vec<u64> = (0..3000).filter(|i| i % 7 == 0).collect();
    for i in &read {
        assert!(get(&memory, &i.to_be_bytes()).is_some());
    }
    let expected = read.iter().filter(|i| *i % 3 == 0);
    let expected: BTreeSet<_> = expected.map(|i| i.to_be_bytes().to_vec()).collect();
    assert_eq!(hot(&memory), expected);
    // A key that is written anew is what it was.
    for i in 0..3000_u64 {
        apply(&memory, &mut set, &put(&i.to_be_bytes(), 5000 + i, b"new"));
    }
    assert_eq!(hot(&memory).len(), read.len());
    drop(set);
    memory.clear_clean();
    assert!(hot(&memory).is_empty());
}

#[test]
fn nothing_is_evicted_for_what_is_cached_ahead_of_need() {
    let memory = small();
    let mut filled = 0_u64;
    while memory.has_room_ahead() {
        let key = filled.to_be_bytes();
        assert!(memory.fill(hash_key(&key), &put(&key, 1, &[1; 100]), 1));
        filled += 1;
    }
    let stats = memory.stats();
    assert_eq!((stats.evicted, stats.slots_used as u64), (0, filled));
    assert!(stats.free_chunks >= stats.chunks / 4);
    let (keys, bytes) = memory.most_ahead();
    // Of 136 bytes each.
    let most = keys.min(bytes / 136) as u64;
    assert!(
        (most * 8 / 10..=most).contains(&filled),
        "{filled} of {most}"
    );
}
