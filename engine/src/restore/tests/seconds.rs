//! Going back in time: any second of a long run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::archive::aof::{File, Kind, Manifest, Positions, encode, names};
use crate::random::Random;
use crate::restore::testing::{Pairs, error_of, folder, load};
use crate::sim::TestRuntime;
use crate::storage::MemoryStorage;
use crate::{ErrorKind, Runtime};

/// A log being written, and the state at the end of each second.
struct Run {
    runtime: TestRuntime,
    random: Random,
    manifest: Manifest,
    files: BTreeMap<String, Vec<u8>>,
    /// The number of the file being written, and the last second in it.
    seq: u64,
    second: u64,
    now: Pairs,
    then: BTreeMap<u64, Pairs>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut run = Self {
            runtime: TestRuntime::new(seed),
            random: Random::new(seed),
            manifest: Manifest::default(),
            files: BTreeMap::new(),
            seq: 0,
            second: 0,
            now: Pairs::new(),
            then: BTreeMap::new(),
        };
        run.rewrite();
        run
    }

    fn file(&mut self) -> &mut Vec<u8> {
        self.files.entry(names::increment(self.seq)).or_default()
    }

    async fn write(&mut self) {
        let pause = match self.random.below(100) {
            0 => self.random.below(90_000),
            _ => self.random.below(40),
        };
        let runtime = self.runtime.clone();
        runtime.sleep(Duration::from_millis(pause)).await;
        let now_ms = runtime.wall_ms();
        if now_ms / 1000 != self.second {
            self.second = now_ms / 1000;
            let second = self.second;
            encode::timestamp(self.file(), second);
        }
        let key = format!("key-{}", self.random.below(700)).into_bytes();
        match self.random.below(1000) {
            0 => {
                self.now.clear();
                encode::flush_all(self.file());
            }
            1..=250 => {
                self.now.remove(&key);
                encode::del(self.file(), &key);
            }
            _ => {
                let value: Vec<u8> = (0..self.random.below(40))
                    .map(|_| self.random.below(256) as u8)
                    .collect();
                let deadline_ms = match self.random.coin() {
                    true => 0,
                    false => now_ms + 1 + self.random.below(300_000),
                };
                encode::set(self.file(), &key, &value, deadline_ms);
                self.now.insert(key, (value, deadline_ms));
            }
        }
        if self.random.below(20) == 0 {
            let index = self.random.next();
            Positions::encode(self.file(), [(7, index)]);
        }
        self.then.insert(self.second, self.now.clone());
        if self.random.below(1500) == 0 {
            self.rewrite();
        }
    }

    /// A new base of what is there, and a new file behind it.
    fn rewrite(&mut self) {
        let now = self.runtime.wall_ms() / 1000;
        self.seq += 1;
        self.second = now;
        let file = self.file();
        Positions::from_iter([(7, 1)]).encode_all(file);
        encode::timestamp(file, now);
        let name = format!("appendonly.aof.{}.base.aof", self.seq);
        let mut base = Vec::new();
        encode::timestamp(&mut base, now);
        for (key, (value, deadline_ms)) in &self.now {
            encode::set(&mut base, key, value, *deadline_ms);
        }
        self.files.insert(name.clone(), base);
        let manifest = &mut self.manifest;
        let replaced = manifest
            .base
            .take()
            .into_iter()
            .chain(manifest.increments.drain(..));
        let replaced = replaced.map(|file| File {
            kind: Kind::History,
            ..file
        });
        manifest.history.extend(replaced);
        manifest.base = Some(File {
            time: Some(now),
            incr: Some(self.seq),
            ..File::new(name, self.seq, Kind::Base)
        });
        let increment = File::new(names::increment(self.seq), self.seq, Kind::Increment);
        manifest.increments.push(increment);
        self.then.insert(now, self.now.clone());
    }

    fn folder(&self) -> MemoryStorage {
        let files = self.files.iter();
        let files: Vec<(&str, &[u8])> = files
            .map(|(name, bytes)| (name.as_str(), &bytes[..]))
            .collect();
        folder(&self.manifest, &files)
    }

    /// What was there at the end of a second, and is alive at `now_ms`.
    fn at(&self, second: u64, now_ms: u64) -> Pairs {
        let (_, pairs) = self.then.range(..=second).next_back().unwrap();
        let alive = pairs
            .iter()
            .filter(|(_, (_, deadline_ms))| *deadline_ms == 0 || *deadline_ms > now_ms);
        alive
            .map(|(key, pair)| (key.clone(), pair.clone()))
            .collect()
    }
}

#[test]
fn ten_thousand_timed_writes_are_restored_as_they_were_at_fifty_seconds() {
    let mut run = Run::new(3);
    let runtime = run.runtime.clone();
    let run = runtime.block_on(async move {
        for _ in 0..10_000 {
            run.write().await;
        }
        run
    });
    assert!(run.manifest.history.len() >= 4, "it was rewritten");
    let (&first, &last) = (
        run.then.keys().next().unwrap(),
        run.then.keys().last().unwrap(),
    );
    let storage = run.folder();
    let mut random = Random::new(5);
    for round in 0..50 {
        let second = first + random.below(last - first + 1);
        // Restored then, and much later.
        for now_ms in [second * 1000, (last + 100) * 1000] {
            let (found, report) = load(&storage, Some(second), now_ms).unwrap();
            assert_eq!(
                found,
                run.at(second, now_ms),
                "round {round}, second {second}"
            );
            assert!(report.last <= Some(second));
            assert_eq!(
                (report.covered[0].from, report.covered[0].to),
                (first, last)
            );
        }
    }
    for second in [0, first - 1, last + 1, u64::MAX] {
        let error = error_of(load(&storage, Some(second), last * 1000));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let covered = format!("covered is {first} to {last}");
        assert!(error.to_string().contains(&covered), "{error}");
    }
    let (newest, _) = load(&storage, None, last * 1000).unwrap();
    assert_eq!(newest, run.at(last, last * 1000));
}
