//! The ring's replication rules 1 to 5, 8 and 9 as a model of one range on three replicas, and every course
//! of events within bounds tried on it.
//!
//! The rules are in `step.rs`, `reads.rs`, `configuration.rs` and `amnesia.rs`, the quorums in `quorum.rs`,
//! what must hold in `model.rs`. `rows.rs` and `changes.rs` say within which bounds it was found to hold;
//! `mutants.rs` breaks the rules one by one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod amnesia;
mod changes;
mod check;
mod configuration;
mod history;
mod log;
mod model;
mod mutants;
mod mutation;
mod network;
mod quorum;
mod reads;
mod rows;
mod state;
mod step;
mod symmetry;
