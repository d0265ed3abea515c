//! `trilith bench`: workloads in the manner of db_bench and YCSB, their timing and their report.
//!
//! Everything is measured through [`Target`], so that tests/peers runs the very same code against
//! other stores. Nothing here may know which store it drives, and nothing may favour one: a target
//! that cannot do something says so instead of doing something cheaper.

pub mod command;
pub mod driver;
mod gaps;
pub mod keys;
#[cfg(test)]
mod model;
pub mod process;
pub mod reopen;
pub mod report;
pub mod target;
mod trilith;
pub mod values;
mod worker;
pub mod workload;

pub use command::BenchArgs;
pub use driver::{Session, Settings};
pub use report::PhaseReport;
pub use target::{Sync, Target, TargetOptions, WriteStats};
pub use trilith::open as open_trilith;
pub use workload::Workload;
