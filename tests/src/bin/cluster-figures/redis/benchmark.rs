//! redis-benchmark, which comes with Redis.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::{Options, Row};

/// SET and then GET, on one server or on the cluster that it belongs to.
pub fn run(
    options: &Options,
    server: &'static str,
    address: SocketAddr,
    in_cluster: bool,
) -> io::Result<Vec<Row>> {
    let mut command = Command::new("redis-benchmark");
    command
        .args(["-h", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()])
        .args(["-t", "set,get"])
        .args(["-n", &options.requests.to_string()])
        .args(["-c", &options.clients.to_string()])
        .args(["-P", &options.pipeline.to_string()])
        .args(["-r", &options.keys.to_string()])
        .args(["-d", &options.value_bytes.to_string()])
        .arg("--csv")
        .stdin(Stdio::null());
    if in_cluster {
        command.arg("--cluster");
    }
    let output = command.output()?;
    let out = String::from_utf8_lossy(&output.stdout);
    let rows = read(server, &out);
    if output.status.success() && rows.len() == 2 {
        return Ok(rows);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "redis-benchmark on {server}: {}\n{out}{error}",
        output.status
    )))
}

/// Its lines: `"SET","123.45","avg","min","p50","p95","p99","max"`.
fn read(server: &'static str, text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim_matches('"')).collect();
        let figure = |at: usize| cells.get(at).and_then(|cell| cell.parse().ok());
        Some(Row {
            server,
            test: format!("redis-benchmark {}", cells.first()?),
            per_second: figure(1)?,
            p50_ms: figure(4)?,
            p99_ms: figure(6)?,
        })
    };
    text.lines().filter_map(row).collect()
}
