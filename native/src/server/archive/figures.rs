//! INFO's section about persistence, by the names that Redis gives its fields, and metrics.

use trilith::archive::{ArchiveStats, JobStats};

use crate::server::Figure;

/// The fields of INFO that are Redis's, and some more.
pub fn persistence(stats: &ArchiveStats) -> Vec<(&'static str, String)> {
    let (aof, rdb) = (&stats.aof, &stats.rdb);
    let yes = |is: bool| u8::from(is).to_string();
    let status = |is_ok: bool| if is_ok { "ok" } else { "err" }.to_owned();
    let seconds = |ms: Option<u64>| ms.map_or("-1".to_owned(), |ms| (ms / 1000).to_string());
    let (saves, rewrites) = (&rdb.saves, &aof.rewrites);
    let share = |job: &JobStats| match job.keys_total {
        0 => 0.0,
        total => job.keys as f64 * 100.0 / total as f64,
    };
    let running = if saves.running_ms.is_some() {
        saves
    } else {
        rewrites
    };
    let mut lines = vec![
        ("loading", yes(false)),
        ("async_loading", yes(false)),
        ("current_fork_perc", format!("{:.2}", share(running))),
        ("current_save_keys_processed", running.keys.to_string()),
        ("current_save_keys_total", running.keys_total.to_string()),
        ("rdb_changes_since_last_save", rdb.changes.to_string()),
        ("rdb_bgsave_in_progress", yes(saves.running_ms.is_some())),
        ("rdb_last_save_time", rdb.last_s.to_string()),
        ("rdb_last_bgsave_status", status(saves.error.is_none())),
        ("rdb_last_bgsave_time_sec", seconds(saves.last_ms)),
        ("rdb_current_bgsave_time_sec", seconds(saves.running_ms)),
        ("rdb_saves", saves.done.to_string()),
        ("aof_enabled", yes(aof.is_enabled)),
        (
            "aof_rewrite_in_progress",
            yes(rewrites.running_ms.is_some()),
        ),
        ("aof_rewrite_scheduled", yes(rewrites.is_scheduled)),
        ("aof_last_rewrite_time_sec", seconds(rewrites.last_ms)),
        ("aof_current_rewrite_time_sec", seconds(rewrites.running_ms)),
        (
            "aof_last_bgrewrite_status",
            status(rewrites.error.is_none()),
        ),
        ("aof_rewrites", rewrites.done.to_string()),
        (
            "aof_rewrites_consecutive_failures",
            rewrites.failures.to_string(),
        ),
        ("aof_last_write_status", status(aof.trouble.is_none())),
    ];
    if aof.is_enabled {
        lines.extend([
            ("aof_current_size", aof.bytes.to_string()),
            ("aof_base_size", aof.rewritten_bytes.to_string()),
            ("aof_pending_rewrite", yes(aof.gap_s.is_some())),
            ("aof_buffer_length", aof.waiting_bytes.to_string()),
            ("aof_history_size", aof.history_bytes.to_string()),
            ("aof_gap_since", aof.gap_s.unwrap_or(0).to_string()),
        ]);
    }
    let errors = [
        ("aof_last_write_error", &aof.trouble),
        ("aof_last_bgrewrite_error", &rewrites.error),
        ("rdb_last_bgsave_error", &saves.error),
    ];
    for (name, error) in errors {
        lines.extend(error.iter().map(|error| (name, error.to_string())));
    }
    lines
}

/// The same for Prometheus.
pub fn figures(stats: &ArchiveStats) -> Vec<Figure> {
    let figure = |is_counter| {
        move |name, help, value| Figure {
            name,
            help,
            is_counter,
            value,
        }
    };
    let (counter, gauge) = (figure(true), figure(false));
    let (aof, rdb) = (&stats.aof, &stats.rdb);
    let mut figures = vec![
        counter("snapshots", "Snapshots (RDB) written.", rdb.saves.done),
        gauge(
            "snapshot_failures",
            "Snapshots that failed since one was written.",
            rdb.saves.failures,
        ),
        gauge(
            "snapshot_time_seconds",
            "When the last snapshot was complete, in Unix time.",
            rdb.last_s,
        ),
        gauge(
            "snapshot_changes",
            "Keys set or removed since the last snapshot.",
            rdb.changes,
        ),
    ];
    if aof.is_enabled {
        figures.extend([
            gauge(
                "aof_bytes",
                "Bytes of the AOF, its base included.",
                aof.bytes,
            ),
            gauge(
                "aof_history_bytes",
                "Bytes of what rewrites of the AOF have replaced.",
                aof.history_bytes,
            ),
            gauge(
                "aof_waiting_bytes",
                "Bytes that are to be written to the AOF.",
                aof.waiting_bytes,
            ),
            counter(
                "aof_written_bytes",
                "Bytes written to the AOF, without its bases.",
                aof.written_bytes,
            ),
            gauge(
                "aof_broken",
                "1 while the AOF cannot be written: INFO says why; it is begun anew by itself.",
                aof.trouble.is_some().into(),
            ),
            gauge(
                "aof_gap",
                "1 while something is missing in the AOF, until it is rewritten.",
                aof.gap_s.is_some().into(),
            ),
            counter("aof_rewrites", "Rewrites of the AOF.", aof.rewrites.done),
            gauge(
                "aof_rewrite_failures",
                "Rewrites of the AOF that failed since one was done.",
                aof.rewrites.failures,
            ),
        ]);
    }
    figures
}
