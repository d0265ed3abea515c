//! Trilith on a computer: files, threads, and the node that speaks Redis's protocol.

#[cfg(feature = "bench")]
pub mod bench;
