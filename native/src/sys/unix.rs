//! Files on Unix.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;

/// Opens an existing file; a symbolic link is refused.
pub(crate) fn open(path: &Path, to_write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(to_write)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Exactly `len` bytes, or `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Makes the names in a directory survive a power loss.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes free to this process on the file system that holds `path`.
pub(crate) fn room(path: &Path) -> io::Result<Option<u64>> {
    let status = rustix::fs::statvfs(path)?;
    Ok(Some(status.f_bavail.saturating_mul(status.f_frsize)))
}

/// Ends this process as `kill -9` does.
pub(crate) fn kill_this_process() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    let _sent = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

/// The child ends with this process where the system can see to that. It hears no Ctrl-C that is meant for this
/// process.
#[cfg(feature = "operate")]
pub(crate) fn tie_to_this_process(command: &mut std::process::Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
    super::end_with_this_thread(command);
}

/// Asks a child to stop.
#[cfg(feature = "operate")]
pub(crate) fn terminate(child: &mut std::process::Child) -> io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    Ok(kill_process(Pid::from_child(child), Signal::TERM)?)
}
