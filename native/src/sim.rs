//! `trilith sim`: runs the simulator, shows how far it is, and says what it found.

use std::io::Read;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trilith::Sync;
use trilith::ring::Quorum;
use trilith::ring::range::Mutation;
use trilith::sim::live::{Ring, Script, Verdict};
use trilith::sim::{
    Fault, FaultKind, Progress, Report, Scenario, Setup, Simulation, mutation_named, shrink,
};

/// Simulate a cluster with everything that can go wrong, and judge what its clients see.
#[derive(Clone, Debug, clap::Args)]
pub struct SimArgs {
    /// What it is about: `storm`, faults in a cluster that stays, or `grow`, nodes that join, are drained and are
    /// replaced. `grow` begins with `--nodes`, of which 4 or 1 make sense.
    #[arg(long, default_value = "storm", value_parser = parse_scenario)]
    pub scenario: Scenario,

    /// Decides everything.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Run so many seeds, from `--seed` on.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub seeds: u64,

    /// Simulated time with clients and faults; healing comes on top.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,

    /// Machines.
    #[arg(long, default_value_t = 5)]
    pub nodes: usize,

    /// Copies of each range.
    #[arg(long, default_value_t = 3)]
    pub n: u8,

    /// Copies that store a write before it is acknowledged.
    #[arg(long, default_value_t = 2)]
    pub w: u8,

    /// Copies that a read hears.
    #[arg(long, default_value_t = 2)]
    pub r: u8,

    /// Ranges.
    #[arg(long, default_value_t = 8)]
    pub arcs: u32,

    /// Clients, each of which asks one thing at a time.
    #[arg(long, default_value_t = 12)]
    pub clients: u32,

    /// The mean time that a client waits between two questions, in milliseconds.
    #[arg(long, default_value_t = 40)]
    pub think_ms: u64,

    /// Have stores note which keys are in use, and read them back after a restart.
    #[arg(long)]
    pub warm: bool,

    /// What goes wrong: `all`, `none`, or a list of loss delay duplicate reorder clog one-way partition pause
    /// crash power bit-rot eio enospc slow-disk clock-jump clock-skew disk-swap members. What lies outside the
    /// promise of N, W and R is left out.
    #[arg(long, default_value = "all", value_name = "LIST")]
    pub faults: String,

    /// Let go wrong, too, what lies outside the promise of N, W and R: what is lost then is to be found.
    #[arg(long)]
    pub beyond: bool,

    /// Exactly these faults, as a failing run prints them, or `none`.
    #[arg(long, value_name = "FAULTS")]
    pub schedule: Option<String>,

    /// When an entry counts as stored: always (synced), everysec or no (written).
    #[arg(long, default_value = "always", value_parser = parse_sync)]
    pub sync: Sync,

    /// Break a rule, to see that it is noticed: such as elect-by-majority.
    #[arg(long, value_name = "NAME", value_parser = parse_mutation)]
    pub mutation: Option<Mutation>,

    /// Make the first failing run small, and print the command that replays it.
    #[arg(long)]
    pub shrink: bool,

    /// Do again what was done to a ring in a page, and judge it: a file, `-` for standard input, or the script itself.
    /// Everything else but `--json` is in the script, the seed too.
    #[arg(long, value_name = "SCRIPT")]
    pub script: Option<String>,

    /// Print one JSON object a run.
    #[arg(long)]
    pub json: bool,
}

fn parse_scenario(word: &str) -> Result<Scenario, String> {
    match word {
        "storm" => Ok(Scenario::Storm),
        "grow" => Ok(Scenario::Grow),
        _ => Err("it is storm or grow".into()),
    }
}

fn parse_sync(word: &str) -> Result<Sync, String> {
    match word {
        "always" => Ok(Sync::Always),
        "everysec" => Ok(Sync::EverySecond),
        "no" => Ok(Sync::No),
        _ => Err("it is always, everysec or no".into()),
    }
}

