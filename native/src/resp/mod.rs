//! The Redis protocol: requests as a server reads them, replies as a client does.
//!
//! Both readers take input cut anywhere, in time linear in its length, and never panic.

mod line;
mod reply;
mod request;

pub use reply::read_reply;
pub use request::{ProtocolError, RequestReader, Requests};
