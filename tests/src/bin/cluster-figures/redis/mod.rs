//! Trilith and Redis side by side: redis-benchmark where it can, and a client of our own where a batch of writes has
//! to be replicated before it counts.
//!
//! Redis is the system's redis-server, with an append-only file synced each second.

mod batches;
mod benchmark;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use trilith_tests::cluster::await_some;
use trilith_tests::{Cluster, ClusterOptions, RedisServer, Reply, ServerOptions};

use crate::figures::{Outcome, milliseconds, thousands};
use crate::options::Appendfsync;
use crate::progress::Progress;
use crate::table::Table;

/// redis-benchmark, and batches that end with WAIT 1.
#[derive(clap::Args)]
pub struct Options {
    /// Requests of each of redis-benchmark's tests
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,

    /// Clients
    #[arg(long, default_value_t = 50)]
    clients: usize,

    /// Commands that a client sends in one piece
    #[arg(long, default_value_t = 16)]
    pipeline: usize,

    /// Keys
    #[arg(long, default_value_t = 100_000)]
    keys: u64,

    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,

    /// How long the client that replicates its batches runs
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,

    /// Syncing, of all servers
    #[arg(long, value_enum, default_value = "everysec")]
    appendfsync: Appendfsync,

    /// How often everything is measured; the median counts
    #[arg(long, default_value_t = 1)]
    repeat: usize,
}

/// One figure: who did what, and how well.
pub struct Row {
    /// The servers.
    pub server: &'static str,
    /// SET, GET or batches.
    pub test: String,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// How long a cluster of Redis may take to be one.
const PATIENCE: Duration = Duration::from_secs(30);

const TRILITH_ALONE: &str = "Trilith alone";
const TRILITH_CLUSTER_1: &str = "Trilith, cluster of 1";
const TRILITH_CLUSTER_3: &str = "Trilith, 3 nodes, N W R 3 2 2";
const REDIS_ALONE: &str = "Redis alone";
const REDIS_REPLICAS: &str = "Redis, 2 replicas";

pub fn run(options: &Options) -> io::Result<Outcome> {
    let progress = Progress::new(5 * options.repeat);
    let mut all = Vec::new();
    for _ in 0..options.repeat {
        all.push(once(options, &progress)?);
    }
    let rows = medians(all);
    Ok(Outcome {
        text: text(options, &rows),
        json: json!({
            "clients": options.clients,
            "pipeline": options.pipeline,
            "value_bytes": options.value_bytes,
            "appendfsync": options.appendfsync.name(),
            "rows": rows.iter().map(|row| row.json(&rows)).collect::<Vec<_>>(),
        }),
    })
}

fn once(options: &Options, progress: &Progress) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut add = |server, more: io::Result<Vec<Row>>| {
        progress.step();
        for row in more? {
            progress.say(format!(
                "{server}: {} {}/s",
                row.test,
                thousands(row.per_second)
            ));
            rows.push(row);
        }
        io::Result::Ok(())
    };
    // One after the other, so that none takes time from another.
    add(REDIS_ALONE, redis_alone(options))?;
    add(TRILITH_ALONE, trilith_alone(options))?;
    add(
        TRILITH_CLUSTER_1,
        trilith_cluster(options, 1, TRILITH_CLUSTER_1),
    )?;
    add(REDIS_REPLICAS, redis_replicas(options))?;
    add(
        TRILITH_CLUSTER_3,
        trilith_cluster(options, 3, TRILITH_CLUSTER_3),
    )?;
    Ok(rows)
}

fn redis_alone(options: &Options) -> io::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let redis = start_redis(directory.path(), options.appendfsync, None)?;
    benchmark::run(options, REDIS_ALONE, redis.address(), false)
}

fn redis_replicas(options: &Options) -> io::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let start = |name: &str, primary: Option<SocketAddr>| {
        let place = directory.path().join(name);
        std::fs::create_dir(&place)?;
        start_redis(&place, options.appendfsync, primary)
    };
    let primary = start("primary", None)?;
    let _replicas = [
        start("replica-1", Some(primary.address()))?,
        start("replica-2", Some(primary.address()))?,
    ];
    await_replicas(&primary, 2)?;
    let mut rows = benchmark::run(options, REDIS_REPLICAS, primary.address(), false)?;
    rows.push(batches::run(options, REDIS_REPLICAS, &[primary.address()])?);
    Ok(rows)
}

