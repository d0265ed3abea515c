//! Going back in time, beside `redis-check-aof --truncate-to-timestamp`.

use std::fs;
use std::io;
use std::path::Path;

use trilith::archive::aof::encode;
use trilith::random::Random;
use trilith_tests::redis::{RedisServer, version};

use crate::files::{fails, folder_of, served, succeeds, text};
use crate::keys::{all_of, assert_same, bytes, now_ms};
use crate::map;
use crate::tools::{check_aof, stop};

const FIRST: u64 = 1_700_000_000;

/// A log over a few hundred seconds; the last of them.
fn written(random: &mut Random) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    let mut second = FIRST;
    encode::timestamp(&mut out, second);
    let later = now_ms() + 86_400_000;
    for _ in 0..3000 {
        if random.below(8) == 0 {
            second += 1 + random.below(3);
            encode::timestamp(&mut out, second);
        }
        let key = format!("key:{}", random.below(200));
        match random.below(300) {
            0 => encode::flush_all(&mut out),
            1..=60 => encode::del(&mut out, key.as_bytes()),
            61..=80 => {
                encode::command(&mut out, &["MULTI"]);
                encode::set(&mut out, key.as_bytes(), b"in a transaction", 0);
                encode::command(&mut out, &["APPEND", key.as_str(), "!"]);
                encode::command(&mut out, &["EXEC"]);
            }
            choice => {
                let deadline_ms = if choice % 2 == 0 { 0 } else { later + choice };
                encode::set(&mut out, key.as_bytes(), &bytes(random, 30), deadline_ms);
            }
        }
    }
    (out, second)
}

fn folder(manifest: &Path) -> &Path {
    manifest.parent().unwrap_or(manifest)
}

#[test]
fn our_restore_and_redis_check_aof_cut_alike_at_many_times() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let mut random = Random::new(17);
    let (bytes, last) = written(&mut random);
    let root = tempfile::tempdir()?;
    let manifest = folder_of(root.path(), &bytes)?;
    for _ in 0..100 {
        let second = FIRST + random.below(last - FIRST + 1);
        let (ours, report) = map::load(folder(&manifest), Some(second))?;
        let cut = tempfile::tempdir()?;
        let theirs = folder_of(cut.path(), &bytes)?;
        let time = second.to_string();
        let checked = check_aof(&["--truncate-to-timestamp", &time], &theirs)?;
        assert!(
            checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stdout)
        );
        let length = fs::metadata(folder(&theirs).join("appendonly.aof.1.incr.aof"))?.len();
        assert_eq!(
            report.files[0].cut.unwrap_or(bytes.len() as u64),
            length,
            "second {second}"
        );
        assert_same(&map::load(folder(&theirs), None)?.0, &ours);
    }
    Ok(())
}

#[test]
fn a_restored_directory_holds_what_redis_holds_after_its_own_cut() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let mut random = Random::new(23);
    let (bytes, last) = written(&mut random);
    let root = tempfile::tempdir()?;
    let from = root.path().join("from");
    folder_of(&from, &bytes)?;
    for round in 0..4 {
        let second = FIRST + random.below(last - FIRST + 1);
        let into = root.path().join(format!("into-{round}"));
        let time = second.to_string();
        succeeds(&[
            "restore",
            "--from",
            text(&from),
            "--to",
            &time,
            "--into",
            text(&into),
        ]);
        let theirs = tempfile::tempdir()?;
        let manifest = folder_of(theirs.path(), &bytes)?;
        assert!(
            check_aof(&["--truncate-to-timestamp", &time], &manifest)?
                .status
                .success()
        );
        let redis = RedisServer::start(theirs.path(), &["--appendonly", "yes"])?;
        let expected = all_of(&mut redis.connect()?)?;
        stop(&redis)?;
        assert_same(&served(&into)?, &expected);
    }
    Ok(())
}

#[test]
fn times_that_are_not_covered_are_refused_and_those_that_are_are_told() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let mut random = Random::new(29);
    let (bytes, last) = written(&mut random);
    let root = tempfile::tempdir()?;
    let from = root.path().join("from");
    let into = root.path().join("into");
    folder_of(&from, &bytes)?;
    for second in [FIRST - 1, last + 1, 0] {
        let said = fails(&[
            "restore",
            "--from",
            text(&from),
            "--to",
            &second.to_string(),
            "--into",
            text(&into),
        ]);
        assert!(
            said.contains("it covers 2023-11-14T22:13:20Z to "),
            "{said}"
        );
        assert!(!into.exists());
    }
    let json = succeeds(&[
        "restore",
        "--from",
        text(&from),
        "--to",
        "2023-11-14T22:13:20Z",
        "--into",
        text(&into),
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(
        report["covered"],
        serde_json::json!([{ "from": FIRST, "to": last }])
    );
    let said = fails(&["restore", "--from", text(&from), "--into", text(&into)]);
    assert!(said.contains("is there already"), "{said}");
    Ok(())
}
