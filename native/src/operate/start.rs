//! A whole cluster on this machine: one process a node, as long as this one runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::time::{Duration, Instant};

use trilith::command::Reply;
use trilith::ring::Quorum;

use super::args::StartArgs;
use super::children::{Process, Stopped};
use super::client::{Client, Patience};
use super::problem::Problem;
use crate::server::signalled;

/// Nodes speak to each other on ports that are higher by this.
const BUS_OFFSET: u32 = 10_000;

/// The metrics' ports are higher by this.
const HTTP_OFFSET: u16 = 100;

/// How long a node may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// How often nodes that start and nodes that run are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// After how long a node that does not answer yet is mentioned.
const SLOW: Duration = Duration::from_secs(5);

/// A node that is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    number: u16,
    port: u16,
    log: PathBuf,
    arguments: Vec<String>,
}

impl Plan {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Where a node keeps its store.
fn data(dir: &Path, number: u16) -> PathBuf {
    dir.join(format!("node-{number}"))
}

/// What to start, in this order. `present` are the nodes that have a store already.
fn plan(args: &StartArgs, present: &[u16]) -> Result<Vec<Plan>, Problem> {
    check(args, present)?;
    let port = |number: u16| args.base_port + number - 1;
    // A node that has a store knows its cluster. Another one must not found a second cluster beside it.
    let first = present.first().copied().unwrap_or(1);
    let numbers = [first]
        .into_iter()
        .chain((1..=args.nodes).filter(|&number| number != first));
    let plans = numbers.map(|number| {
        let mut arguments: Vec<String> = ["serve", "--bind", "127.0.0.1", "--data"]
            .map(String::from)
            .into();
        arguments.push(data(&args.dir, number).display().to_string());
        let http = if args.http {
            port(number) + HTTP_OFFSET
        } else {
            0
        };
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("--port", port(number).to_string());
        add("--http-port", http.to_string());
        add("--appendfsync", args.appendfsync.name().to_owned());
        if !args.zones.is_empty() {
            let zone = usize::from(number - 1) % args.zones.len();
            add("--zone", args.zones[zone].clone());
        }
        if number == first {
            add("--n", args.n.to_string());
            add("--w", args.w.to_string());
            add("--r", args.r.to_string());
        } else {
            add("--join", format!("127.0.0.1:{}", port(first)));
        }
        arguments.extend(args.serve.iter().cloned());
        Plan {
            number,
            port: port(number),
            log: args.dir.join(format!("node-{number}.log")),
            arguments,
        }
    });
    Ok(plans.collect())
}

fn check(args: &StartArgs, present: &[u16]) -> Result<(), Problem> {
    Quorum::new(args.n, args.w, args.r).map_err(|_| {
        Problem::usage(
            format!("N {}, W {}, R {} cannot be.", args.n, args.w, args.r),
            "W and R go from 1 to N, and N from 1 to 9: --n 3 --w 2 --r 2",
        )
    })?;
    let last = u32::from(args.base_port) + u32::from(args.nodes) - 1;
    if args.base_port == 0 || last + BUS_OFFSET > u32::from(u16::MAX) {
        return Err(Problem::usage(
            format!(
                "Ports {} to {last} and those {BUS_OFFSET} above cannot be.",
                args.base_port
            ),
            format!(
                "Choose --base-port from 1 to {}",
                u32::from(u16::MAX) - BUS_OFFSET - u32::from(args.nodes) + 1
            ),
        ));
    }
    let left_out: Vec<String> = present
        .iter()
        .filter(|number| **number > args.nodes)
        .map(|number| data(&args.dir, *number).display().to_string())
        .collect();
    if let Some(most) = present.last().filter(|most| **most > args.nodes) {
        return Err(Problem::usage(
            format!(
                "There are more nodes than are to be started: {}.",
                left_out.join(", ")
            ),
            format!(
                "Start them too with --nodes {most}, or, if they were removed from the cluster, delete them"
            ),
        ));
    }
    Ok(())
}

/// The nodes that have a store in `dir`, in order.
fn present(dir: &Path) -> Vec<u16> {
    let has_store = |number: &u16| {
        let entries = fs::read_dir(data(dir, *number));
        entries.is_ok_and(|mut entries| entries.next().is_some())
    };
    (1..=64).filter(has_store).collect()
}

/// Starts the nodes and stays until it is told to stop.
pub fn run(args: &StartArgs) -> Result<(), Problem> {
    let present = present(&args.dir);
    let plans = plan(args, &present)?;
    fs::create_dir_all(&args.dir).map_err(|error| {
        Problem::failed(
            format!(
                "The directory {} cannot be made: {error}.",
                args.dir.display()
            ),
            "Choose another with --dir",
        )
    })?;
    if !present.is_empty() {
        println!(
            "goes on with the cluster in {}; its N, W and R stay (change them with `trilith cluster set`)",
            args.dir.display()
        );
    }
    // Of one thread, the main one: the nodes end with the thread that has started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Problem::failed(
                format!("Signals cannot be listened for: {error}."),
                "Raise the limit on open files for this user",
            )
        })?;
    runtime.block_on(async {
        let mut nodes = Nodes::default();
        let mut stop = pin!(signalled());
        let ended = tokio::select! {
            () = &mut stop => Ok(()),
            problem = nodes.start_and_watch(&plans) => Err(problem),
        };
        nodes.stop().await;
        ended
    })
}

