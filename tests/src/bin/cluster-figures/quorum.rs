//! What each choice of N, W and R costs one client that asks one thing at a time.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trilith::random::Random;
use trilith_tests::{ClusterOptions, ServerOptions};

use crate::figures::{Latencies, Outcome, milliseconds, thousands};
use crate::options::{Appendfsync, Quorum};
use crate::progress::Progress;
use crate::router::Router;
use crate::table::Table;

/// One client, a closed loop of SETs, three nodes.
#[derive(clap::Args)]
pub struct Options {
    /// How long each row is measured
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,

    /// The rows, each N,W,R
    #[arg(long, num_args = 1.., default_values = ["3,1,1", "3,2,2", "3,3,1", "3,1,3"])]
    rows: Vec<Quorum>,

    /// Syncing, one or more
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "everysec,always"
    )]
    appendfsync: Vec<Appendfsync>,

    /// Keys written to
    #[arg(long, default_value_t = 10_000)]
    keys: u64,

    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
}

/// How long the client runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long a reply may take.
const LIMIT: Duration = Duration::from_secs(10);

pub fn run(options: &Options) -> io::Result<Outcome> {
    let progress = Progress::new(options.appendfsync.len() * options.rows.len());
    let mut table = Table::new(&[
        "N W R",
        "appendfsync",
        "p50",
        "p99",
        "p99.9",
        "longest",
        "writes/s",
        "redirects",
        "in circles",
    ]);
    let mut rows = Vec::new();
    for &policy in &options.appendfsync {
        for &quorum in &options.rows {
            progress.say(format!("{} under {}", quorum.name(), policy.name()));
            let found = measure(options, policy, quorum)?;
            let latencies = &found.latencies;
            let rate = latencies.count() as f64 / found.seconds;
            table.row(vec![
                quorum.name(),
                policy.name().into(),
                milliseconds(latencies.quantile(0.5)),
                milliseconds(latencies.quantile(0.99)),
                milliseconds(latencies.quantile(0.999)),
                milliseconds(latencies.longest()),
                thousands(rate),
                found.redirects.to_string(),
                found.loops.to_string(),
            ]);
            rows.push(json_row(policy, quorum, &found, rate));
            progress.step();
        }
    }
    Ok(Outcome {
        text: table.text(),
        json: json!({"quorum": rows}),
    })
}

fn json_row(policy: Appendfsync, quorum: Quorum, found: &Found, rate: f64) -> Value {
    json!({
        "n": quorum.n,
        "w": quorum.w,
        "r": quorum.r,
        "appendfsync": policy.name(),
        "latency": found.latencies.json(),
        "writes_per_second": rate,
        "redirects": found.redirects,
        "redirected_in_circles": found.loops,
    })
}

/// What one client saw, its warm-up left out but for redirects.
struct Found {
    latencies: Latencies,
    seconds: f64,
    redirects: u64,
    loops: u64,
}

/// A cluster of its own for each row.
fn measure(options: &Options, policy: Appendfsync, quorum: Quorum) -> io::Result<Found> {
    let directory = tempfile::tempdir()?;
    let cluster = ClusterOptions::default()
        .quorum(quorum.n, quorum.w, quorum.r)
        .server(ServerOptions::default().appendfsync(policy.name()))
        .start(directory.path())?;
    let nodes: Vec<_> = cluster
        .running()
        .into_iter()
        .map(|node| cluster.address(node))
        .collect();
    let mut router = Router::connect(&nodes, LIMIT)?;
    let mut random = Random::new(1);
    let value = vec![b'v'; options.value_bytes];
    let mut run_for = |time: Duration| -> io::Result<(Latencies, f64)> {
        let mut latencies = Latencies::new();
        let start = Instant::now();
        while start.elapsed() < time {
            let key = format!("key:{}", random.below(options.keys));
            let sent = Instant::now();
            router.set(key.as_bytes(), &value)?;
            latencies.record(sent.elapsed());
        }
        Ok((latencies, start.elapsed().as_secs_f64()))
    };
    run_for(WARM_UP)?;
    let (latencies, seconds) = run_for(Duration::from_secs_f64(options.seconds))?;
    let (redirects, loops) = router.redirects();
    Ok(Found {
        latencies,
        seconds,
        redirects,
        loops,
    })
}
