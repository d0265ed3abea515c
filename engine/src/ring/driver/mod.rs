//! Driving a real node: the ring over a store, a network and a clock that are the host's.

mod transport;
mod view;

pub use transport::Transport;
pub use view::{Consistency, RangeStatus, View};
