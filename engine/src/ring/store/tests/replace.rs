//! Snapshots, and the end of a copy.

use super::*;

fn head(id: u64, at: LogId) -> SnapshotHead {
    SnapshotHead {
        id,
        at,
        time_ms: NOW_MS + 1000,
        configuration: alone(),
        configured_at: 3,
    }
}

/// Every part of a snapshot.
fn parts(process: &Process, range: RangeId, bytes_most: usize) -> (LogId, Vec<Bytes>) {
    let snapshot = process.do_(process.store.snapshot_open(range)).unwrap();
    let mut parts = Vec::new();
    loop {
        let number = parts.len() as u64;
        let read = process.store.snapshot_read(&snapshot, number, bytes_most);
        let (part, last) = process.do_(read).unwrap();
        parts.push(part);
        if last {
            return (snapshot.at(), parts);
        }
    }
}

fn lay_aside(process: &Process, range: RangeId, id: u64, parts: &[Bytes]) {
    for (number, part) in parts.iter().enumerate() {
        let stored = process
            .store
            .chunk_store(range, id, number as u64, part.clone());
        process.do_(stored).unwrap();
    }
}

/// A source with keys of every kind in range 8, in memory and in tables.
fn source() -> Process {
    let process = Process::with(&[7, 8]);
    let soon = Expiry::Set(crate::command::Deadline::At(NOW_MS as i64 + 10));
    process.commit(7, &[put(7, 1, 1, b"another range")]);
    process.commit(8, &[put(8, 1, 1, b"small")]);
    process.commit(8, &[put(8, 1, 2, &[2; 9000])]);
    process.flush();
    process.commit(8, &[command(1, 3, &set_for(8, 3, b"expires", soon))]);
    for index in 4..=60 {
        process.commit(8, &[put(8, 2, index, &[index as u8; 300])]);
    }
    process
}

#[test]
fn a_snapshot_is_the_state_at_its_index() {
    let process = source();
    let snapshot = process.do_(process.store.snapshot_open(8)).unwrap();
    assert_eq!(snapshot.at(), LogId { term: 2, index: 60 });
    let read = |number| process.do_(process.store.snapshot_read(&snapshot, number, 2000));
    let (first, last) = read(0).unwrap();
    assert!(!last && first.len() < 12_000);
    assert!(read(2).is_err(), "a part was skipped");
    // What is applied meanwhile is not in it, and reading again gives the same.
    process.commit(8, &[command(2, 61, &Command::Clear)]);
    process.flush();
    process.do_(process.store.db().compact()).unwrap();
    read(1).unwrap();
    assert_eq!(read(0).unwrap().0, first);
    let mut bytes = 0;
    for number in 0.. {
        let (part, last) = read(number).unwrap();
        bytes += part.len();
        if last {
            break;
        }
    }
    assert!(bytes > 57 * 300 + 9000);
}

#[test]
fn an_install_replaces_state_log_and_promises() {
    let source = source();
    for bytes_most in [500, 5000, 1 << 20] {
        let (at, parts) = parts(&source, 8, bytes_most);
        let target = Process::with(&[8, 9]);
        // Keys that the snapshot does not have, in tables, in memory, and logged only.
        for index in 100..130 {
            let entries = [command(1, index - 99, &set(8, index, b"old"))];
            target.commit(8, &entries);
            if index == 115 {
                target.flush();
                assert_eq!(target.get(8, 101).unwrap(), b"old");
            }
        }
        target.commit(9, &[put(9, 1, 1, b"stays")]);
        target.log(8, &as_records(&[put(8, 1, 31, b"void")]));
        target.log(8, &[Record::HardState(state(1, Some(1)))]);
        lay_aside(&target, 8, 77, &parts);
        let hard = state(6, Some(2));
        target
            .do_(target.store.snapshot_install(8, &head(77, at), hard))
            .unwrap();
        let check = |target: &Process| {
            assert_eq!(target.get(8, 1).unwrap(), b"small");
            assert_eq!(target.get(8, 2).unwrap(), [2; 9000]);
            assert_eq!(target.get(8, 60).unwrap(), [60; 300]);
            assert_eq!(target.get(8, 100), None);
            assert_eq!(target.get(8, 129), None);
            // It was flushed on the way.
            assert_eq!(target.get(9, 1).unwrap(), b"stays");
        };
        check(&target);
        assert_eq!(target.store.dbsize(), 61);
        // Both hold the same, what has expired included.
        assert_eq!(
            self::parts(&target, 8, 1 << 20).1,
            self::parts(&source, 8, 1 << 20).1
        );
        let verified = target.do_(target.store.db().verify()).unwrap();
        assert!(verified.is_sound(), "{:?}", verified.problems);
        // The range goes on from there.
        target.commit(8, &[put(8, 6, 61, b"next")]);
        let target = target.restart(CrashMode::ProcessKilled);
        let found = target.range(8);
        assert_eq!((found.applied, found.applied_time_ms), (at, NOW_MS + 1000));
        assert_eq!(found.state, hard);
        assert_eq!(found.configurations, [(3, alone())]);
        assert_eq!(target.ids(8), [(6, 61)]);
        check(&target);
        // Logged, and not applied here yet.
        assert_eq!(target.store.dbsize(), 61);
        target.flush();
        target.do_(target.store.db().compact()).unwrap();
        check(&target);
    }
}

