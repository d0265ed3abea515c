//! Nodes that die while they are read.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Stdio};

use trilith::random::Random;
use trilith_tests::Cluster;
use trilith_tests::cluster::await_some;

use super::{LIMIT, RANGES, back_up, cluster_of, command, set_all};
use crate::files::{served, succeeds, text};
use crate::keys::{Pairs, assert_same};

/// How many ranges are there when a node dies.
const SOME: usize = 30;

/// A cluster that is read slowly, and what it holds.
fn slow(root: &Path) -> io::Result<(Cluster, Pairs)> {
    let cluster = cluster_of(3, root, "source")?;
    let mut random = Random::new(73);
    let value =
        |random: &mut Random| -> Vec<u8> { (0..1_000).map(|_| random.below(256) as u8).collect() };
    let pairs: Pairs = (0..8_000)
        .map(|n| (format!("key:{n}").into_bytes(), (value(&mut random), 0)))
        .collect();
    set_all(&mut cluster.connect(0)?, &pairs)?;
    let rate = ["rate", "--bytes-per-second", "700kb"];
    assert!(cluster.trilith(0, &rate)?.status.success());
    Ok((cluster, pairs))
}

/// A backup that has some of its ranges.
fn begun(cluster: &Cluster, to: &Path) -> io::Result<Child> {
    let mut child = command(cluster, 0, to, &[])?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let list = to.join("manifest.json.draft");
    await_some("some ranges", LIMIT, || {
        let lines = fs::read_to_string(&list).unwrap_or_default();
        (lines.lines().count() > SOME).then_some(())
    })?;
    assert!(child.try_wait()?.is_none(), "it goes on");
    Ok(child)
}

fn assert_whole(root: &Path, backup: &Path, pairs: &Pairs) -> io::Result<()> {
    succeeds(&["check-archive", text(backup)]);
    let into = root.join("into");
    succeeds(&["restore", "--from", text(backup), "--into", text(&into)]);
    assert_same(&served(&into)?, pairs);
    Ok(())
}

#[test]
fn a_backup_goes_on_when_a_node_dies_that_it_reads_from() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let (mut cluster, pairs) = slow(root.path())?;
    let to = root.path().join("backup");
    let child = begun(&cluster, &to)?;
    cluster.kill(1)?;
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_whole(root.path(), &to, &pairs)
}

#[test]
fn without_a_majority_there_is_no_backup_and_later_it_goes_on() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let (mut cluster, pairs) = slow(root.path())?;
    let to = root.path().join("backup");
    let child = begun(&cluster, &to)?;
    cluster.kill(1)?;
    cluster.kill(2)?;
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("cannot be had from any node") && error.contains("give the same command"),
        "{error}"
    );
    assert!(!to.join("manifest.json").exists());
    let into = root.path().join("into");
    let refused = crate::files::fails(&["restore", "--from", text(&to), "--into", text(&into)]);
    assert!(refused.contains("no complete backup"), "{refused}");

    cluster.restart(1)?;
    cluster.restart(2)?;
    cluster.await_settled(LIMIT)?;
    let said = back_up(&cluster, &to, &[])?;
    let earlier = said["earlier"]["ranges"].as_u64().unwrap_or(0) as usize;
    assert!(earlier > 0 && earlier < RANGES, "{said}");
    assert_whole(root.path(), &to, &pairs)
}
