//! What the kernel says about this process and about a directory.

use std::fs;
use std::path::Path;

/// Bytes this process has handed to write(2) and its kin; 0 where the kernel does not say.
#[must_use]
pub fn bytes_written() -> u64 {
    field("/proc/self/io", "wchar:")
}

/// The most memory this process has had resident, in bytes; 0 where the kernel does not say.
#[must_use]
pub fn peak_resident_bytes() -> u64 {
    field("/proc/self/status", "VmHWM:") * 1024
}

/// The same of another process.
#[must_use]
pub fn peak_resident_bytes_of(process: u32) -> u64 {
    field(&format!("/proc/{process}/status"), "VmHWM:") * 1024
}

fn field(file: &str, name: &str) -> u64 {
    fs::read_to_string(file)
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        })
        .unwrap_or(0)
}

/// What all files below a directory hold; files that vanish meanwhile count as nothing.
#[must_use]
pub fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len().min(allocated_bytes(&metadata)),
            Err(_) => 0,
        })
        .sum()
}

/// Less than the length where a file is sparse. It may also be more, where room was reserved: that is
/// given back and says nothing about the format.
#[cfg(unix)]
fn allocated_bytes(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn allocated_bytes(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
