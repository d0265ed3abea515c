//! Who a store has to do with, as its manifest says: found out without opening it, for it may not open.

use std::collections::BTreeSet;

use super::encode::configuration_of;
use crate::Result;
use crate::db::read_manifest;
use crate::ring::ids::NodeId;

/// The nodes that a store's manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its own.
    pub node: NodeId,
    /// All that hold copies of its ranges, by the configurations that its tables are of: the log may know newer ones.
    pub members: BTreeSet<NodeId>,
}

impl Named {
    /// The nodes that the manifest `meta` names.
    ///
    /// # Errors
    /// `Corrupt` and `Newer`.
    pub fn by(meta: &[u8]) -> Result<Self> {
        let (store_id, ranges) = read_manifest(meta)?;
        let mut members = BTreeSet::new();
        for range in ranges.iter().filter(|range| !range.destroyed) {
            let configuration = configuration_of(&range.configured.1)?;
            members.extend(configuration.members().iter().map(|member| member.node));
        }
        Ok(Self {
            node: node_of(store_id),
            members,
        })
    }
}

/// The node that a store is.
pub(super) fn node_of(store_id: u128) -> NodeId {
    NodeId(((store_id >> 64) as u64 ^ store_id as u64).max(1))
}
