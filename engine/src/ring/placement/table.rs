//! The table itself: for each arc the nodes that hold its copies, the preferred master first.
//!
//! Whatever way a table comes into being, reading it from bytes included, it has passed
//! [`Table::check`]: a table at hand can be relied on.

use serde::{Deserialize, Serialize};

use super::NodeId;
use crate::slot::{ARCS, SLOTS};
use crate::{Error, ErrorKind, Result};

/// Where every arc's copies belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<NodeId>>", into = "Vec<Vec<NodeId>>")]
pub struct Table {
    rows: Vec<Vec<NodeId>>,
}

impl Table {
    /// The table of a cluster of one.
    #[must_use]
    pub fn new_single(node: NodeId) -> Self {
        Self::of_rows(vec![vec![node]; usize::from(ARCS)])
    }

    /// The table of a cluster of one whose ring is cut into `arcs`. The number is fixed with the cluster's
    /// making; it has to divide the number of slots.
    pub fn with_arcs(node: NodeId, arcs: u16) -> Result<Self> {
        Self::try_from(vec![vec![node]; usize::from(arcs)])
    }

    pub(super) fn of_rows(rows: Vec<Vec<NodeId>>) -> Self {
        let table = Self { rows };
        debug_assert!(table.check().is_ok(), "{:?}", table.check());
        table
    }

    /// How many arcs the ring is cut into.
    #[must_use]
    pub fn arcs(&self) -> u16 {
        self.rows.len() as u16
    }

    /// How many copies each arc has.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.rows[0].len()
    }

    /// The nodes that hold copies of each arc, arc by arc, the preferred master first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[NodeId]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// The arc of a slot. Slots are counted modulo [`SLOTS`].
    #[must_use]
    pub fn arc_of(&self, slot: u16) -> u16 {
        slot % SLOTS / (SLOTS / self.arcs())
    }

    /// The nodes that hold copies of a slot, the preferred master first.
    #[must_use]
    pub fn holders(&self, slot: u16) -> &[NodeId] {
        &self.rows[usize::from(self.arc_of(slot))]
    }

    /// The preferred master of a slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> NodeId {
        self.holders(slot)[0]
    }

    /// Whether this is a table: arcs that divide the ring evenly, each with equally many copies, at least
    /// one, no two of them on one node. Whether it is balanced depends on the members, and is not asked.
    pub fn check(&self) -> Result<()> {
        let invalid =
            |detail| Error::new(ErrorKind::Invalid, "checking a table of placement", detail);
        let arcs = self.rows.len();
        if arcs == 0 || arcs > usize::from(SLOTS) || usize::from(SLOTS) % arcs != 0 {
            return Err(invalid(format!("{arcs} arcs do not divide {SLOTS} slots")));
        }
        let copies = self.rows[0].len();
        let mut sorted = Vec::new();
        for (arc, row) in self.rows.iter().enumerate() {
            if row.is_empty() || row.len() != copies {
                let has = row.len();
                return Err(invalid(format!(
                    "arc {arc} has {has} copies, arc 0 {copies}"
                )));
            }
            sorted.clone_from(row);
            sorted.sort_unstable();
            if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                let node = twice[0].0;
                return Err(invalid(format!("node {node} has two copies of arc {arc}")));
            }
        }
        Ok(())
    }
}

impl TryFrom<Vec<Vec<NodeId>>> for Table {
    type Error = Error;

    fn try_from(rows: Vec<Vec<NodeId>>) -> Result<Self> {
        let table = Self { rows };
        table.check()?;
        Ok(table)
    }
}

impl From<Table> for Vec<Vec<NodeId>> {
    fn from(table: Table) -> Self {
        table.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::arc_of;

    fn rows(rows: &[&[u64]]) -> Vec<Vec<NodeId>> {
        rows.iter()
            .map(|row| row.iter().copied().map(NodeId).collect())
            .collect()
    }

    #[test]
    fn a_cluster_of_one_owns_every_slot() {
        let table = Table::new_single(NodeId(7));
        assert_eq!((table.arcs(), table.copies()), (ARCS, 1));
        assert!((0..SLOTS).all(|slot| table.owner(slot) == NodeId(7)));
        assert!((0..SLOTS).all(|slot| table.arc_of(slot) == arc_of(slot)));
    }

    #[test]
    fn the_owner_of_a_slot_is_the_first_of_its_arc() {
        let table = Table::try_from(rows(&[&[1, 2], &[2, 3]])).unwrap();
        assert_eq!(table.owner(8191), NodeId(1));
        assert_eq!(table.owner(8192), NodeId(2));
        assert_eq!(table.holders(SLOTS - 1), [NodeId(2), NodeId(3)]);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (bad, why) in [
            (&[][..], "0 arcs"),
            (&[&[1][..], &[1], &[1]], "3 arcs"),
            (&[&[][..], &[]], "0 copies"),
            (&[&[1][..], &[1, 2]], "arc 1 has 2 copies"),
            (&[&[1, 2][..], &[3, 3]], "node 3 has two copies of arc 1"),
        ] {
            let error = Table::try_from(rows(bad)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Table::with_arcs(NodeId(1), 3).is_err());
    }

    #[test]
    fn a_table_reads_back_as_it_was_written_and_a_bad_one_does_not_read() {
        let table = Table::try_from(rows(&[&[1, 2], &[2, 3]])).unwrap();
        let bytes = postcard::to_allocvec(&table).unwrap();
        assert_eq!(postcard::from_bytes::<Table>(&bytes).unwrap(), table);
        let bad = postcard::to_allocvec(&rows(&[&[1, 1]])).unwrap();
        assert!(postcard::from_bytes::<Table>(&bad).is_err());
    }
}
