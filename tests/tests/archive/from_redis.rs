//! What redis-server writes, loaded by us.

use std::io;
use std::path::Path;

use trilith::archive::aof::Manifest;
use trilith::random::Random;
use trilith_tests::Client;
use trilith_tests::redis::{RedisServer, version};

use crate::files::{fails, served, succeeds, text};
use crate::keys::{all_of, assert_same, bytes, now_ms};
use crate::tools::stop;

/// Does what clients do with strings, transactions included.
fn work(client: &mut Client, random: &mut Random, rounds: usize) -> io::Result<()> {
    let soon = now_ms() + 3_600_000;
    let mut pipeline: Vec<Vec<Vec<u8>>> = Vec::new();
    for _ in 0..rounds {
        let key = format!("key:{}", random.below(3000)).into_bytes();
        let other = format!("key:{}", random.below(3000)).into_bytes();
        let number = format!("number:{}", random.below(100)).into_bytes();
        let value = bytes(random, 50);
        let at = (soon + random.below(1 << 32)).to_string().into_bytes();
        let word = |word: &str| word.as_bytes().to_vec();
        let set = vec![word("SET"), key.clone(), value.clone()];
        let command = match random.below(24) {
            0 => vec![word("SET"), key, value, word("PXAT"), at],
            1 => vec![word("SET"), key, value, word("EX"), word("5000")],
            2 => vec![word("PEXPIREAT"), key, at],
            3 => vec![word("EXPIRE"), key, word("4000"), word("NX")],
            4 => vec![word("PERSIST"), key],
            5 => vec![word("APPEND"), key, value],
            6 => vec![word("SETRANGE"), key, word("7"), value],
            7 => vec![word("INCRBY"), number, word("7")],
            8 => vec![word("INCRBYFLOAT"), number, word("10")],
            9 => vec![word("MSET"), key, value.clone(), other, value],
            10 => vec![word("DEL"), key, other],
            11 => vec![word("SET"), key, value, word("KEEPTTL")],
            12 => vec![word("GETEX"), key, word("EX"), word("7000")],
            13 => vec![word("GETDEL"), key],
            14 => vec![word("COPY"), key, other, word("REPLACE")],
            15 => {
                pipeline.push(set);
                vec![word("RENAME"), key, other]
            }
            16 => vec![word("SETBIT"), key, word("100"), word("1")],
            17 => vec![word("MSETNX"), key, value.clone(), other, value],
            18 => vec![word("SET"), key, value, word("XX"), word("GET")],
            19 => {
                pipeline.extend([vec![word("MULTI")], set, vec![word("APPEND"), other, value]]);
                vec![word("EXEC")]
            }
            20 => vec![word("SELECT"), word("0")],
            _ => set,
        };
        pipeline.push(command);
        if pipeline.len() > 500 {
            client.pipeline(&pipeline)?;
            pipeline.clear();
        }
    }
    client.pipeline(&pipeline)?;
    Ok(())
}

/// Waits until a rewrite that was asked for is done.
fn await_rewrite(client: &mut Client) -> io::Result<()> {
    client.call(&["BGREWRITEAOF"])?;
    let limit = std::time::Duration::from_secs(30);
    trilith_tests::cluster::await_some("the rewrite", limit, || {
        let reply = client.call(&["INFO", "persistence"]).ok()?;
        let trilith_tests::Reply::Bulk(info) = reply else {
            return None;
        };
        let info = String::from_utf8_lossy(&info).into_owned();
        let is_done =
            info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0");
        is_done.then_some(())
    })
}

