//! What joining and draining nodes moves, how long it takes, and what clients notice of it.
//!
//! Three nodes are filled; a steady open loop of writes runs while two more nodes join, one after the other, and leave
//! again. Then the keys are counted, and some are read.

mod keys;
mod load;
mod moved;
mod node;
mod phase;

use std::io;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trilith_tests::{Cluster, ClusterOptions, ServerOptions};

use crate::figures::{Outcome, thousands};
use crate::options::{Appendfsync, Quorum};
use crate::progress::Progress;
use crate::survey::{self, Look};
use crate::table::Table;
use keys::Keys;
use load::Load;
use moved::{Expected, Holders};
use phase::Figures;

/// Two nodes join and leave while clients write.
#[derive(clap::Args)]
pub struct Options {
    /// Keys that are there from the start
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,

    /// Writes, sent at their times whether or not others were answered
    #[arg(long, default_value_t = 10_000)]
    writes_per_second: u32,

    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,

    /// How many nodes join, and leave again
    #[arg(long, default_value_t = 2)]
    join: usize,

    /// How long the load runs before anything moves, and after
    #[arg(long, default_value_t = 20.0)]
    calm_seconds: f64,

    /// Connections to each node
    #[arg(long, default_value_t = 8)]
    connections: usize,

    /// Syncing
    #[arg(long, value_enum, default_value = "everysec")]
    appendfsync: Appendfsync,

    /// N,W,R
    #[arg(long, default_value = "3,2,2")]
    quorum: Quorum,

    /// Values that are read at the end
    #[arg(long, default_value_t = 100_000)]
    sample: usize,
}

/// One phase: what moved, and what clients saw.
struct Phase {
    name: String,
    seconds: f64,
    moved: Option<Moved>,
    clients: Figures,
}

/// What moved, beside what had to.
struct Moved {
    expected: Expected,
    /// Copies that are where none was before.
    copies: usize,
    /// Ranges with another master than before.
    masters: usize,
    bytes: u64,
    looks: Vec<Look>,
}

pub fn run(options: &Options) -> io::Result<Outcome> {
    let progress = Progress::new(4 + 2 * options.join);
    let directory = tempfile::tempdir()?;
    progress.say("starting three nodes");
    let Quorum { n, w, r } = options.quorum;
    let mut cluster = ClusterOptions::default()
        .quorum(n, w, r)
        .server(ServerOptions::default().appendfsync(options.appendfsync.name()))
        .start(directory.path())?;
    progress.say(format!("loading {} keys", options.keys));
    let keys = Arc::new(Keys::new(options.keys, options.value_bytes));
    let nodes = cluster.running();
    let nodes: Vec<_> = nodes.iter().map(|&node| cluster.address(node)).collect();
    let filling = Instant::now();
    keys::fill(&keys, &nodes)?;
    let filled = filling.elapsed().as_secs_f64();
    progress.say(format!("loaded in {filled:.1} s"));
    progress.step();

    let load = Load::start(
        &nodes,
        options.connections,
        options.writes_per_second,
        &keys,
    )?;
    let phases = all_phases(options, &mut cluster, &load, &progress)?;
    load.stop();
    progress.say("reading the keys");
    let check = keys::check(&keys, &cluster, options.sample)?;
    progress.step();
    Ok(Outcome {
        text: text(options, &phases, &check, filled),
        json: json!({
            "keys": options.keys,
            "writes_per_second": options.writes_per_second,
            "appendfsync": options.appendfsync.name(),
            "fill_seconds": filled,
            "phases": phases.iter().map(Phase::json).collect::<Vec<_>>(),
            "check": check.json(),
        }),
    })
}

fn all_phases(
    options: &Options,
    cluster: &mut Cluster,
    load: &Arc<Load>,
    progress: &Progress,
) -> io::Result<Vec<Phase>> {
    let mut phases = Vec::new();
    let calm = Duration::from_secs_f64(options.calm_seconds);
    // The first requests fill caches and queues of both sides.
    load.begin();
    sleep(calm.min(Duration::from_secs(3)));
    phases.push(at_rest("before", calm, load, progress));
    let mut joined = Vec::new();
    for _ in 0..options.join {
        let name = format!("node {} joins", cluster.running().len() + 1);
        let (phase, node) = join(&name, cluster, load, progress, options.quorum)?;
        joined.push(node);
        phases.push(phase);
    }
    phases.push(at_rest("between", calm, load, progress));
    for node in joined.into_iter().rev() {
        let name = format!("node {} leaves", cluster.running().len());
        phases.push(leave(&name, node, cluster, load, progress, options.quorum)?);
    }
    phases.push(at_rest("after", calm, load, progress));
    Ok(phases)
}

fn at_rest(name: &str, time: Duration, load: &Load, progress: &Progress) -> Phase {
    progress.say(format!("{name}: {:.0} s of load", time.as_secs_f64()));
    let _ = load.begin();
    sleep(time);
    let clients = load.begin();
    progress.say(format!("{name}: {}", clients.line()));
    progress.step();
    Phase {
        name: name.to_owned(),
        seconds: time.as_secs_f64(),
        moved: None,
        clients,
    }
}

fn join(
    name: &str,
    cluster: &mut Cluster,
    load: &Arc<Load>,
    progress: &Progress,
    quorum: Quorum,
) -> io::Result<(Phase, usize)> {
    let before = Before::of(cluster)?;
    load.begin();
    let start = Instant::now();
    let node = cluster.add()?;
    load.know(cluster.address(node))?;
    let id = cluster.id(node).to_owned();
    let is_in = |status: &Value| survey::row(status, &id)["copies"].as_u64() > Some(0);
    let looks = survey::await_settled(cluster, start, is_in, |look| show(name, look, progress))?;
    let phase = before.phase(name, start, looks, cluster, load, quorum, progress)?;
    Ok((phase, node))
}

