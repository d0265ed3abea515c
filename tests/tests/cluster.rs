//! Clusters of real processes: what clients see while nodes come, go and die, and the commands that look after
//! them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use trilith_tests::cluster::{await_some, trilith};
use trilith_tests::{Cluster, ClusterOptions, Reply, Server};

const KEYS: usize = 2_000;

/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(120);

fn set(i: usize) -> Vec<String> {
    vec!["SET".into(), format!("key:{i:06}"), format!("value of {i}")]
}

/// Three nodes, each range of which takes writes: those who follow a master have stored its term by then, which takes as
/// long as their disks do.
fn start(directory: &Path) -> Cluster {
    let cluster = Cluster::start(directory).unwrap();
    await_some("a write in every range", PATIENCE, || {
        let sets: Vec<_> = (0..KEYS).map(set).collect();
        let replies = cluster.connect(0).ok()?.pipeline(&sets).ok()?;
        replies
            .iter()
            .all(|reply| *reply == Reply::ok())
            .then_some(())
    })
    .unwrap();
    cluster
}

/// Writes every key by way of one node.
fn fill(cluster: &Cluster, node: usize) {
    let sets: Vec<_> = (0..KEYS).map(set).collect();
    let replies = cluster.connect(node).unwrap().pipeline(&sets).unwrap();
    for (i, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply, Reply::ok(), "key {i}");
    }
}

/// Reads every key by way of one node.
fn compare(cluster: &Cluster, node: usize) {
    let gets: Vec<_> = (0..KEYS)
        .map(|i| vec!["GET".into(), set(i)[1].clone()])
        .collect();
    let replies = cluster.connect(node).unwrap().pipeline(&gets).unwrap();
    for (i, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply, Reply::bulk(&set(i)[2]), "key {i} by node {node}");
    }
}

