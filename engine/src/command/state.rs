//! What a command sees of the store while it is applied.

use bytes::Bytes;

use crate::{Error, ErrorKind, MaybeSend, Result};

/// The value of a live key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value itself.
    pub bytes: Bytes,
    /// When the key expires, in milliseconds since the Unix epoch; 0 for never.
    pub deadline_ms: u64,
}

/// One arc's state at one log entry. Reads see the writes made through the same state, so a command
/// that names a key twice sees its own first effect.
pub trait State: MaybeSend {
    /// The entry's time, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// The entry's seed: the only dice a command may throw.
    fn seed(&self) -> u64;

    /// The value of `key`, if the key is alive at [`State::now_ms`].
    fn get(&mut self, key: &[u8]) -> impl Future<Output = Result<Option<Value>>> + MaybeSend;

    /// The deadline of `key` (0 for never), if the key is alive. Does not fetch a large value.
    fn exists(&mut self, key: &[u8]) -> impl Future<Output = Result<Option<u64>>> + MaybeSend;

    /// Sets `key` to `value`, expiring at `deadline_ms` (0 for never).
    ///
    /// Nothing that is only read from needs this or the following.
    fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        deadline_ms: u64,
    ) -> impl Future<Output = Result<()>> + MaybeSend {
        let _ = (key, value, deadline_ms);
        async { Err(only_reads()) }
    }

    /// Removes `key`; nothing happens if there is none.
    fn delete(&mut self, key: &[u8]) -> impl Future<Output = Result<()>> + MaybeSend {
        let _ = key;
        async { Err(only_reads()) }
    }

    /// Removes every key.
    fn clear(&mut self) -> impl Future<Output = Result<()>> + MaybeSend {
        async { Err(only_reads()) }
    }
}

fn only_reads() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "reading",
        "a command that writes was not logged",
    )
}
