//! Hosts in virtual time: the same engine, with one seed deciding everything.
//!
//! Nothing here reads a clock, draws from the operating system or starts a thread, so it runs in a
//! page as it runs natively, and a seed replays a run.

pub mod checkers;
mod runtime;

pub use runtime::TestRuntime;
