//! A process that stands still and goes on, without having noticed.

use std::thread::sleep;
use std::time::{Duration, Instant};

use trilith_tests::ClusterOptions;

use crate::trial::Trial;

/// Longer than elections take.
const PAUSE: Duration = Duration::from_secs(3);

#[test]
fn a_master_that_was_paused_finds_that_others_have_gone_on() {
    let trial = Trial::start(ClusterOptions::default());
    let mastered = trial.mastered_by(1);
    trial.cluster.pause(1).unwrap();
    let began = Instant::now();
    trial.note("paused");
    let writes = trial.load.await_writes("a new master", &mastered, 1);
    writes.unwrap();
    trial.await_progress_meanwhile();
    sleep(PAUSE.saturating_sub(began.elapsed()));
    trial.cluster.resume(1).unwrap();
    trial.note("resumed");
    trial.finish();
}