/// The nodes that were started.
#[derive(Default)]
struct Nodes {
    started: Vec<Node>,
}

struct Node {
    number: u16,
    log: PathBuf,
    process: Process,
    is_missed: bool,
}

impl Nodes {
    /// Ends only with what is wrong.
    async fn start_and_watch(&mut self, plans: &[Plan]) -> Problem {
        // The others look for the first one.
        for batch in [&plans[..1], &plans[1..]] {
            for plan in batch {
                match start(plan) {
                    Ok(node) => self.started.push(node),
                    Err(problem) => return problem,
                }
            }
            for plan in batch {
                if let Err(problem) = self.await_pong(plan).await {
                    return problem;
                }
            }
        }
        let first = plans[0].port;
        println!("try   redis-cli -c -p {first} set greeting hello");
        println!("see   trilith cluster status --at 127.0.0.1:{first}");
        println!("stop  Ctrl-C");
        self.watch().await
    }

    async fn await_pong(&mut self, plan: &Plan) -> Result<(), Problem> {
        let start = Instant::now();
        let mut is_mentioned = false;
        loop {
            // Every node is looked at: one that has died is no reason to wait for another.
            for node in &mut self.started {
                if let Some(status) = node.process.ended() {
                    return Err(Problem::failed(
                        format!(
                            "Node {} ended before it answered ({status}). It said:\n{}",
                            node.number,
                            node.process.last_words()
                        ),
                        format!("Read {}", node.log.display()),
                    ));
                }
            }
            if is_ready(&plan.address()) {
                let node = self.started.iter().find(|node| node.number == plan.number);
                let pid = node.map_or(0, |node| node.process.pid());
                println!("node {} {} pid {pid}", plan.number, plan.address());
                return Ok(());
            }
            if start.elapsed() > SLOW && !is_mentioned {
                is_mentioned = true;
                println!(
                    "node {} does not answer yet: see {}",
                    plan.number,
                    plan.log.display()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Says when one ends by itself, and ends when all have.
    async fn watch(&mut self) -> Problem {
        loop {
            for node in self.started.iter_mut().filter(|node| !node.is_missed) {
                if let Some(status) = node.process.ended() {
                    node.is_missed = true;
                    println!(
                        "node {} ended by itself ({status}); the others go on. It said:\n{}",
                        node.number,
                        node.process.last_words()
                    );
                }
            }
            if self.started.iter().all(|node| node.is_missed) {
                return Problem::failed(
                    "All nodes have ended by themselves.",
                    "Read their logs, and start again: what was acknowledged is in their stores",
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops one after the other, the last one first. A second signal kills those that are left.
    async fn stop(&mut self) {
        let mut again = pin!(signalled());
        let mut is_patient = true;
        while let Some(mut node) = self.started.pop() {
            let stopped = tokio::select! {
                () = &mut again, if is_patient => None,
                stopped = node.process.stop(STOP_WITHIN), if is_patient => Some(stopped),
                else => None,
            };
            match stopped {
                Some(Stopped::Gently(time)) => {
                    println!(
                        "node {} stopped after {:.1} s",
                        node.number,
                        time.as_secs_f64()
                    );
                }
                Some(Stopped::Already) => {}
                Some(Stopped::Killed) | None => {
                    is_patient = stopped.is_some();
                    node.process.kill();
                    println!(
                        "node {} was killed; what it has acknowledged is in its log",
                        node.number
                    );
                }
            }
        }
    }
}

fn start(plan: &Plan) -> Result<Node, Problem> {
    let started = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(&plan.arguments);
        Process::start(command, &plan.log)
    });
    let process = started.map_err(|error| {
        Problem::failed(
            format!("Node {} cannot be started: {error}.", plan.number),
            "See whether the program and the directory can be used by this user",
        )
    })?;
    Ok(Node {
        number: plan.number,
        log: plan.log.clone(),
        process,
        is_missed: false,
    })
}

fn is_ready(address: &str) -> bool {
    // The port is taken before the store is open: an answer may be long in coming.
    let patience = Patience {
        connect: Duration::from_millis(200),
        answer: Duration::from_millis(200),
    };
    let pong = Client::connect(address, patience).and_then(|mut client| client.ask(&["PING"]));
    matches!(pong, Ok(Reply::Simple(text)) if text == "PONG")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: StartArgs,
    }

    fn planned(words: &str, present: &[u16]) -> Result<Vec<Plan>, Problem> {
        let words = ["start", "--dir", "d"]
            .into_iter()
            .chain(words.split_whitespace());
        plan(&Line::parse_from(words).start, present)
    }

    fn lines(plans: &[Plan]) -> Vec<String> {
        plans.iter().map(|plan| plan.arguments.join(" ")).collect()
    }

    #[test]
    fn the_first_node_founds_and_the_others_join() {
        let plans = planned("--nodes 2 --zones a,b --appendfsync always", &[]).unwrap();
        assert_eq!(
            lines(&plans),
            [
                "serve --bind 127.0.0.1 --data d/node-1 --port 7001 --http-port 0 --appendfsync always --zone a --n 3 --w 2 --r 2",
                "serve --bind 127.0.0.1 --data d/node-2 --port 7002 --http-port 0 --appendfsync always --zone b --join 127.0.0.1:7001",
            ]
        );
        assert_eq!(plans[1].log, Path::new("d/node-2.log"));
    }

    #[test]
    fn options_of_serve_go_to_every_node() {
        let plans = planned("--nodes 3 --http -- --memory 64mb", &[]).unwrap();
        for (plan, port) in plans.iter().zip(["7101", "7102", "7103"]) {
            let line = plan.arguments.join(" ");
            assert!(line.ends_with(" --memory 64mb"), "{line}");
            assert!(line.contains(&format!("--http-port {port} ")), "{line}");
        }
    }

    #[test]
    fn a_node_that_lost_its_store_founds_no_second_cluster() {
        let plans = planned("--nodes 3", &[2, 3]).unwrap();
        let numbers: Vec<u16> = plans.iter().map(|plan| plan.number).collect();
        assert_eq!(numbers, [2, 1, 3]);
        assert!(
            plans[1]
                .arguments
                .join(" ")
                .contains("--join 127.0.0.1:7002")
        );
    }

    #[test]
    fn no_node_of_the_cluster_is_left_out_unnoticed() {
        let problem = planned("--nodes 3", &[1, 2, 3, 5]).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.failure.what.contains("node-5"), "{problem}");
        assert!(problem.failure.remedy.contains("--nodes 5"), "{problem}");
    }

    #[test]
    fn what_cannot_be_started_is_refused() {
        for words in [
            "--n 3 --w 4",
            "--base-port 0",
            "--base-port 55535 --nodes 2",
            "--n 10 --w 1",
        ] {
            let problem = planned(words, &[]).unwrap_err();
            assert_eq!(problem.exit_code(), 2, "{words}");
        }
        assert!(planned("--base-port 55534 --nodes 2", &[]).is_ok());
    }

    #[test]
    fn stores_that_are_there_are_found() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["node-2", "node-4"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("node-4").join("file"), "x").unwrap();
        assert_eq!(present(directory.path()), [4]);
    }
}
