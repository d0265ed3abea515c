//! Appending to one file: a buffer, one write for all who wait for it, one sync for all who wait for that.
//!
//! Bytes go buffer -> page cache (`Written`) -> disk (`Synced`). Whoever polls a settle first writes
//! everything that is buffered; the others find it done. After a failed write nothing more is written,
//! after a failed sync nothing is synced: what the kernel then holds is not known to be what was written.

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use trilith::{Durability, Error, ErrorKind, Object, Result, Writer};

use super::directory::Directory;
use super::failure::failure;
use super::group_sync::GroupSync;
use super::growth::Growth;
use super::kill_point;
use crate::sys;
use crate::workers::Queue;

/// A buffer this full goes to the page cache on append, so that one who never settles holds little.
const BUFFER_FULL: usize = 1 << 20;
/// A buffer that one huge append has grown beyond this is let go.
const BUFFER_KEPT: usize = 4 << 20;

/// Appends to one object. See [`trilith::Writer`].
pub struct FileWriter(Arc<AppendFile>);

impl Writer for FileWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        self.0.append(bytes)
    }

    fn settle(&self, upto: u64, to: Durability) -> impl Future<Output = Result<()>> + Send + use<> {
        Settle {
            file: self.0.clone(),
            upto,
            to,
            ticket: None,
        }
    }
}

impl FileWriter {
    pub(super) fn new(file: Arc<AppendFile>) -> Self {
        Self(file)
    }
}

/// What a writer and those who wait on it share.
pub(super) struct AppendFile {
    id: u64,
    object: Object,
    file: File,
    folder: PathBuf,
    pending: Mutex<Pending>,
    disk: Mutex<Disk>,
    /// Bytes in the page cache; moves under `disk`.
    written: AtomicU64,
    group: GroupSync,
    /// Whether the directory is known to hold the file's name after a power loss.
    is_name_synced: AtomicBool,
    /// Set with, and read before, `failures`: it keeps their lock off the fast path.
    has_failed: AtomicBool,
    failures: Mutex<Failures>,
    /// Keeps the store locked while it is written to.
    directory: Arc<Directory>,
    pub(super) syncs: Arc<Queue>,
}

struct Pending {
    bytes: Vec<u8>,
    end: u64,
}

struct Disk {
    /// The buffer that is not being appended to. Two take turns, so that nothing is allocated.
    spare: Vec<u8>,
    growth: Growth,
}

#[derive(Default)]
struct Failures {
    write: Option<Error>,
    sync: Option<Error>,
}

/// What an [`AppendFile`] begins from.
pub(super) struct Start {
    /// Which of its object's writers this is.
    pub id: u64,
    pub file: File,
    pub object: Object,
    pub folder: PathBuf,
    /// Bytes that are there, synced and under a synced name; 0 for a new file.
    pub len: u64,
}

impl AppendFile {
    pub(super) fn new(start: Start, directory: Arc<Directory>, syncs: Arc<Queue>) -> Self {
        let Start {
            id,
            file,
            object,
            folder,
            len,
        } = start;
        let is_log = matches!(object, Object::Segment(_));
        let growth = Growth::new(&file, len, is_log);
        Self {
            id,
            object,
            file,
            folder,
            pending: Mutex::new(Pending {
                bytes: Vec::new(),
                end: len,
            }),
            disk: Mutex::new(Disk {
                spare: Vec::new(),
                growth,
            }),
            written: AtomicU64::new(len),
            group: GroupSync::new(len),
            is_name_synced: AtomicBool::new(len > 0),
            has_failed: AtomicBool::new(false),
            failures: Mutex::default(),
            directory,
            syncs,
        }
    }

    fn append(&self, bytes: &[u8]) -> Result<u64> {
        if self.has_failed.load(Ordering::Acquire) {
            let failures = self.failures.lock();
            if let Some(error) = failures.write.as_ref().or(failures.sync.as_ref()) {
                return Err(error.clone());
            }
        }
        let (end, is_full) = {
            let mut pending = self.pending.lock();
            pending.bytes.extend_from_slice(bytes);
            pending.end += bytes.len() as u64;
            (pending.end, pending.bytes.len() >= BUFFER_FULL)
        };
        if is_full {
            // Into the page cache: a copy, not a wait.
            self.write_out(&mut self.disk.lock())?;
        }
        Ok(end)
    }

