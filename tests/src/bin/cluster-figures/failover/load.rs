//! The light load: clients that know the topology, each writing one key after the other.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trilith::random::Random;

use crate::figures::{Latencies, milliseconds, thousands};
use crate::router::Router;

/// How long a reply may take.
const LIMIT: Duration = Duration::from_secs(5);

const KEYS: u64 = 100_000;

/// The clients, which run until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Figures>>,
}

/// What the clients saw.
pub struct Figures {
    latencies: Latencies,
    errors: BTreeMap<String, u64>,
}

impl Load {
    pub fn start(nodes: &[SocketAddr], clients: usize, writes_per_second: u32) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * clients as u32 / writes_per_second.max(1);
        let start = |number| {
            let router = Router::connect(nodes, LIMIT)?;
            let stop = Arc::clone(&stop);
            Ok(spawn(move || client(router, number, pause, &stop)))
        };
        let clients = (0..clients as u64).map(start).collect::<io::Result<_>>()?;
        Ok(Self { stop, clients })
    }

    pub fn stop(self) -> Figures {
        self.stop.store(true, Relaxed);
        let mut all = Figures::new();
        for client in self.clients {
            match client.join() {
                Ok(figures) => all.add(figures),
                Err(_) => all.count("a client ended"),
            }
        }
        all
    }
}

fn client(mut router: Router, number: u64, pause: Duration, stop: &AtomicBool) -> Figures {
    let mut figures = Figures::new();
    let mut random = Random::new(number);
    let mut due = Instant::now();
    while !stop.load(Relaxed) {
        due += pause;
        sleep(due.saturating_duration_since(Instant::now()));
        let key = format!("load:{}", random.below(KEYS));
        let sent = Instant::now();
        match router.set(key.as_bytes(), b"a value of the light load") {
            Ok(()) => figures.latencies.record(sent.elapsed()),
            Err(error) => figures.count(&error.to_string()),
        }
        // What could not be written meanwhile is not made up for.
        due = due.max(Instant::now() - pause);
    }
    figures
}

impl Figures {
    fn new() -> Self {
        Self {
            latencies: Latencies::new(),
            errors: BTreeMap::new(),
        }
    }

    fn count(&mut self, error: &str) {
        *self.errors.entry(error.to_owned()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }

    pub fn text(&self, name: &str) -> String {
        let written = &self.latencies;
        let mut text = format!(
            "light load under {name}: {} writes, p50 {}, p99 {}, longest {}\n",
            thousands(written.count() as f64),
            milliseconds(written.quantile(0.5)),
            milliseconds(written.quantile(0.99)),
            milliseconds(written.longest()),
        );
        for (error, count) in &self.errors {
            text.push_str(&format!("  {count} times: {error}\n"));
        }
        text
    }

    pub fn json(&self) -> Value {
        json!({"latency": self.latencies.json(), "errors": self.errors})
    }
}
