//! A node whose disk, a small one in memory, is full: the others go on, and it comes back once there is room.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use trilith_tests::cluster::await_some;
use trilith_tests::{ClusterOptions, Reply};

use crate::machines::{Place, enter, run};
use crate::trial::Trial;
use crate::turn::Turn;

/// How long it may take until a full disk is noticed, by the node and by the others.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of each write that fills what the node has set aside.
const BULK_BYTES: usize = 32 << 10;

#[test]
fn a_node_whose_disk_is_full_loses_nothing_and_comes_back_when_it_is_started_with_room() {
    with_a_small_disk(
        "full_disk::a_node_whose_disk_is_full_loses_nothing_and_comes_back_when_it_is_started_with_room",
        |mut trial, ballast| {
            fill_the_disk(&trial, ballast);
            trial.await_progress_meanwhile();
            std::fs::remove_file(ballast).unwrap();
            trial.cluster.kill(1).unwrap();
            trial.cluster.restart(1).unwrap();
            trial.note("started with room");
            trial.finish();
        },
    );
}

/// Runs a test on a cluster of which node 1 has a disk of its own, with the path of a file that may fill it.
fn with_a_small_disk(test: &str, of: impl FnOnce(Trial, &Path)) {
    let turn = Turn::wait();
    match enter(test) {
        Place::Done => {}
        Place::Outside(why) => println!("SKIPPED, as a small disk takes a mount: {why}"),
        Place::Inside => {
            let directory = tempfile::tempdir().unwrap();
            let disk: PathBuf = directory.path().join("node-1");
            std::fs::create_dir(&disk).unwrap();
            run(&format!(
                "mount -t tmpfs -o size=16m tmpfs {}",
                disk.display()
            ))
            .unwrap();
            let trial = Trial::start_in(ClusterOptions::default(), directory, turn);
            of(trial, &disk.join("ballast"));
        }
    }
}

/// Fills node 1's disk, until it says that it takes no writes, and why, and the others hear nothing of it.
fn fill_the_disk(trial: &Trial, ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[0; 64 << 10]) {
            break error;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    // What it had set aside for its log is used up by writes that all nodes take.
    let mut others = trial.cluster.connect(0).unwrap();
    let mut full = trial.cluster.connect(1).unwrap();
    let value = vec![b'x'; BULK_BYTES];
    let mut bulk = 0..;
    let told = await_some("a full disk", NOTICED_WITHIN, || {
        let key = format!("bulk:{}", bulk.next()?).into_bytes();
        let _any = others.call(&[b"SET".to_vec(), key, value.clone()]).ok()?;
        match full.call(&["SET", "bulk:here", "1"]).ok()? {
            Reply::Error(told) if told.contains("No space left") => Some(told),
            _ => None,
        }
    });
    trial.note(&format!("full: {}", told.unwrap()));
    trial.await_silence(0, 1);
}
