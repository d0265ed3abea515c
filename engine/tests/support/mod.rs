//! What the tests of whole stores share.
#![allow(dead_code, reason = "each test uses its part")]

pub mod model;
pub mod workload;

use std::time::Duration;

use trilith::sim::TestRuntime;
use trilith::storage::faulty::{CrashMode, Plan};
use trilith::{FaultyStorage, Runtime};

use model::World;

/// A store in memory that can fail, in virtual time.
pub struct Simulated {
    storage: FaultyStorage,
    runtime: TestRuntime,
    /// What becomes of bytes when the process ends.
    pub mode: CrashMode,
    pub plan: Plan,
    pub cold: bool,
}

impl Simulated {
    pub fn new(seed: u64) -> Self {
        Self {
            storage: FaultyStorage::new(),
            runtime: TestRuntime::new(seed),
            mode: CrashMode::ProcessKilled,
            plan: Plan::new(),
            cold: false,
        }
    }

    pub fn host(&self) -> TestRuntime {
        self.runtime.clone()
    }
}

impl World for Simulated {
    type Storage = FaultyStorage;
    type Runtime = TestRuntime;

    fn storage(&self) -> FaultyStorage {
        self.storage.set_plan(self.plan.clone());
        self.storage.set_cold_reads(self.cold);
        self.storage.clone()
    }

    fn runtime(&self) -> TestRuntime {
        self.runtime.clone()
    }

    fn next_process(&mut self) {
        self.storage = self.storage.restart(self.mode);
        self.runtime.kill_all();
    }

    fn place(&mut self) -> (FaultyStorage, FaultyStorage) {
        let place = FaultyStorage::new();
        (place.clone(), place)
    }

    async fn pass(&self, time: Duration) {
        self.runtime.sleep(time).await;
    }
}
