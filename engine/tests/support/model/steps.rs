//! What the model test does.

use std::collections::BTreeMap;

use trilith::random::Random;
use trilith::{Batch, Range};

/// How many keys there are.
pub const KEYS: u16 = 300;

/// A write and what it says.
#[derive(Clone, Debug)]
pub enum Write {
    Put {
        at: u16,
        len: u16,
        seed: u64,
    },
    PutFor {
        at: u16,
        len: u16,
        seed: u64,
        ttl_ms: u64,
    },
    Delete {
        at: u16,
    },
    DeleteRange {
        start: u16,
        end: Option<u16>,
    },
    Batch(Vec<Write>),
}

/// One step of the model test.
#[derive(Clone, Debug)]
pub enum Step {
    Write(Write),
    /// Many writes in a row, so that memory fills up.
    Fill {
        first: u16,
        count: u16,
        len: u16,
    },
    /// Writers that wait together: keys and lengths of values.
    Together(BTreeMap<u16, u16>),
    /// A writer that does not wait for its answer.
    Dropped((u16, u16)),
    Get(u16),
    GetAll,
    Scan {
        range: Range,
        writes: Vec<Write>,
    },
    Snapshot,
    ReadSnapshot {
        which: usize,
        range: Range,
    },
    DropSnapshot(usize),
    Pass(u64),
    Flush,
    Compact,
    Sync,
    Checkpoint,
    Reopen {
        close: bool,
    },
    Verify,
}

/// The key with this number. Some are empty, long, prefixes of others or at the very end.
pub fn key(at: u16) -> Vec<u8> {
    match at % KEYS {
        0 => Vec::new(),
        1 => vec![0],
        2 => vec![0xff],
        3 => vec![0xff; 40],
        at if at % 16 == 4 => [&b"k/"[..], &[at as u8; 70], &at.to_be_bytes()].concat(),
        at if at % 16 == 5 => format!("k/{:02}", at % 20).into_bytes(),
        at => format!("k/{:02}/{at:03}", at % 20).into_bytes(),
    }
}

/// A value; every other one can be compressed.
pub fn value(len: u16, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let letters = if seed.is_multiple_of(2) { 4 } else { 256 };
    (0..len).map(|_| random.below(letters) as u8).collect()
}

impl Write {
    /// Adds it to a batch that is made at `now_ms`.
    pub fn add_to(&self, batch: &mut Batch, now_ms: u64) {
        match self {
            Self::Put { at, len, seed } => _ = batch.put(&key(*at), &value(*len, *seed)),
            Self::PutFor {
                at,
                len,
                seed,
                ttl_ms,
            } => {
                batch.put_until(&key(*at), &value(*len, *seed), now_ms + ttl_ms);
            }
            Self::Delete { at } => _ = batch.delete(&key(*at)),
            Self::DeleteRange { start, end } => {
                batch.delete_range(&key(*start), end.map(key).as_deref());
            }
            Self::Batch(writes) => writes.iter().for_each(|write| write.add_to(batch, now_ms)),
        }
    }
}
