//! Where what is read goes.

use crate::command::{Command, Reply};
use crate::{MaybeSend, Result};

/// Takes commands in the order in which they took effect.
///
/// What is told to it is absolute: deadlines are moments, and none is told that depends on the time at which it is
/// carried out.
pub trait Sink: MaybeSend {
    /// Runs commands in order and answers each.
    ///
    /// # Errors
    /// What ends the whole undertaking. A command that cannot be carried out is answered with an error instead.
    fn run(&mut self, batch: Vec<Command>) -> impl Future<Output = Result<Vec<Reply>>> + MaybeSend;
}