    /// Bytes in the page cache.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Sees that the first `upto` bytes are in the page cache.
    #[inline]
    fn write_through(&self, upto: u64) -> Result<()> {
        if self.written() >= upto {
            return Ok(());
        }
        let mut disk = self.disk.lock();
        if self.written() < upto {
            self.write_out(&mut disk)?;
        }
        if self.written() < upto {
            let detail = format!("only {} bytes were appended, not {upto}", self.written());
            return Err(Error::new(ErrorKind::Invalid, "settling", detail).on(self.object.clone()));
        }
        Ok(())
    }

    /// Writes all that is buffered, in one go.
    fn write_out(&self, disk: &mut Disk) -> Result<()> {
        if self.has_failed.load(Ordering::Acquire)
            && let Some(error) = &self.failures.lock().write
        {
            return Err(error.clone());
        }
        std::mem::swap(&mut self.pending.lock().bytes, &mut disk.spare);
        let from = self.written.load(Ordering::Relaxed);
        let end = from + disk.spare.len() as u64;
        disk.growth.reserve(&self.file, end);
        kill_point::reach_write(&self.object, &disk.spare, |half| {
            let _written = sys::write_all_at(&self.file, half, from);
        });
        let outcome = sys::write_all_at(&self.file, &disk.spare, from);
        disk.spare.clear();
        if disk.spare.capacity() > BUFFER_KEPT {
            disk.spare = Vec::new();
        }
        if let Err(error) = outcome {
            return Err(self.cut_back(disk, from, &error));
        }
        self.written.store(end, Ordering::Release);
        disk.growth.written(&self.file, end);
        Ok(())
    }

    /// Leaves the file as it was before the write that failed, and takes no other.
    fn cut_back(&self, disk: &mut Disk, to: u64, error: &io::Error) -> Error {
        // Where the cut fails too, a prefix of the write stays behind; replay recognises it.
        if self.file.set_len(to).is_ok() {
            disk.growth.cut(to);
        }
        let error = failure("writing", error).on(self.object.clone()).at(to);
        self.failures.lock().write = Some(error.clone());
        self.has_failed.store(true, Ordering::Release);
        error
    }

    /// Takes no writes any more: the object is being opened again, or replaced.
    pub(super) fn retire(&self) {
        // Behind a write that is under way.
        let _disk = self.disk.lock();
        let error = Error::new(
            ErrorKind::Closed,
            "writing",
            "it was opened again elsewhere",
        );
        let mut failures = self.failures.lock();
        failures.write.get_or_insert(error.on(self.object.clone()));
        self.has_failed.store(true, Ordering::Release);
    }

    pub(super) fn sync_failure(&self) -> Option<Error> {
        if !self.has_failed.load(Ordering::Acquire) {
            return None;
        }
        self.failures.lock().sync.clone()
    }

    pub(super) fn group(&self) -> &GroupSync {
        &self.group
    }

    /// Syncs the file, and its name once. A failure is kept: the file is never synced again.
    pub(super) fn sync(&self) -> Result<()> {
        let outcome = self.sync_name().and_then(|()| self.file.sync_data());
        outcome.map_err(|error| {
            let at = self.group.synced();
            let error = failure("syncing", &error).on(self.object.clone()).at(at);
            // No room for the journal is still a failed sync: freeing some does not mend this file.
            let error = error.into_kind(ErrorKind::Failed);
            self.failures.lock().sync = Some(error.clone());
            self.has_failed.store(true, Ordering::Release);
            error
        })
    }

