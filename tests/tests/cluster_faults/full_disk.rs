//! A node whose disk, a small one in memory, is full: nothing is lost, everything is read, and it goes on by itself once
//! there is room.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use trilith_tests::cluster::await_some;
use trilith_tests::{ClusterOptions, Reply};

use crate::machines::{Place, enter, run};
use crate::trial::{Trial, all_keys};
use crate::turn::Turn;

/// How long it may take until a full disk is noticed, by the node and by the others.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of each write that fills what the node has set aside.
const BULK_BYTES: usize = 32 << 10;

#[test]
fn a_node_whose_disk_is_full_loses_nothing_and_comes_back_by_itself() {
    with_a_small_disk(
        "full_disk::a_node_whose_disk_is_full_loses_nothing_and_comes_back_by_itself",
        1,
        ClusterOptions::default(),
        |trial, ballast| {
            let led = trial.mastered_by(1);
            fill_the_disk(&trial, 1, ballast);
            trial.await_progress_meanwhile();
            await_masters(&trial, "the others lead", |masters| masters == 0);
            // It serves all the same, what is here and what is elsewhere, and takes writes for others.
            trial.read_every_key();
            say_what_is_wrong(&trial, 1);
            std::fs::remove_file(ballast).unwrap();
            trial.note("made room");
            await_masters(&trial, "it leads again", |masters| masters > 0);
            let writes = trial.load.await_writes("writes to what it led", &led, 1);
            writes.unwrap();
            trial.finish();
        },
    );
}

#[test]
fn a_cluster_of_one_on_a_full_disk_reads_on_and_takes_writes_again_by_itself() {
    with_a_small_disk(
        "full_disk::a_cluster_of_one_on_a_full_disk_reads_on_and_takes_writes_again_by_itself",
        0,
        ClusterOptions::default().nodes(1),
        |trial, ballast| {
            fill_the_disk(&trial, 0, ballast);
            trial.await_refusals("READONLY");
            let refused = trial.cluster.connect(0).unwrap().call(&["SET", "k", "v"]);
            let Reply::Error(text) = refused.unwrap() else {
                panic!("it was taken");
            };
            assert!(text.contains("nothing was written"), "{text}");
            assert!(text.contains("free some space"), "{text}");
            let reads = trial.load.await_reads("reads meanwhile", &all_keys(), 3);
            reads.unwrap();
            trial.note("read meanwhile");
            say_what_is_wrong(&trial, 0);
            std::fs::remove_file(ballast).unwrap();
            trial.note("made room");
            let writes = trial.load.await_writes("writes again", &all_keys(), 3);
            writes.unwrap();
            trial.finish();
        },
    );
}

/// Runs a test on a cluster of which one node has a disk of its own, with the path of a file that may fill it.
fn with_a_small_disk(
    test: &str,
    node: usize,
    options: ClusterOptions,
    of: impl FnOnce(Trial, &Path),
) {
    let turn = Turn::wait();
    match enter(test) {
        Place::Done => {}
        Place::Outside(why) => println!("SKIPPED, as a small disk takes a mount: {why}"),
        Place::Inside => {
            let directory = tempfile::tempdir().unwrap();
            let disk: PathBuf = directory.path().join(format!("node-{node}"));
            std::fs::create_dir(&disk).unwrap();
            run(&format!(
                "mount -t tmpfs -o size=16m tmpfs {}",
                disk.display()
            ))
            .unwrap();
            let trial = Trial::start_in(options, directory, turn);
            of(trial, &disk.join("ballast"));
        }
    }
}

/// Fills a node's disk, until it says so.
fn fill_the_disk(trial: &Trial, node: usize, ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[0; 64 << 10]) {
            break error;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    // What it had set aside for its log is used up by writes that all nodes take.
    let mut client = trial.cluster.connect(0).unwrap();
    let value = vec![b'x'; BULK_BYTES];
    let mut bulk = 0..;
    let told = await_some("a full disk", NOTICED_WITHIN, || {
        let key = format!("bulk:{}", bulk.next()?).into_bytes();
        let _any = client.call(&[b"SET".to_vec(), key, value.clone()]).ok()?;
        let trouble = trial.cluster.status(node).ok()?["trouble"].clone();
        (trouble["full"] == true).then_some(trouble)
    });
    trial.note(&format!("full: {}", told.unwrap()));
}

/// The node, and who asks by way of it, tell of the full disk and what to do.
fn say_what_is_wrong(trial: &Trial, node: usize) {
    let output = trial.cluster.trilith(node, &["status"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 member takes no writes"), "{text}");
    assert!(
        text.contains("its disk is full") && text.contains("free some space there"),
        "{text}"
    );
    let info = trial.cluster.connect(node).unwrap().call(&["INFO"]);
    let Reply::Bulk(info) = info.unwrap() else {
        panic!("INFO is a text");
    };
    let info = String::from_utf8_lossy(&info);
    for line in ["disk_full:1", "read_only:1"] {
        assert!(info.lines().any(|there| there == line), "{line}: {info}");
    }
}

/// Waits until node 1 masters so many ranges.
fn await_masters(trial: &Trial, what: &str, is_it: impl Fn(u64) -> bool) {
    let seen = await_some(what, NOTICED_WITHIN, || {
        let status = trial.cluster.status(1).ok()?;
        is_it(status["progress"]["mastered"].as_u64()?).then_some(())
    });
    seen.unwrap();
    trial.note(what);
}
