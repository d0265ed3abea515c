//! What a hit in memory costs, beside a bare random load and two common concurrent maps, on one thread.
//!
//! 1 M keys of 16 bytes with values of 100. "zipf" draws keys by Zipf's law (0.99) and is timed in
//! batches of 64, of which the median is shown; in "chained" each key follows from the value before, so
//! nothing overlaps. Every hit's value is read to its end, wherever the map has it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::RwLock;
use trilith::memory::{Budget, Memory, Probe};
use trilith::record::{Kind, Record, SEQ_MAX, hash_key};

const KEYS: usize = 1_000_000;
const VALUE_BYTES: usize = 100;
const BATCH: usize = 64;
const BATCHES: usize = 30_000;
const CHAIN: usize = 1_000_000;
const STRETCH: usize = 500;
const MEMORY_BYTES: usize = 256 << 20;

type Key = [u8; 16];

fn key(i: u64) -> Key {
    let mut key = *b"user000000000000";
    key[4..12].copy_from_slice(&i.to_be_bytes());
    key
}

/// The first eight bytes name the key to ask for next.
fn value(i: u64) -> [u8; VALUE_BYTES] {
    let mut value = [i as u8; VALUE_BYTES];
    value[..8].copy_from_slice(&(scatter(i) % KEYS as u64).to_le_bytes());
    value
}

