mod grow;

use super::*;
use crate::ring::Quorum;

fn setup(seed: u64, row: (u8, u8, u8), faults: &[FaultKind]) -> Setup {
    Setup {
        seed,
        millis: 6_000,
        quorum: Quorum::new(row.0, row.1, row.2).unwrap(),
        faults: faults.to_vec(),
        ..Setup::default()
    }
}

fn run(setup: Setup) -> Report {
    Simulation::new(setup).run(|_| {})
}

#[test]
fn without_faults_nothing_goes_wrong() {
    let report = run(setup(1, (3, 2, 2), &[]));
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.linearizable, Some(true));
    assert!(report.acknowledged > 200, "{report:#?}");
}
