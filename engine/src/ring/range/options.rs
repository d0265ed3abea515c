//! How a range behaves: its times and bounds.

use super::Mutation;

/// Times and bounds of a range. All of its members should have the same.
#[derive(Clone, Debug)]
pub struct Options {
    /// A master lets its followers hear from it this often.
    pub heartbeat_ms: u64,
    /// Who has not heard from a master for so long, and up to twice that by chance, campaigns. A master
    /// that is not confirmed for so long steps down.
    pub election_ms: u64,
    /// A read that has not been confirmed by then is answered as unknown.
    pub read_ms: u64,
    /// Bytes of applied entries that are kept for those who lag.
    pub keep_bytes: usize,
    /// Bytes of entries that may wait to be committed.
    pub uncommitted_bytes: usize,
    /// Bytes of entries in one message.
    pub message_bytes: usize,
    /// Messages to one follower that may be on their way.
    pub inflight: usize,
    /// Masters hand over when their clock is off the members' median by more than this.
    pub skew_ms: u64,
    /// Whether events are traced.
    pub trace: bool,
    /// A rule to break, in tests.
    pub mutation: Option<Mutation>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_ms: 400,
            read_ms: 2_000,
            keep_bytes: 1 << 20,
            uncommitted_bytes: 16 << 20,
            message_bytes: 256 << 10,
            inflight: 64,
            skew_ms: 500,
            trace: false,
            mutation: None,
        }
    }
}
