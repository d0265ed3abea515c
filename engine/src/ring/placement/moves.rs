//! What lies between two tables: the copies to make, those to give up, and the masters that change.

use super::{NodeId, Table};

/// A copy of an arc that a node gets, or gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The arc.
    pub arc: u16,
    /// The node.
    pub node: NodeId,
}

/// An arc that gets another master: a handover of leadership, with no data of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MasterChange {
    /// The arc.
    pub arc: u16,
    /// Who was its master.
    pub from: NodeId,
    /// Who is to be.
    pub to: NodeId,
}

/// The way from one table to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Copies to make: the data to be sent.
    pub added: Vec<Change>,
    /// Copies that are no longer needed once those are made.
    pub dropped: Vec<Change>,
    /// Masters that change.
    pub masters: Vec<MasterChange>,
}

impl Moves {
    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty() && self.masters.is_empty()
    }
}

/// What leads from `old` to `new`, arc by arc. Both are tables of one cluster: what one of them has beyond
/// the other's arcs is left out.
#[must_use]
pub fn moves(old: &Table, new: &Table) -> Moves {
    let mut moves = Moves::default();
    for (arc, (old, new)) in (0..).zip(old.rows().zip(new.rows())) {
        let change = |&node| Change { arc, node };
        let is_new = |node: &&NodeId| !old.contains(node);
        let is_gone = |node: &&NodeId| !new.contains(node);
        moves.added.extend(new.iter().filter(is_new).map(change));
        moves.dropped.extend(old.iter().filter(is_gone).map(change));
        let (from, to) = (old[0], new[0]);
        if from != to {
            moves.masters.push(MasterChange { arc, from, to });
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_tell_what_is_copied_what_goes_and_who_takes_over() {
        let table = |rows: [[u64; 2]; 2]| {
            Table::try_from(rows.map(|row| row.map(NodeId).to_vec()).to_vec()).unwrap()
        };
        let (old, new) = (table([[1, 2], [3, 4]]), table([[2, 1], [3, 5]]));
        let change = |arc, node| Change {
            arc,
            node: NodeId(node),
        };
        let (from, to) = (NodeId(1), NodeId(2));
        assert_eq!(
            moves(&old, &new),
            Moves {
                added: vec![change(1, 5)],
                dropped: vec![change(1, 4)],
                masters: vec![MasterChange { arc: 0, from, to }],
            }
        );
        assert!(moves(&new, &new).is_empty());
    }
}
