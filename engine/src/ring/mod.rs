//! Layer 3: the ring. Nodes hold the keys together, and each key has its place without asking anyone.
//!
//! A key's slot lies on an arc of the ring; placement says which nodes hold copies of the arc and which of
//! them should lead; each arc is a replicated log of its own. Nothing here knows of sockets or threads.

pub mod placement;
