//! A cluster of real processes, at work, and those who have no business with it: without credentials, with wrong ones, of
//! another version, and those who only hold connections open. They are refused, the log says so, and nothing is harmed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod certificates;
mod floods;
mod intruder;
mod load;
mod memory;
mod ports;
mod private;
mod rotation;
mod secret;
mod trial;
mod versions;
