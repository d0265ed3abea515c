//! What only Linux does: here each says that it cannot, and the caller has another way.

use std::fs::File;
use std::io;
use std::time::SystemTime;

/// Never from the cache alone.
pub(crate) fn read_cached(_file: &File, _offset: u64, _len: usize) -> io::Result<Option<Vec<u8>>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Space is not set aside.
pub(crate) fn preallocate(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The system writes back when it sees fit.
pub(crate) fn start_writeback(_file: &File, _offset: u64, _len: u64) {}

/// Not known.
pub(crate) fn boot_id() -> Option<u128> {
    None
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as u64)
}

/// Not asked for.
pub(crate) fn advise_huge(_start: *const u8, _bytes: usize) {}

/// A child does not end with this thread: whoever starts it has to end it.
#[cfg(all(unix, feature = "operate"))]
pub(crate) fn end_with_this_thread(_command: &mut std::process::Command) {}