fn is_imported(root: &Path, preamble: &str) -> io::Result<()> {
    let settings = [
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
        "--aof-timestamp-enabled",
        "yes",
        "--aof-use-rdb-preamble",
        preamble,
    ];
    let from = root.join("redis");
    std::fs::create_dir_all(&from)?;
    let redis = RedisServer::start(&from, &settings)?;
    let mut client = redis.connect()?;
    let mut random = Random::new(preamble.len() as u64);
    work(&mut client, &mut random, 20_000)?;
    await_rewrite(&mut client)?;
    work(&mut client, &mut random, 20_000)?;
    let expected = all_of(&mut client)?;
    assert!(expected.len() > 1000);
    stop(&redis)?;
    let into = root.join("trilith");
    succeeds(&["import", text(&from), "--into", text(&into)]);
    assert_same(&served(&into)?, &expected);
    Ok(())
}

#[test]
fn a_directory_of_redis_with_a_snapshot_as_its_base_is_imported() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    is_imported(tempfile::tempdir()?.path(), "yes")
}

#[test]
fn a_directory_of_redis_with_commands_as_its_base_is_imported() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    is_imported(tempfile::tempdir()?.path(), "no")
}

/// The files of a log behind each other, in order: one file, as Redis wrote it before version 7.
fn joined(folder: &Path) -> io::Result<Vec<u8>> {
    let text = std::fs::read(folder.join("appendonly.aof.manifest"))?;
    let manifest = Manifest::decode(&text).map_err(io::Error::other)?;
    let mut all = Vec::new();
    for file in manifest.newest().files() {
        all.extend(std::fs::read(folder.join(&file.name))?);
    }
    Ok(all)
}

#[test]
fn a_file_of_commands_that_begins_with_a_snapshot_is_imported() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let redis = RedisServer::start(root.path(), &["--appendonly", "yes", "--appendfsync", "no"])?;
    let mut client = redis.connect()?;
    let mut random = Random::new(53);
    work(&mut client, &mut random, 5000)?;
    await_rewrite(&mut client)?;
    work(&mut client, &mut random, 5000)?;
    let expected = all_of(&mut client)?;
    stop(&redis)?;
    let bytes = joined(&root.path().join("appendonlydir"))?;
    assert!(bytes.starts_with(b"REDIS"));
    let (file, into) = (root.path().join("old.aof"), root.path().join("into"));
    // And its tail is torn.
    std::fs::write(&file, [&bytes[..], b"*3\r\n$3\r\nSET"].concat())?;
    let said = succeeds(&["import", text(&file), "--into", text(&into)]);
    assert!(said.contains("ends within a command"), "{said}");
    assert_same(&served(&into)?, &expected);
    fails(&["check-archive", text(&file)]);
    Ok(())
}

#[test]
fn other_types_are_an_error_that_names_them_or_are_passed_over_and_counted() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let redis = RedisServer::start(root.path(), &["--appendonly", "yes", "--appendfsync", "no"])?;
    let mut client = redis.connect()?;
    client.call(&["SET", "a", "1"])?;
    client.call(&["HSET", "hash", "field", "value"])?;
    client.call(&["RPUSH", "list", "one", "two"])?;
    client.call(&["EXPIRE", "list", "5000"])?;
    client.call(&["APPEND", "a", "2"])?;
    client.call(&["SELECT", "3"])?;
    client.call(&["SET", "elsewhere", "1"])?;
    client.call(&["SELECT", "0"])?;
    client.call(&["APPEND", "a", "3"])?;
    let expected = all_of(&mut client)?;
    stop(&redis)?;
    let into = root.path().join("trilith");
    let said = fails(&["import", text(root.path()), "--into", text(&into)]);
    assert!(
        said.contains("command HSET") && said.contains("at offset"),
        "{said}"
    );
    assert!(said.contains("--skip-unsupported"), "{said}");
    assert!(!into.exists(), "nothing is left behind");
    let json = succeeds(&[
        "import",
        text(root.path()),
        "--into",
        text(&into),
        "--skip-unsupported",
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_str(&json)?;
    let skipped = serde_json::json!({ "command HSET": 1, "command RPUSH": 1, "database 3": 1 });
    assert_eq!(report["skipped"], skipped, "{json}");
    assert_same(&served(&into)?, &expected);
    Ok(())
}
