//! The hash table against a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::record::{SEQ_MAX, hash_key};

mod hot;
#[cfg(not(target_family = "wasm"))]
mod threads;

const TABLE_BYTES: usize = 160 << 10;
const ARENA_BYTES: usize = 1 << 20;

fn small() -> Arc<Memory> {
    Memory::new(TABLE_BYTES, ARENA_BYTES, |_, _| ()).unwrap()
}

fn put<'a>(key: &'a [u8], seq: u64, value: &'a [u8]) -> Record<'a> {
    Record {
        key,
        seq,
        kind: Kind::Put,
        deadline_ms: 0,
        value,
    }
}

/// Writes and publishes, as a memtable does.
fn apply(memory: &Memory, set: &mut ChunkSet, record: &Record<'_>) -> Before {
    let addr = set.write(record).unwrap();
    assert_eq!(set.chunks().record(addr), *record);
    memory.publish(hash_key(record.key), addr).unwrap()
}

fn get(memory: &Memory, key: &[u8]) -> Option<(u64, Kind, Vec<u8>)> {
    let mut value = Vec::new();
    match memory.probe(hash_key(key), key, SEQ_MAX, &mut value) {
        Probe::Hit { seq, kind, .. } => Some((seq, kind, value)),
        Probe::Newer => panic!("nothing is newer than everything"),
        Probe::Missing => None,
    }
}

/// A small generator with nothing to prove.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn what_is_published_is_found_at_every_length() {
    let memory = small();
    let mut set = memory.chunk_set();
    let bytes: Vec<u8> = (0..60_000u32).map(|i| i as u8).collect();
    let lengths = [0, 1, 7, 8, 9, 15, 16, 17, 100, 255, 4_000, 60_000];
    for (i, &key_len) in lengths.iter().enumerate() {
        for &value_len in &lengths[..if key_len > 300 { 4 } else { 11 }] {
            let record = Record {
                key: &bytes[..key_len],
                seq: (i as u64) << 40 | value_len as u64,
                kind: Kind::Put,
                deadline_ms: value_len as u64 % 3,
                value: &bytes[..value_len],
            };
            apply(&memory, &mut set, &record);
            let mut value = b"before".to_vec();
            let probe = memory.probe(hash_key(record.key), record.key, SEQ_MAX, &mut value);
            let Probe::Hit {
                seq,
                kind: Kind::Put,
                deadline_ms,
                addr,
            } = probe
            else {
                panic!("{probe:?}");
            };
            assert_eq!((seq, deadline_ms), (record.seq, record.deadline_ms));
            assert_eq!(&value[6..], record.value);
            assert_eq!(set.chunks().record(addr), record);
        }
    }
}

#[test]
fn a_publication_answers_what_was_known_before() {
    let memory = small();
    let mut set = memory.chunk_set();
    assert_eq!(
        apply(&memory, &mut set, &put(b"k", 1, b"one")),
        Before::Unknown
    );
    let expiring = Record {
        deadline_ms: 77,
        ..put(b"k", 2, b"two")
    };
    let before = Before::Known {
        seq: 1,
        kind: Kind::Put,
        deadline_ms: 0,
    };
    assert_eq!(apply(&memory, &mut set, &expiring), before);
    let gone = Record {
        kind: Kind::Delete,
        ..put(b"k", 3, b"")
    };
    let before = Before::Known {
        seq: 2,
        kind: Kind::Put,
        deadline_ms: 77,
    };
    assert_eq!(apply(&memory, &mut set, &gone), before);
    assert_eq!(get(&memory, b"k"), Some((3, Kind::Delete, Vec::new())));
    assert_eq!(memory.stats().slots_used, 1);
    assert_eq!(memory.dirty_slots(), 1);
}

#[test]
fn a_reader_of_the_past_is_told_that_the_entry_is_newer() {
    let memory = small();
    let mut set = memory.chunk_set();
    apply(&memory, &mut set, &put(b"k", 5, b"v"));
    let mut value = Vec::new();
    assert_eq!(
        memory.probe(hash_key(b"k"), b"k", 4, &mut value),
        Probe::Newer
    );
    assert!(value.is_empty());
    assert!(matches!(
        memory.probe(hash_key(b"k"), b"k", 5, &mut value),
        Probe::Hit { seq: 5, .. }
    ));
}