#[test]
fn an_install_may_go_back() {
    let process = Process::with(&[8]);
    process.commit(8, &[put(8, 1, 1, b"one")]);
    let (at, parts) = parts(&process, 8, 1000);
    let more: Vec<_> = (2..=20).map(|index| put(8, 1, index, b"more")).collect();
    process.commit(8, &more);
    process.flush();
    lay_aside(&process, 8, 1, &parts);
    process
        .do_(
            process
                .store
                .snapshot_install(8, &head(1, at), state(3, None)),
        )
        .unwrap();
    assert_eq!(process.store.dbsize(), 1);
    assert_eq!(process.store.flushed().1, [(8, 1)]);
    process.commit(8, &[put(8, 3, 2, b"other")]);
    let process = process.kill();
    assert_eq!(process.ids(8), [(3, 2)]);
}

#[test]
fn parts_belong_to_one_snapshot_and_come_in_order() {
    let process = Process::with(&[8]);
    let store = |id, number, bytes: &'static [u8]| {
        process.do_(
            process
                .store
                .chunk_store(8, id, number, Bytes::from_static(bytes)),
        )
    };
    assert!(store(1, 1, b"x").is_err());
    store(1, 0, b"x").unwrap();
    assert!(store(1, 2, b"x").is_err());
    assert!(store(2, 1, b"x").is_err());
    store(1, 1, b"y").unwrap();
    store(1, 1, b"y").unwrap();
    store(2, 0, b"z").unwrap();
    let install = |id| {
        let head = head(id, LogId::default());
        process.do_(process.store.snapshot_install(8, &head, state(1, None)))
    };
    assert_eq!(install(1).unwrap_err().kind(), ErrorKind::Invalid);
    // These bytes are no snapshot: nothing changes.
    assert_eq!(install(2).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(process.kill().range(8).state.term, 0);
}

#[test]
fn what_a_crash_leaves_of_a_snapshot_is_removed() {
    let source = source();
    let (_, parts) = parts(&source, 8, 1000);
    let target = Process::with(&[8]);
    lay_aside(&target, 8, 1, &parts[..3]);
    let tables = |process: &Process| {
        let objects = process.storage.objects().into_iter();
        objects
            .filter(|(object, _)| matches!(object, Object::Table(_)))
            .count()
    };
    assert_eq!(tables(&target), 1);
    let target = target.kill();
    assert_eq!(tables(&target), 0);
    lay_aside(&target, 8, 1, &parts);
    lay_aside(&target, 8, 2, &parts);
    assert_eq!(tables(&target), 1);
}

#[test]
fn a_copy_that_was_destroyed_stays_so() {
    let process = Process::with(&[8, 9]);
    process.commit(8, &[put(8, 1, 1, b"x"), put(8, 1, 2, b"y")]);
    process.commit(9, &[put(9, 1, 1, b"stays")]);
    process.log(8, &as_records(&[put(8, 1, 3, b"z")]));
    process.do_(process.store.destroy(8)).unwrap();
    let read = Command::Get(key(8, 1));
    assert!(
        process
            .do_(process.store.read_in(8, &read, 0, NOW_MS))
            .is_err()
    );
    assert_eq!(process.store.dbsize(), 1);
    assert!(process.do_(process.store.destroy(8)).is_err());
    assert!(process.store.append(8, LogId::default(), &[]).is_err());
    let process = process.restart(CrashMode::PowerLoss);
    assert_eq!(process.found.len(), 1);
    assert_eq!(process.store.destroyed(), [(8, founder())]);
    assert_eq!(process.get(8, 1), None);
    // Under a later incarnation the node may hold it again, from nothing.
    let found = |incarnation| {
        let me = Member {
            incarnation,
            ..founder()
        };
        process.do_(process.store.found(8, me, &Configuration::unknown()))
    };
    assert!(found(LogId::default()).is_err());
    let later = LogId { term: 2, index: 12 };
    found(later).unwrap();
    let process = process.kill();
    assert_eq!(process.range(8).me.incarnation, later);
    assert_eq!(process.ids(8), []);
    assert!(process.store.destroyed().is_empty());
}

