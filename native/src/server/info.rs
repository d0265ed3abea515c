//! INFO for people and monitors, and the same figures for Prometheus.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::archive;
use super::backend::Stats;
use super::cluster::Figures;
use super::session::REDIS_VERSION;
use super::shared::{Shared, resident_bytes, unix_time_us};

type Lines = Vec<(&'static str, String)>;

/// INFO's text. Without sections: all of them.
pub fn text(
    sections: &[Bytes],
    shared: &Shared,
    stats: &Stats,
    cluster: Option<&Figures>,
) -> String {
    let all: [(&str, Lines); 9] = [
        ("Server", server(shared, cluster.is_some())),
        ("Clients", clients(shared)),
        ("Memory", memory(shared, stats)),
        ("Persistence", persistence(shared, stats)),
        ("Stats", totals(shared, stats)),
        ("Replication", replication(cluster)),
        ("Cluster", membership(cluster)),
        ("Store", store(stats)),
        ("Keyspace", keyspace(stats)),
    ];
    let mut text = String::new();
    for (name, lines) in all {
        if !is_wanted(sections, name) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text += &format!("# {name}\r\n");
        for (field, value) in lines {
            text += &format!("{field}:{value}\r\n");
        }
    }
    text
}

fn is_wanted(sections: &[Bytes], name: &str) -> bool {
    sections.is_empty()
        || sections.iter().any(|section| {
            section.eq_ignore_ascii_case(name.as_bytes())
                || [&b"all"[..], b"default", b"everything"]
                    .iter()
                    .any(|every| section.eq_ignore_ascii_case(every))
        })
}

fn server(shared: &Shared, is_clustered: bool) -> Lines {
    let uptime_s = shared.uptime().as_secs();
    let mode = if is_clustered {
        "cluster"
    } else {
        "standalone"
    };
    vec![
        ("redis_version", REDIS_VERSION.into()),
        ("trilith_version", env!("CARGO_PKG_VERSION").into()),
        ("redis_mode", mode.into()),
        (
            "os",
            format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("tcp_port", shared.port.to_string()),
        ("server_time_usec", unix_time_us().to_string()),
        ("uptime_in_seconds", uptime_s.to_string()),
        ("uptime_in_days", (uptime_s / 86_400).to_string()),
    ]
}

fn clients(shared: &Shared) -> Lines {
    vec![
        (
            "connected_clients",
            shared.counters.clients.load(Relaxed).to_string(),
        ),
        ("maxclients", shared.config.maxclients.to_string()),
        ("blocked_clients", "0".into()),
    ]
}

fn memory(shared: &Shared, stats: &Stats) -> Lines {
    vec![
        ("used_memory", stats.memory_bytes.to_string()),
        ("used_memory_human", human(stats.memory_bytes)),
        ("used_memory_rss", resident_bytes().unwrap_or(0).to_string()),
        ("maxmemory", shared.config.memory.to_string()),
        ("maxmemory_human", human(shared.config.memory)),
        // What memory cannot hold is on disk: nothing is lost to make room.
        ("maxmemory_policy", "noeviction".into()),
    ]
}

fn persistence(shared: &Shared, stats: &Stats) -> Lines {
    let mut lines = archive::persistence(&stats.archive);
    lines.extend([
        ("appendfsync", shared.config.appendfsync.name().into()),
        ("disk_bytes", stats.disk_bytes.to_string()),
        ("disk_full", u8::from(stats.disk_full).to_string()),
        ("read_only", u8::from(stats.read_only.is_some()).to_string()),
        (
            "read_only_reason",
            stats.read_only.clone().unwrap_or_default(),
        ),
    ]);
    lines
}

fn totals(shared: &Shared, stats: &Stats) -> Lines {
    let counters = &shared.counters;
    vec![
        (
            "total_connections_received",
            counters.connections.load(Relaxed).to_string(),
        ),
        (
            "total_commands_processed",
            counters.commands.load(Relaxed).to_string(),
        ),
        (
            "instantaneous_ops_per_sec",
            counters.commands_per_second.load(Relaxed).to_string(),
        ),
        (
            "total_net_input_bytes",
            counters.bytes_in.load(Relaxed).to_string(),
        ),
        (
            "total_net_output_bytes",
            counters.bytes_out.load(Relaxed).to_string(),
        ),
        (
            "rejected_connections",
            counters.connections_rejected.load(Relaxed).to_string(),
        ),
        (
            "total_error_replies",
            counters.errors.load(Relaxed).to_string(),
        ),
        ("expired_keys", stats.expired.to_string()),
        ("keyspace_hits", stats.hits.to_string()),
        ("keyspace_misses", stats.misses.to_string()),
    ]
}

/// Masters alone are announced: whoever reads this finds no replicas to turn to.
fn replication(cluster: Option<&Figures>) -> Lines {
    let mut lines = vec![("role", "master".into()), ("connected_slaves", "0".into())];
    lines.extend(cluster.into_iter().flat_map(Figures::replication));
    lines
}

fn membership(cluster: Option<&Figures>) -> Lines {
    let enabled = u8::from(cluster.is_some()).to_string();
    let mut lines = vec![("cluster_enabled", enabled)];
    lines.extend(cluster.into_iter().flat_map(Figures::cluster));
    lines
}

fn store(stats: &Stats) -> Lines {
    stats
        .more
        .iter()
        .map(|figure| (figure.name, figure.value.to_string()))
        .collect()
}

fn keyspace(stats: &Stats) -> Lines {
    if stats.keys == 0 {
        return Vec::new();
    }
    let line = format!(
        "keys={},expires={},avg_ttl=0",
        stats.keys, stats.keys_with_deadline
    );
    vec![("db0", line)]
}

/// A number of bytes with a unit, as Redis shows it.
pub fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{bytes}B")
            } else {
                format!("{value:.2}{unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.2}T")
}

/// All figures in Prometheus's text format.
pub fn metrics(shared: &Shared, stats: &Stats, cluster: Option<&Figures>) -> String {
    let counters = &shared.counters;
    let mut page = String::new();
    let mut figure = |name: &str, help: &str, is_counter: bool, value: u64| {
        let kind = if is_counter { "counter" } else { "gauge" };
        let total = if is_counter { "_total" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "# HELP trilith_{name}{total} {help}\n# TYPE trilith_{name}{total} {kind}\ntrilith_{name}{total} {value}"
        );
    };
    figure(
        "uptime_seconds",
        "Seconds since the start.",
        false,
        shared.uptime().as_secs(),
    );
    figure(
        "clients",
        "Clients connected.",
        false,
        counters.clients.load(Relaxed),
    );
    figure(
        "connections",
        "Connections accepted.",
        true,
        counters.connections.load(Relaxed),
    );
    figure(
        "connections_rejected",
        "Connections refused for lack of room.",
        true,
        counters.connections_rejected.load(Relaxed),
    );
    figure(
        "commands",
        "Commands answered.",
        true,
        counters.commands.load(Relaxed),
    );
    figure(
        "error_replies",
        "Commands answered with an error.",
        true,
        counters.errors.load(Relaxed),
    );
    figure(
        "network_in_bytes",
        "Bytes from clients.",
        true,
        counters.bytes_in.load(Relaxed),
    );
    figure(
        "network_out_bytes",
        "Bytes to clients.",
        true,
        counters.bytes_out.load(Relaxed),
    );
    figure("keys", "Keys in the store.", false, stats.keys);
    figure(
        "keys_with_deadline",
        "Keys that expire.",
        false,
        stats.keys_with_deadline,
    );
    figure("keys_expired", "Keys that expired.", true, stats.expired);
    figure("hits", "Reads that found their key.", true, stats.hits);
    figure("misses", "Reads that found no key.", true, stats.misses);
    figure(
        "memory_bytes",
        "Memory taken from the budget.",
        false,
        stats.memory_bytes,
    );
    figure(
        "memory_budget_bytes",
        "The memory budget.",
        false,
        shared.config.memory,
    );
    if let Some(bytes) = resident_bytes() {
        figure(
            "resident_bytes",
            "Resident memory of the process.",
            false,
            bytes,
        );
    }
    figure("disk_bytes", "Bytes on disk.", false, stats.disk_bytes);
    figure(
        "disk_full",
        "1 while there is no room for writes: free some space, they resume by themselves.",
        false,
        stats.disk_full.into(),
    );
    figure(
        "read_only",
        "1 while the store takes no writes.",
        false,
        stats.read_only.is_some().into(),
    );
    let membership = cluster.map(Figures::metrics).unwrap_or_default();
    for more in stats.more.iter().chain(&membership) {
        figure(more.name, more.help, more.is_counter, more.value);
    }
    page
}
