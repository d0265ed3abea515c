//! Loading of commands as Redis writes them, of files cut anywhere, and of any second.

mod commands;
mod recovery;
mod seconds;
mod tails;
