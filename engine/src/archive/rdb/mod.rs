//! RDB, Redis's snapshot file: written as version 9 to 11, read from version 1 to 12.
//!
//! What is written holds strings and their deadlines, in database 0. What is read may hold anything that Redis wrote:
//! strings are given out, values of other types are named and passed over ([`Item::Unsupported`]). docs/archive.md
//! describes the format as it is written.
//!
//! ```
//! # futures_lite::future::block_on(async {
//! use trilith::archive::rdb::{EncodeOptions, Item, Reader, Sizes, Writer};
//! use trilith::{MemoryStorage, Object, Storage};
//!
//! let storage = MemoryStorage::new();
//! let sizes = Sizes { keys: 1, keys_with_deadline: 0 };
//! let mut file =
//!     Writer::create(storage.clone(), "dump.rdb", EncodeOptions::default(), &[], sizes).await?;
//! file.entry(b"key", b"value", 0).await?;
//! assert_eq!(file.finish().await?.keys, 1);
//!
//! let object = Object::Archive("dump.rdb".into());
//! let mut file = Reader::open(storage.open(object.clone()).await?, object).await?;
//! while let Some(item) = file.next().await? {
//!     if let Item::Entry { key, value, .. } = item {
//!         assert_eq!((key, value), (&b"key"[..], &b"value"[..]));
//!     }
//! }
//! # Ok::<(), trilith::Error>(()) }).unwrap();
//! ```

mod encode;
#[doc(hidden)]
pub mod fuzz;
mod kind;
mod read;
mod scan;
mod skip;
#[cfg(test)]
mod tests;
mod window;
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

/// The versions that are written.
const VERSIONS_WRITTEN: std::ops::RangeInclusive<u16> = 9..=11;
/// The newest version that is read.
const VERSION_READ_MAX: u16 = 12;
/// From this version on a checksum stands at the end.
const VERSION_CHECKED: u16 = 5;

const MAGIC: &[u8; 5] = b"REDIS";
/// The magic and four digits.
const HEADER_BYTES: usize = 9;
const CHECKSUM_BYTES: usize = 8;

/// What an item begins with, where it is no type of value.
mod opcode {
    pub(super) const SLOT_INFO: u8 = 244;
    pub(super) const FUNCTIONS: u8 = 245;
    pub(super) const MODULE_AUX: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const SIZES: u8 = 251;
    pub(super) const DEADLINE_MS: u8 = 252;
    pub(super) const DEADLINE_S: u8 = 253;
    pub(super) const SELECT: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// The first byte of a length says how it goes on.
mod length {
    /// The two highest bits: six bits of length follow in the same byte.
    pub(super) const BITS_6: u8 = 0;
    /// The two highest bits: fourteen bits, the higher ones in the same byte.
    pub(super) const BITS_14: u8 = 1;
    /// The whole byte: four bytes follow, big-endian.
    pub(super) const BITS_32: u8 = 0x80;
    /// The whole byte: eight bytes follow, big-endian.
    pub(super) const BITS_64: u8 = 0x81;
    /// The whole byte: no length, but a string that is a number of one byte.
    pub(super) const INT_8: u8 = 0xc0;
    /// The same of two bytes, little-endian.
    pub(super) const INT_16: u8 = 0xc1;
    /// The same of four bytes, little-endian.
    pub(super) const INT_32: u8 = 0xc2;
    /// The whole byte: a compressed string: its length in the file, its length, its bytes.
    pub(super) const LZF: u8 = 0xc3;
}
