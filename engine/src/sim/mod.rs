//! Hosts in virtual time: the same engine, with one seed deciding everything.
//!
//! Nothing here reads a clock, draws from the operating system or starts a thread, so it runs in a
//! page as it runs natively, and a seed replays a run.
//!
//! A [`Simulation`] is a cluster of nodes, each the real ring over the real store on a
//! [`FaultyStorage`](crate::FaultyStorage), with a network, clients and a schedule of faults. It is stepped by
//! its host, and judges what clients saw and what replicas hold.
//!
//! ```no_run
//! use trilith::sim::{FaultKind, Setup, Simulation};
//! let setup = Setup { seed: 7, faults: FaultKind::ALL.to_vec(), ..Setup::default() };
//! let report = Simulation::new(setup).run(|_| {});
//! assert!(report.is_clean(), "{:?}", report.violations);
//! ```

pub mod checkers;
mod clients;
mod digest;
mod faults;
mod growth;
mod host;
mod inflict;
mod invariants;
mod judge;
mod keys;
mod lanes;
mod life;
pub mod live;
mod network;
mod reads;
mod report;
mod runtime;
mod setup;
mod shrink;
mod simulation;
mod steward;
#[cfg(test)]
mod tests;
mod upkeep;
mod workload;
mod world;

pub use faults::{Fault, FaultKind};
pub use growth::Phase;
pub use report::Report;
pub use runtime::TestRuntime;
pub use setup::{Scenario, Setup, mutation_name, mutation_named};
pub use shrink::shrink;
pub use simulation::{Progress, Simulation};
