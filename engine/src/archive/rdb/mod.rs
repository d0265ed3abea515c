//! RDB, Redis's snapshot file: written as version 9 to 11, read from version 1 to 12.
//!
//! What is written holds strings and their deadlines, in database 0. What is read may hold anything that Redis wrote:
//! strings are given out, values of other types are named and passed over ([`Item::Unsupported`]). docs/archive.md
//! describes the format as it is written.

mod encode;
mod kind;
mod read;
mod write;

pub use encode::{EncodeOptions, Encoder};
pub use kind::ValueKind;
pub use read::{Ending, Item, Reader};
pub use write::{Writer, Written};

/// How many keys a database holds, as a file says before them. A hint: readers make room by it and trust it no
/// further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// All keys.
    pub keys: u64,
    /// Those that expire.
    pub keys_with_deadline: u64,
}
