//! What the tests that cross the crates share: the real server as a process, and a client small enough
//! to be trusted.
//!
//! Nothing here knows the engine. A test that starts a process sees only what a user sees: a command
//! line, a port and a directory.

pub mod client;
pub mod cluster;
pub mod redis;
pub mod server;
pub mod source;
#[cfg(test)]
mod tidy;

pub use client::{Client, Reply};
pub use cluster::{Cluster, ClusterOptions};
pub use redis::RedisServer;
pub use server::{Server, ServerOptions};
