//! `trilith bench`: its options, its directory and what it prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::driver::{Extent, Session, Settings};
use super::report::{PhaseReport, bytes};
use super::target::{Open, Sync, Target, TargetOptions};
use super::workload::Workload;

/// Measure a store, in the manner of db_bench.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    /// What cannot be measured as a workload of one process.
    #[command(subcommand)]
    pub apart: Option<Apart>,

    /// What to run, in this order: fillseq fillrandom overwrite readrandom readhot readmissing readseq
    /// seekrandom readwhilewriting ycsb-a to ycsb-f deleterandom. A fill starts with an empty store.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "fillseq,fillrandom,overwrite,readrandom,readhot,readmissing,readseq,seekrandom,readwhilewriting"
    )]
    pub workloads: Vec<Workload>,

    /// Threads that run the workload.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,

    /// What to measure with.
    #[command(flatten)]
    pub size: SizeArgs,

    /// Where the store goes: a new directory below `target` or the system's temporary one if not given,
    /// removed at the end. One that is given may hold a store left by `--keep` with the same sizes.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Keep the store's files.
    #[arg(long)]
    pub keep: bool,

    /// Print one JSON object a workload.
    #[arg(long)]
    pub json: bool,
}

/// Measurements that start processes of their own.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Apart {
    /// Time the first reply after `kill -9` with the memtables full.
    Reopen(super::reopen::ReopenArgs),
}

/// The sizes of a measurement, shared with tests/peers.
#[derive(Clone, Debug, clap::Args)]
pub struct SizeArgs {
    /// How many keys a fill writes.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,

    /// The length of a key.
    #[arg(long, default_value_t = 16)]
    pub key_bytes: usize,

    /// The length of a value, of which half compresses away.
    #[arg(long, default_value_t = 100)]
    pub value_bytes: usize,

    /// Operations of all threads together; as many as there are keys if not given.
    #[arg(long, visible_alias = "reads")]
    pub operations: Option<u64>,

    /// Run everything but fills for so long.
    #[arg(long)]
    pub seconds: Option<f64>,

    /// One budget for memtables, caches, filters and indexes: 512MiB, 1G, or bytes.
    #[arg(long, visible_alias = "budget", value_name = "BYTES", default_value = "512MiB", value_parser = parse_bytes)]
    pub memory: u64,

    /// When a write counts as done: synced before it returns, handed to the kernel before it returns, or buffered.
    #[arg(long, value_name = "WHEN", default_value = "written", default_missing_value = "always", num_args = 0..=1)]
    pub sync: Sync,

    /// Determines every choice.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,

    /// How long nothing may be completed before it counts as a stall.
    #[arg(long, default_value_t = 100)]
    pub stall_window_ms: u64,

    /// Let background work write no more than this a second.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub compaction_rate: Option<u64>,
}

impl SizeArgs {
    /// What a session needs.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            keys: self.keys,
            key_bytes: self.key_bytes,
            value_bytes: self.value_bytes,
            seed: self.seed,
            stall_window_ms: self.stall_window_ms,
        }
    }

    /// How far each workload goes.
    #[must_use]
    pub fn extent(&self, threads: usize) -> Extent {
        Extent {
            threads,
            operations: self.operations,
            seconds: self.seconds,
        }
    }

    /// What a store is opened with.
    #[must_use]
    pub fn options(&self) -> TargetOptions {
        TargetOptions {
            sync: self.sync,
            memory_bytes: self.memory,
            detailed_statistics: true,
            compaction_bytes_per_second: self.compaction_rate,
        }
    }
}

/// Reads `4096`, `64k`, `512MiB` or `1G`: powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        unit => return Err(format!("{unit:?} is no unit of bytes")),
    };
    let number = digits.parse::<u64>().map_err(|error| error.to_string())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text} is more than 64 bits hold"))
}

/// Runs `trilith bench`.
pub fn run(args: &BenchArgs, open: &Open<'_>) -> Result<(), String> {
    if let Some(Apart::Reopen(args)) = &args.apart {
        return super::reopen::run(args);
    }
    let directory = Directory::choose(args)?;
    let result = Bench::new(args, open, &directory).and_then(|mut bench| bench.run());
    directory.remove();
    result
}

struct Bench<'a> {
    args: &'a BenchArgs,
    open: &'a Open<'a>,
    directory: &'a Directory,
    session: Session,
    target: Option<Box<dyn Target>>,
    /// Whether the store holds every key.
    filled: bool,
}

impl<'a> Bench<'a> {
    fn new(
        args: &'a BenchArgs,
        open: &'a Open<'a>,
        directory: &'a Directory,
    ) -> Result<Self, String> {
        let session = Session::new(args.size.settings())?;
        Ok(Self {
            args,
            open,
            directory,
            session,
            target: None,
            filled: directory.holds_a_store,
        })
    }

    fn run(&mut self) -> Result<(), String> {
        if !self.args.json {
            self.print_heading();
        }
        for workload in self.args.workloads.clone() {
            if !workload.fills() && !self.filled {
                self.phase(Workload::FillRandom, "filling first")?;
            }
            let report = self.phase(workload, workload.name())?;
            self.filled = workload != Workload::DeleteRandom;
            self.print(&report)?;
        }
        let peak = super::process::peak_resident_bytes();
        if !self.args.json && peak > 0 {
            println!("peak resident memory {}", bytes(peak));
        }
        Ok(())
    }

