//! Crashes at every operation of the storage: while commands are appended, files are begun, the AOF is rewritten and
//! snapshots are written, and while what they leave is opened.
//!
//! The archive alone comes to a state that the store had, and not to one that it had more than a second before. Once
//! the store is open again it comes to what the store has.

use std::cell::RefCell;

use super::*;
use crate::db::Db;
use crate::random::Random;
use crate::storage::faulty::{Fault, Moment, When};

/// What the workload has done, and when.
#[derive(Default)]
struct Notes {
    /// What the store held after each change, and nothing before the first; the last may not have come about.
    states: Vec<Model>,
    /// When each of them was there, but for the first.
    at: Vec<Duration>,
    /// The archive has everything from then on.
    has_begun: bool,
    /// A snapshot is complete that has everything up to this state.
    saved: Option<usize>,
    /// When it was over.
    ended: Duration,
}

impl Notes {
    fn new() -> RefCell<Self> {
        RefCell::new(Self {
            states: vec![Model::default()],
            ..Self::default()
        })
    }
}

struct Workload<'a> {
    storage: &'a FaultyStorage,
    store: &'a RangeStore<FaultyStorage, TestRuntime>,
    runtime: &'a TestRuntime,
    notes: &'a RefCell<Notes>,
    index: [u64; 3],
    number: u64,
}

type Store = RangeStore<FaultyStorage, TestRuntime>;

