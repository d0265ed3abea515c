//! Trilith natively: the Redis protocol, the server, its configuration and metrics.

#[cfg(feature = "server")]
pub mod resp;
#[cfg(feature = "server")]
pub mod server;