fn leave(
    name: &str,
    node: usize,
    cluster: &mut Cluster,
    load: &Load,
    progress: &Progress,
    quorum: Quorum,
) -> io::Result<Phase> {
    let before = Before::of(cluster)?;
    let id = cluster.id(node).to_owned();
    load.begin();
    let start = Instant::now();
    survey::run(cluster, &["drain", &id, "--no-wait"])?;
    let is_out = |status: &Value| survey::row(status, &id)["copies"] == 0;
    let looks = survey::await_settled(cluster, start, is_out, |look| show(name, look, progress))?;
    let phase = before.phase(name, start, looks, cluster, load, quorum, progress)?;
    // Only what holds nothing any more is stopped.
    load.forget(cluster.address(node));
    cluster.stop(node)?;
    survey::run(cluster, &["remove", &id, "--yes"])?;
    Ok(phase)
}

fn show(name: &str, look: &Look, progress: &Progress) {
    progress.say(format!(
        "{name}: {} of 257 ranges in place, {} moving, {} MB sent",
        look.in_place,
        look.moving,
        look.sent_bytes / 1_000_000
    ));
}

/// The cluster before a phase.
struct Before {
    holders: Holders,
    sent_bytes: u64,
}

impl Before {
    fn of(cluster: &Cluster) -> io::Result<Self> {
        Ok(Self {
            holders: survey::holders(cluster)?,
            sent_bytes: sent_bytes(cluster)?,
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn phase(
        self,
        name: &str,
        start: Instant,
        looks: Vec<Look>,
        cluster: &Cluster,
        load: &Load,
        quorum: Quorum,
        progress: &Progress,
    ) -> io::Result<Phase> {
        let seconds = start.elapsed().as_secs_f64();
        let clients = load.begin();
        let after = survey::holders(cluster)?;
        let status = survey::status(cluster)?;
        let expected = moved::expected(&self.holders, &status, usize::from(quorum.n))?;
        let (copies, masters) = moved::differences(&self.holders, &after);
        progress.say(format!("{name}: {}", clients.line()));
        progress.step();
        let moved = Moved {
            expected,
            copies,
            masters,
            bytes: sent_bytes(cluster)?.saturating_sub(self.sent_bytes),
            looks,
        };
        Ok(Phase {
            name: name.to_owned(),
            seconds,
            moved: Some(moved),
            clients,
        })
    }
}

fn sent_bytes(cluster: &Cluster) -> io::Result<u64> {
    let status = survey::status(cluster)?;
    Ok(status["progress"]["sent_bytes"].as_u64().unwrap_or(0))
}

fn text(options: &Options, phases: &[Phase], check: &keys::Check, filled: f64) -> String {
    let mut table = Table::new(&[
        "phase",
        "time",
        "copies",
        "must",
        "masters",
        "must",
        "sent",
        "writes",
        "failed",
        "moved",
        "p50",
        "p99",
        "p99.9",
        "longest",
        "p99/before",
        "looks",
    ]);
    let before = phases.first().map_or(f64::NAN, |phase| phase.clients.p99());
    let mut failures = String::new();
    for phase in phases {
        table.row(phase.cells(before));
        failures.push_str(&phase.clients.failures(&phase.name));
    }
    format!(
        "{} keys of {} bytes, loaded in {filled:.1} s; {} writes/s, appendfsync {}, N W R {}\n\n{}\n{failures}{}\n",
        thousands(f64::from(options.keys)),
        options.value_bytes,
        thousands(f64::from(options.writes_per_second)),
        options.appendfsync.name(),
        options.quorum.name(),
        table.text(),
        check.text(),
    )
}

impl Phase {
    fn cells(&self, before: f64) -> Vec<String> {
        let moved = |figure: fn(&Moved) -> String| self.moved.as_ref().map_or("-".into(), figure);
        let mut cells = vec![
            self.name.clone(),
            format!("{:.1} s", self.seconds),
            moved(|moved| moved.copies.to_string()),
            moved(|moved| moved.expected.copies.to_string()),
            moved(|moved| moved.masters.to_string()),
            moved(|moved| moved.expected.masters.to_string()),
            moved(|moved| format!("{:.1} MB", moved.bytes as f64 / 1e6)),
        ];
        cells.extend(self.clients.cells());
        cells.push(format!("{:.2}", self.clients.p99() / before));
        cells.push(moved(|moved| moved.looks.len().to_string()));
        cells
    }

    fn json(&self) -> Value {
        let moved = self.moved.as_ref().map(|moved| {
            let looks = moved.looks.iter().map(|look| {
                json!({
                    "seconds": look.seconds,
                    "in_place": look.in_place,
                    "moving": look.moving,
                    "sent_bytes": look.sent_bytes,
                })
            });
            json!({
                "copies": moved.copies,
                "copies_expected": moved.expected.copies,
                "masters": moved.masters,
                "masters_expected": moved.expected.masters,
                "sent_bytes": moved.bytes,
                "looks": looks.collect::<Vec<_>>(),
            })
        });
        json!({
            "phase": self.name,
            "seconds": self.seconds,
            "moved": moved,
            "clients": self.clients.json(),
        })
    }
}
