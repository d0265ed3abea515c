//! Driving a real node: the ring over a store, a network and a clock that are the host's.

mod view;

pub use view::{Consistency, RangeStatus, View};
