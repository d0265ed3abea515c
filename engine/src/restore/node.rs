//! A node as a sink, and what a node needs that is alone.

use super::sink::Sink;
use crate::command::{Command, Reply};
use crate::ring::NodeId;
use crate::ring::driver::{Consistency, Driver, Transport};
use crate::ring::meta::Map;
use crate::ring::node::Packet;
use crate::{Result, Runtime, Storage};

impl<S: Storage, R: Runtime, T: Transport> Sink for Driver<S, R, T> {
    async fn run(&mut self, batch: Vec<Command>) -> Result<Vec<Reply>> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        Ok(self.execute(batch, Consistency::default()).await)
    }
}

/// The transport of a node that has nobody to speak to: a node being restored, or one that is only read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solitude;

impl Transport for Solitude {
    fn send(&self, _packet: Packet) {}

    fn learn(&self, _map: &Map) {}

    fn is_cut(&self, _node: NodeId) -> bool {
        true
    }
}
