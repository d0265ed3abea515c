//! A store in files and a map taken through the same steps, on real threads and in real time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../engine/tests/support/model/mod.rs"]
mod model;

use std::cell::RefCell;
use std::time::Duration;

use model::{Met, World, run, steps};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;
use trilith::{Runtime, Sync};
use trilith_server::{FileStorage, NativeRuntime, block_on};

/// A directory, and the threads of the process that has it open.
struct Files {
    dir: TempDir,
    runtime: NativeRuntime,
    copies: u32,
}

impl World for Files {
    type Storage = FileStorage;
    type Runtime = NativeRuntime;

    fn storage(&self) -> FileStorage {
        FileStorage::new(self.dir.path().join("store"))
    }

    fn runtime(&self) -> NativeRuntime {
        self.runtime.clone()
    }

    fn next_process(&mut self) {
        self.runtime.shutdown();
        self.runtime = NativeRuntime::new();
    }

    fn place(&mut self) -> (std::path::PathBuf, FileStorage) {
        self.copies += 1;
        let place = self.dir.path().join(format!("copy {}", self.copies));
        (place.clone(), FileStorage::new(place))
    }

    async fn pass(&self, time: Duration) {
        self.runtime.sleep(time / 50).await;
    }
}

#[test]
fn a_store_in_files_is_a_map() {
    let met = RefCell::new(Met::default());
    let config = Config {
        cases: 25,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&(any::<bool>(), steps(100)), |(always, steps)| {
        let world = Files {
            dir: tempfile::tempdir().unwrap(),
            runtime: NativeRuntime::new(),
            copies: 0,
        };
        let sync = if always {
            Sync::Always
        } else {
            Sync::EverySecond
        };
        met.borrow_mut().add(&block_on(run(world, sync, &steps)));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let met = met.into_inner();
    assert!(
        met.flushes > 50 && met.compactions > 10 && met.reopenings > 5,
        "{met:?}"
    );
}
