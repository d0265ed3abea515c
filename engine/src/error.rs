//! One error type: what was being done, to which object, at which offset, and of what kind.
//!
//! The kind tells a caller what can be done about it; everything else is for the person who reads it.

use std::fmt;
use std::sync::Arc;

use crate::storage::Object;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No room is left on the storage. Nothing was written; free some space and try again.
    Full,
    /// The storage refused or failed an operation.
    Failed,
    /// Bytes that were read are not the bytes that were written.
    Corrupt,
    /// An object that should be there is not.
    Missing,
    /// Another process or tab holds the store.
    Locked,
    /// The connection to the storage is gone; open the store again.
    Lost,
    /// The request itself makes no sense; it changed nothing.
    Invalid,
    /// The store was written by a newer version of the engine; it was not touched.
    Newer,
    /// The store takes no writes at present; nothing was written.
    ReadOnly,
    /// Whether the write survives is not known; read it back before deciding.
    Unknown,
    /// The store has been closed.
    Closed,
}

impl ErrorKind {
    /// The kind's stable name, as it appears in messages and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Corrupt => "corrupt",
            Self::Missing => "missing",
            Self::Locked => "locked",
            Self::Lost => "lost",
            Self::Invalid => "invalid",
            Self::Newer => "newer format",
            Self::ReadOnly => "read-only",
            Self::Unknown => "outcome unknown",
            Self::Closed => "closed",
        }
    }
}

/// An error of the engine or of its storage. Cheap to clone: every waiter of a failed sync gets it.
///
/// ```
/// use trilith::{Error, ErrorKind, Object};
/// let error = Error::new(ErrorKind::Corrupt, "reading a block", "checksum differs")
///     .on(Object::Table(7))
///     .at(4096);
/// assert_eq!(error.to_string(), "reading a block of table 7 at offset 4096: corrupt: checksum differs");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    doing: &'static str,
    object: Option<Object>,
    offset: Option<u64>,
    detail: String,
}

impl Error {
    /// An error of `kind` met while `doing` something (a gerund: "reading a block").
    pub fn new(kind: ErrorKind, doing: &'static str, detail: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            doing,
            object: None,
            offset: None,
            detail: detail.into(),
        }))
    }

    /// Shorthand for bytes that do not read back as they were written.
    pub fn corrupt(doing: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, doing, detail)
    }

    /// Names the object, unless a deeper layer already did.
    #[must_use]
    pub fn on(mut self, object: Object) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.object.get_or_insert(object);
        self
    }

    /// Names the byte offset within the object, unless a deeper layer already did.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.offset.get_or_insert(offset);
        self
    }

    /// The same error under another kind: a failed sync is `Unknown` to the writer that waited for it.
    #[must_use]
    pub fn into_kind(mut self, kind: ErrorKind) -> Self {
        Arc::make_mut(&mut self.0).kind = kind;
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn doing(&self) -> &'static str {
        self.0.doing
    }

    /// What was wrong, without the rest of the message.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The object it happened on, if one was involved.
    pub fn object(&self) -> Option<&Object> {
        self.0.object.as_ref()
    }

    /// The byte offset within the object, if known.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(inner.doing)?;
        if let Some(object) = &inner.object {
            write!(f, " of {object}")?;
        }
        if let Some(offset) = inner.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}: {}", inner.kind.name(), inner.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {}
