//! Backups of ranges: one index whatever comes later, and what tells that nothing has changed since another one.

use super::*;
use crate::command::Deadline;
use crate::ring::store::{BackedUp, Position, RangeBackup};

type Backup = RangeBackup<FaultyStorage, TestRuntime>;

fn read(process: &Process, backup: &mut Backup, bytes_most: usize) -> Vec<BackedUp> {
    let mut all = Vec::new();
    loop {
        let part = process.do_(backup.next(bytes_most)).unwrap();
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

fn backup(process: &Process, range: RangeId) -> Backup {
    process.do_(process.store.backup(range)).unwrap()
}

fn position(term: u64, index: u64) -> Position {
    Position {
        at: LogId { term, index },
        time_ms: NOW_MS + index,
    }
}

fn changed(process: &Process, range: RangeId) -> Position {
    backup(process, range).changed()
}

#[test]
fn a_backup_holds_one_index_whatever_is_applied_while_it_is_read() {
    let process = Process::with(&[2, 3]);
    let first: Vec<_> = (1..=50).map(|index| put(2, 1, index, b"first")).collect();
    process.commit(2, &first);
    process.commit(3, &[put(3, 1, 1, b"of another range")]);
    process.flush();
    let mut pinned = backup(&process, 2);
    assert_eq!(pinned.position(), position(1, 50));
    assert_eq!(pinned.keys(), (50, 0));
    let one = process.do_(pinned.next(1)).unwrap();
    assert_eq!(one.len(), 1, "as few as can be");

    let second: Vec<_> = (1..=50)
        .map(|n| command(1, 50 + n, &set(2, n + 25, b"second")))
        .collect();
    process.commit(2, &second);
    process.flush();
    process.do_(process.store.db().compact()).unwrap();
    let mut all = one;
    all.extend(read(&process, &mut pinned, 300));
    assert_eq!(all.len(), 50);
    assert!(all.is_sorted_by(|a, b| a.key < b.key));
    assert!(all.iter().all(|entry| entry.value == "first"));
    assert!(process.do_(pinned.next(300)).unwrap().is_empty());
    assert_eq!(read(&process, &mut backup(&process, 2), 1 << 20).len(), 75);
}

#[test]
fn keys_keep_their_deadlines_and_those_that_had_expired_are_left_out() {
    let process = Process::with(&[2]);
    let until = |ms: u64| Expiry::Set(Deadline::At((NOW_MS + ms) as i64));
    let entries = [
        command(1, 1, &set_for(2, 1, b"gone", until(3))),
        command(1, 2, &set_for(2, 2, b"stays", until(5))),
        command(1, 3, &set(2, 3, b"for ever")),
    ];
    process.commit(2, &entries);
    let mut pinned = backup(&process, 2);
    assert_eq!(pinned.keys(), (3, 2), "one is yet to be removed");
    let all = read(&process, &mut pinned, 1 << 20);
    let found: Vec<_> = all
        .iter()
        .map(|entry| (&entry.value[..], entry.deadline_ms))
        .collect();
    let expected: [(&[u8], u64); 2] = [(b"stays", NOW_MS + 5), (b"for ever", 0)];
    assert_eq!(found, expected);
}

#[test]
fn only_what_changes_keys_moves_what_tells_changes_apart() {
    let process = Process::with(&[2, 3]);
    assert_eq!(changed(&process, 2), Position::default());
    process.commit(2, &[put(2, 1, 1, b"one"), empty(1, 2)]);
    assert_eq!(changed(&process, 2), position(1, 1));
    assert_eq!(backup(&process, 2).position(), position(1, 2));
    // A command that finds nothing to do.
    let missing = command(1, 3, &Command::Del(vec![key(2, 9)]));
    process.commit(2, &[missing, empty(2, 4)]);
    assert_eq!(changed(&process, 2), position(1, 1));
    process.commit(3, &[put(3, 1, 1, b"of another range")]);
    assert_eq!(changed(&process, 2), position(1, 1));
    process.commit(2, &[command(2, 5, &Command::Del(vec![key(2, 1)]))]);
    assert_eq!(changed(&process, 2), position(2, 5));
    process.commit(2, &[command(2, 6, &Command::Clear)]);
    assert!(changed(&process, 2).at.index >= 5);
}

#[test]
fn after_a_restart_no_change_is_overlooked() {
    let process = Process::with(&[2]);
    process.commit(2, &[put(2, 1, 1, b"one"), empty(1, 2)]);
    process.flush();
    let process = process.kill();
    // What the tables have is not told apart any more.
    assert_eq!(changed(&process, 2), position(1, 2));
    process.commit(2, &[empty(1, 3)]);
    assert_eq!(changed(&process, 2), position(1, 2));
    process.commit(2, &[put(2, 1, 4, b"four")]);
    let process = process.kill();
    let entries = process.range(2).entries.clone();
    process.apply(2, &entries);
    assert_eq!(changed(&process, 2), position(1, 4));
}

#[test]
fn a_backup_of_a_copy_that_goes_meanwhile_fails() {
    let process = Process::with(&[2]);
    let entries: Vec<_> = (1..=20).map(|index| put(2, 1, index, b"value")).collect();
    process.commit(2, &entries);
    let mut pinned = backup(&process, 2);
    process.do_(pinned.next(1)).unwrap();
    process.do_(process.store.destroy(2)).unwrap();
    let error = process.do_(pinned.next(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let gone = process.do_(process.store.backup(2)).err();
    assert_eq!(gone.map(|error| error.kind()), Some(ErrorKind::Invalid));
    let meta = process.do_(process.store.backup(META)).err();
    assert_eq!(meta.map(|error| error.kind()), Some(ErrorKind::Invalid));
}
