//! Layer 3: a ring of nodes, each range of it a replicated log with quorums by N, W and R.
//!
//! Nothing here does I/O, tells time or draws by itself: a node is stepped with an input and answers with
//! effects, which a driver carries out. That is what lets one node run over sockets, in a page, and in a
//! simulator that tries to break it. The rules that keep it right are numbered in docs/ring.md; comments refer to
//! them as "rule 3".

pub mod driver;
pub mod effect;
pub mod entry;
mod ids;
pub mod membership;
pub mod message;
pub mod meta;
pub mod node;
pub mod placement;
mod quorum;
pub mod range;
pub mod store;
pub mod trace;

pub use ids::{Index, LogId, META, NodeId, RangeId, RequestId, Term};
pub use quorum::{Quorum, REPLICAS_MOST};
pub use store::{Named, RangeStore};