#[test]
fn a_copy_that_begins_again_has_nothing_of_the_earlier_one() {
    let (at, parts) = parts(&source(), 8, 1 << 20);
    for is_read_before in [true, false] {
        let process = Process::with(&[8, 9]);
        process.commit(9, &[put(9, 1, 1, b"stays")]);
        let old: Vec<_> = (1..=61).map(|n| put(8, 1, n, b"old")).collect();
        process.commit(8, &old);
        process.do_(process.store.destroy(8)).unwrap();
        let me = Member {
            incarnation: LogId { term: 2, index: 12 },
            ..founder()
        };
        let unknown = Configuration::unknown();
        process.do_(process.store.found(8, me, &unknown)).unwrap();
        if is_read_before {
            assert_eq!((process.get(8, 1), process.get(8, 61)), (None, None));
        }
        // Before anything else is flushed: nothing that hid the earlier one may hide this.
        lay_aside(&process, 8, 77, &parts);
        let head = head(77, at);
        let install = (process.store).snapshot_install(8, &head, state(6, Some(2)));
        process.do_(install).unwrap();
        let check = |process: &Process| {
            assert_eq!(process.get(8, 1).unwrap(), b"small");
            assert_eq!(process.get(8, 60).unwrap(), [60; 300]);
            assert_eq!(process.get(8, 61), None);
            assert_eq!(process.get(9, 1).unwrap(), b"stays");
            assert_eq!(process.store.dbsize(), 61);
        };
        check(&process);
        process.flush();
        process.do_(process.store.db().compact()).unwrap();
        check(&process);
        check(&process.kill());
    }
}

#[test]
fn copies_that_begin_again_one_by_one_cost_one_look_through_memory() {
    let process = Process::with(&[7, 8, 9]);
    let destroy = |range| process.do_(process.store.destroy(range)).unwrap();
    let begin_again = |range, index| {
        let incarnation = LogId { term: 2, index };
        let me = Member {
            incarnation,
            ..founder()
        };
        process
            .do_(process.store.found(range, me, &Configuration::unknown()))
            .unwrap();
        assert_eq!(process.get(range, 1), None);
    };
    for range in [7, 8, 9] {
        process.commit(range, &[put(range, 1, 1, b"old")]);
    }
    destroy(7);
    destroy(8);
    let sweeps = || process.store.db().stats().memory.sweeps;
    let before = sweeps();
    begin_again(8, 12);
    begin_again(7, 12);
    assert_eq!(sweeps(), before + 1);
    assert_eq!(process.get(9, 1).unwrap(), b"old");
    // What goes and comes once more is looked for once more.
    destroy(7);
    begin_again(7, 20);
    assert_eq!(sweeps(), before + 2);
}

#[test]
fn the_first_copy_of_a_range_is_installed_without_a_flush() {
    let (at, parts) = parts(&source(), 8, 1 << 20);
    let process = Process::with(&[8, 9]);
    process.commit(9, &[put(9, 1, 1, b"stays")]);
    lay_aside(&process, 8, 77, &parts);
    let flushes = || process.store.db().stats().flushes;
    let before = flushes();
    let head = head(77, at);
    let install = (process.store).snapshot_install(8, &head, state(6, Some(2)));
    process.do_(install).unwrap();
    assert_eq!(flushes(), before);
    // What is written now is newer than the snapshot, wherever it comes to lie.
    let n = at.index + 1;
    process.commit(8, &[put(8, 6, n, b"newer")]);
    process.commit(9, &[put(9, 1, 2, b"stays too")]);
    process.flush();
    process.do_(process.store.db().compact()).unwrap();
    assert_eq!(process.get(8, n).unwrap(), b"newer");
    assert_eq!(process.get(8, 60).unwrap(), [60; 300]);
    assert_eq!(process.get(9, 1).unwrap(), b"stays");
    let verified = process.do_(process.store.db().verify()).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
}

/// What is yet to end, by number.
type Waiting<'a> = (u32, std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>);

