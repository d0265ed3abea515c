//! Gets of resident keys through the embedded interface, against two ways to keep values in a hash table.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::RwLock;
use trilith_server::bench::command::{SizeArgs, empty, scratch};
use trilith_server::bench::keys::{Permutation, Random, Zipfian, write_key};

use crate::compare::remove;
use crate::engines::Engine;
use crate::random_load::Chain;

/// Measure gets of keys that are all in memory.
#[derive(Clone, Debug, clap::Args)]
pub struct HotArgs {
    /// Gets in each measurement.
    #[arg(long, default_value_t = 4_000_000)]
    pub gets: u64,

    /// How often each is measured, in turn; the median counts.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,

    #[command(flatten)]
    pub size: SizeArgs,
}

const BATCH: usize = 64;
const SHARDS: usize = 64;
/// What an entry takes besides its key and value, at the least.
const OVERHEAD_BYTES: u64 = 12;

/// Something to get from. The value's first eight bytes are handed over, so that it has to be loaded.
trait Hot {
    fn name(&self) -> &str;
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), String>;
    fn head(&self, key: &[u8]) -> Option<u64>;
}

struct Store(Box<dyn trilith_server::bench::Target>);

impl Hot for Store {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.0.put(key, value)
    }

    fn head(&self, key: &[u8]) -> Option<u64> {
        let mut head = None;
        self.0.get(key, &mut |value| head = head_of(value)).ok()?;
        head
    }
}

struct QuickCache(quick_cache::sync::Cache<Bytes, Bytes>);

impl Hot for QuickCache {
    fn name(&self) -> &str {
        "quick_cache"
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.0
            .insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(())
    }

    fn head(&self, key: &[u8]) -> Option<u64> {
        self.0.get(key).and_then(|value| head_of(&value))
    }
}

struct Sharded {
    shards: Vec<RwLock<HashMap<Bytes, Bytes>>>,
    hasher: DefaultHashBuilder,
}

impl Sharded {
    fn shard(&self, key: &[u8]) -> &RwLock<HashMap<Bytes, Bytes>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl Hot for Sharded {
    fn name(&self) -> &str {
        "sharded hashbrown"
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let shard = self.shard(key);
        shard
            .write()
            .insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(())
    }

    fn head(&self, key: &[u8]) -> Option<u64> {
        let value = self.shard(key).read().get(key).cloned();
        value.and_then(|value| head_of(&value))
    }
}

fn head_of(value: &[u8]) -> Option<u64> {
    value.first_chunk().copied().map(u64::from_le_bytes)
}

pub fn run(args: &HotArgs) -> Result<(), String> {
    if args.size.value_bytes < 8 {
        return Err("a value holds the number of the next key, which takes 8 bytes".into());
    }
    let directory = scratch("hot");
    let result = measure(args, &directory);
    remove(&directory, &[Engine::Trilith]);
    result
}

fn measure(args: &HotArgs, directory: &std::path::Path) -> Result<(), String> {
    let keys = args.size.keys;
    let path = directory.join(Engine::Trilith.to_string());
    empty(&path)?;
    let all: Vec<Box<dyn Hot>> = vec![
        Box::new(Store(Engine::Trilith.open(&path, &args.size.options())?)),
        Box::new(QuickCache(quick_cache::sync::Cache::new(
            keys as usize * 5 / 4,
        ))),
        Box::new(Sharded {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: DefaultHashBuilder::default(),
        }),
    ];
    for hot in &all {
        fill(&**hot, args)?;
    }
    let footprint =
        keys * (args.size.key_bytes as u64 + args.size.value_bytes as u64 + OVERHEAD_BYTES);
    let chain = Chain::new(footprint as usize, true)?;
    let zipfian = zipfian_keys(args);

    let mut rows = vec![(Vec::new(), Vec::new()); all.len()];
    let mut loads = Vec::new();
    for _ in 0..args.rounds {
        for (hot, (skewed, uniform)) in all.iter().zip(&mut rows) {
            skewed.push(batches(&**hot, &zipfian, args.size.key_bytes)?);
            uniform.push(dependent(&**hot, args)?);
        }
        loads.push(chain.nanoseconds_a_load(args.gets));
    }
    let load = median(&mut loads);
    println!(
        "{keys} keys of {} bytes, values of {}; one dependent random load over {footprint} bytes: {load:.1} ns",
        args.size.key_bytes, args.size.value_bytes
    );
    println!(
        "{:<20} {:>22} {:>22} {:>12}",
        "", "zipfian 0.99, ns/get", "dependent, ns/get", "in loads"
    );
    for (hot, (skewed, uniform)) in all.iter().zip(&mut rows) {
        let (skewed, uniform) = (median(skewed), median(uniform));
        println!(
            "{:<20} {skewed:>22.1} {uniform:>22.1} {:>11.2}x",
            hot.name(),
            uniform / load
        );
    }
    Ok(())
}

/// Values lead from key to key, through all of them in one cycle.
fn fill(hot: &dyn Hot, args: &HotArgs) -> Result<(), String> {
    let keys = args.size.keys;
    let order = Permutation::new(keys, args.size.seed);
    let mut key = Vec::new();
    let mut value = vec![b'v'; args.size.value_bytes];
    for place in 0..keys {
        let next = order.at((place + 1) % keys);
        value[..8].copy_from_slice(&next.to_le_bytes());
        write_key(order.at(place), args.size.key_bytes, &mut key);
        hot.insert(&key, &value)?;
    }
    Ok(())
}

/// Keys one after the other in memory, chosen before the clock runs.
fn zipfian_keys(args: &HotArgs) -> Vec<u8> {
    let zipfian = Zipfian::new(args.size.keys, Zipfian::THETA);
    let scatter = Permutation::new(args.size.keys, !args.size.seed);
    let mut random = Random::new(args.size.seed);
    let mut key = Vec::new();
    let mut keys = Vec::with_capacity(args.gets as usize * args.size.key_bytes);
    for _ in 0..args.gets {
        write_key(
            scatter.at(zipfian.next(&mut random)),
            args.size.key_bytes,
            &mut key,
        );
        keys.extend_from_slice(&key);
    }
    keys
}

/// The median over batches of 64 gets that do not wait for each other.
fn batches(hot: &dyn Hot, keys: &[u8], key_bytes: usize) -> Result<f64, String> {
    let mut times = Vec::with_capacity(keys.len() / key_bytes / BATCH);
    for batch in keys.chunks_exact(BATCH * key_bytes) {
        let start = Instant::now();
        let mut sum = 0u64;
        let mut found = 0;
        for key in batch.chunks_exact(key_bytes) {
            if let Some(head) = hot.head(key) {
                sum = sum.wrapping_add(head);
                found += 1;
            }
        }
        times.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
        black_box(sum);
        if found != BATCH {
            return Err(format!("{} has lost a key", hot.name()));
        }
    }
    Ok(median(&mut times))
}

/// Each get's key depends on the value of the one before.
fn dependent(hot: &dyn Hot, args: &HotArgs) -> Result<f64, String> {
    let mut key = Vec::new();
    let mut number = 0;
    let start = Instant::now();
    for _ in 0..args.gets {
        write_key(number, args.size.key_bytes, &mut key);
        number = hot
            .head(&key)
            .ok_or_else(|| format!("{} has lost a key", hot.name()))?;
    }
    Ok(start.elapsed().as_nanos() as f64 / args.gets as f64)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