fn parse_mutation(name: &str) -> Result<Mutation, String> {
    mutation_named(name).ok_or_else(|| {
        let names: Vec<String> = Mutation::ALL
            .into_iter()
            .map(trilith::sim::mutation_name)
            .collect();
        format!("there are {}", names.join(", "))
    })
}

impl SimArgs {
    fn setup(&self, seed: u64) -> Result<Setup, String> {
        let faults = match self.faults.as_str() {
            "all" => FaultKind::ALL.to_vec(),
            "none" => Vec::new(),
            list => list.split(',').map(str::parse).collect::<Result<_, _>>()?,
        };
        let schedule = match self.schedule.as_deref() {
            None => None,
            Some("none") => Some(Vec::new()),
            Some(list) => Some(
                list.split(',')
                    .map(str::parse)
                    .collect::<Result<Vec<Fault>, _>>()?,
            ),
        };
        Ok(Setup {
            scenario: self.scenario,
            seed,
            millis: (self.seconds * 1000.0) as u64,
            nodes: self.nodes,
            quorum: Quorum::new(self.n, self.w, self.r).map_err(|error| error.to_string())?,
            arcs: self.arcs,
            faults,
            beyond: self.beyond,
            schedule,
            sync: self.sync,
            mutation: self.mutation,
            clients: self.clients,
            think_ms: self.think_ms,
            warm: self.warm,
        })
    }
}

/// Runs. Whether everything that was promised was kept.
///
/// # Errors
///
/// A sentence, if the arguments make no sense.
pub fn run(args: &SimArgs) -> Result<bool, String> {
    if let Some(script) = &args.script {
        return replay(script, args.json);
    }
    let mut clean = true;
    let mut total = Report::default();
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let setup = args.setup(seed)?;
        let report = run_one(&setup);
        if args.json {
            let line = serde_json::to_string(&report).map_err(|error| error.to_string())?;
            println!("{line}");
        } else {
            print(&setup, &report);
        }
        add(&mut total, &report);
        if !report.is_clean() {
            clean = false;
            if args.shrink {
                print_smaller(&setup);
                break;
            }
        }
    }
    if args.seeds > 1 && !args.json {
        println!(
            "{} s simulated in {:.1} s of one core: {} operations, {} acknowledged, {} lost, {} stale",
            total.simulated_seconds as u64,
            total.core_seconds,
            total.operations,
            total.acknowledged,
            total.lost,
            total.stale
        );
    }
    Ok(clean)
}

/// What a script's text begins with, and no file's name.
const SCRIPT_HEAD: &str = "trilith-ring ";

/// Replays a script. Whether what was promised was kept.
fn replay(script: &str, json: bool) -> Result<bool, String> {
    let text = match script {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| format!("standard input cannot be read: {error}"))?;
            text
        }
        text if text.trim_start().starts_with(SCRIPT_HEAD) => text.to_owned(),
        file => std::fs::read_to_string(file)
            .map_err(|error| format!("the script {file} cannot be read: {error}"))?,
    };
    let script: Script = text.parse().map_err(|error| format!("{error}"))?;
    let start = Instant::now();
    let mut ring = Ring::replay(&script).map_err(|error| error.to_string())?;
    let verdict = ring.check();
    if json {
        let mut line = serde_json::to_value(&verdict).map_err(|error| error.to_string())?;
        line["seed"] = script.options.seed.into();
        line["traceHash"] = ring.trace_hash().into();
        println!("{line}");
    } else {
        print_verdict(&script, &verdict, &ring.trace_hash(), start);
    }
    Ok(verdict.green || !verdict.promises)
}

