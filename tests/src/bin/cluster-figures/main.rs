//! Measures clusters of real processes on this machine's loopback: `cluster-figures --help`.
//!
//! The server is the binary in `TRILITH_BIN`, else the one that cargo builds. Stores lie in the system's directory
//! for temporary files (`TMPDIR`), which should be on a real disk.

mod failover;
mod figures;
mod growth;
mod options;
mod progress;
mod quorum;
mod redis;
mod router;
mod survey;
mod table;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use figures::Outcome;

/// Measures clusters of real processes on loopback
#[derive(Parser)]
#[command(name = "cluster-figures")]
struct Arguments {
    /// Answer in JSON: one object
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// How long writes stop when a node is killed, or stopped
    Failover(failover::Options),
    /// What joining and draining nodes moves, and what clients notice of it
    Growth(growth::Options),
    /// What each choice of N, W and R costs one client
    Quorum(quorum::Options),
    /// Trilith and Redis under redis-benchmark, and with replicated writes
    Redis(redis::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.what) {
        Ok(outcome) => {
            match arguments.json {
                true => println!("{}", outcome.json),
                false => print!("{}", outcome.text),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cluster-figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: &What) -> io::Result<Outcome> {
    match what {
        What::Failover(options) => failover::run(options),
        What::Growth(options) => growth::run(options),
        What::Quorum(options) => quorum::run(options),
        What::Redis(options) => redis::run(options),
    }
}
