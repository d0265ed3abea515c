//! SIGTERM: the longest time in which a range that the node mastered took no writes.
//!
//! Each range has a writer of its own, which writes one key over and over.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::json;
use trilith_tests::Cluster;

use super::{Round, mastered};
use crate::figures::median_and_worst;
use crate::router::{Router, key_of_each_arc};

/// How long a reply may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How long writers run before the node is told to stop, and after it has ended.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(2);

/// How long a writer rests after an error.
const REST: Duration = Duration::from_millis(1);

const CALM: u8 = 0;
const STOPPING: u8 = 1;
const DONE: u8 = 2;

/// What one writer saw.
struct Seen {
    /// The longest time between two acknowledgements, before the node was told to stop and from then on.
    calm: Duration,
    longest: Duration,
    errors: BTreeMap<String, u64>,
}

/// Stops the node and measures.
pub fn round(cluster: &mut Cluster, victim: usize, pause_ms: u64) -> io::Result<Round> {
    let arcs = mastered(cluster, victim)?;
    let keys = key_of_each_arc("writer");
    let nodes: Vec<SocketAddr> = cluster
        .running()
        .into_iter()
        .map(|node| cluster.address(node))
        .collect();
    let pause = Duration::from_millis(pause_ms);
    let routers = arcs.iter().map(|_| Router::connect(&nodes, LIMIT));
    let routers: Vec<Router> = routers.collect::<io::Result<_>>()?;
    let phase = AtomicU8::new(CALM);
    let (seen, took) = scope(|scope| {
        let start = |(router, &arc): (Router, &usize)| {
            let (key, phase) = (&keys[arc], &phase);
            scope.spawn(move || write(router, key, pause, phase))
        };
        let writers: Vec<_> = routers.into_iter().zip(&arcs).map(start).collect();
        sleep(BEFORE);
        phase.store(STOPPING, Relaxed);
        let start = Instant::now();
        let stopped = cluster.stop(victim);
        let took = start.elapsed();
        sleep(AFTER);
        phase.store(DONE, Relaxed);
        let ended = |_| io::Error::other("a writer ended");
        let seen = writers
            .into_iter()
            .map(|writer| writer.join().map_err(ended));
        let seen = seen.collect::<io::Result<Vec<Seen>>>()?;
        stopped.map(|()| (seen, took))
    })?;
    let in_ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let calm: Vec<f64> = seen.iter().map(|seen| in_ms(seen.calm)).collect();
    let mut errors: BTreeMap<&str, u64> = BTreeMap::new();
    for (error, count) in seen.iter().flat_map(|seen| &seen.errors) {
        *errors.entry(error).or_default() += count;
    }
    let (calm_median, calm_worst) = median_and_worst(&calm);
    Ok(Round {
        ranges: seen.iter().map(|seen| in_ms(seen.longest)).collect(),
        settled: 0.0,
        more: json!({
            "calm_median_ms": calm_median,
            "calm_worst_ms": calm_worst,
            "stop_took_ms": in_ms(took),
            "errors": errors,
        }),
    })
}

fn write(mut router: Router, key: &[u8], pause: Duration, phase: &AtomicU8) -> Seen {
    let mut seen = Seen {
        calm: Duration::ZERO,
        longest: Duration::ZERO,
        errors: BTreeMap::new(),
    };
    let mut last = Instant::now();
    loop {
        let result = router.set(key, b"a value of a writer");
        let now = Instant::now();
        let phase = phase.load(Relaxed);
        let place = match phase {
            CALM => &mut seen.calm,
            _ => &mut seen.longest,
        };
        // A range that takes no writes any more has stood still too.
        *place = (*place).max(now - last);
        if phase == DONE {
            return seen;
        }
        match result {
            Ok(()) => {
                last = now;
                sleep(pause);
            }
            Err(error) => {
                *seen.errors.entry(error.to_string()).or_default() += 1;
                sleep(REST);
            }
        }
    }
}