/// A member's row in the status.
fn row(status: &Value, id: &str) -> Value {
    let members = status["members"].as_array().unwrap();
    let row = members.iter().find(|member| member["id"] == *id);
    row.cloned().unwrap_or(Value::Null)
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// Runs a command that has to succeed; what it printed.
fn run(cluster: &Cluster, node: usize, arguments: &[&str]) -> String {
    let output = cluster.trilith(node, arguments).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn commands_say_what_is_wrong_and_end_with_a_code() {
    let nobody = trilith(&["status"], "127.0.0.1:1").unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        text(&nobody).contains("cannot be asked: nobody listens there"),
        "{}",
        text(&nobody)
    );
    for arguments in [&["drain"][..], &["set"], &["dance"]] {
        let output = trilith(arguments, "127.0.0.1:1").unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_node_by_itself_is_a_cluster_of_one() {
    let directory = scratch();
    let server = Server::start(&directory.path().join("store")).unwrap();
    let output = trilith(&["status"], &server.address().to_string()).unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    for line in ["1 member", "all 257 ranges are in place"] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn three_nodes_form_a_cluster_and_each_serves_every_key() {
    let directory = scratch();
    let cluster = start(directory.path());
    fill(&cluster, 1);
    for node in cluster.running() {
        compare(&cluster, node);
        assert_eq!(
            row(&cluster.status(0).unwrap(), cluster.id(node))["copies"],
            256
        );
    }
    let sizes = cluster.running().into_iter().map(|node| {
        match cluster.connect(node).unwrap().call(&["DBSIZE"]).unwrap() {
            Reply::Integer(size) => size,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(sizes.sum::<i64>(), KEYS as i64);
}

#[test]
fn a_cluster_outlives_any_one_node_and_takes_it_back() {
    let directory = scratch();
    let mut cluster = start(directory.path());
    fill(&cluster, 0);
    for node in cluster.running() {
        cluster.kill(node).unwrap();
        for other in cluster.running() {
            compare(&cluster, other);
        }
        fill(&cluster, cluster.running()[0]);
        cluster.restart(node).unwrap();
        cluster.await_settled(PATIENCE).unwrap();
        compare(&cluster, node);
    }
}

#[cfg(unix)]
#[test]
fn nodes_stopped_one_after_the_other_fail_no_request() {
    let directory = scratch();
    let mut cluster = start(directory.path());
    fill(&cluster, 0);
    for node in cluster.running() {
        cluster.stop(node).unwrap();
        fill(&cluster, cluster.running()[0]);
        cluster.restart(node).unwrap();
        cluster.await_settled(PATIENCE).unwrap();
    }
    compare(&cluster, 0);
}

#[test]
fn a_cluster_that_was_killed_whole_comes_back() {
    let directory = scratch();
    let mut cluster = start(directory.path());
    fill(&cluster, 0);
    let nodes = cluster.running();
    for &node in &nodes {
        cluster.kill(node).unwrap();
    }
    for &node in &nodes {
        cluster.restart(node).unwrap();
    }
    cluster.await_settled(PATIENCE).unwrap();
    compare(&cluster, 2);
}

#[test]
fn a_fourth_node_takes_its_share_and_gives_it_back() {
    let directory = scratch();
    let mut cluster = start(directory.path());
    fill(&cluster, 0);
    let fourth = cluster.add().unwrap();
    cluster.await_settled(PATIENCE).unwrap();
    let status = cluster.status(0).unwrap();
    for node in cluster.running() {
        assert_eq!(row(&status, cluster.id(node))["copies"], 192, "{status}");
    }
    compare(&cluster, fourth);

    let id = cluster.id(fourth).to_owned();
    run(&cluster, 0, &["drain", &id[..8]]);
    assert_eq!(row(&cluster.status(0).unwrap(), &id)["copies"], 0);
    cluster.kill(fourth).unwrap();
    run(&cluster, 0, &["remove", &id, "--yes"]);
    assert_eq!(row(&cluster.status(0).unwrap(), &id), Value::Null);
    compare(&cluster, 1);
}

#[test]
fn a_dead_node_is_replaced_by_a_new_one() {
    let directory = scratch();
    let mut cluster = start(directory.path());
    fill(&cluster, 0);
    let dead = cluster.id(1).to_owned();
    cluster.kill(1).unwrap();
    let new = cluster.add().unwrap();
    // Not before it is noticed: who is alive and not drained is not removed.
    await_some("silence", PATIENCE, || {
        let status = cluster.status(0).ok()?;
        (row(&status, &dead)["silent"] == true).then_some(())
    })
    .unwrap();
    let asked = cluster.trilith(0, &["remove", &dead]).unwrap();
    assert_eq!(asked.status.code(), Some(2), "{}", text(&asked));
    run(&cluster, 0, &["remove", &dead, "--yes"]);
    cluster.await_settled(PATIENCE).unwrap();
    assert_eq!(
        row(&cluster.status(0).unwrap(), cluster.id(new))["copies"],
        256
    );
    compare(&cluster, new);
}

#[test]
fn a_cluster_that_lost_its_majority_is_recovered_from_one_node() {
    let directory = scratch();
    let mut cluster = start(directory.path());
    fill(&cluster, 0);
    let dead = [1, 2].map(|node| cluster.id(node).to_owned());
    cluster.kill(1).unwrap();
    cluster.kill(2).unwrap();
    let asked = await_some("the loss", PATIENCE, || {
        let output = cluster.trilith(0, &["recover", "all"]).ok()?;
        (output.status.code() == Some(2) && text(&output).contains("LOST")).then_some(output)
    })
    .unwrap();
    assert!(
        text(&asked).contains("Nothing was done."),
        "{}",
        text(&asked)
    );
    // Ranges lose their masters one by one.
    await_some("a recovery", PATIENCE, || {
        let output = cluster
            .trilith(0, &["recover", "all", "--yes", "--json"])
            .ok()?;
        let found: Value = serde_json::from_slice(&output.stdout).ok()?;
        (found["recovered"] == Value::Array(Vec::new())).then_some(())
    })
    .unwrap();
    for id in dead {
        run(&cluster, 0, &["remove", &id, "--yes", "--no-wait"]);
    }
    compare(&cluster, 0);
    fill(&cluster, 0);
}

#[test]
fn settings_are_changed_and_ranges_are_handed_over() {
    let directory = scratch();
    let cluster = start(directory.path());
    run(&cluster, 1, &["set", "--w", "3", "--r", "1"]);
    assert_eq!(cluster.status(2).unwrap()["quorum"]["w"], 3);
    run(&cluster, 1, &["pause"]);
    run(
        &cluster,
        1,
        &["rate", "--bytes-per-second", "32mb", "--at-once", "2"],
    );
    let wanted = serde_json::json!({"paused": true, "bytes_per_second": 32 << 20, "at_once": 2});
    // The news travels from the meta range's master.
    await_some("the settings", PATIENCE, || {
        (cluster.status(1).ok()?["moving"] == wanted).then_some(())
    })
    .unwrap();
    assert_eq!(
        run(&cluster, 2, &["rebalance"]),
        "all 257 ranges are in place\n"
    );

    let ranges: Value =
        serde_json::from_str(&run(&cluster, 0, &["ranges", "17", "--json"])).unwrap();
    let master = ranges[0]["master"].as_str().unwrap().to_owned();
    let other = cluster
        .running()
        .into_iter()
        .find(|&node| cluster.id(node) != master);
    let other = cluster.id(other.unwrap());
    assert!(run(&cluster, 0, &["transfer", "17", other]).contains(other));
}

#[test]
fn the_status_is_for_people_and_for_programs() {
    let directory = scratch();
    let cluster = ClusterOptions::default()
        .zones(["a", "b", "c"])
        .start(directory.path())
        .unwrap();
    let text = run(&cluster, 1, &["status", "--watch"]);
    assert!(text.contains("3 members; N 3, W 2, R 2; map "), "{text}");
    assert!(text.contains("\nall 257 ranges are in place\n"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    let json: Value = serde_json::from_str(&run(&cluster, 1, &["status", "--json"])).unwrap();
    assert_eq!(json["settled"], true);
    assert_eq!(json["members"][1]["answers"], true);
    let zones: Vec<&str> = json["members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|member| member["zone"].as_str())
        .collect();
    assert_eq!(zones.len(), 3);
    let ranges: Value = serde_json::from_str(&run(&cluster, 1, &["ranges", "--json"])).unwrap();
    assert_eq!(ranges.as_array().unwrap().len(), 257);
    assert!(
        ranges
            .as_array()
            .unwrap()
            .iter()
            .all(|range| range["trouble"].is_null())
    );
}

#[cfg(unix)]
mod local {
    //! `trilith cluster start`.

    use std::io::{BufRead, BufReader};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use trilith_tests::server::binary;

    use super::*;

    /// The command as a process; dropping it kills it, and the system its nodes.
    struct Started {
        child: Child,
        lines: std::io::Lines<BufReader<ChildStdout>>,
    }

    impl Started {
        fn new(directory: &Path, base_port: u16) -> Self {
            let mut child = Command::new(binary().unwrap())
                .args(["cluster", "start", "--nodes", "3", "--dir"])
                .arg(directory)
                .args(["--base-port", &base_port.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            Self { child, lines }
        }

        /// The processes of the nodes, once all of them answer.
        fn pids(&mut self) -> Vec<u32> {
            let mut pids = Vec::new();
            for line in self.lines.by_ref() {
                let line = line.unwrap();
                if let Some((_, pid)) = line.split_once(" pid ") {
                    pids.push(pid.parse().unwrap());
                }
                if line.starts_with("stop ") {
                    break;
                }
            }
            pids
        }
    }

    impl Drop for Started {
        fn drop(&mut self) {
            let _killed = self.child.kill();
            let _waited = self.child.wait();
        }
    }

    fn signal(name: &str, pid: u32) -> bool {
        let mut kill = Command::new("kill");
        kill.args([name, &pid.to_string()]).stderr(Stdio::null());
        kill.status().unwrap().success()
    }

    fn base_port() -> u16 {
        // Below the ports that systems give out by themselves, and above those of other clusters.
        let pid = std::process::id();
        15_000 + (pid % 450) as u16 * 10
    }

    #[test]
    fn a_local_cluster_starts_goes_on_and_stops_in_order() {
        let directory = scratch();
        let base_port = base_port();
        let at = format!("127.0.0.1:{base_port}");
        for _ in 0..2 {
            let mut started = Started::new(directory.path(), base_port);
            assert_eq!(started.pids().len(), 3);
            // A node answers before it has heard from others what the cluster is.
            await_some("the map", PATIENCE, || {
                let output = trilith(&["status"], &at).ok()?;
                output.status.success().then_some(())
            })
            .unwrap();
            let output = trilith(&["status", "--watch"], &at).unwrap();
            assert!(output.status.success(), "{}", text(&output));
            assert!(signal("-TERM", started.child.id()));
            let rest: Vec<String> = started.lines.by_ref().map(Result::unwrap).collect();
            assert_eq!(rest.len(), 3, "{rest:?}");
            for (line, node) in rest.iter().zip([3, 2, 1]) {
                assert!(
                    line.starts_with(&format!("node {node} stopped after ")),
                    "{rest:?}"
                );
            }
            assert!(started.child.wait().unwrap().success());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_node_outlives_a_start_that_is_killed() {
        let directory = scratch();
        let mut started = Started::new(directory.path(), base_port() + 5);
        let pids = started.pids();
        assert!(pids.iter().all(|&pid| signal("-0", pid)));
        drop(started);
        await_some("the end of the nodes", PATIENCE, || {
            (!pids.iter().any(|&pid| signal("-0", pid))).then_some(())
        })
        .unwrap();
    }
}
