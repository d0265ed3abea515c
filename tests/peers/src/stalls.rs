//! Overwriting for a while with compaction held back to a quarter, beside a bare loop of write(2) and
//! fdatasync: how long does nothing happen, and how slow is the slowest write?

use std::path::Path;

use trilith_server::bench::command::{SizeArgs, scratch};
use trilith_server::bench::driver::Extent;
use trilith_server::bench::{PhaseReport, Sync, TargetOptions, Workload};

use crate::child::{EngineProcess, Setup};
use crate::compare::remove;
use crate::engines::Engine;

/// Look for stalls with compaction throttled.
#[derive(Clone, Debug, clap::Args)]
pub struct StallsArgs {
    /// The engines to look at, of those that can be throttled.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "trilith,rocksdb"
    )]
    pub engines: Vec<Engine>,

    /// Threads that overwrite.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,

    /// How much of its own unthrottled rate compaction may write, in percent.
    #[arg(long, default_value_t = 25)]
    pub throttle_percent: u64,

    #[command(flatten)]
    pub size: SizeArgs,
}

pub fn run(args: &StallsArgs) -> Result<(), String> {
    let directory = scratch("stalls");
    let result = look(args, &directory);
    let used = [args.engines.as_slice(), &[Engine::Bare]].concat();
    remove(&directory, &used);
    result
}

fn look(args: &StallsArgs, directory: &Path) -> Result<(), String> {
    let mut options = args.size.options();
    for &engine in &args.engines {
        options.compaction_bytes_per_second = args.size.compaction_rate;
        let free = overwrite(args, directory, engine, &options)?;
        let stats = free
            .write_stats
            .ok_or_else(|| format!("{engine} does not count what it writes"))?;
        let rate = stats.table_bytes as f64 / (free.seconds + free.settle_seconds);
        options.compaction_bytes_per_second =
            Some((rate * args.throttle_percent as f64 / 100.0) as u64);
        let throttled = overwrite(args, directory, engine, &options)?;
        println!(
            "{engine}: background work writes {:.1} MB/s when free",
            rate / 1e6
        );
        print("  free", &free);
        print("  throttled", &throttled);
    }
    options.compaction_bytes_per_second = None;
    for sync in [Sync::Written, Sync::Always] {
        options.sync = sync;
        let report = overwrite(args, directory, Engine::Bare, &options)?;
        print(&format!("bare, sync {sync:?}"), &report);
    }
    Ok(())
}

fn overwrite(
    args: &StallsArgs,
    directory: &Path,
    engine: Engine,
    options: &TargetOptions,
) -> Result<PhaseReport, String> {
    let mut process = EngineProcess::start(&Setup {
        engine,
        directory: directory.join(engine.to_string()),
        options: options.clone(),
        settings: args.size.settings(),
    })?;
    let extent = Extent {
        threads: args.threads,
        operations: args.size.operations,
        seconds: args.size.seconds.or(Some(60.0)),
    };
    // The child fills the store first.
    process.run(Workload::Overwrite, extent)
}

fn print(label: &str, report: &PhaseReport) {
    let slowest = report.latency.unwrap_or_default();
    println!(
        "{label:<20} {:>10.0} writes/s  p99 {:.1} us  p99.99 {:.1} us  max {:.1} ms  longest gap {:.1} ms  {} gaps of {} ms",
        report.operations_per_second,
        slowest.p99_us,
        slowest.p99_99_us,
        slowest.max_us / 1e3,
        report.longest_gap_ms,
        report.stalls,
        report.stall_window_ms
    );
}
