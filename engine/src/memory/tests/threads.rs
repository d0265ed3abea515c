//! The hash table against itself, from several threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// A value that says what it belongs to, over and over.
fn witness(key: u64, seq: u64) -> Vec<u8> {
    let word = (key << 40 | seq).to_le_bytes();
    word.iter()
        .copied()
        .cycle()
        .take(40 + (seq % 300) as usize)
        .collect()
}

#[test]
fn readers_never_see_a_torn_or_an_older_record() {
    const KEYS: u64 = 2_000;
    const WRITES: u64 = 150_000;
    let memory = small();
    // Per key the newest sequence number that was surely published, and one that was surely flushed.
    let published: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    let writer = |which: u64| {
        let mut set = memory.chunk_set();
        let mut dice = Dice(which);
        for step in 1..=WRITES {
            let key = dice.below(KEYS / 2) * 2 + which;
            // Most of a key's versions are never flushed elsewhere: only the table is under test.
            let seq = step;
            let value = witness(key, seq);
            let bytes = key.to_le_bytes();
            let record = put(&bytes, seq, &value);
            let mut waits = 0;
            let addr = loop {
                match set.write(&record) {
                    Some(addr) => break addr,
                    None => set = memory.chunk_set(),
                }
                waits += 1;
                assert!(waits < 1_000_000, "{:?}", memory.stats());
                std::thread::yield_now();
            };
            memory.publish(hash_key(&bytes), addr).unwrap();
            published[key as usize].store(seq, Ordering::Release);
            if set.chunks().bytes() > ARENA_BYTES / 4 {
                set = memory.chunk_set();
            }
        }
    };
    let reader = |which: u64| {
        let mut dice = Dice(which + 100);
        let mut value = Vec::new();
        let mut count = 0;
        while !done.load(Ordering::Relaxed) {
            let key = dice.below(KEYS);
            let least = published[key as usize].load(Ordering::Acquire);
            value.clear();
            let bytes = key.to_le_bytes();
            if let Probe::Hit { seq, .. } =
                memory.probe(hash_key(&bytes), &bytes, SEQ_MAX, &mut value)
            {
                assert!(seq >= least, "key {key}: {seq} after {least}");
                assert_eq!(value, witness(key, seq));
                count += 1;
            } else if least != 0 && which == 0 {
                // As a cold read would that began before newer versions came.
                memory.fill(
                    hash_key(&bytes),
                    &put(&bytes, least, &witness(key, least)),
                    least,
                );
            }
        }
        reads.fetch_add(count, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|which| scope.spawn(move || writer(which)))
            .collect();
        for which in 0..3 {
            scope.spawn(move || reader(which));
        }
        let sweeping = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                memory.sweep(0, |key, _| key[0] == 7);
                std::thread::yield_now();
            }
        });
        let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        sweeping.join().unwrap();
        assert!(ends.iter().all(Result::is_ok));
    });
    let stats = memory.stats();
    assert!(stats.evicted > 1000, "{stats:?}");
    assert!(reads.load(Ordering::Relaxed) > 1000);
    memory.clear_clean();
    assert_eq!((memory.stats().slots_used, memory.dirty_slots()), (0, 0));
}
