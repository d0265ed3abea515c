//! Files on Windows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Opens the link itself where the path names one, as `O_NOFOLLOW` does by failing.
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

/// Opens an existing file; a symbolic link is refused.
pub(crate) fn open(path: &Path, to_write: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(to_write)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    if file.metadata()?.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    Ok(file)
}

pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Exactly `len` bytes, or `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.seek_read(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// NTFS journals its names itself; there is nothing to sync.
pub(crate) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// std does not tell.
pub(crate) fn room(_path: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

/// Ends this process at once.
pub(crate) fn kill_this_process() -> ! {
    std::process::abort()
}

/// A child does not end with this process: whoever starts it has to end it.
#[cfg(feature = "operate")]
pub(crate) fn tie_to_this_process(_command: &mut std::process::Command) {}

/// Ends a child: it cannot be asked to stop.
#[cfg(feature = "operate")]
pub(crate) fn terminate(child: &mut std::process::Child) -> io::Result<()> {
    child.kill()
}
