//! Judges of what clients saw: pure functions of a recorded history, which know nothing of the ring.
//!
//! A checker must never call a correct history wrong. Where it cannot decide within its budget it says
//! so, and where the recorder knows less (an unknown outcome) it assumes what excuses the store.

pub mod durability;
pub mod expiry;
pub mod history;
pub mod linearizable;
mod model;
#[cfg(test)]
mod testing;
pub mod watch;

pub use history::{History, Key, Op, OpId, Operation, Outcome, Reply, Ttl, Value};
pub use linearizable::{Verdict, Violation};
pub use model::Model;