/// Starts one with an append-only file, as a replica if there is a primary.
fn start_redis(
    directory: &Path,
    appendfsync: Appendfsync,
    primary: Option<SocketAddr>,
) -> io::Result<RedisServer> {
    let mut arguments = vec!["--appendonly".to_owned(), "yes".into()];
    arguments.extend(["--appendfsync".into(), appendfsync.name().into()]);
    if let Some(primary) = primary {
        arguments.push("--replicaof".into());
        arguments.extend([primary.ip().to_string(), primary.port().to_string()]);
    }
    RedisServer::start(directory, &arguments)
}

/// Waits until so many replicas have all that the primary has.
fn await_replicas(primary: &RedisServer, count: usize) -> io::Result<()> {
    await_some("replicas", PATIENCE, || {
        let reply = primary.connect().ok()?.call(&["INFO", "replication"]);
        let Reply::Bulk(text) = reply.ok()? else {
            return None;
        };
        let online = String::from_utf8_lossy(&text)
            .matches("state=online")
            .count();
        (online == count).then_some(())
    })
}

fn trilith_alone(options: &Options) -> io::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let server = trilith(options).start(&directory.path().join("store"))?;
    benchmark::run(options, TRILITH_ALONE, server.address(), false)
}

fn trilith(options: &Options) -> ServerOptions {
    ServerOptions::default().appendfsync(options.appendfsync.name())
}

fn trilith_cluster(options: &Options, nodes: usize, name: &'static str) -> io::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let cluster = start_cluster(options, nodes, directory.path())?;
    let nodes = cluster.running();
    let nodes: Vec<SocketAddr> = nodes.iter().map(|&node| cluster.address(node)).collect();
    // redis-benchmark takes one node for no cluster.
    let mut rows = benchmark::run(options, name, nodes[0], nodes.len() > 1)?;
    if nodes.len() > 1 {
        rows.push(batches::run(options, name, &nodes)?);
    }
    Ok(rows)
}

fn start_cluster(options: &Options, nodes: usize, directory: &Path) -> io::Result<Cluster> {
    ClusterOptions::default()
        .nodes(nodes)
        .quorum(3, 2, 2)
        .server(trilith(options))
        .start(directory)
}

/// Of each row the run in the middle.
fn medians(mut runs: Vec<Vec<Row>>) -> Vec<Row> {
    let rows = runs.iter().map(Vec::len).min().unwrap_or(0);
    let mut medians = Vec::new();
    for _ in 0..rows {
        let mut same: Vec<Row> = runs.iter_mut().map(|run| run.remove(0)).collect();
        same.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        medians.push(same.swap_remove(same.len() / 2));
    }
    medians
}

impl Row {
    /// Beside Redis alone, or with replicas where batches are replicated.
    fn beside_redis(&self, rows: &[Self]) -> f64 {
        let beside = |server: &str| {
            let mut same = rows.iter().filter(|row| row.test == self.test);
            same.find(|row| row.server == server)
        };
        let redis = beside(REDIS_ALONE).or_else(|| beside(REDIS_REPLICAS));
        redis.map_or(f64::NAN, |redis| self.per_second / redis.per_second)
    }

    fn json(&self, rows: &[Self]) -> Value {
        json!({
            "server": self.server,
            "test": self.test,
            "per_second": self.per_second,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "beside_redis": self.beside_redis(rows),
        })
    }
}

fn text(options: &Options, rows: &[Row]) -> String {
    let mut table = Table::new(&["server", "test", "per second", "of Redis's", "p50", "p99"]);
    let mut tests: Vec<&str> = rows.iter().map(|row| row.test.as_str()).collect();
    tests.sort_unstable();
    tests.dedup();
    for test in tests {
        for row in rows.iter().filter(|row| row.test == test) {
            table.row(vec![
                row.server.into(),
                row.test.clone(),
                thousands(row.per_second),
                format!("{:.2}", row.beside_redis(rows)),
                milliseconds(row.p50_ms),
                milliseconds(row.p99_ms),
            ]);
        }
    }
    format!(
        "{} clients, {} commands in one piece, values of {} bytes, appendfsync {}\n\n{}",
        options.clients,
        options.pipeline,
        options.value_bytes,
        options.appendfsync.name(),
        table.text()
    )
}
