mod grow;
mod regressions;
mod rows;

use super::*;
use crate::db::Sync;
use crate::ring::Quorum;

/// A short run of a row.
fn setup(seed: u64, row: (u8, u8, u8), faults: &[FaultKind]) -> Setup {
    Setup {
        seed,
        millis: 5_000,
        quorum: Quorum::new(row.0, row.1, row.2).unwrap(),
        faults: faults.to_vec(),
        ..Setup::default()
    }
}

fn run(setup: Setup) -> Report {
    Simulation::new(setup).run(|_| {})
}

/// Runs, and asks for everything that the row promises.
fn keeps_its_promise(setup: Setup) -> Report {
    let line = setup.command_line();
    let report = run(setup);
    assert!(report.is_clean(), "{line}\n{report:#?}");
    assert_eq!(report.linearizable, Some(true), "{line}");
    report
}
