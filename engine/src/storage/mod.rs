//! What the engine asks of its host's storage: whole objects, appended to and read at offsets, and one
//! small blob (`meta`) that is replaced atomically.
//!
//! The engine never names a path. A host keeps objects as files, as rows of IndexedDB or in memory,
//! and promises exactly what is written on each method: the crash tests hold every storage to it.

pub mod faulty;
mod hold;
mod maybe_send;
mod memory;

use std::fmt;

use bytes::Bytes;

use crate::{Error, ErrorKind, Result};

pub use faulty::FaultyStorage;
pub use maybe_send::{MaybeSend, MaybeSync};
pub use memory::{MemoryReader, MemoryStorage, MemoryWriter};

/// The name of one stored object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A sorted table (or a file of large values): written once, then only read.
    Table(u64),
    /// A segment of the log: appended to, read again only by replay.
    Segment(u64),
    /// A file of the archive (AOF, RDB, lost writes), under its own name.
    Archive(Box<str>),
}

impl Object {
    /// Folders within the archive are few: parts of a name in it, at most.
    pub const ARCHIVE_DEPTH_MAX: usize = 4;

    /// Fails if this is a name that no storage takes, so that what works on one works on all: in the archive names are
    /// paths of plain parts, and `.new` at the end is a storage's own mark of what is half written.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_name(&self) -> Result<()> {
        let Self::Archive(name) = self else {
            return Ok(());
        };
        let is_plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 200
                && part != "."
                && part != ".."
                && !part.contains(['\\', ':', '\0'])
        };
        if name.split('/').count() <= Self::ARCHIVE_DEPTH_MAX
            && name.split('/').all(is_plain)
            && !name.ends_with(".new")
        {
            return Ok(());
        }
        let detail = format!("{name:?} is not a name that the archive takes");
        Err(Error::new(ErrorKind::Invalid, "naming an object", detail).on(self.clone()))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(id) => write!(f, "table {id}"),
            Self::Segment(id) => write!(f, "segment {id}"),
            Self::Archive(name) => write!(f, "archive {name}"),
        }
    }
}

/// What a settled write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The end of this process, however sudden.
    Written,
    /// The loss of power.
    Synced,
}

/// What a storage holds when it is opened.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The blob of the last successful [`Storage::commit`]; `None` when there never was one.
    pub meta: Option<Bytes>,
    /// Every object and its length in bytes, in order of name.
    pub objects: Vec<(Object, u64)>,
    /// Identifies the host's boot, where the host knows it: when it differs from that of the last
    /// run, what was merely written may be gone.
    pub host_epoch: Option<u128>,
}

/// Where objects live. Cloning shares the same storage.
///
/// Errors name the operation, the object and the offset; see [`crate::ErrorKind`] for what each kind
/// asks of the caller.
pub trait Storage: Clone + MaybeSend + MaybeSync + 'static {
    /// An object being appended to.
    type Writer: Writer;
    /// An object being read.
    type Reader: Reader;
    /// Where a checkpoint goes: a directory natively, a database name in a page.
    type Place: Clone + MaybeSend + MaybeSync + 'static;

    /// Takes hold of the storage and lists what is in it. Fails with `Locked` while another process
    /// or tab holds it. Called once, before anything else.
    fn load(&self) -> impl Future<Output = Result<Contents>> + MaybeSend;

    /// Replaces the meta blob, atomically and synced: after a crash at any moment it is the old one
    /// or the new one, and the new one once this has returned. Objects that were synced before the
    /// call are found after a crash if the new blob is.
    fn commit(&self, meta: Bytes) -> impl Future<Output = Result<()>> + MaybeSend;

    /// Creates an empty object, replacing what had its name.
    fn create(&self, object: Object) -> impl Future<Output = Result<Self::Writer>> + MaybeSend;

    /// Opens an object to append behind its first `cut_at` bytes, dropping (durably, before any
    /// later append can settle) what comes after them.
    fn resume(
        &self,
        object: Object,
        cut_at: u64,
    ) -> impl Future<Output = Result<Self::Writer>> + MaybeSend;

    /// Opens an object to read. Sees what was settled (at least `Written`) before the call.
    fn open(&self, object: Object) -> impl Future<Output = Result<Self::Reader>> + MaybeSend;

    /// Renames `from` to `to` atomically, replacing `to`; durable when it returns.
    fn replace(&self, from: Object, to: Object) -> impl Future<Output = Result<()>> + MaybeSend;

    /// Removes objects; those that are not there are passed over. Readers that are open go on
    /// reading. A crash may bring removed objects back.
    fn remove(&self, objects: Vec<Object>) -> impl Future<Output = Result<()>> + MaybeSend;

    /// Makes a complete, synced store at `to` from the first bytes of each object (all of them are
    /// settled; linked where the length is the whole and the host can, copied otherwise) and `meta`.
    /// Fails with `Invalid` when something is at `to` already.
    fn checkpoint(
        &self,
        to: Self::Place,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> impl Future<Output = Result<()>> + MaybeSend;

    /// Bytes that can still be stored, where the host knows.
    fn room(&self) -> impl Future<Output = Result<Option<u64>>> + MaybeSend;
}

/// Appends to one object.
pub trait Writer: MaybeSend + MaybeSync + 'static {
    /// Adds bytes behind those already appended and returns the object's length with them. Buffers;
    /// never waits for the disk. What was appended is promised nothing until it settles.
    fn append(&mut self, bytes: &[u8]) -> Result<u64>;

    /// Ready when the object's first `upto` bytes have reached durability `to`. Everyone who waits at
    /// one time shares one write and one sync. Dropping the future abandons the wait, not the write.
    ///
    /// After a failed `Synced` settle the object is never synced again: this and every later wait for
    /// bytes past the last successful sync gets the error. A failed `Written` settle (no space) has
    /// left a prefix of the unsettled bytes behind; [`Storage::resume`] cuts it.
    fn settle(
        &self,
        upto: u64,
        to: Durability,
    ) -> impl Future<Output = Result<()>> + MaybeSend + use<Self>;
}

/// Reads one object; it does not change meanwhile, unless it is a segment.
pub trait Reader: Clone + MaybeSend + MaybeSync + 'static {
    /// Length in bytes when it was opened.
    fn len(&self) -> u64;

    /// Whether the object holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they can be had without waiting for the disk; `None` if not.
    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>>;

    /// The bytes. Reading past the end is `Corrupt`: the engine only asks for what it wrote.
    fn read_at(&self, offset: u64, len: u32) -> impl Future<Output = Result<Bytes>> + MaybeSend;
}
