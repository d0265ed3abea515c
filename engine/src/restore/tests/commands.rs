//! What commands of Redis's logs do.

use crate::ErrorKind;
use crate::archive::aof::encode;
use crate::restore::testing::{Pairs, error_of, load_file};

const NOW_MS: u64 = 1_700_000_000_000;
const SOON_MS: u64 = NOW_MS + 60_000;
const FAR_MS: u64 = NOW_MS + 86_400_000;

fn file(lines: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        encode::command(&mut out, &words);
    }
    out
}

/// What is there when these commands have been loaded.
fn after(lines: &[&str]) -> Pairs {
    load_file(&file(&named(lines)), false, NOW_MS).unwrap().0
}

/// `PAST`, `SOON` and `FAR` are times.
fn named(lines: &[&str]) -> Vec<String> {
    let named = |line: &&str| {
        line.replace("PAST", &(NOW_MS - 5000).to_string())
            .replace("SOON", &SOON_MS.to_string())
            .replace("FAR", &FAR_MS.to_string())
    };
    lines.iter().map(named).collect()
}

fn pairs(expected: &[(&str, &str, u64)]) -> Pairs {
    let pair =
        |&(key, value, deadline_ms): &(&str, &str, u64)| (key.into(), (value.into(), deadline_ms));
    expected.iter().map(pair).collect()
}

#[test]
fn strings_and_keys_become_what_redis_made_of_them() {
    let lines = [
        "SELECT 0",
        "MULTI",
        "SET a 1",
        "APPEND a 23",
        "EXEC",
        "INCRBY a 7",
        "MSET b x c y",
        "DEL c",
        "SETRANGE b 3 abc",
        "SET d old KEEPTTL",
        "GETSET d new",
        "RENAME d e",
        "COPY e f",
        "SETNX e other",
        "msetnx g 1 h 2",
        "GETDEL h",
        "SETBIT i 1 1",
        "SET j v NX",
        "SET k v XX",
        "UNLINK nothing",
        "GET a",
    ];
    let expected = [
        ("a", "130", 0),
        ("b", "x\0\0abc", 0),
        ("e", "new", 0),
        ("f", "new", 0),
        ("g", "1", 0),
        ("i", "@", 0),
        ("j", "v", 0),
    ];
    assert_eq!(after(&lines), pairs(&expected));
}

