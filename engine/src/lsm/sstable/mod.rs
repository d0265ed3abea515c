//! A table: records in order, written once, then only read.
//!
//! ```text
//! table = data block (stored), one behind the other
//!       | filter block (stored), one behind the other
//!       | index block (stored), one behind the other
//!       | top index block (stored)
//!       | range deletes (stored; absent if there are none)
//!       | properties (stored)
//!       | footer
//! ```
//!
//! "Stored" means with the compression byte and checksum that `frame` describes; `block`, `filter`,
//! `index`, `ranges`, `properties` and `footer` describe what lies inside. There is no padding and no
//! byte that no checksum covers. Integers are little-endian.
//!
//! While a table is open its footer, properties, range deletes and top index stay in memory, and filter and
//! index blocks once they were used, as far as the budget goes (`pins`); all other blocks come through the
//! block cache. A get reads one filter block, one index block and one data block, and nothing at all beyond
//! the filter for most absent keys.
//!
//! A table never answers with bytes whose checksum it has not compared.

pub(crate) mod block;
mod block_cursor;
mod cursor;
mod filter;
mod footer;
pub(crate) mod frame;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod pins;
mod properties;
mod ranges;
mod read_ahead;
mod reader;
mod verify;
mod writer;

#[cfg(test)]
mod measure;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use cursor::{CursorOptions, TableCursor};
pub use frame::Compression;
pub use properties::{ApartUse, Properties, RangeSpan};
pub use reader::{Found, Table};
pub use writer::{TableOptions, TableSummary, TableWriter};

/// The largest value that fits into a table; larger ones must be kept apart.
pub const INLINE_VALUE_BYTES_MAX: usize = 32 << 20;

/// What is wrong with bytes, before it is known where they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) &'static str);

impl Damage {
    pub(crate) fn error(self, doing: &'static str, table: u64, offset: u64) -> crate::Error {
        crate::Error::corrupt(doing, self.0)
            .on(crate::Object::Table(table))
            .at(offset)
    }
}
