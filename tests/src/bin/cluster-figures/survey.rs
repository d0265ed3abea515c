//! What `trilith cluster status` and `trilith cluster ranges` say of a cluster, and waiting for it to settle.

use std::collections::BTreeMap;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use trilith_tests::Cluster;

/// How often a cluster that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a cluster may take to settle.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Runs a command of `trilith cluster` that has to succeed.
pub fn run(cluster: &Cluster, arguments: &[&str]) -> io::Result<Vec<u8>> {
    let at = first(cluster)?;
    let output = cluster.trilith(at, arguments)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{arguments:?}: {error}")))
}

fn first(cluster: &Cluster) -> io::Result<usize> {
    let running = cluster.running();
    let first = running.first().copied();
    first.ok_or_else(|| io::Error::other("no node runs"))
}

/// The whole cluster's status.
pub fn status(cluster: &Cluster) -> io::Result<Value> {
    Ok(serde_json::from_slice(&run(
        cluster,
        &["status", "--json"],
    )?)?)
}

/// The voters of each arc, the master first.
pub fn holders(cluster: &Cluster) -> io::Result<BTreeMap<u64, Vec<String>>> {
    let ranges: Value = serde_json::from_slice(&run(cluster, &["ranges", "--json"])?)?;
    let ranges = ranges.as_array().map_or(&[][..], Vec::as_slice);
    let holders = ranges.iter().filter_map(|range| {
        // Meta has a name in place of a number.
        let arc = range["range"].as_u64()?;
        let master = range["master"].as_str().unwrap_or_default().to_owned();
        let voters = range["voters"].as_array()?.iter();
        let others = voters.filter_map(Value::as_str).map(str::to_owned);
        let others = others.filter(|id| *id != master);
        let all = std::iter::once(master.clone()).filter(|id| !id.is_empty());
        Some((arc, all.chain(others).collect()))
    });
    Ok(holders.collect())
}

/// What a member's row says.
pub fn row<'a>(status: &'a Value, id: &str) -> &'a Value {
    let members = status["members"].as_array().map_or(&[][..], Vec::as_slice);
    let row = members.iter().find(|member| member["id"] == *id);
    row.unwrap_or(&Value::Null)
}

/// One look at a cluster that moves.
pub struct Look {
    /// Since waiting began.
    pub seconds: f64,
    pub in_place: u64,
    pub moving: u64,
    pub sent_bytes: u64,
}

impl Look {
    fn of(status: &Value, since: Instant) -> Self {
        let figure = |name: &str| status["progress"][name].as_u64().unwrap_or(0);
        Self {
            seconds: since.elapsed().as_secs_f64(),
            in_place: figure("in_place"),
            moving: figure("moving"),
            sent_bytes: figure("sent_bytes"),
        }
    }
}

/// Waits until the cluster says of itself that it is settled, and `done` agrees, twice in a row. What was seen
/// meanwhile.
pub fn await_settled(
    cluster: &Cluster,
    since: Instant,
    done: impl Fn(&Value) -> bool,
    mut seen: impl FnMut(&Look),
) -> io::Result<Vec<Look>> {
    let mut looks = Vec::new();
    let mut settled = 0;
    while settled < 2 {
        if since.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the cluster does not settle",
            ));
        }
        sleep(LOOK_EVERY);
        let Ok(status) = status(cluster) else {
            settled = 0;
            continue;
        };
        let look = Look::of(&status, since);
        seen(&look);
        looks.push(look);
        let is_settled = status["settled"] == true && done(&status);
        settled = if is_settled { settled + 1 } else { 0 };
    }
    Ok(looks)
}
