//! A range in a box: replicas of one range over disks and a network that do only what a test tells them, with
//! checks that look on at every step. No files, no tasks, no clock: a run is a function of its calls.

mod checks;
mod cluster;
mod direct;
mod disk;
mod machine;
mod network;
mod walk;

pub(super) use cluster::Cluster;
pub(super) use disk::Policy;
pub(super) use machine::Command;
pub(super) use walk::{Faults, Walk};
