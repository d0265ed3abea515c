//! Flipped bits: reported by the name of what they are in, or harmless. Never served.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::workload::{Act, Case, Progress, State, acts, contents, is_long, open, states, work};
use trilith::random::Random;
use trilith::sim::TestRuntime;
use trilith::storage::faulty::CrashMode;
use trilith::{Error, ErrorKind, FaultyStorage, Object, Range, Result, Sync};

/// Where a bit is flipped.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Meta,
    In(Object),
}

/// A store at rest, and what it holds after each number of writes.
struct AtRest {
    storage: FaultyStorage,
    states: Vec<State>,
}

impl AtRest {
    fn new(seed: u64, rounds: usize) -> Self {
        let mut acts = acts(seed, rounds);
        acts.retain(|act| !matches!(act, Act::Checkpoint));
        Self::of(acts)
    }

    /// As small as a store can be that has every kind of file.
    fn small() -> Self {
        let value = |n: u8, len: usize| -> Vec<u8> {
            (0..len).map(|i| n.wrapping_mul(i as u8 | 1)).collect()
        };
        use support::workload::{Change, key};
        let mut acts = vec![
            Act::Write(vec![
                Change::Put(key(1), value(1, 40)),
                Change::Put(key(2), value(2, 600)),
            ]),
            Act::Write(vec![
                Change::Put(key(3), value(3, 30)),
                Change::Put(key(9), value(9, 20)),
            ]),
            Act::Flush,
            Act::Write(vec![
                Change::Put(key(3), value(4, 25)),
                Change::Put(key(6), value(6, 30)),
            ]),
            Act::Flush,
            // The first two are merged; this one stays in level 0.
            Act::Write(vec![
                Change::DeleteRange(key(3), key(5)),
                Change::Delete(key(9)),
            ]),
            Act::Write(vec![Change::Put(key(7), value(7, 700))]),
            Act::Flush,
        ];
        acts.extend((0..6).map(|n| Act::Write(vec![Change::Put(key(10 + n), value(n as u8, 24))])));
        Self::of(acts)
    }

    fn of(acts: Vec<Act>) -> Self {
        let storage = FaultyStorage::new();
        let runtime = TestRuntime::new(5);
        let progress = Progress::default();
        runtime.block_on(async {
            // The store is dropped where its last act ends: closing would leave no tail.
            let db = work(
                &storage,
                &runtime,
                Sync::Always,
                &acts,
                Duration::ZERO,
                &progress,
            )
            .await
            .unwrap();
            drop(db);
        });
        runtime.kill_all();
        Self {
            storage: storage.restart(CrashMode::ProcessKilled),
            states: states(&acts),
        }
    }

    fn places(&self) -> Vec<(Place, u64)> {
        let meta = self.storage.meta().unwrap().len() as u64;
        let objects = self
            .storage
            .objects()
            .into_iter()
            .map(|(object, len)| (Place::In(object), len));
        [(Place::Meta, meta)].into_iter().chain(objects).collect()
    }

    /// Opens a copy with bits flipped and reads everything. `Ok` is how many last writes were cut off.
    fn read_with(&self, flips: &[(Place, u64, u8)], compact: bool) -> Outcome {
        let storage = self.storage.restart(CrashMode::ProcessKilled);
        for (place, offset, bit) in flips {
            assert!(match place {
                Place::Meta => storage.flip_meta(*offset, *bit),
                Place::In(object) => storage.flip(object, *offset, *bit),
            });
        }
        let runtime = TestRuntime::new(3);
        let outcome = runtime.block_on(self.read_all(&storage, &runtime, flips.len(), compact));
        runtime.kill_all();
        outcome
    }

    async fn read_all(
        &self,
        storage: &FaultyStorage,
        runtime: &TestRuntime,
        flips: usize,
        compact: bool,
    ) -> Outcome {
        let db = match open(storage, runtime, Sync::Always).await {
            Ok(db) => db,
            Err(error) => return Outcome::Reported(vec![error]),
        };
        let mut errors = db.verify().await.unwrap().problems;
        if compact {
            errors.extend(db.compact().await.err());
        }
        let cuts = db.stats().cuts.len();
        let all = self.states.len() - 1;
        // A cut takes what was written last, as no later record vouches for it: one record a flip at most.
        let candidates = if cuts > 0 {
            all.saturating_sub(flips)..=all
        } else {
            all..=all
        };
        let right = |key: &[u8], value: Option<&[u8]>| {
            candidates
                .clone()
                .any(|writes| self.states[writes].get(key).map(Vec::as_slice) == value)
        };
        for at in 0..70 {
            let key = support::workload::key(at);
            match db.get(&key).await {
                Ok(value) => assert!(
                    right(&key, value.as_deref()),
                    "get of {at} is wrong: {value:?}"
                ),
                Err(error) => errors.push(error),
            }
        }
        for range in [Range::all(), Range::all().reversed()] {
            errors.extend(self.scan(&db, range, &right).await.err());
        }
        if !errors.is_empty() {
            return Outcome::Reported(errors);
        }
        let found = contents(&db).await.unwrap();
        assert!(
            candidates
                .clone()
                .any(|writes| self.states[writes] == found),
            "a walk is wrong"
        );
        if cuts > 0 {
            Outcome::Cut
        } else {
            Outcome::Harmless
        }
    }

