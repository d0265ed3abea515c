//! Meta: the one range that says who the members are, where copies belong and how the cluster is set.
//!
//! It steers, and decides nothing about any other range: each range's own log says who its members are, and
//! its master moves it towards the table, one change at a time ([`mover`]). Meta is replicated by majority on
//! up to five nodes and always synced; every node keeps the newest [`Map`] it has heard of.

mod map;
pub mod mover;
mod state;

pub use map::{Address, Map, MemberInfo, Moving, Proposal, Refused};
pub use state::{apply_entry, decode_map, encode_proposal};
