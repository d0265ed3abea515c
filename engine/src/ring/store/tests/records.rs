//! What the log gives back of each range.

use super::*;

#[test]
fn a_new_store_holds_no_ranges_and_a_founded_one_is_found_again() {
    let process = Process::start(&FaultyStorage::new());
    assert!(process.found.is_empty());
    process
        .do_(process.store.found(4, founder(), &alone()))
        .unwrap();
    for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
        let survivor = process.storage.survivor(mode);
        let again = Process::start(&survivor);
        let [found] = &again.found[..] else {
            panic!("{:?}", again.found)
        };
        assert_eq!((found.range, found.me), (4, founder()));
        assert_eq!(found.configurations, [(0, alone())]);
        assert_eq!(found.state.term, 0);
        assert_eq!((found.applied, found.before), Default::default());
        assert!(found.entries.is_empty());
        again.runtime.kill_all();
    }
    let twice = process.do_(process.store.found(4, founder(), &alone()));
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn every_kind_of_record_is_found_again() {
    let process = Process::with(&[2]);
    let members = Configuration::founding(&[NODE, NodeId(8)], Quorum::ALONE);
    let entries = [
        empty(1, 1),
        put(2, 1, 2, b"two"),
        entry(2, 3, Content::Configuration(members.clone())),
        put(2, 2, 4, b"four"),
    ];
    let mut records = as_records(&entries);
    records.insert(0, Record::HardState(state(1, Some(7))));
    let mut newest = state(2, Some(9));
    newest.void = true;
    records.push(Record::HardState(newest));
    records.push(Record::Truncate(4));
    process.log(2, &records);
    let process = process.kill();
    let found = process.range(2);
    assert_eq!(found.entries, entries[..3]);
    assert_eq!(found.state, newest);
    assert_eq!(found.configurations, [(0, alone()), (3, members)]);
    assert_eq!(found.applied.index, 0);
}

#[test]
fn ranges_that_share_a_log_are_told_apart() {
    let process = Process::with(&[0, 255, META]);
    for index in 1..=20 {
        process.log(0, &as_records(&[put(0, 1, index, b"a")]));
        process.log(255, &as_records(&[put(255, 3, index, b"b")]));
        if index % 5 == 0 {
            let content = Content::Command(vec![index as u8].into());
            process.log(META, &as_records(&[entry(2, index / 5, content)]));
        }
    }
    process.log(255, &[Record::Truncate(11)]);
    let process = process.kill();
    assert_eq!(process.range(0).entries.len(), 20);
    assert_eq!(process.range(255).entries.len(), 10);
    assert_eq!(process.ids(META), [(2, 1), (2, 2), (2, 3), (2, 4)]);
    assert!(
        process
            .range(255)
            .entries
            .iter()
            .all(|entry| entry.term == 3)
    );
}

#[test]
fn an_entry_of_another_term_replaces_what_was_at_its_place_and_behind() {
    let process = Process::with(&[1]);
    let old: Vec<_> = (1..=5).map(|index| put(1, 1, index, b"old")).collect();
    process.log(1, &as_records(&old));
    process.log(1, &as_records(&[put(1, 2, 3, b"new")]));
    // The same once more is no replacement.
    process.log(1, &as_records(&[old[0].clone(), old[1].clone()]));
    let process = process.kill();
    assert_eq!(process.ids(1), [(1, 1), (1, 2), (2, 3)]);
    // And once more, over another restart.
    process.log(1, &as_records(&[put(1, 3, 2, b"newest")]));
    let process = process.kill();
    assert_eq!(process.ids(1), [(1, 1), (3, 2)]);
    process.log(1, &[Record::Truncate(1)]);
    assert_eq!(process.kill().ids(1), []);
}

#[test]
fn nothing_is_visible_before_it_is_applied_and_nothing_is_applied_by_opening() {
    let process = Process::with(&[9]);
    let entries = [put(9, 1, 1, b"x"), put(9, 1, 2, b"y")];
    process.log(9, &as_records(&entries));
    assert_eq!(process.get(9, 1), None);
    assert_eq!(process.apply(9, &entries[..1]).len(), 1);
    assert_eq!(process.get(9, 1).unwrap(), b"x");
    assert_eq!(process.get(9, 2), None);
    let process = process.kill();
    assert_eq!(process.range(9).applied.index, 0);
    assert_eq!(process.get(9, 1), None);
    assert_eq!(process.store.dbsize(), 0);
    process.apply(9, &entries);
    assert_eq!(process.get(9, 2).unwrap(), b"y");
    assert_eq!(process.store.dbsize(), 2);
    // In order, and each once.
    let again = process.do_(process.store.apply(9, &entries[..1]));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn only_the_incarnation_that_is_here_may_append() {
    let process = Process::with(&[9]);
    let records = as_records(&[put(9, 1, 1, b"x")]);
    assert!(
        process
            .store
            .append(9, LogId { term: 1, index: 5 }, &records)
            .is_err()
    );
    assert!(process.store.append(8, LogId::default(), &records).is_err());
    assert!(process.do_(process.store.apply(8, &[empty(1, 1)])).is_err());
    assert!(
        process
            .do_(process.store.found(256, founder(), &alone()))
            .is_err()
    );
    let nothing = entry(1, 1, Content::Command(Bytes::new()));
    assert!(
        process
            .store
            .append(9, LogId::default(), &as_records(&[nothing]))
            .is_err()
    );
    process.log(9, &records);
}

#[test]
fn a_store_is_a_rings_or_it_is_not() {
    let process = Process::with(&[9]);
    process.do_(process.store.close()).unwrap();
    let storage = process.storage.restart(CrashMode::ProcessKilled);
    let runtime = TestRuntime::new(1);
    let plain = crate::command::Store::open(storage, runtime.clone(), Options::default());
    let error = runtime.block_on(plain).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Newer);

    let storage = FaultyStorage::new();
    let plain = crate::command::Store::open(storage.clone(), runtime.clone(), Options::default());
    let plain = runtime.block_on(plain).unwrap();
    runtime.block_on(plain.execute(vec![set(1, 1, b"x")]));
    runtime.block_on(plain.close()).unwrap();
    drop(plain);
    runtime.kill_all();
    let storage = storage.restart(CrashMode::ProcessKilled);
    let error = Process::start_with(&storage, options(Sync::No))
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