#[test]
fn released_records_stay_until_room_is_needed_and_read_ones_longer() {
    let memory = small();
    let mut set = memory.chunk_set();
    let key = |i: u64| i.to_be_bytes();
    for i in 0..1000 {
        apply(&memory, &mut set, &put(&key(i), i + 1, &[7; 100]));
    }
    drop(set);
    assert_eq!(memory.dirty_slots(), 0);
    for i in 0..100 {
        assert!(get(&memory, &key(i)).is_some());
    }
    let mut set = memory.chunk_set();
    for i in 0..6_500 {
        apply(
            &memory,
            &mut set,
            &put(&key(10_000 + i), 10_000 + i, &[8; 100]),
        );
    }
    assert_eq!(
        (0..100)
            .filter(|&i| get(&memory, &key(i)).is_some())
            .count(),
        100
    );
    assert_eq!(
        (100..1000)
            .filter(|&i| get(&memory, &key(i)).is_some())
            .count(),
        0
    );
    assert_eq!(memory.stats().kept, 100);
    assert_eq!(memory.stats().evicted, 900);
    assert!((0..6_500).all(|i| get(&memory, &key(10_000 + i)).is_some()));
}

#[test]
fn a_record_kept_once_goes_the_next_time_unless_it_is_read_again() {
    let memory = small();
    let mut seq = 0;
    // Two rounds through the whole arena, in sets of a chunk or so.
    let mut flood = |keys: std::ops::Range<u64>| {
        let mut set = memory.chunk_set();
        for (i, key) in keys.enumerate() {
            if i % 1000 == 999 {
                set = memory.chunk_set();
            }
            seq += 1;
            apply(&memory, &mut set, &put(&key.to_be_bytes(), seq, &[7; 100]));
        }
    };
    flood(0..3_000);
    assert_eq!(
        (0..3_000u64)
            .filter(|i| get(&memory, &i.to_be_bytes()).is_some())
            .count(),
        3_000
    );
    flood(10_000..60_000);
    // Half of each chunk has its second turn, but no third.
    let kept = memory.stats().kept;
    assert!((1_000..=1_600).contains(&kept), "{kept}");
}

#[test]
fn a_fill_that_evicts_a_newer_version_of_its_own_key_is_refused() {
    let memory = small();
    let mut set = memory.chunk_set();
    apply(&memory, &mut set, &put(b"k", 10, b"new"));
    let mut i = 0u64;
    while memory.stats().free_chunks > 1 {
        i += 1;
        apply(&memory, &mut set, &put(&i.to_be_bytes(), 1, &[7; 100]));
    }
    drop(set);
    let hash = hash_key(b"k");
    for _ in 0..2 {
        assert!(!memory.fill(hash, &put(b"k", 5, b"old"), 9));
    }
    assert_eq!(get(&memory, b"k"), None, "it was in the oldest chunk");
}

#[test]
fn dirty_records_are_never_evicted_and_writes_end_where_memory_does() {
    let memory = small();
    for value_len in [0usize, 30, 1000] {
        let mut set = memory.chunk_set();
        let value = vec![1; value_len];
        let mut written = 0u64;
        while let Some(addr) = set.write(&put(&written.to_be_bytes(), written, &value)) {
            let key = written.to_be_bytes();
            assert!(memory.publish(hash_key(&key), addr).is_some());
            written += 1;
        }
        assert!(written > 500);
        for i in 0..written {
            assert_eq!(
                get(&memory, &i.to_be_bytes()),
                Some((i, Kind::Put, value.clone()))
            );
        }
        assert_eq!(memory.dirty_slots() as u64, written);
        let shared = Arc::clone(set.chunks());
        assert_eq!(shared.records().count() as u64, written);
        drop(set);
        assert_eq!(
            memory.dirty_slots() as u64,
            written,
            "a reader still holds them"
        );
        drop(shared);
        assert_eq!(memory.dirty_slots(), 0);
    }
    memory.clear_clean();
    let stats = memory.stats();
    assert_eq!((stats.slots_used, stats.free_chunks), (0, stats.chunks));
}

#[test]
fn a_record_too_large_for_a_chunk_is_refused() {
    let memory = small();
    let mut set = memory.chunk_set();
    let value = vec![0; memory.stats().chunk_bytes];
    assert!(!memory.fits(&put(b"k", 1, &value)));
    assert_eq!(set.write(&put(b"k", 1, &value)), None);
    let longest = vec![0; 65_535];
    assert!(set.write(&put(&longest, 1, b"v")).is_some());
    let longer = vec![0; 65_536];
    assert_eq!(set.write(&put(&longer, 1, b"v")), None);
}

