//! The record: one version of one key, the thing that all layers pass to each other.

/// The longest key, in bytes. Keys are held in memory and in every index.
pub const KEY_BYTES_MAX: usize = 64 * 1024 - 1;

/// The longest value, in bytes (Redis's own limit).
pub const VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The largest sequence number: 56 bits, so that it shares a word with the kind.
pub const SEQ_MAX: u64 = (1 << 56) - 1;

/// What a version says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The key is gone: a tombstone.
    Delete = 0,
    /// The value follows.
    Put = 1,
    /// The value is large and lies elsewhere; a reference to it follows.
    PutApart = 2,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Delete),
            1 => Some(Self::Put),
            2 => Some(Self::PutApart),
            _ => None,
        }
    }
}

/// One version of one key, borrowed from wherever it lies.
///
/// Records order by key ascending, then by sequence number **descending**: the newest version of a key
/// comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The store's write counter when this was applied; at most [`SEQ_MAX`].
    pub seq: u64,
    /// What this version says.
    pub kind: Kind,
    /// When it expires, in milliseconds since the Unix epoch; 0 for never.
    pub deadline_ms: u64,
    /// The value, the reference to it, or nothing, by `kind`.
    pub value: &'a [u8],
}

impl Record<'_> {
    /// Where this record sorts.
    pub fn position(&self) -> (&[u8], std::cmp::Reverse<u64>) {
        (self.key, std::cmp::Reverse(self.seq))
    }

    /// Whether the key is there for a reader whose clock shows `now_ms`.
    pub fn is_alive(&self, now_ms: u64) -> bool {
        self.kind != Kind::Delete && (self.deadline_ms == 0 || self.deadline_ms > now_ms)
    }
}

/// A range of keys that was deleted at once: `start` included, `end` excluded (`None`: no end). It hides
/// every version of those keys with a smaller sequence number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeDelete {
    /// First key deleted.
    pub start: Box<[u8]>,
    /// First key not deleted any more.
    pub end: Option<Box<[u8]>>,
    /// The store's write counter when this was applied.
    pub seq: u64,
}

impl RangeDelete {
    /// Whether the range holds `key`.
    pub fn covers(&self, key: &[u8]) -> bool {
        key >= &*self.start && self.end.as_ref().is_none_or(|end| key < &**end)
    }
}

/// The hash of a key: one for the hash table and the filters alike, the same on every host.
#[inline]
pub fn hash_key(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}
