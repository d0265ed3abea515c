//! A ring that is driven from outside, step by step: for a page that shows it, and for whoever wants to try to break it.
//!
//! The nodes are those of the server: each is a [`Driver`](crate::ring::driver::Driver) over a store of its own. Their
//! clock, their network and their disks are the simulator's. Time passes when [`Ring::advance`] says so; what is done
//! to the ring is an [`Action`], and everything that was done is a [`Script`] that does it again: the same options and
//! the same script give the same trace, on any platform. Looking changes nothing: [`Ring::check`], [`Ring::inspect`],
//! [`Ring::frame`] and the trace may be asked for at any moment.
//!
//! ```
//! use trilith::sim::live::{Action, Ring, RingOptions};
//! let mut ring = Ring::open(RingOptions::default())?;
//! ring.advance(1_000_000);
//! ring.act("kill 2".parse()?)?;
//! ring.act("ask 1 0/0 SET user:001 Alex".parse()?)?;
//! ring.advance(2_000_000);
//! assert_eq!(ring.take_answers()[0].reply, trilith::command::Reply::OK);
//! assert!(ring.check().green);
//! # Ok::<(), trilith::Error>(())
//! ```

mod action;
mod clients;
mod disk;
mod events;
mod frame;
mod inspect;
mod machine;
mod offices;
mod operate;
mod options;
mod packets;
mod record;
mod ring;
mod script;
#[cfg(test)]
mod tests;
mod verdict;
mod wire;
mod wishes;

pub use action::{Action, Load, Number, Pattern};
pub use clients::Answer;
pub use events::{COLUMNS, kinds};
pub use inspect::{
    ArchiveView, CopyView, HashTableView, LogView, NodeView, RunningView, TableView,
};
pub use options::{MACHINES_MOST, RingOptions};
pub use packets::{MessageView, PacketView};
pub use ring::Ring;
pub use script::Script;
pub use verdict::{Finding, Verdict};

/// Kinds of messages, by their codes: a code is a place in this list.
pub fn message_kinds() -> &'static [&'static str] {
    &packets::KINDS
}
