//! Prints what a few simulated runs come to. The same lines on every platform show that a seed decides
//! everything; `tests/all sim-wasm` compares this machine's with those of wasm32.
//!
//! `cargo run --release -p trilith --example trace_hash`

use trilith::Sync;
use trilith::ring::Quorum;
use trilith::sim::live::{Ring, Script};
use trilith::sim::{FaultKind, Setup, Simulation};

/// What a visitor of a page may have done: a node dies in the middle of writes, another one is cut off, a disk is lost.
const SCRIPT: &str = "trilith-ring 1; nodes=4; 900000 load 50 30 hot 30 24; 1400123 kill 2; \
    1700000 ask 1 0/0 SET user:001 Alex; 1900000 partition 1,2/3,4; 2300000 heal; 2300001 restart 2; \
    2400000 delay 20 3; 2700000 wipe 4; 3000000 ask 3 3/3 GET user:001; 3300000 end";

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
    for seed in 1..=10 {
        let mut script: Script = SCRIPT.parse()?;
        script.options.seed = seed;
        let mut ring = Ring::replay(&script)?;
        let verdict = ring.check();
        println!(
            "seed {seed}, a script: {} acknowledged, green {}, trace {}",
            verdict.acknowledged,
            verdict.green,
            ring.trace_hash()
        );
    }
    Ok(())
}