fn print_verdict(script: &Script, verdict: &Verdict, hash: &str, start: Instant) {
    let said = match (verdict.green, verdict.promises, verdict.linearizable) {
        (true, _, Some(true)) => "linearizable",
        (true, ..) => "undecided",
        (false, true, _) => "VIOLATION",
        (false, false, _) => "not as one store, as was not promised",
    };
    let seconds = script.end_us as f64 / 1e6;
    println!(
        "seed {} ({}): {said}; {seconds:.1} s simulated, {:.0} a second; {} operations, {} acknowledged, {} lost, {} stale, {} unknown, {} refused; {hash}",
        script.options.seed,
        script.options.quorum,
        seconds / start.elapsed().as_secs_f64().max(1e-9),
        verdict.operations,
        verdict.acknowledged,
        verdict.lost,
        verdict.stale,
        verdict.unknown,
        verdict.refused,
    );
    for finding in verdict.lost_writes.iter().chain(&verdict.stale_reads) {
        println!("  {}", finding.text);
    }
    for violation in &verdict.violations {
        println!("  {}", violation.replace('\n', "\n    "));
    }
    if let Some(paid) = &verdict.paid {
        println!("  beyond the promise: {paid}");
    }
}

fn add(total: &mut Report, report: &Report) {
    total.simulated_seconds += report.simulated_seconds;
    total.core_seconds += report.core_seconds;
    total.operations += report.operations;
    total.acknowledged += report.acknowledged;
    total.lost += report.lost;
    total.stale += report.stale;
}

fn run_one(setup: &Setup) -> Report {
    let bar = ProgressBar::new(setup.millis);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg:<16} {wide_bar} {percent}% {eta}") {
        bar.set_style(style);
    }
    bar.set_message(format!("seed {}", setup.seed));
    let start = Instant::now();
    let mut report =
        Simulation::new(setup.clone()).run(|progress: &Progress| bar.set_position(progress.now_ms));
    report.core_seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    report
}

fn print(setup: &Setup, report: &Report) {
    let verdict = match (report.is_clean(), report.linearizable) {
        (false, _) => "VIOLATION",
        (true, Some(true)) => "linearizable",
        (true, Some(false)) => "not linearizable, as this row may be",
        (true, None) => "undecided",
    };
    println!(
        "seed {} ({}): {verdict}; {:.1} s simulated, {:.0} a second; {} operations, {} acknowledged, {} lost, {} stale; {} elections, {} snapshots, {} recovered, {} mismatches, healed in {} ms; {}",
        report.seed,
        report.quorum,
        report.simulated_seconds,
        report.simulated_seconds / report.core_seconds.max(1e-9),
        report.operations,
        report.acknowledged,
        report.lost,
        report.stale,
        report.elections,
        report.snapshots,
        report.recovered,
        report.mismatches,
        report.healed_ms,
        report.trace_hash
    );
    let faults: Vec<String> = report
        .faults
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if !faults.is_empty() {
        println!("  faults: {}", faults.join(", "));
    }
    for phase in &report.phases {
        println!(
            "  {}: {} of {} copies moved ({:.1} %, by hash modulo nodes {:.1} %), {} bytes in {:.1} s; {} requests failed, {} redirected",
            phase.name,
            phase.moved,
            phase.copies,
            100.0 * phase.share,
            100.0 * phase.naive_share,
            phase.bytes,
            phase.seconds,
            phase.failed,
            phase.redirected
        );
    }
    for violation in &report.violations {
        println!("  {}", violation.replace('\n', "\n    "));
    }
    if !report.is_clean() {
        println!("  replay: {}", setup.command_line());
    }
}

fn print_smaller(setup: &Setup) {
    let bar = ProgressBar::new_spinner();
    bar.set_message("making it smaller");
    let smaller = shrink(setup, |setup| {
        let faults = setup.schedule.as_ref().map_or(0, Vec::len);
        bar.set_message(format!("fails with {faults} faults in {} ms", setup.millis));
        bar.tick();
    });
    bar.finish_and_clear();
    if let Some((setup, report)) = smaller {
        println!("smaller:");
        print(&setup, &report);
    }
}
