//! What all connections of a server share: its settings, its counters and the word to stop.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::config::Config;

/// Shared by all connections.
#[derive(Debug)]
pub struct Shared {
    /// How the node was started.
    pub config: Config,
    /// The port for clients, as it was given by the system.
    pub port: u16,
    /// What was counted.
    pub counters: Counters,
    started: Instant,
    stop: watch::Sender<bool>,
}

/// Counts since the start. Exact, though not at one moment.
#[derive(Debug, Default)]
pub struct Counters {
    pub connections: AtomicU64,
    pub connections_rejected: AtomicU64,
    pub clients: AtomicU64,
    pub commands: AtomicU64,
    pub commands_per_second: AtomicU64,
    pub errors: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

impl Shared {
    /// For a server that starts now.
    pub fn new(config: Config, port: u16) -> Self {
        Self {
            config,
            port,
            counters: Counters::default(),
            started: Instant::now(),
            stop: watch::Sender::new(false),
        }
    }

    /// Since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks the server to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the server was asked to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// A watch on the word to stop.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Measures commands per second, for ever.
    pub async fn measure(&self) {
        let mut before = 0;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            let now = self.counters.commands.load(Relaxed);
            self.counters
                .commands_per_second
                .store(now - before, Relaxed);
            before = now;
        }
    }
}

/// Ready once the server was asked to stop.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // It fails only when the server is gone, which is a stop as well.
    let _gone = stopping.wait_for(|stop| *stop).await;
}

/// Microseconds since the Unix epoch.
pub fn unix_time_us() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_micros())
}

/// Memory of this process that is resident, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
    #[cfg(not(target_os = "linux"))]
    None
}