#[test]
fn deadlines_are_set_kept_moved_and_cleared() {
    for deadline in ["SOON", "FAR"] {
        let ms = if deadline == "SOON" { SOON_MS } else { FAR_MS };
        let with = |lines: &[&str]| {
            let lines: Vec<String> = lines
                .iter()
                .map(|line| line.replace('@', deadline))
                .collect();
            after(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(with(&["SET k v PXAT @"]), pairs(&[("k", "v", ms)]));
        assert_eq!(
            with(&["SET k v", "PEXPIREAT k @"]),
            pairs(&[("k", "v", ms)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "APPEND k w"]),
            pairs(&[("k", "vw", ms)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "SET k w KEEPTTL"]),
            pairs(&[("k", "w", ms)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "SETRANGE k 0 w"]),
            pairs(&[("k", "w", ms)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "RENAME k l"]),
            pairs(&[("l", "v", ms)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "SET k w"]),
            pairs(&[("k", "w", 0)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "GETSET k w"]),
            pairs(&[("k", "w", 0)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "MSET k w"]),
            pairs(&[("k", "w", 0)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "PERSIST k"]),
            pairs(&[("k", "v", 0)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "DEL k", "APPEND k w"]),
            pairs(&[("k", "w", 0)])
        );
        assert_eq!(
            with(&["SET k v PXAT @", "FLUSHALL", "APPEND k w"]),
            pairs(&[("k", "w", 0)])
        );
        assert_eq!(
            with(&["SET k v", "SET l w PXAT @", "RENAME k l"]),
            pairs(&[("l", "v", 0)])
        );
        assert_eq!(with(&["PEXPIREAT k @"]), pairs(&[]));
        assert_eq!(
            with(&["SET k v PXAT @", "PEXPIREAT k 99 GT"]),
            pairs(&[("k", "v", ms)])
        );
    }
    assert_eq!(
        after(&["SET k v PXAT FAR", "PEXPIREAT k SOON LT"]),
        pairs(&[("k", "v", SOON_MS)])
    );
    assert_eq!(
        after(&["SET k v PXAT SOON", "PEXPIREAT k FAR"]),
        pairs(&[("k", "v", FAR_MS)])
    );
    assert_eq!(
        after(&["SET k v", "SET k w NX PXAT SOON"]),
        pairs(&[("k", "v", 0)])
    );
}

#[test]
fn nothing_expires_while_a_log_is_read_however_old_it_is() {
    // Each was written while the key was alive.
    for (lines, expected) in [
        (
            &["SET k v PXAT PAST", "PERSIST k"][..],
            pairs(&[("k", "v", 0)]),
        ),
        (
            &["SET k v PXAT PAST", "PEXPIREAT k FAR"],
            pairs(&[("k", "v", FAR_MS)]),
        ),
        (&["SET k v PXAT PAST", "SET k w KEEPTTL"], pairs(&[])),
        (&["SET k 1 PXAT PAST", "INCRBY k 5"], pairs(&[])),
        (
            &["SET k v PXAT PAST", "RENAME k l", "PERSIST l"],
            pairs(&[("l", "v", 0)]),
        ),
        (
            &["SET k v PXAT PAST", "DEL k", "INCRBY k 5"],
            pairs(&[("k", "5", 0)]),
        ),
        (
            &["SET k v PXAT PAST", "SETRANGE k 1 w", "PERSIST k"],
            pairs(&[("k", "vw", 0)]),
        ),
    ] {
        assert_eq!(after(lines), expected, "{lines:?}");
    }
    let (_, report) = load_file(
        &file(&named(&["SET k v PXAT PAST", "SET l v"])),
        false,
        NOW_MS,
    )
    .unwrap();
    assert_eq!((report.expired, report.items()), (1, 2));
}

#[test]
fn relative_times_count_from_when_they_were_written() {
    let mut out = Vec::new();
    encode::timestamp(&mut out, NOW_MS / 1000 - 50);
    encode::command(&mut out, &["SET", "k", "v", "EX", "100"]);
    encode::command(&mut out, &["SET", "l", "v", "EX", "10"]);
    let (found, report) = load_file(&out, false, NOW_MS).unwrap();
    assert_eq!(found, pairs(&[("k", "v", NOW_MS + 50_000)]));
    assert_eq!((report.expired, report.last), (1, Some(NOW_MS / 1000 - 50)));
    assert_eq!(
        after(&["SET k v EX 100"]),
        pairs(&[("k", "v", NOW_MS + 100_000)])
    );
}

#[test]
fn what_is_not_held_here_is_an_error_that_names_it_and_its_place() {
    for line in [
        "HSET h f v",
        "RPUSH l a",
        "SETRANGE k",
        "SET k v FOO",
        "SELECT 3",
        "SELECT x",
        "PUBLISH c m",
        "PING",
        "SWAPDB 0 1",
    ] {
        let before = file(&named(&["SET a 1"]));
        let bytes = [before.clone(), file(&[line.to_owned()])].concat();
        let error = error_of(load_file(&bytes, false, NOW_MS));
        assert_eq!(error.kind(), ErrorKind::Invalid, "{line}: {error}");
        assert_eq!(error.offset(), Some(before.len() as u64));
        let name = line.split(' ').next().unwrap();
        let is_named = error.to_string().contains(name) || error.to_string().contains("database");
        assert!(is_named, "{error}");
    }
}

#[test]
fn what_is_not_held_here_can_be_passed_over_and_is_counted() {
    let lines = named(&[
        "SET a 1",
        "HSET h f v",
        "hset h f w",
        "SADD s 1",
        "SELECT 2",
        "SET a 2",
        "DEL a",
        "SELECT 0",
        "APPEND a 0",
        "RENAME h b",
        "EXPIRE s 100",
    ]);
    let (found, report) = load_file(&file(&lines), true, NOW_MS).unwrap();
    assert_eq!(found, pairs(&[("a", "10", 0)]));
    let skipped: Vec<(String, u64)> = report.skipped().into_iter().collect();
    let expected = [("command HSET", 2), ("command SADD", 1), ("database 2", 2)];
    assert_eq!(
        skipped,
        expected.map(|(what, count)| (what.to_owned(), count))
    );
}

#[test]
fn a_command_that_fails_stops_loading_and_says_where() {
    let before = file(&named(&["SET a x"]));
    let bytes = [before.clone(), file(&named(&["INCRBY a 1"]))].concat();
    let error = error_of(load_file(&bytes, true, NOW_MS));
    assert_eq!(
        (error.kind(), error.offset()),
        (ErrorKind::Failed, Some(before.len() as u64))
    );
}
