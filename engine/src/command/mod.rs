//! Commands: what a client may ask for, as data, and what each does to a store.
//!
//! A [`Command`] is parsed from words by the one [`table`], encoded into a log entry, and run by
//! [`apply`] at the moment the entry is applied: a deterministic function of the state, the entry's
//! time and the entry's seed. It therefore gives the same result on every replica and again on
//! replay. Nothing here may look at a clock, draw a number or depend on the host.

mod apply;
mod args;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod command;
mod cursors;
mod encoding;
mod expiry;
mod introspect;
mod keys;
mod keyspace;
mod machine;
mod number;
pub mod pattern;
mod reply;
mod reply_read;
mod state;
mod store;
mod strings;
mod subcommands;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;
mod usage;
mod words;

pub use apply::apply;
pub use command::{
    Command, Condition, Deadline, Expire, ExpireCondition, Expiry, ScanArgs, Set, TtlForm,
};
pub(crate) use cursors::Cursors;
pub use encoding::SEMANTICS;
pub use introspect::{answer_command, markdown};
pub(crate) use keyspace::{
    PREFIX_BYTES as KEYS_PREFIX_BYTES, PlaceKind, deadlines_of, keys_of, place, place_kind,
    split_deadline,
};
pub(crate) use machine::expire_payload;
pub use machine::{Commands, Tally, command_payload};
pub use number::{format_integer, parse_integer};
pub use reply::{Encoder, Protocol, Reply};
pub use state::{State, Value};
pub use store::{Store, StoreStats};
pub(crate) use store::{check_needs, warm};
pub use subcommands::{SUBCOMMANDS, Subcommand, subcommand};
pub use table::{Parsed, Session, Spec, parse};

/// The longest key that a command may name, in bytes. Less than a record's: a store puts
/// the arc, and once the deadline, in front.
pub const KEY_BYTES_MAX: usize = crate::record::KEY_BYTES_MAX - keyspace::DEADLINE_PREFIX_BYTES;
