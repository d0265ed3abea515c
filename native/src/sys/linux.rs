//! What only Linux does.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::FallocateFlags;
use rustix::time::ClockId;

/// The bytes, if all of them are in the page cache; `None` if not. `Unsupported` where the kernel or
/// the file system cannot answer.
pub(crate) fn read_cached(file: &File, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::<u8>::with_capacity(len);
    let piece = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: len,
    };
    // The raw call: not every libc has a wrapper, and of those some take offsets of 32 bits.
    // SAFETY: `piece` describes `len` bytes that `bytes` owns and nobody else sees.
    let read = unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            libc::c_long::from(file.as_raw_fd()),
            &raw const piece,
            1 as libc::c_long,
            offset as libc::c_long,
            // The upper half where a long has 32 bits; shifted out by the kernel where it has 64.
            (offset >> 32) as libc::c_long,
            libc::c_long::from(libc::RWF_NOWAIT),
        )
    };
    if read < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            // EINVAL is what a kernel says that knows the call but not the flag.
            Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::EPERM) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            _ => Err(error),
        };
    }
    if read as usize != len {
        return Ok(None);
    }
    // SAFETY: the kernel has filled exactly `len` bytes, which is within the capacity.
    unsafe { bytes.set_len(len) };
    Ok(Some(bytes))
}

/// Sets space aside and moves the end of the file behind it, so that later writes change no metadata.
pub(crate) fn preallocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Starts writing dirty pages back without waiting for them, so that a later sync finds little to do.
pub(crate) fn start_writeback(file: &File, offset: u64, len: u64) {
    // SAFETY: takes plain numbers. A hint: its failure changes nothing.
    unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            offset as libc::off64_t,
            len as libc::off64_t,
            libc::SYNC_FILE_RANGE_WRITE,
        );
    }
}

/// A number that differs from boot to boot.
pub(crate) fn boot_id() -> Option<u128> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}

/// Milliseconds since the Unix epoch, as of the last timer tick: a few nanoseconds to ask.
pub(crate) fn wall_ms() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
    // Before 1970 there was no store.
    let ms = now.tv_sec * 1000 + now.tv_nsec / 1_000_000;
    u64::try_from(ms).unwrap_or(0)
}

/// Asks for huge pages in the whole pages of a region.
pub(crate) fn advise_huge(start: *const u8, bytes: usize) {
    let page = rustix::param::page_size();
    let skipped = start.align_offset(page);
    let whole = bytes.saturating_sub(skipped) / page * page;
    if whole == 0 {
        return;
    }
    let first = start.wrapping_add(skipped).cast_mut().cast();
    // SAFETY: the advice changes neither the content nor the validity of a page.
    let advised = unsafe { rustix::mm::madvise(first, whole, rustix::mm::Advice::LinuxHugepage) };
    if let Err(error) = advised {
        tracing::debug!(%error, bytes, "huge pages are not to be had");
    }
}

/// A child that is started by this thread ends with it, and so with this process, however that ends.
#[cfg(feature = "operate")]
pub(crate) fn end_with_this_thread(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;

    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let arrange = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that was arranged.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: between fork and exec it makes two system calls; it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(arrange);
    }
}