    fn phase(&mut self, workload: Workload, label: &'static str) -> Result<PhaseReport, String> {
        let path = &self.directory.path;
        if workload.fills() {
            if self.directory.holds_a_store {
                return Err(refusal(path));
            }
            self.target = None;
            empty(path)?;
        }
        let target = match &mut self.target {
            Some(target) => target,
            none => none.insert((self.open)(path, &self.args.size.options())?),
        };
        let extent = self.args.size.extent(self.args.threads);
        let bar = progress_bar(self.session.operations(workload, &extent), label);
        let report = self
            .session
            .run(&**target, path, workload, &extent, &mut |done| {
                bar.set_position(done)
            });
        bar.finish_and_clear();
        self.filled = true;
        report
    }

    fn print_heading(&self) {
        let size = &self.args.size;
        println!(
            "{} keys of {} bytes, values of {}, {} thread(s), memory {}, sync {:?}",
            size.keys,
            size.key_bytes,
            size.value_bytes,
            self.args.threads,
            bytes(size.memory),
            size.sync
        );
        println!("{}", PhaseReport::heading());
    }

    fn print(&self, report: &PhaseReport) -> Result<(), String> {
        if self.args.json {
            let line = serde_json::to_string(report).map_err(|error| error.to_string())?;
            println!("{line}");
        } else {
            println!("{}", report.line());
            for note in report.notes() {
                println!("                 {note}");
            }
        }
        Ok(())
    }
}

/// Hidden where there is no terminal to draw on.
#[must_use]
pub fn progress_bar(operations: u64, label: &'static str) -> ProgressBar {
    let bar = if operations == u64::MAX {
        ProgressBar::no_length()
    } else {
        ProgressBar::new(operations)
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let template = "{msg:<16} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(label);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn refusal(directory: &Path) -> String {
    format!(
        "{} is not empty, and a fill would remove what is there",
        directory.display()
    )
}

/// Where a store is measured.
struct Directory {
    path: PathBuf,
    holds_a_store: bool,
    remove: bool,
}

impl Directory {
    fn choose(args: &BenchArgs) -> Result<Self, String> {
        let path = args.data.clone().unwrap_or_else(|| scratch("bench"));
        let occupied = fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
        if occupied && args.workloads.iter().any(|workload| workload.fills()) {
            return Err(refusal(&path));
        }
        fs::create_dir_all(&path).map_err(|error| format!("making {}: {error}", path.display()))?;
        Ok(Self {
            remove: !args.keep && !occupied,
            holds_a_store: occupied,
            path,
        })
    }

    fn remove(&self) {
        if self.remove {
            // What stays behind is in the way of nothing.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A name for a directory that is this process's alone: below `target` if there is one here, so that a
/// measurement runs on the disk that one works on rather than in a temporary file system in memory.
#[must_use]
pub fn scratch(label: &str) -> PathBuf {
    let target = Path::new("target");
    let parent = if target.is_dir() {
        target.to_owned()
    } else {
        std::env::temp_dir()
    };
    parent.join(format!("trilith-{label}-{}", std::process::id()))
}

/// Removes everything in a directory, and makes it if it is not there.
pub fn empty(directory: &Path) -> Result<(), String> {
    let describe = |error: std::io::Error| format!("emptying {}: {error}", directory.display());
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(describe(error)),
        _ => {}
    }
    fs::create_dir_all(directory).map_err(describe)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::model::Model;
    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn bench(label: &str, options: &[&str]) -> (PathBuf, Result<(), String>) {
        let directory = scratch(label);
        let data = directory.to_string_lossy().into_owned();
        let words = ["bench", "--keys", "100", "--json", "--data", &data];
        let args = CommandLine::parse_from(words.iter().chain(options)).bench;
        let open = |_: &Path, _: &TargetOptions| Ok(Box::<Model>::default() as Box<dyn Target>);
        let result = run(&args, &open);
        (directory, result)
    }

    #[test]
    fn a_measurement_leaves_nothing_behind() {
        let (directory, result) = bench("test-clean", &["--workloads", "fillseq,readrandom"]);
        assert_eq!(result, Ok(()));
        assert!(!directory.exists());
    }

    #[test]
    fn files_that_were_there_before_are_never_removed() {
        let directory = scratch("test-occupied");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("letter"), "dear").unwrap();
        for workloads in [
            "fillseq",
            "readrandom,fillrandom",
            "readrandom",
            "deleterandom,readrandom",
        ] {
            let (_, result) = bench("test-occupied", &["--workloads", workloads]);
            assert_eq!(result.is_ok(), workloads == "readrandom", "{workloads}");
            assert!(directory.join("letter").exists(), "{workloads}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_bare_sync_flag_means_always() {
        let parse =
            |words: &[&str]| CommandLine::try_parse_from(words).map(|line| line.bench.size.sync);
        assert_eq!(parse(&["bench"]).unwrap(), Sync::Written);
        assert_eq!(parse(&["bench", "--sync"]).unwrap(), Sync::Always);
        assert_eq!(parse(&["bench", "--sync", "no"]).unwrap(), Sync::No);
        assert!(parse(&["bench", "--sync", "never"]).is_err());
    }

    #[test]
    fn byte_counts_have_units_of_1024() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("512MiB"), Ok(512 << 20));
        assert_eq!(parse_bytes("2g"), Ok(2 << 30));
        assert!(parse_bytes("12 parsecs").is_err());
        assert!(parse_bytes("99999999999t").is_err());
    }
}
