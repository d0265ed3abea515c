//! The number of keys is exact however a store came to its end: replay counts keys without looking up what
//! was there before, and corrects that afterwards.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use trilith::command::{Command, Parsed, Reply, Store, parse};
use trilith::sim::TestRuntime;
use trilith::storage::faulty::CrashMode;
use trilith::{FaultyStorage, Options, Sync};

type Commands = Store<FaultyStorage, TestRuntime>;

fn options() -> Options {
    Options {
        sync: Sync::Always,
        memory_bytes: 1 << 20,
        memtable_bytes: Some(16 << 10),
        segment_bytes: 64 << 10,
        large_value_bytes: 256,
        ..Options::default()
    }
}

fn command(line: &str) -> Command {
    let mut words: Vec<Bytes> = line
        .split_whitespace()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    match parse(&mut words) {
        Ok(Parsed::Store(command)) => command,
        other => panic!("{other:?}"),
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Runs some command and does to `model` what it must do: which keys there are, and whether they expire.
async fn step(store: &Commands, dice: &mut Dice, model: &mut BTreeMap<u64, bool>) {
    let (key, pad) = (dice.below(3000), dice.below(300) as usize);
    let value = "v".repeat(pad + 1);
    let line = match dice.below(1000) {
        0 => {
            model.clear();
            "FLUSHALL".to_owned()
        }
        1..500 => {
            model.insert(key, false);
            format!("SET key:{key} {value}")
        }
        500..650 => {
            model.insert(key, true);
            format!("SET key:{key} {value} EX 100000")
        }
        650..800 => {
            model.remove(&key);
            format!("DEL key:{key}")
        }
        800..850 => {
            model.remove(&key);
            format!("GETDEL key:{key}")
        }
        850..900 => {
            model.insert(key, false);
            model.insert(key + 1, false);
            format!("MSET key:{key} 1 key:{} 2 key:{key} 3", key + 1)
        }
        900..950 => {
            model.entry(key).and_modify(|expires| *expires = true);
            format!("EXPIRE key:{key} 100000")
        }
        _ => {
            model.entry(key).or_insert(false);
            format!("APPEND key:{key} x")
        }
    };
    let replies = store.execute(vec![command(&line)]).await;
    assert!(
        !matches!(replies[..], [Reply::Error(_)]),
        "{line}: {replies:?}"
    );
}

async fn check(store: &Commands, model: &BTreeMap<u64, bool>) {
    let dbsize = store.execute(vec![command("DBSIZE")]).await;
    assert_eq!(dbsize, [Reply::Int(model.len() as i64)]);
    let expiring = model.values().filter(|expires| **expires).count();
    assert_eq!(store.stats().keys_with_deadline, expiring as u64);
}

/// How many entries there are in the order of deadlines.
async fn noted_deadlines(store: &Commands) -> usize {
    let mut pairs = store.db().scan(trilith::Range::all()).unwrap();
    let mut noted = 0;
    while let Some((place, _)) = pairs.next().await.unwrap() {
        noted += usize::from(place[2] == 1);
    }
    noted
}

#[test]
fn the_number_of_keys_is_exact_after_any_number_of_crashes() {
    for seed in 1..=12 {
        let runtime = TestRuntime::new(seed);
        let mut storage = FaultyStorage::new();
        let mut dice = Dice(seed * 0x9E37_79B9);
        let mut model = BTreeMap::new();
        for _ in 0..8 {
            let process = runtime.process();
            let opened = Store::open(storage.clone(), process.clone(), options());
            let store = runtime.block_on(opened).unwrap();
            runtime.block_on(async {
                // What is written before the counts are corrected counts, too.
                let early = dice.below(200);
                for _ in 0..early {
                    step(&store, &mut dice, &mut model).await;
                }
                if dice.below(3) > 0 {
                    check(&store, &model).await;
                }
                for _ in 0..dice.below(1500) {
                    step(&store, &mut dice, &mut model).await;
                }
                if dice.below(3) == 0 {
                    store.db().flush().await.unwrap();
                    check(&store, &model).await;
                    for _ in 0..dice.below(300) {
                        step(&store, &mut dice, &mut model).await;
                    }
                }
            });
            process.kill();
            drop(store);
            storage = storage.restart(CrashMode::ProcessKilled);
        }
        let opened = Store::open(storage.clone(), runtime.clone(), options());
        let store = runtime.block_on(opened).unwrap();
        runtime.block_on(check(&store, &model));
        runtime.block_on(store.close()).unwrap();
    }
}

#[test]
fn deadlines_of_keys_that_lost_them_in_the_log_are_not_left_behind() {
    let runtime = TestRuntime::new(1);
    let mut storage = FaultyStorage::new();
    let process = runtime.process();
    let opened = Store::open(storage.clone(), process.clone(), options());
    let store = runtime.block_on(opened).unwrap();
    runtime.block_on(async {
        for i in 0..30 {
            let set = format!("SET key:{i} v EX 100000");
            store.execute(vec![command(&set)]).await;
        }
        store.db().flush().await.unwrap();
        for i in 0..10 {
            let without = format!("SET key:{i} v");
            let gone = format!("DEL key:{}", i + 10);
            store.execute(vec![command(&without), command(&gone)]).await;
        }
    });
    process.kill();
    drop(store);
    storage = storage.restart(CrashMode::ProcessKilled);
    let opened = Store::open(storage, runtime.clone(), options());
    let store = runtime.block_on(opened).unwrap();
    let dbsize = runtime.block_on(store.execute(vec![command("DBSIZE")]));
    assert_eq!(dbsize, [Reply::Int(20)]);
    runtime.advance(Duration::from_secs(1));
    assert_eq!(store.stats().keys_with_deadline, 10);
    assert_eq!(runtime.block_on(noted_deadlines(&store)), 10);
    runtime.block_on(store.close()).unwrap();
}