#[test]
fn an_old_version_is_not_filled_over_or_after_a_newer_one() {
    let memory = small();
    let hash = hash_key(b"k");
    let mut set = memory.chunk_set();
    apply(&memory, &mut set, &put(b"k", 10, b"new"));
    assert!(
        !memory.fill(hash, &put(b"k", 5, b"old"), 9),
        "the entry is newer"
    );
    drop(set);
    memory.clear_clean();
    assert_eq!(get(&memory, b"k"), None);
    assert!(
        !memory.fill(hash, &put(b"k", 5, b"old"), 9),
        "a newer entry came and went"
    );
    assert!(memory.fill(hash, &put(b"k", 10, b"new"), 10));
    assert!(
        !memory.fill(hash, &put(b"k", 10, b"new"), 10),
        "it is there already"
    );
    assert_eq!(get(&memory, b"k"), Some((10, Kind::Put, b"new".to_vec())));
    let gone = Record {
        kind: Kind::Delete,
        ..put(b"j", 11, b"")
    };
    assert!(!memory.fill(hash_key(b"j"), &gone, 11));
}

#[test]
fn fills_take_free_memory_at_once_and_evict_only_for_keys_seen_before() {
    let memory = small();
    let offer = |i: u64| {
        let key = i.to_be_bytes();
        memory.fill(hash_key(&key), &put(&key, 1, &[3; 200]), 1)
    };
    let taken = (0..4_000).take_while(|&i| offer(i)).count();
    assert!(taken > 3_000, "{taken}");
    let chunk_records = memory.stats().chunk_bytes as u64 / 224;
    let more = (10_000..20_000).filter(|&i| offer(i)).count() as u64;
    assert!(
        more < 2 * chunk_records,
        "{more} keys seen once were admitted to a full memory"
    );
    let again = (30_000..31_000).filter(|&i| !offer(i) && offer(i)).count();
    assert!(again > 990, "{again}");
    assert!(memory.stats().evicted > 0);
}

#[test]
fn a_sweep_removes_what_is_covered_and_keeps_it_out() {
    let memory = small();
    let mut set = memory.chunk_set();
    for i in 0..2000u64 {
        apply(&memory, &mut set, &put(&i.to_be_bytes(), i + 1, b"v"));
    }
    let end = 1000u64.to_be_bytes();
    memory.sweep(3000, |key, seq| key < &end[..] && seq < 3000);
    for i in 0..2000u64 {
        assert_eq!(get(&memory, &i.to_be_bytes()).is_some(), i >= 1000, "{i}");
    }
    assert_eq!(memory.dirty_slots(), 1000);
    let key = 5u64.to_be_bytes();
    assert!(!memory.fill(hash_key(&key), &put(&key, 6, b"v"), 2999));
    assert!(memory.fill(hash_key(&key), &put(&key, 3001, b"v"), 3001));
}

#[test]
fn an_entry_is_forgotten_only_where_it_was_seen() {
    let memory = small();
    let mut set = memory.chunk_set();
    let hash = hash_key(b"k");
    let first = set.write(&put(b"k", 1, b"v")).unwrap();
    memory.publish(hash, first);
    let second = set.write(&put(b"k", 2, b"v")).unwrap();
    memory.publish(hash, second);
    memory.forget_if(hash, first);
    assert!(get(&memory, b"k").is_some());
    memory.forget_if(hash, second);
    assert_eq!(get(&memory, b"k"), None);
    assert!(!memory.fill(hash, &put(b"k", 1, b"v"), 1));
}

#[test]
fn a_batch_answers_as_single_probes_do() {
    let memory = small();
    let mut set = memory.chunk_set();
    for i in (0..100u64).step_by(2) {
        apply(
            &memory,
            &mut set,
            &put(&i.to_be_bytes(), i + 1, &i.to_be_bytes()),
        );
    }
    let keys: Vec<_> = (0..100u64).map(u64::to_be_bytes).collect();
    let hashed: Vec<_> = keys.iter().map(|key| (hash_key(key), &key[..])).collect();
    let mut next = 0;
    memory.probe_batch(&hashed, 90, |i, probe, value| {
        assert_eq!(i, next);
        next += 1;
        let mut single = Vec::new();
        let (hash, key) = hashed[i];
        assert_eq!(probe, memory.probe(hash, key, 90, &mut single));
        assert_eq!(*value, single);
        let _ = std::mem::take(value);
    });
    assert_eq!(next, 100);
}

