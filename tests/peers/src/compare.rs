//! All engines side by side: the same workload on each in turn, several rounds, medians.

use std::collections::BTreeMap;
use std::path::PathBuf;

use trilith_server::bench::command::{SizeArgs, progress_bar, scratch};
use trilith_server::bench::{PhaseReport, Workload, report};

use crate::child::{EngineProcess, Setup};
use crate::engines::Engine;

/// Run the same workloads on every engine and compare.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// The engines; the others are measured against the first.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "trilith,rocksdb,fjall,redb"
    )]
    pub engines: Vec<Engine>,

    /// The workloads, in this order.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "fillrandom,overwrite,readrandom,readmissing,readseq,seekrandom"
    )]
    pub workloads: Vec<Workload>,

    /// Run everything with each of these numbers of threads.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "1,4"
    )]
    pub threads: Vec<usize>,

    /// How often each workload is run on each engine, in turn.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,

    /// Let engines count log and table bytes apart. It costs RocksDB some speed, so measure that apart.
    #[arg(long)]
    pub statistics: bool,

    #[command(flatten)]
    pub size: SizeArgs,

    /// Where the stores go: a new directory if not given. Removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Print the median phases as lines of JSON.
    #[arg(long)]
    pub json: bool,
}

/// The median phase of each engine and workload.
type Medians = BTreeMap<(usize, usize), PhaseReport>;

pub fn run(args: &CompareArgs) -> Result<(), String> {
    if args.engines.is_empty() || args.rounds == 0 {
        return Err("there has to be an engine and a round".into());
    }
    let directory = args.data.clone().unwrap_or_else(|| scratch("peers"));
    let result = args.threads.iter().try_for_each(|&threads| {
        let medians = measure(args, &directory, threads)?;
        if args.json {
            print_json(&medians)
        } else {
            print_tables(args, threads, &medians);
            Ok(())
        }
    });
    remove(&directory, &args.engines);
    result
}

/// Removes what was made here and nothing else.
pub fn remove(directory: &std::path::Path, engines: &[Engine]) {
    for engine in engines {
        let _ = std::fs::remove_dir_all(directory.join(engine.to_string()));
    }
    let _ = std::fs::remove_dir(directory);
}

fn measure(
    args: &CompareArgs,
    directory: &std::path::Path,
    threads: usize,
) -> Result<Medians, String> {
    let mut options = args.size.options();
    options.detailed_statistics = args.statistics;
    let mut processes = args
        .engines
        .iter()
        .map(|&engine| {
            EngineProcess::start(&Setup {
                engine,
                directory: directory.join(engine.to_string()),
                options: options.clone(),
                settings: args.size.settings(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let extent = args.size.extent(threads);
    let steps = args.workloads.len() * args.rounds * args.engines.len();
    let bar = progress_bar(steps as u64, "comparing");
    let mut medians = Medians::new();
    for (row, &workload) in args.workloads.iter().enumerate() {
        let mut runs = vec![Vec::new(); processes.len()];
        for _ in 0..args.rounds {
            for (process, runs) in processes.iter_mut().zip(&mut runs) {
                if process.engine.can_read() || is_write_only(workload) {
                    runs.push(process.run(workload, extent)?);
                }
                bar.inc(1);
            }
        }
        for (column, runs) in runs.into_iter().enumerate() {
            if let Some(median) = median(runs) {
                warn_of_lost_keys(&median);
                medians.insert((row, column), median);
            }
        }
    }
    bar.finish_and_clear();
    Ok(medians)
}

fn is_write_only(workload: Workload) -> bool {
    workload.writes() && !workload.mixes()
}

/// A store that does not find what was written is not fast.
fn warn_of_lost_keys(report: &PhaseReport) {
    use Workload::{ReadHot, ReadMissing, ReadRandom, YcsbC};
    let expected = match report.workload {
        ReadRandom | ReadHot | YcsbC => report.operations,
        ReadMissing => 0,
        _ => return,
    };
    if report.found != expected {
        eprintln!(
            "{} found {} instead of {expected} keys in {}",
            report.target, report.found, report.workload
        );
    }
}

/// The run in the middle by speed; all its other figures are its own.
fn median(mut runs: Vec<PhaseReport>) -> Option<PhaseReport> {
    runs.sort_by(|a, b| a.operations_per_second.total_cmp(&b.operations_per_second));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle)
}

fn print_json(medians: &Medians) -> Result<(), String> {
    for report in medians.values() {
        println!(
            "{}",
            serde_json::to_string(report).map_err(|error| error.to_string())?
        );
    }
    Ok(())
}

fn print_tables(args: &CompareArgs, threads: usize, medians: &Medians) {
    let size = &args.size;
    println!(
        "{threads} thread(s), {} keys of {} bytes, values of {}, memory {}, sync {:?}, medians of {}",
        size.keys,
        size.key_bytes,
        size.value_bytes,
        report::bytes(size.memory),
        size.sync,
        args.rounds
    );
    print_table(
        args,
        medians,
        "operations a second, and the first engine's as a multiple",
        |this, first| {
            let ratio = first.operations_per_second / this.operations_per_second;
            Some(format!("{:.0} ({ratio:.2}x)", this.operations_per_second))
        },
    );
    print_table(args, medians, "p50 / p99 / p99.99 in us", |this, _| {
        this.latency.map(|latency| {
            format!(
                "{:.1} / {:.1} / {:.0}",
                latency.p50_us, latency.p99_us, latency.p99_99_us
            )
        })
    });
    print_table(
        args,
        medians,
        "write amplification (without the log), on disk, settled in",
        |this, _| {
            let tables = this
                .write_amplification_of_tables()
                .map_or_else(|| "-".to_owned(), |tables| format!("{tables:.2}"));
            this.write_amplification().map(|all| {
                format!(
                    "{all:.2} ({tables}) {} {:.1}s",
                    report::bytes(this.disk_bytes),
                    this.settle_seconds
                )
            })
        },
    );
    print_table(
        args,
        medians,
        "longest gap in ms, peak resident memory",
        |this, _| {
            Some(format!(
                "{:.0} {}",
                this.longest_gap_ms,
                report::bytes(this.peak_resident_bytes)
            ))
        },
    );
}

fn print_table(
    args: &CompareArgs,
    medians: &Medians,
    title: &str,
    cell: impl Fn(&PhaseReport, &PhaseReport) -> Option<String>,
) {
    println!("\n{title}");
    print!("{:<17}", "");
    for engine in &args.engines {
        print!("{engine:>28}");
    }
    println!();
    for (row, workload) in args.workloads.iter().enumerate() {
        let cells = (0..args.engines.len())
            .map(|column| {
                let this = medians.get(&(row, column))?;
                cell(this, medians.get(&(row, 0)).unwrap_or(this))
            })
            .collect::<Vec<_>>();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        print!("{workload:<17}");
        for cell in cells {
            print!("{:>28}", cell.as_deref().unwrap_or("-"));
        }
        println!();
    }
    println!();
}