    async fn scan(
        &self,
        db: &support::workload::Store,
        range: Range,
        right: &impl Fn(&[u8], Option<&[u8]>) -> bool,
    ) -> Result<()> {
        let mut scan = db.scan(range)?;
        while let Some((key, value)) = scan.next().await? {
            assert!(
                right(key, Some(value)),
                "a walk gives {key:?} a wrong value"
            );
        }
        Ok(())
    }

    /// Every error says where it is.
    fn check_named(&self, errors: &[Error], flips: &[(Place, u64, u8)]) {
        for error in errors {
            // A newer format is what a flipped version looks like.
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Corrupt | ErrorKind::Missing | ErrorKind::Newer
                ),
                "{error} for {flips:?}"
            );
        }
        let named = errors.iter().any(|error| {
            flips.iter().any(|(place, ..)| match place {
                Place::Meta => error.object().is_none() && error.to_string().contains("manifest"),
                Place::In(object) => error.object() == Some(object),
            })
        });
        assert!(named, "nobody names the place: {errors:?} for {flips:?}");
    }
}

#[derive(Debug)]
enum Outcome {
    Harmless,
    Cut,
    Reported(Vec<Error>),
}

#[test]
fn a_flip_of_any_bit_is_reported_or_harmless() {
    let at_rest = AtRest::small();
    let mut tally: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    for (place, len) in at_rest.places() {
        let name = match &place {
            Place::Meta => "meta".to_owned(),
            Place::In(object) => object.to_string(),
        };
        for bit in 0..len * 8 {
            let (offset, bit) = (bit / 8, (bit % 8) as u8);
            let flips = [(place.clone(), offset, bit)];
            let _case = Case(format!("{flips:?} of {len}"));
            let outcome = at_rest.read_with(&flips, (offset + u64::from(bit)).is_multiple_of(5));
            let tally = tally.entry(format!("{name} ({len} bytes)")).or_default();
            match outcome {
                Outcome::Harmless => tally[0] += 1,
                Outcome::Cut => {
                    assert!(matches!(place, Place::In(Object::Segment(_))), "{flips:?}");
                    tally[1] += 1;
                }
                Outcome::Reported(errors) => {
                    at_rest.check_named(&errors, &flips);
                    tally[2] += 1;
                }
            }
        }
    }
    println!("harmless, cut, reported: {tally:#?}");
    let harmless: u32 = tally.values().map(|tally| tally[0]).sum();
    let reported: u32 = tally.values().map(|tally| tally[2]).sum();
    assert!(harmless * 20 < reported, "{tally:?}");
    assert!(
        tally.len() >= 6,
        "meta, a segment, tables and files of values: {tally:?}"
    );
    assert!(
        tally.values().map(|tally| tally[1]).sum::<u32>() > 0,
        "{tally:?}"
    );
}

#[test]
fn random_flips_of_a_larger_store_are_reported_or_harmless() {
    let at_rest = AtRest::new(23, 12);
    let places = at_rest.places();
    let total: u64 = places.iter().map(|(_, len)| len).sum();
    let cases = if is_long() { 100_000 } else { 10_000 };
    let mut random = Random::new(99);
    let mut reported = 0;
    for case in 0..cases {
        let flips: Vec<_> = (0..1 + case % 3)
            .map(|_| {
                let mut at = random.below(total);
                let hit = places.iter().find(|(_, len)| {
                    let hit = at < *len;
                    at -= if hit { 0 } else { *len };
                    hit
                });
                (hit.unwrap().0.clone(), at, random.below(8) as u8)
            })
            .collect();
        let _case = Case(format!("{case}: {flips:?}"));
        if let Outcome::Reported(errors) = at_rest.read_with(&flips, case % 5 == 0) {
            at_rest.check_named(&errors, &flips);
            reported += 1;
        }
    }
    assert!(reported * 10 > cases * 8, "{reported} of {cases}");
}