impl Workload<'_> {
    fn db(&self) -> &Db<FaultyStorage, TestRuntime, crate::command::Commands> {
        self.store.db()
    }

    fn next(&mut self, nth: usize, command: &Command) -> (RangeId, Head, Bytes) {
        self.index[nth] += 1;
        let index = self.index[nth];
        let head = Head {
            at: LogId { term: 1, index },
            time_ms: self.runtime.wall_ms(),
            seed: index,
        };
        (RANGES[nth], head, command_payload(command))
    }

    async fn enter(&self, entries: Vec<(RangeId, Head, Bytes)>) -> Result<()> {
        let lent = LentEntries::default();
        let ticket = self.store.append_lent(entries.into_iter(), &lent)?;
        self.store.finish_lent(ticket).await
    }

    fn begin(&self, change: impl FnOnce(&mut Model)) {
        let mut notes = self.notes.borrow_mut();
        let mut next = notes.states[notes.states.len() - 1].clone();
        change(&mut next);
        notes.states.push(next);
    }

    fn done(&self) {
        self.notes.borrow_mut().at.push(self.runtime.monotonic());
    }

    /// Each value is of its own.
    async fn set(&mut self, nth: usize, n: u64, bytes: usize) -> Result<()> {
        self.number += 1;
        let mut value = format!("{} ", self.number).into_bytes();
        value.resize(bytes.max(value.len()), b'.');
        let entry = self.next(nth, &set(RANGES[nth], n, &value));
        self.begin(|model| {
            model.insert(key(RANGES[nth], n).to_vec(), (value, 0));
        });
        self.enter(vec![entry]).await?;
        self.done();
        Ok(())
    }

    async fn del(&mut self, nth: usize, n: u64) -> Result<()> {
        let key = key(RANGES[nth], n);
        let entry = self.next(nth, &Command::Del(vec![key.clone()]));
        self.begin(|model| {
            model.remove(&key[..]);
        });
        self.enter(vec![entry]).await?;
        self.done();
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<()> {
        let entries = (0..3).map(|nth| self.next(nth, &Command::Clear)).collect();
        self.begin(Model::clear);
        self.enter(entries).await?;
        self.done();
        Ok(())
    }

    async fn until(&self, holds: impl Fn(&ArchiveStats) -> bool) -> Result<()> {
        for _ in 0..2_000 {
            if holds(&self.db().archive()) {
                return Ok(());
            }
            self.sleep(Duration::from_millis(10)).await?;
        }
        panic!("it never came to that: {:?}", self.db().archive());
    }

    /// Sleeps, but not beyond the crash.
    async fn sleep(&self, time: Duration) -> Result<()> {
        let end = self.runtime.monotonic() + time;
        while self.runtime.monotonic() < end {
            if self.storage.is_crashed() {
                let detail = "the storage has crashed";
                return Err(crate::Error::new(ErrorKind::Lost, "sleeping", detail));
            }
            self.runtime.sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn rewrite(&mut self) -> Result<()> {
        let before = self.db().archive().aof.rewrites.done;
        self.until(|stats| stats.aof.rewrites.running_ms.is_none())
            .await?;
        self.db().rewrite_aof().unwrap();
        for n in 0..6 {
            self.set(n as usize % 3, n, 100).await?;
        }
        self.until(|stats| stats.aof.rewrites.done > before).await
    }

    async fn save(&mut self) -> Result<()> {
        self.until(|stats| stats.aof.rewrites.running_ms.is_none())
            .await?;
        let state = self.notes.borrow().states.len() - 1;
        self.db().save().await.unwrap()?;
        self.notes.borrow_mut().saved = Some(state);
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let second = Duration::from_millis(1_050);
        self.store.found_all(&RANGES, founder(), &alone()).await?;
        self.set(0, 1, 10).await?;
        self.until(|stats| stats.aof.base_bytes > 0).await?;
        self.notes.borrow_mut().has_begun = true;
        for n in 0..8 {
            self.set(n as usize % 3, n, 700).await?;
        }
        self.sleep(second).await?;
        self.del(1, 4).await?;
        self.set(1, 5, 40).await?;
        self.db().flush().await?;
        self.save().await?;
        for n in 0..20 {
            self.set(n as usize % 3, n, 900).await?;
            if n % 7 == 0 {
                self.sleep(second).await?;
            }
        }
        self.rewrite().await?;
        self.set(2, 9, 10).await?;
        self.sleep(second).await?;
        self.flush_all().await?;
        self.set(0, 3, 50).await?;
        self.sleep(second).await?;
        self.save().await?;
        self.set(1, 4, 60).await?;
        self.rewrite().await?;
        self.set(1, 5, 60).await?;
        self.sleep(second / 2).await?;
        self.set(2, 2, 60).await
    }
}

fn run(storage: &FaultyStorage, sync: Sync, notes: &RefCell<Notes>) -> Result<()> {
    let runtime = TestRuntime::new(4);
    let done = runtime.block_on(async {
        let opened = Store::open(storage.clone(), runtime.clone(), archived(sync)).await;
        let (store, _) = opened?;
        let mut workload = Workload {
            storage,
            store: &store,
            runtime: &runtime,
            notes,
            index: [0; 3],
            number: 0,
        };
        workload.run().await
    });
    notes.borrow_mut().ended = runtime.monotonic();
    runtime.kill_all();
    done
}

/// What is in the files comes to a state that the store had, and not long before the crash.
fn check_alone(storage: &FaultyStorage, notes: &Notes, loses_power: bool, is_torn: bool) {
    let found = files::read_torn(storage);
    if let Some(saved) = notes.saved {
        let dump = files::snapshot(storage, &Object::Archive("dump.rdb".into()));
        let place = notes.states.iter().rposition(|state| *state == dump);
        assert!(place.is_some_and(|place| place >= saved), "an old snapshot");
    }
    if !notes.has_begun {
        return;
    }
    assert!(!found.is_missing, "there is no AOF");
    // What a power loss has made of what was not synced is not to be believed; it is cut off below.
    if loses_power && is_torn {
        return;
    }
    let place = notes.states.iter().rposition(|state| *state == found.model);
    let Some(place) = place else {
        panic!("no state of the store: {:?}", found.commands.last());
    };
    let a_second_ago = notes.ended.saturating_sub(Duration::from_millis(1_100));
    let old = notes.at.iter().filter(|&&at| at < a_second_ago).count();
    assert!(
        place >= old,
        "state {place} of {old} that were there a second ago"
    );
}

fn check(storage: &FaultyStorage, sync: Sync, notes: &Notes, loses_power: bool, is_torn: bool) {
    check_alone(storage, notes, loses_power, is_torn);
    let process = Process::start_with(storage, archived(sync)).unwrap();
    replay(&process);
    process.do_(process.runtime.sleep(Duration::from_millis(2_200)));
    let stats = process.store.db().archive();
    assert_eq!(stats.aof.gap_s, None, "{stats:?}");
    assert!(stats.aof.trouble.is_none(), "{stats:?}");
    let found = files::read(storage);
    assert_eq!(found.model, contents(&process));
    assert!(!found.has_gap);
    if notes.has_begun && !loses_power {
        assert_eq!(stats.aof.rewrites.done, 0, "it could be gone on with");
    }
    let mut sets: Vec<_> = found
        .commands
        .iter()
        .filter(|words| words[0] == b"SET")
        .collect();
    let all = sets.len();
    sets.sort();
    sets.dedup();
    assert_eq!(sets.len(), all, "a command is there twice");
    let orphans = storage.objects().into_iter();
    let orphans = orphans.filter(|(object, _)| object.to_string().ends_with(".draft"));
    assert_eq!(orphans.count(), 0);
    process.runtime.kill_all();
}

fn check_modes(storage: &FaultyStorage, sync: Sync, notes: &Notes, dice: &mut Random) {
    for mode in modes_to_check(dice) {
        eprintln!("{mode:?}, {sync:?}");
        let survivor = storage.restart(mode);
        check(&survivor, sync, notes, mode.loses_power(), mode.is_torn());
    }
}

/// Crashes where `every` says, of each three.
fn every_crash(sync: Sync, slow: Option<u64>, every: usize) {
    let plan = || slow.map_or_else(Plan::new, |seed| Plan::slow(seed, 4));
    let calm = FaultyStorage::with_plan(plan());
    let notes = Notes::new();
    run(&calm, sync, &notes).unwrap();
    let long = std::env::var("TRILITH_LONG").is_ok();
    let mut dice = Random::new(slow.unwrap_or(97));
    let first = dice.index(every);
    for (number, point) in Plan::every_crash(calm.operations()).enumerate() {
        if number % every != first && !long {
            continue;
        }
        let crash = Fault::Crash(point.moment);
        let storage = FaultyStorage::with_plan(plan().once(When::index(point.index), crash));
        let notes = Notes::new();
        let _crashed = run(&storage, sync, &notes);
        eprintln!("{point:?} of {}, {slow:?}", calm.operations());
        check_modes(&storage, sync, &notes.into_inner(), &mut dice);
    }
}

#[test]
fn a_crash_at_any_operation_leaves_a_state_in_the_archive() {
    every_crash(Sync::EverySecond, None, 1);
}

#[test]
fn a_crash_amid_other_work_leaves_one_too() {
    for seed in 0..3 {
        every_crash(Sync::Always, Some(seed), 5);
    }
    every_crash(Sync::No, Some(3), 5);
}

/// What a crash leaves is opened, and that is crashed as well.
#[test]
fn a_crash_while_the_archive_is_opened_leaves_one_as_well() {
    let calm = FaultyStorage::new();
    run(&calm, Sync::EverySecond, &Notes::new()).unwrap();
    let mut dice = Random::new(5);
    for index in (10..calm.operations()).step_by(23) {
        let crash = Fault::Crash(Moment::During);
        let storage = FaultyStorage::with_plan(Plan::new().once(When::index(index), crash));
        let notes = Notes::new();
        let _crashed = run(&storage, Sync::EverySecond, &notes);
        let notes = notes.into_inner();
        let modes: Vec<CrashMode> = CrashMode::all(0..4).collect();
        let mode = modes[dice.index(modes.len())];
        let open = |storage: &FaultyStorage| {
            let runtime = TestRuntime::new(9);
            runtime.block_on(async {
                let options = archived(Sync::EverySecond);
                let opened = Store::open(storage.clone(), runtime.clone(), options).await;
                if opened.is_ok() {
                    runtime.sleep(Duration::from_millis(1_500)).await;
                }
            });
            runtime.kill_all();
        };
        let calm = storage.restart(mode);
        open(&calm);
        for point in Plan::every_crash(calm.operations()).step_by(4) {
            let again = storage.restart(mode);
            again.set_plan(point.plan());
            open(&again);
            eprintln!("operation {index}, {mode:?}, then {point:?}");
            let twice = again.restart(CrashMode::PowerLoss);
            let is_torn = mode.loses_power() && mode.is_torn();
            // It may have lost more than the first crash had.
            let notes = Notes {
                has_begun: notes.has_begun,
                states: notes.states.clone(),
                saved: notes.saved,
                ..Notes::default()
            };
            check(&twice, Sync::EverySecond, &notes, true, is_torn);
        }
    }
}