/// What a store does with its memory, the levels below being a map of all flushed versions.
struct Model {
    memory: Arc<Memory>,
    active: ChunkSet,
    /// Newest version of each key, and whether it was flushed.
    newest: BTreeMap<Vec<u8>, (u64, Kind, Vec<u8>, bool)>,
    seq: u64,
    hits: u64,
}

impl Model {
    fn new() -> Self {
        let memory = small();
        Self {
            active: memory.chunk_set(),
            memory,
            newest: BTreeMap::new(),
            seq: 0,
            hits: 0,
        }
    }

    fn write(&mut self, key: Vec<u8>, kind: Kind, value: Vec<u8>) {
        self.seq += 1;
        let record = Record {
            kind,
            ..put(&key, self.seq, &value)
        };
        let addr = loop {
            match self.active.write(&record) {
                Some(addr) => break addr,
                None => self.flush(),
            }
        };
        let before = self.memory.publish(hash_key(&key), addr).unwrap();
        match (self.newest.get(&key), before) {
            (
                Some(&(seq, kind, ..)),
                Before::Known {
                    seq: s, kind: k, ..
                },
            ) => {
                assert_eq!((seq, kind), (s, k));
            }
            (Some(&(.., flushed)), Before::Unknown) => assert!(flushed),
            (None, before) => assert_eq!(before, Before::Unknown),
        }
        self.newest.insert(key, (self.seq, kind, value, false));
    }

    fn flush(&mut self) {
        self.active = self.memory.chunk_set();
        for newest in self.newest.values_mut() {
            newest.3 = true;
        }
    }

    fn read(&mut self, key: &[u8]) {
        match (get(&self.memory, key), self.newest.get(key)) {
            (Some(found), Some((seq, kind, value, _))) => {
                assert_eq!(found, (*seq, *kind, value.clone()));
                self.hits += 1;
            }
            (None, Some((seq, kind, value, flushed))) => {
                assert!(flushed, "a dirty record was lost");
                let record = Record {
                    kind: *kind,
                    ..put(key, *seq, value)
                };
                self.memory.fill(hash_key(key), &record, self.seq);
            }
            (None, None) => (),
            (Some(found), None) => panic!("{found:?} was never written"),
        }
    }

    fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        self.seq += 1;
        let covered = |key: &[u8]| start <= key && key < end;
        self.memory.sweep(self.seq, |key, _| covered(key));
        self.newest.retain(|key, _| !covered(key));
    }
}

#[test]
fn it_agrees_with_a_model_through_eviction_and_overflow() {
    // Few long values fill the arena; many short ones fill the table and its buckets.
    for (seed, keys, value_max) in [(1, 3_000, 900), (2, 40_000, 9), (3, 400, 9_000)] {
        let mut dice = Dice(seed);
        let mut model = Model::new();
        for step in 0..150_000u64 {
            let skewed = dice.below(keys).min(dice.below(keys));
            let key = format!("key{skewed}").into_bytes();
            match dice.below(100) {
                0..40 => {
                    let value = vec![step as u8; dice.below(value_max) as usize];
                    model.write(key, Kind::Put, value);
                }
                40..45 => model.write(key, Kind::Delete, Vec::new()),
                99 if step % 50 == 0 => model.delete_range(&key, &[key.as_slice(), b"9"].concat()),
                98 if step % 200 == 0 => model.flush(),
                97 if step % 2000 == 0 => model.memory.clear_clean(),
                _ => model.read(&key),
            }
        }
        let keys: Vec<_> = model.newest.keys().cloned().collect();
        for key in keys {
            model.read(&key);
        }
        let stats = model.memory.stats();
        assert!(
            stats.evicted > 1000 && stats.kept > 100 && stats.filled > 100,
            "{stats:?}"
        );
        assert!(model.hits > 20_000, "{}", model.hits);
        model.flush();
        model.memory.clear_clean();
        assert_eq!(model.memory.stats().slots_used, 0);
    }
}
