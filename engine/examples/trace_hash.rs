//! Prints what a few simulated runs come to. The same lines on every platform show that a seed decides
//! everything; `tests/all sim-wasm` compares this machine's with those of wasm32.
//!
//! `cargo run --release -p trilith --example trace_hash`

use trilith::Sync;
use trilith::ring::Quorum;
use trilith::sim::{FaultKind, Setup, Simulation};

fn main() -> trilith::Result<()> {
    for (seed, (n, w, r), sync) in [
        (1, (3, 2, 2), Sync::Always),
        (2, (3, 3, 1), Sync::EverySecond),
        (3, (3, 1, 3), Sync::Always),
        (4, (3, 1, 1), Sync::EverySecond),
    ] {
        let setup = Setup {
            seed,
            sync,
            quorum: Quorum::new(n, w, r)?,
            faults: FaultKind::ALL.to_vec(),
            ..Setup::default()
        };
        let report = Simulation::new(setup).run(|_| {});
        println!(
            "seed {seed}, N W R {}: {} operations, trace {}",
            report.quorum, report.operations, report.trace_hash
        );
    }
    Ok(())
}
