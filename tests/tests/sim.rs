//! The four rows of N, W and R under everything that can go wrong, simulated by the real binary: three keep
//! their promise, and of the fourth the simulator must find what it loses.
//!
//! Seeds are fresh on every run. What fails prints the command that replays it; `TRILITH_SIM_SEED` runs
//! from that seed on, and `TRILITH_LONG=1` runs five times as many.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use trilith_tests::server::binary;

/// Simulated seconds of each run.
const SECONDS: &str = "60";

/// A seed that no run before has had, unless one is asked for.
fn first_seed() -> u64 {
    if let Some(seed) = std::env::var("TRILITH_SIM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return seed;
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_secs() * 1000
}

/// How many seeds each row is run with.
fn seeds() -> u64 {
    if std::env::var_os("TRILITH_LONG").is_some() {
        300
    } else {
        60
    }
}

/// The last lines of `trilith sim`, one object a seed.
fn simulate(args: &[&str]) -> Vec<Value> {
    let output = Command::new(binary().expect("the binary builds"))
        .arg("sim")
        .arg("--json")
        .args(args)
        .output()
        .expect("trilith starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let reports: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(
        !reports.is_empty(),
        "trilith sim {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    reports
}

/// Runs a row with half of the seeds under each of two durabilities, five nodes and every fault.
fn run_row([n, w, r]: [&str; 3]) -> Vec<(String, Value)> {
    let half = seeds() / 2;
    let first = first_seed();
    let mut reports = Vec::new();
    for (from, sync) in [(first, "always"), (first + half, "everysec")] {
        let (from, count) = (from.to_string(), half.to_string());
        let row = [
            "--n",
            n,
            "--w",
            w,
            "--r",
            r,
            "--sync",
            sync,
            "--seconds",
            SECONDS,
            "--seed",
            &from,
        ];
        let found = simulate(&[&row[..], &["--seeds", &count]].concat());
        assert_eq!(found.len() as u64, half, "{row:?}");
        for report in found {
            let line = format!(
                "trilith sim --seed {} --seconds {SECONDS} --n {n} --w {w} --r {r} --sync {sync}",
                report["seed"]
            );
            reports.push((line, report));
        }
    }
    reports
}

fn count(report: &Value, field: &str) -> u64 {
    report[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no {field}: {report}"))
}

fn assert_promise_holds(row: [&str; 3]) {
    let mut acknowledged = 0;
    for (line, report) in run_row(row) {
        let is_clean = report["violations"].as_array().is_some_and(Vec::is_empty);
        assert!(is_clean, "{line}\n{:#}", report["violations"]);
        assert_ne!(report["linearizable"], Value::Bool(false), "{line}");
        assert_eq!(
            (count(&report, "lost"), count(&report, "stale")),
            (0, 0),
            "{line}"
        );
        acknowledged += count(&report, "acknowledged");
    }
    // A cluster that answers nobody keeps every promise.
    assert!(acknowledged > 1_000 * seeds(), "{acknowledged}");
}

#[test]
fn balanced_ranges_are_linearizable() {
    assert_promise_holds(["3", "2", "2"]);
}

#[test]
fn ranges_with_the_safest_writes_are_linearizable() {
    assert_promise_holds(["3", "3", "1"]);
}

#[test]
fn ranges_with_fast_writes_are_linearizable() {
    assert_promise_holds(["3", "1", "3"]);
}

#[test]
fn what_asynchronous_ranges_lose_is_found_and_named() {
    let reports = run_row(["3", "1", "1"]);
    for (line, report) in &reports {
        // Also that what is lost stands in a lost-writes file, unless a crash took its name along.
        let is_clean = report["violations"].as_array().is_some_and(Vec::is_empty);
        assert!(is_clean, "{line}\n{:#}", report["violations"]);
    }
    let total = |field| {
        reports
            .iter()
            .map(|(_, report)| count(report, field))
            .sum::<u64>()
    };
    assert!(total("lost") > 0 && total("stale") > 0);
    assert!(total("unnamed") < total("lost"));
}

/// The price of fast writes: what a master that was cut off acknowledged alone is lost with its disk.
#[test]
fn what_fast_writes_lose_with_a_masters_disk_is_found() {
    let first = first_seed().to_string();
    let args =
        "--n 3 --w 1 --r 3 --faults disk-swap,partition --beyond --seconds 30 --seeds 60 --seed";
    let args: Vec<&str> = args.split(' ').chain([first.as_str()]).collect();
    let reports = simulate(&args);
    let is_found =
        |report: &&Value| count(report, "lost") > 0 && report["linearizable"] == Value::Bool(false);
    assert!(reports.iter().any(|report| is_found(&report)));
}

/// The price of the safest writes: none are taken while a replica is away. Nothing else is amiss.
#[test]
fn the_safest_writes_wait_for_a_replica_that_is_away() {
    let away = |w: &str, r: &str| {
        let row = ["--nodes", "3", "--n", "3", "--w", w, "--r", r];
        let fault = ["--schedule", "crash@2000+16000:7", "--seconds", "20"];
        simulate(&[&row[..], &fault[..]].concat()).remove(0)
    };
    let (balanced, safest) = (away("2", "2"), away("3", "1"));
    let done = |report: &Value| count(report, "acknowledged");
    assert!(
        3 * done(&safest) < 2 * done(&balanced),
        "{safest:#} {balanced:#}"
    );
    for report in [balanced, safest] {
        assert_eq!(report["linearizable"], Value::Bool(true), "{report:#}");
        assert_eq!(report["violations"], Value::Array(Vec::new()));
    }
}

#[test]
fn a_seed_gives_the_same_run_in_another_process() {
    let args = ["--seed", "11", "--seeds", "2", "--seconds", "20"];
    let hashes = || -> Vec<Value> {
        let reports = simulate(&args);
        reports
            .iter()
            .map(|report| report["trace_hash"].clone())
            .collect()
    };
    let first = hashes();
    assert_eq!(first, hashes());
    assert_ne!(first[0], first[1]);
}

/// What a page's link carries is replayed by the binary, from the command line, a file or standard input.
#[test]
fn a_script_of_a_page_is_replayed_and_judged() {
    let script = "trilith-ring 1; nodes=3 quorum=3,1,1 seed=5; 900000 load 50 20 uniform 30 16; \
        1500000 kill 2; 1600000 ask 1 0/0 SET user:001 Alex; 2500000 end";
    let path = std::env::temp_dir().join(format!("trilith-script-{}", std::process::id()));
    std::fs::write(&path, script.replace("; ", "\n")).unwrap();
    let one = simulate(&["--script", script]);
    let other = simulate(&["--script", &path.to_string_lossy()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(one, other);
    assert!(one[0]["acknowledged"].as_u64() > Some(10), "{one:?}");
    assert_eq!(one[0]["promises"], Value::Bool(false));
    let refused = Command::new(binary().expect("the binary builds"))
        .args(["sim", "--script", "trilith-ring 1; 5 fly 2"])
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("fly 2"));
}
