//! x
use super::super::testing::{Cluster, Policy, Walk};
#[test]
fn basic() {
    let mut cluster = Cluster::new((3, 2, 2), 3, None, Policy::Always);
    cluster.elect(1);
    let w = cluster.push(1);
    cluster.settle();
    assert!(cluster.is_done(w), "{:?}", cluster.outcome(w));
    assert!(cluster.violations().is_empty(), "{:?}", cluster.violations());
}
#[test]
#[ignore]
fn walks() {
    let env = |n: &str, d: u64| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let rows = [(3, 2, 2), (3, 3, 1), (3, 1, 3), (3, 1, 1), (5, 3, 3)];
    let mut kinds = std::collections::BTreeMap::<String, (u64, String)>::new();
    let began = std::time::Instant::now();
    let mut steps = 0;
    let mut committed = 0;
    for seed in env("FROM", 0)..env("TO", 100) {
        for (i, row) in rows.into_iter().enumerate() {
            if std::env::var("ROW").is_ok_and(|r| r != i.to_string()) { continue; }
            for policy in [Policy::Always, Policy::EverySecond] {
                let mut walk = Walk { policy, ..Walk::new(row, seed) };
                walk.steps = env("STEPS", 4000);
                if std::env::var("NOCHANGE").is_ok() { walk.faults.change = 0; }
                if std::env::var("NOPOWER").is_ok() { walk.faults.power = 0; }
                let cluster = std::panic::catch_unwind(|| walk.run());
                steps += walk.steps;
                match cluster {
                    Ok(cluster) => {
                        committed += cluster.checks.committed();
                        if let Some(v) = cluster.violations().first() {
                            let name = v.split(':').next().unwrap().to_owned();
                            let e = kinds.entry(format!("{row:?} {policy:?} {name}")).or_insert((0, format!("seed {seed}: {v}")));
                            e.0 += 1;
                        }
                    }
                    Err(_) => {
                        let e = kinds.entry(format!("{row:?} {policy:?} panic")).or_insert((0, format!("seed {seed}")));
                        e.0 += 1;
                    }
                }
            }
        }
    }
    let s = began.elapsed().as_secs_f64();
    println!("{steps} steps, {committed} committed, {s:.1} s, {:.0} steps/s", steps as f64 / s);
    for (k, (n, v)) in kinds { println!("{n} x {k}\n    {v}"); }
}