/// Waits for all, each polled as long as it is not ready; in which order they were.
fn together<'a>(process: &Process, mut waiting: Vec<Waiting<'a>>) -> Vec<u32> {
    let mut order = Vec::new();
    process.do_(std::future::poll_fn(|context| {
        waiting.retain_mut(|(name, future)| {
            let ready = future.as_mut().poll(context).is_ready();
            if ready {
                order.push(*name);
            }
            !ready
        });
        match waiting.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    }));
    order
}

#[test]
fn copies_that_go_together_cost_two_flushes_and_not_one_each() {
    let ranges: Vec<RangeId> = (0..40).collect();
    let process = Process::with(&ranges);
    for &range in &ranges {
        process.commit(range, &[put(range, 1, 1, b"x")]);
    }
    let flushes = || process.store.db().stats().flushes;
    let before = flushes();
    let going = ranges[1..].iter().map(|&range| {
        let store = &process.store;
        let going: std::pin::Pin<Box<dyn Future<Output = ()>>> =
            Box::pin(async move { store.destroy(range).await.unwrap() });
        (range, going)
    });
    together(&process, going.collect());
    // The first goes alone, and all the others with the next turn.
    assert!(flushes() <= before + 2, "{}", flushes() - before);
    assert_eq!(process.store.dbsize(), 1);
    let process = process.restart(CrashMode::PowerLoss);
    assert_eq!(process.found.len(), 1);
    assert_eq!(process.store.destroyed().len(), 39);
    assert_eq!(process.get(0, 1).unwrap(), b"x");
    assert!((1..40).all(|range| process.get(range, 1).is_none()));
}

#[test]
fn who_cannot_go_does_not_keep_others() {
    let process = Process::with(&[1, 2]);
    let store = &process.store;
    let results = parking_lot::Mutex::new(Vec::new());
    let going = [1, 9, 2, 1].into_iter().enumerate().map(|(place, range)| {
        let results = &results;
        let going: std::pin::Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async move {
            let done = store.destroy(range).await.is_ok();
            results.lock().push((place, done));
        });
        (range, going)
    });
    together(&process, going.collect());
    let mut results = results.into_inner();
    results.sort_unstable();
    assert_eq!(results, [(0, true), (1, false), (2, true), (3, false)]);
}

#[test]
fn snapshots_that_are_installed_together_cost_two_flushes_and_not_one_each() {
    let source = source();
    let (at, parts) = parts(&source, 8, 1 << 20);
    // The same state stands for all, as far as keys go: none of them is looked at.
    let ranges: Vec<RangeId> = (0..20).collect();
    let target = Process::with(&ranges);
    target.commit(0, &[put(0, 1, 1, b"in memory")]);
    target.commit(19, &[put(19, 1, 1, b"in memory")]);
    for &range in &ranges[1..19] {
        lay_aside(&target, range, 77, &parts);
    }
    let before = target.store.db().stats().flushes;
    let (head, store) = (head(77, at), &target.store);
    let filling = ranges[1..19].iter().map(|&range| {
        let head = &head;
        let filling: std::pin::Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async move {
            let installed = store.snapshot_install(range, head, state(6, None)).await;
            installed.unwrap();
        });
        (range, filling)
    });
    together(&target, filling.collect());
    assert!(store.db().stats().flushes <= before + 2);
    // What is applied before and after such an install never comes into one table.
    target.commit(0, &[put(0, 1, 2, b"later")]);
    target.commit(19, &[put(19, 1, 2, b"later")]);
    target.flush();
    target.do_(target.store.db().compact()).unwrap();
    let target = target.kill();
    assert_eq!(target.get(8, 60).unwrap(), [60; 300]);
    assert_eq!(target.get(0, 1).unwrap(), b"in memory");
    assert_eq!(target.get(19, 2).unwrap(), b"later");
    assert_eq!(target.range(8).applied, at);
}

#[test]
fn a_range_that_catches_up_lets_others_have_their_turn() {
    let process = Process::with(&[7, 8]);
    let many: Vec<_> = (1..=1000).map(|index| put(7, 1, index, b"x")).collect();
    let one = [put(8, 1, 1, b"y")];
    process.log(7, &as_records(&many));
    process.log(8, &as_records(&one));
    let store = &process.store;
    let order = together(
        &process,
        vec![
            (7, Box::pin(async { drop(store.apply(7, &many).await) })),
            (8, Box::pin(async { drop(store.apply(8, &one).await) })),
        ],
    );
    assert_eq!(order, [8, 7]);
}