fn scatter(i: u64) -> u64 {
    let mut x = i.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn next(value: &[u8], step: u64) -> u64 {
    let named = u64::from_le_bytes(value[..8].try_into().expect("values are longer"));
    // The step keeps the walk from running into a short cycle.
    scatter(named ^ step << 32) % KEYS as u64
}

/// Zipf's law over scattered keys (Gray et al., as YCSB draws it).
fn zipf(count: usize) -> Vec<u64> {
    let theta = 0.99f64;
    let zeta = |n: usize| (1..=n).map(|i| 1.0 / (i as f64).powf(theta)).sum::<f64>();
    let all = zeta(KEYS);
    let alpha = 1.0 / (1.0 - theta);
    let eta = (1.0 - (2.0 / KEYS as f64).powf(1.0 - theta)) / (1.0 - zeta(2) / all);
    let draw = |i| {
        let u = scatter(i) as f64 / u64::MAX as f64;
        let rank = if u * all < 1.0 {
            0.0
        } else if u * all < 1.0 + 0.5f64.powf(theta) {
            1.0
        } else {
            KEYS as f64 * (eta * u - eta + 1.0).powf(alpha)
        };
        scatter(rank as u64) % KEYS as u64
    };
    (0..count as u64).map(draw).collect()
}

fn advise_huge(start: *const u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the range was allocated by the caller, and the advice does not change what it holds.
    let refused = unsafe { libc::madvise(start.cast_mut().cast(), bytes, libc::MADV_HUGEPAGE) };
    #[cfg(not(target_os = "linux"))]
    let refused = 0;
    if refused != 0 {
        eprintln!("huge pages were refused for {bytes} bytes at {start:?}");
    }
}

struct Figures {
    zipf_ns: f64,
    zipf_p99_ns: f64,
    chained_ns: f64,
}

/// Times `get`, which answers the first eight bytes of the value so that the chain can go on.
fn measure(keys: &[u64], mut get: impl FnMut(&Key) -> [u8; 8]) -> Figures {
    let mut batches: Vec<f64> = keys
        .chunks(BATCH)
        .map(|batch| {
            let mut asked = [Key::default(); BATCH];
            for (asked, &i) in asked.iter_mut().zip(batch) {
                *asked = key(i);
            }
            let begin = Instant::now();
            for asked in &asked {
                black_box(get(black_box(asked)));
            }
            begin.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    Figures {
        zipf_ns: batches[batches.len() / 2],
        zipf_p99_ns: batches[batches.len() * 99 / 100],
        chained_ns: chain(|i| get(&key(i))),
    }
}

/// The median over stretches of the chain, so that what else the machine does is left out.
fn chain(mut get: impl FnMut(u64) -> [u8; 8]) -> f64 {
    let mut at = 1;
    stretches(|step| at = next(&get(at), step))
}

fn stretches(mut step: impl FnMut(u64)) -> f64 {
    let mut stretches = Vec::with_capacity(CHAIN / STRETCH);
    for stretch in 0..(CHAIN / STRETCH) as u64 {
        let begin = Instant::now();
        for i in 0..STRETCH as u64 {
            step(stretch * STRETCH as u64 + i);
        }
        stretches.push(begin.elapsed().as_nanos() as f64 / STRETCH as f64);
    }
    stretches.sort_by(f64::total_cmp);
    stretches[stretches.len() / 2]
}

/// Reads the whole value, as a reply would, and answers its first bytes.
fn first(value: &[u8]) -> [u8; 8] {
    let (words, _) = value.as_chunks::<8>();
    black_box(
        words
            .iter()
            .fold(0, |sum, word| sum ^ u64::from_ne_bytes(*word)),
    );
    words[0]
}

fn filled() -> std::sync::Arc<Memory> {
    let budget = Budget::of(MEMORY_BYTES);
    let memory = Memory::new(budget.table_bytes, budget.arena_bytes, advise_huge)
        .expect("this machine has that much memory");
    let mut set = memory.chunk_set();
    let mut batches: Vec<f64> = (0..KEYS as u64)
        .step_by(BATCH)
        .map(|start| {
            let begin = Instant::now();
            for i in start..start + BATCH as u64 {
                let key = scatter(i) % KEYS as u64;
                publish(&memory, &mut set, &self::key(key), &value(key), i);
            }
            begin.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    println!(
        "write and publish, random keys: {:.0} ns",
        batches[batches.len() / 2]
    );
    // The draws above missed some.
    for i in 0..KEYS as u64 {
        let mut buffer = Vec::new();
        let key = key(i);
        if memory.probe(hash_key(&key), &key, SEQ_MAX, &mut buffer) == Probe::Missing {
            publish(&memory, &mut set, &key, &value(i), KEYS as u64 + i);
        }
    }
    drop(set);
    memory
}

fn publish(
    memory: &Memory,
    set: &mut trilith::memory::ChunkSet,
    key: &[u8],
    value: &[u8],
    seq: u64,
) {
    let record = Record {
        key,
        seq,
        kind: Kind::Put,
        deadline_ms: 0,
        value,
    };
    let addr = set.write(&record).expect("the budget is large enough");
    memory.publish(hash_key(key), addr);
}

fn batched(memory: &Memory, keys: &[u64]) -> f64 {
    let mut batches: Vec<f64> = keys
        .chunks(BATCH)
        .map(|batch| {
            let asked: Vec<Key> = batch.iter().map(|&i| key(i)).collect();
            let begin = Instant::now();
            let hashed: Vec<(u64, &[u8])> =
                asked.iter().map(|key| (hash_key(key), &key[..])).collect();
            memory.probe_batch(&hashed, SEQ_MAX, |_, _, value| {
                black_box(std::mem::take(value));
            });
            begin.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[batches.len() / 2]
}

/// One dependent random load over as many bytes as the memory under test.
fn bare_load() -> f64 {
    let mut words = vec![0u64; MEMORY_BYTES / 8 + (2 << 20) / 8];
    let skip = words.as_ptr().cast::<u8>().align_offset(2 << 20) / 8;
    let words = &mut words[skip..skip + MEMORY_BYTES / 8];
    advise_huge(words.as_ptr().cast(), MEMORY_BYTES);
    for (i, word) in words.iter_mut().enumerate() {
        *word = scatter(i as u64);
    }
    let len = words.len() as u64;
    let mut at = 1;
    let ns = stretches(|step| {
        // The next address waits for the word; the step keeps the walk from running into a cycle.
        let sum = words[at as usize].wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        at = ((u128::from(sum) * u128::from(len)) >> 64) as u64;
    });
    black_box(at);
    ns
}

fn sharded() -> (foldhash::fast::FixedState, Vec<RwLock<Map>>) {
    let hasher = foldhash::fast::FixedState::default();
    let shards: Vec<RwLock<Map>> = (0..64).map(|_| RwLock::default()).collect();
    for i in 0..KEYS as u64 {
        let key = key(i);
        let shard = &shards[(hasher.hash_one(&key[..]) >> 32) as usize % 64];
        shard
            .write()
            .insert(Box::from(&key[..]), Bytes::copy_from_slice(&value(i)));
    }
    (hasher, shards)
}

type Map = hashbrown::HashMap<Box<[u8]>, Bytes, foldhash::fast::FixedState>;

fn print(name: &str, figures: &Figures) {
    let Figures {
        zipf_ns,
        zipf_p99_ns,
        chained_ns,
    } = figures;
    println!("{name:<34}{zipf_ns:>9.0}{zipf_p99_ns:>9.0}{chained_ns:>9.0}");
}

fn main() {
    let keys = zipf(BATCH * BATCHES);
    let bare = bare_load();
    println!(
        "one dependent random load over {} MiB: {bare:.0} ns",
        MEMORY_BYTES >> 20
    );
    let memory = filled();
    println!(
        "{:<34}{:>9}{:>9}{:>9}",
        "ns a hit", "zipf", "p99", "chained"
    );
    let fresh = measure(&keys, |key| {
        let mut value = Vec::new();
        memory.probe(hash_key(key), key, SEQ_MAX, &mut value);
        first(&value)
    });
    print("memory, value in a fresh Vec", &fresh);
    let mut buffer = Vec::with_capacity(VALUE_BYTES);
    let reused = measure(&keys, |key| {
        buffer.clear();
        memory.probe(hash_key(key), key, SEQ_MAX, &mut buffer);
        first(&buffer)
    });
    print("memory, value in a reused Vec", &reused);
    println!(
        "{:<34}{:>9.0}",
        "memory, probe_batch, fresh Vecs",
        batched(&memory, &keys)
    );
    drop(memory);

    let cache = quick_cache::sync::Cache::<Box<[u8]>, Bytes>::new(KEYS * 2);
    for i in 0..KEYS as u64 {
        cache.insert(Box::from(&key(i)[..]), Bytes::copy_from_slice(&value(i)));
    }
    let quick = measure(&keys, |key| {
        cache.get(&key[..]).map_or([0; 8], |value| first(&value))
    });
    print("quick_cache", &quick);
    drop(cache);

    let (hasher, shards) = sharded();
    let locked = measure(&keys, |key| {
        let shard = &shards[(hasher.hash_one(&key[..]) >> 32) as usize % 64];
        shard
            .read()
            .get(&key[..])
            .cloned()
            .map_or([0; 8], |value| first(&value))
    });
    print("64 RwLock<hashbrown map>", &locked);
    println!(
        "chained hit / bare load: {:.2}; quick_cache / hit: {:.2} zipf, {:.2} chained; locked map / hit: {:.2} zipf, {:.2} chained",
        fresh.chained_ns / bare,
        quick.zipf_ns / fresh.zipf_ns,
        quick.chained_ns / fresh.chained_ns,
        locked.zipf_ns / fresh.zipf_ns,
        locked.chained_ns / fresh.chained_ns,
    );
}
