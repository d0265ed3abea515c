//! The rules of the ring as a model, and every course of events within bounds tried on it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod change;
mod changes;
mod check;
mod history;
mod log;
mod model;
mod mutants;
mod mutation;
mod quorum;
mod rows;
mod state;
mod step;
mod symmetry;