    fn sync_name(&self) -> io::Result<()> {
        if !self.is_name_synced.load(Ordering::Acquire) {
            sys::sync_dir(&self.folder)?;
            self.is_name_synced.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl Drop for AppendFile {
    fn drop(&mut self) {
        let allocated = self.disk.get_mut().growth.allocated();
        let written = *self.written.get_mut();
        self.directory.writer_gone(&self.object, self.id, || {
            if allocated > written {
                // Only space is lost if this fails: zeros at the end are a clean end.
                let _ = self.file.set_len(written);
            }
        });
    }
}

/// The wait for some bytes to reach a durability.
struct Settle {
    file: Arc<AppendFile>,
    upto: u64,
    to: Durability,
    /// Its place among those who wait for a sync.
    ticket: Option<u64>,
}

impl Future for Settle {
    type Output = Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Self {
            file,
            upto,
            to,
            ticket,
        } = &mut *self;
        if file.group.synced() >= *upto {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = file.sync_failure() {
            return Poll::Ready(Err(error));
        }
        if let Err(error) = file.write_through(*upto) {
            return Poll::Ready(Err(error));
        }
        match to {
            Durability::Written => Poll::Ready(Ok(())),
            Durability::Synced => file.poll_synced(*upto, ticket, context),
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::path::Path;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Waker;
    use std::thread;
    use std::time::Duration;

    use super::Durability::{Synced, Written};
    use super::*;
    use crate::block_on;
    use crate::workers::Workers;

    /// A writer on a device that fails in its own way, or on a file.
    fn writer_on(path: impl AsRef<Path>, syncs: &Workers) -> FileWriter {
        let start = Start {
            id: 1,
            file: File::options().write(true).open(path).unwrap(),
            object: Object::Archive("device".into()),
            folder: "/".into(),
            len: 0,
        };
        let directory = Arc::new(Directory::new("/".into()));
        let file = AppendFile::new(start, directory, syncs.queue().clone());
        FileWriter::new(Arc::new(file))
    }

    #[test]
    fn one_sync_serves_all_who_came_before_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let syncs = Workers::new("test", 1);
        let mut writer = writer_on(file.path(), &syncs);
        let (release, released) = mpsc::channel::<()>();
        syncs.queue().submit(move || released.recv().unwrap());
        let mut context = Context::from_waker(Waker::noop());
        let mut waits = Vec::new();
        for _ in 0..5 {
            let end = writer.append(b"record").unwrap();
            let mut wait = Box::pin(writer.settle(end, Synced));
            assert!(wait.as_mut().poll(&mut context).is_pending());
            waits.push(wait);
        }
        // Comes behind what the five have asked for. A second sync would have to come behind it.
        let (done, is_done) = mpsc::channel();
        syncs.queue().submit(move || done.send(()).unwrap());
        release.send(()).unwrap();
        is_done.recv().unwrap();
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut context).is_ready());
        }
    }

    #[test]
    fn a_full_disk_is_full_to_everyone_who_waits() {
        let syncs = Workers::new("test", 1);
        let mut writer = writer_on("/dev/full", &syncs);
        let first = writer.append(b"one").unwrap();
        let second = writer.append(b"two").unwrap();
        for upto in [first, second] {
            let error = block_on(writer.settle(upto, Written)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Full);
            assert_eq!(error.offset(), Some(0));
        }
        assert_eq!(writer.append(b"three").unwrap_err().kind(), ErrorKind::Full);
    }

    #[test]
    fn after_a_failed_sync_nothing_more_is_synced() {
        // It takes writes and refuses to be synced.
        let syncs = Workers::new("test", 1);
        let mut writer = writer_on("/dev/null", &syncs);
        let end = writer.append(b"one").unwrap();
        block_on(writer.settle(end, Written)).unwrap();
        for to in [Synced, Synced, Written] {
            let error = block_on(writer.settle(end, to)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Failed);
            assert!(
                error.to_string().starts_with("syncing of archive device"),
                "{error}"
            );
        }
        assert_eq!(writer.append(b"two").unwrap_err().kind(), ErrorKind::Failed);
    }

    #[test]
    fn a_failed_sync_reaches_waiters_that_do_not_block() {
        let syncs = Workers::new("test", 1);
        let mut writer = writer_on("/dev/null", &syncs);
        let end = writer.append(b"one").unwrap();
        let mut settle = pin!(writer.settle(end, Synced));
        let mut context = Context::from_waker(Waker::noop());
        let mut polls = 0;
        let error = loop {
            match settle.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => break outcome.unwrap_err(),
                Poll::Pending => polls += 1,
            }
            assert!(polls < 10_000, "nobody syncs");
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(error.kind(), ErrorKind::Failed);
    }

    #[test]
    fn what_was_not_appended_cannot_settle() {
        let syncs = Workers::new("test", 1);
        let mut writer = writer_on("/dev/null", &syncs);
        let end = writer.append(b"one").unwrap();
        let error = block_on(writer.settle(end + 1, Written)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
