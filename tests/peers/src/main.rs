//! Trilith beside RocksDB, fjall and redb: the same workloads, the same durability, the same budget.

mod bare;
mod child;
mod compare;
mod engines;
mod fjall_target;
mod hot;
mod random_load;
mod redb_target;
mod rocksdb;
mod rocksdb_ffi;
mod stalls;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Compare(compare::CompareArgs),
    Hot(hot::HotArgs),
    Stalls(stalls::StallsArgs),
    #[command(name = "randomload")]
    RandomLoad(random_load::RandomLoadArgs),
    /// What the others start for each engine.
    #[command(hide = true)]
    Engine,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().what {
        What::Compare(args) => compare::run(&args),
        What::Hot(args) => hot::run(&args),
        What::Stalls(args) => stalls::run(&args),
        What::RandomLoad(args) => random_load::run(&args),
        What::Engine => child::serve(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
