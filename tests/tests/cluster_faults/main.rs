//! Clusters of real processes under faults and load: what clients recorded is linearizable, and nothing that was
//! acknowledged is lost.
//!
//! Clients of two kinds, those that know the cluster's map and those that do not, share a few dozen keys and record every
//! call and return. When all is well again, the simulator's checkers judge the record.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod caller;
mod dice;
mod full_disk;
mod judge;
mod keys;
mod kills;
mod load;
mod machines;
mod network;
mod partition;
mod pause;
mod proxies;
mod recorder;
mod trial;
mod turn;
