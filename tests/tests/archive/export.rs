//! A node's keys on their way to Redis and back.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use trilith::random::Random;
use trilith_tests::redis::{RedisServer, version};
use trilith_tests::server::ServerOptions;

use crate::files::{encoded, fails, folder_of, served, succeeds, text};
use crate::keys::{Pairs, all_of, assert_same, random_pairs};
use crate::tools::{check_aof, stop};

/// A node's directory with these keys.
fn node(root: &Path, random: &mut Random, pairs: &Pairs) -> io::Result<std::path::PathBuf> {
    let (log, node) = (root.join("log"), root.join("node"));
    folder_of(&log, &encoded(random, pairs))?;
    succeeds(&["import", text(&log), "--into", text(&node)]);
    Ok(node)
}

#[test]
fn what_is_exported_is_loaded_by_redis() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let mut random = Random::new(31);
    let pairs = random_pairs(&mut random, 20_000);
    let node = node(root.path(), &mut random, &pairs)?;
    let rdb = root.path().join("dump.rdb");
    succeeds(&["export", "--from", text(&node), "--to", text(&rdb)]);
    assert!(
        Command::new("redis-check-rdb")
            .arg(&rdb)
            .output()?
            .status
            .success()
    );
    let redis = RedisServer::start(root.path(), &[""; 0])?;
    assert_same(&all_of(&mut redis.connect()?)?, &pairs);
    stop(&redis)?;

    let folder = root.path().join("as-log");
    succeeds(&[
        "export",
        "--from",
        text(&node),
        "--to",
        text(&folder),
        "--rdb-version",
        "10",
    ]);
    let manifest = folder.join("appendonlydir/appendonly.aof.manifest");
    assert!(check_aof(&[], &manifest)?.status.success());
    let redis = RedisServer::start(&folder, &["--appendonly", "yes"])?;
    assert_same(&all_of(&mut redis.connect()?)?, &pairs);
    stop(&redis)?;

    // What was there is not written over, and the node is as it was.
    let said = fails(&["export", "--from", text(&node), "--to", text(&rdb)]);
    assert!(said.contains("is there already"), "{said}");
    assert_same(&served(&node)?, &pairs);
    Ok(())
}

#[test]
fn a_running_server_takes_what_is_imported() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let mut random = Random::new(37);
    let pairs = random_pairs(&mut random, 5000);
    let log = root.path().join("log");
    folder_of(&log, &encoded(&mut random, &pairs))?;
    let server = ServerOptions::default().start(&root.path().join("data"))?;
    let port = server.address().port().to_string();
    succeeds(&["import", text(&log), "--port", &port]);
    assert_same(&all_of(&mut server.connect()?)?, &pairs);

    // A FLUSHALL in the source is not meant for what the server holds.
    let flushing = root.path().join("flushing");
    let mut bytes = Vec::new();
    trilith::archive::aof::encode::flush_all(&mut bytes);
    folder_of(&flushing, &bytes)?;
    let said = fails(&["import", text(&flushing), "--port", &port]);
    assert!(said.contains("--allow-flush"), "{said}");
    assert_same(&all_of(&mut server.connect()?)?, &pairs);
    succeeds(&["import", text(&flushing), "--port", &port, "--allow-flush"]);
    assert_same(&all_of(&mut server.connect()?)?, &Pairs::new());
    server.terminate(Duration::from_secs(30))?;
    let said = fails(&["import", text(&log), "--port", &port]);
    assert!(said.contains("cannot be reached"), "{said}");
    Ok(())
}

#[test]
fn a_snapshot_of_redis_is_imported() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let redis = RedisServer::start(root.path(), &[""; 0])?;
    let mut client = redis.connect()?;
    let mut random = Random::new(41);
    let pairs = random_pairs(&mut random, 3000);
    for (key, (value, deadline_ms)) in &pairs {
        client.call(&[&b"SET"[..], key, value])?;
        if *deadline_ms != 0 {
            client.call(&[&b"PEXPIREAT"[..], key, deadline_ms.to_string().as_bytes()])?;
        }
    }
    client.call(&["LPUSH", "a list", "1"])?;
    client.call(&["SAVE"])?;
    stop(&redis)?;
    let (rdb, into) = (root.path().join("dump.rdb"), root.path().join("into"));
    let said = fails(&["import", text(&rdb), "--into", text(&into)]);
    assert!(
        said.contains("type list") && said.contains("a list"),
        "{said}"
    );
    let json = succeeds(&[
        "import",
        text(&rdb),
        "--into",
        text(&into),
        "--skip-unsupported",
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(report["skipped"], serde_json::json!({ "type list": 1 }));
    assert_eq!(report["keys"], 3000);
    assert_same(&served(&into)?, &pairs);
    Ok(())
}
