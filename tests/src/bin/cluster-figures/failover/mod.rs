//! How long writes stop in the ranges of a node that is killed, or stopped as a service manager does.

mod killed;
mod load;
mod stopped;

use std::io;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use trilith_tests::{Cluster, ClusterOptions, ServerOptions};

use crate::figures::{Outcome, median_and_worst, milliseconds};
use crate::options::{Appendfsync, Quorum};
use crate::progress::Progress;
use crate::router::ARCS;
use crate::survey;
use crate::table::Table;

/// Three nodes under light load, one of which dies in each round.
#[derive(clap::Args)]
pub struct Options {
    /// How often a node dies
    #[arg(long, default_value_t = 20)]
    rounds: usize,

    /// Stop nodes with SIGTERM in place of killing them
    #[arg(long)]
    planned: bool,

    /// Syncing, one or more
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "everysec,always"
    )]
    appendfsync: Vec<Appendfsync>,

    /// N,W,R
    #[arg(long, default_value = "3,2,2")]
    quorum: Quorum,

    /// Clients of the light load
    #[arg(long, default_value_t = 4)]
    clients: usize,

    /// What they write together
    #[arg(long, default_value_t = 1_000)]
    writes_per_second: u32,

    /// With --planned: how long a writer of a range rests between two writes
    #[arg(long, default_value_t = 10)]
    pause_ms: u64,
}

/// What one round showed.
struct Round {
    /// For each range of the node that died, how long it took no writes, in milliseconds.
    ranges: Vec<f64>,
    /// From the node's new start until all is in place again, in milliseconds.
    settled: f64,
    /// More figures, for programs.
    more: Value,
}

pub fn run(options: &Options) -> io::Result<Outcome> {
    let progress = Progress::new(options.rounds * options.appendfsync.len());
    let mut table = Table::new(&[
        "appendfsync",
        "rounds",
        "ranges",
        "median",
        "90 %",
        "worst",
        "rounds' worst, median",
        "settled again, median",
        "worst",
    ]);
    let mut remarks = String::new();
    let mut found = Vec::new();
    for &policy in &options.appendfsync {
        let directory = tempfile::tempdir()?;
        let (rounds, load) = measure(options, policy, directory.path(), &progress)?;
        let ranges: Vec<f64> = rounds
            .iter()
            .flat_map(|round| round.ranges.clone())
            .collect();
        let worst: Vec<f64> = rounds
            .iter()
            .map(|round| median_and_worst(&round.ranges).1)
            .collect();
        let settled: Vec<f64> = rounds.iter().map(|round| round.settled).collect();
        let (median, highest) = median_and_worst(&ranges);
        table.row(vec![
            policy.name().into(),
            rounds.len().to_string(),
            ranges.len().to_string(),
            milliseconds(median),
            milliseconds(nine_tenths(&ranges)),
            milliseconds(highest),
            milliseconds(median_and_worst(&worst).0),
            milliseconds(median_and_worst(&settled).0),
            milliseconds(median_and_worst(&settled).1),
        ]);
        remarks.push_str(&load.text(policy.name()));
        found.push(json!({
            "appendfsync": policy.name(),
            "median_ms": median,
            "p90_ms": nine_tenths(&ranges),
            "worst_ms": highest,
            "rounds": rounds.iter().map(Round::json).collect::<Vec<_>>(),
            "load": load.json(),
        }));
    }
    let what = match options.planned {
        true => "The longest time in which a range of a node that was stopped took no writes",
        false => "From the kill to the first acknowledged write in each range of the node",
    };
    Ok(Outcome {
        text: format!("{what}\n\n{}\n{remarks}", table.text()),
        json: json!({"planned": options.planned, "failover": found}),
    })
}

fn nine_tenths(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures
        .get(figures.len() * 9 / 10)
        .copied()
        .unwrap_or(f64::NAN)
}

impl Round {
    fn json(&self) -> Value {
        let (median, worst) = median_and_worst(&self.ranges);
        json!({
            "ranges": self.ranges.len(),
            "median_ms": median,
            "worst_ms": worst,
            "settled_ms": self.settled,
            "more": self.more,
        })
    }
}

fn measure(
    options: &Options,
    policy: Appendfsync,
    directory: &Path,
    progress: &Progress,
) -> io::Result<(Vec<Round>, load::Figures)> {
    progress.say(format!("starting three nodes under {}", policy.name()));
    let Quorum { n, w, r } = options.quorum;
    let mut cluster = ClusterOptions::default()
        .quorum(n, w, r)
        .server(ServerOptions::default().appendfsync(policy.name()))
        .start(directory)?;
    let nodes: Vec<_> = cluster
        .running()
        .into_iter()
        .map(|node| cluster.address(node))
        .collect();
    let load = load::Load::start(&nodes, options.clients, options.writes_per_second)?;
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        let victim = number % nodes.len();
        let mut round = match options.planned {
            true => stopped::round(&mut cluster, victim, options.pause_ms)?,
            false => killed::round(&mut cluster, victim)?,
        };
        round.settled = take_back(&mut cluster, victim)?;
        let (median, worst) = median_and_worst(&round.ranges);
        progress.say(format!(
            "{}, round {}: {} ranges, median {}, worst {}, settled after {}",
            policy.name(),
            number + 1,
            round.ranges.len(),
            milliseconds(median),
            milliseconds(worst),
            milliseconds(round.settled)
        ));
        progress.step();
        rounds.push(round);
    }
    Ok((rounds, load.stop()))
}

/// Starts the node again and waits until all is in place and masters are spread as before, in milliseconds.
fn take_back(cluster: &mut Cluster, victim: usize) -> io::Result<f64> {
    let start = Instant::now();
    cluster.restart(victim)?;
    survey::await_settled(cluster, start, masters_are_even, |_| {})?;
    let took = start.elapsed();
    // A copy that is behind would make the next round another measurement.
    survey::run(cluster, &["status", "--watch"])?;
    Ok(took.as_secs_f64() * 1e3)
}

/// Whether every member leads its share. Ranges go back to whom placement prefers some time after all is in place.
fn masters_are_even(status: &Value) -> bool {
    let members = status["members"].as_array().map_or(&[][..], Vec::as_slice);
    let led: Vec<u64> = members
        .iter()
        .filter_map(|member| member["masters"].as_u64())
        .collect();
    let (least, most) = (led.iter().min(), led.iter().max());
    least
        .zip(most)
        .is_some_and(|(least, most)| most - least <= 2)
}

/// The arcs that a node masters, by its own word.
fn mastered(cluster: &Cluster, node: usize) -> io::Result<Vec<usize>> {
    let ranges = cluster.ranges(node)?;
    let ranges = ranges.as_array().map_or(&[][..], Vec::as_slice);
    let mastered = ranges.iter().filter(|range| range["role"] == "master");
    let arcs = mastered.filter_map(|range| usize::try_from(range["range"].as_u64()?).ok());
    // Meta is one range more.
    Ok(arcs.filter(|arc| *arc < ARCS).collect())
}
