//! The cluster's map: members, zones, placement and settings.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ring::ids::{META, NodeId, RangeId};
use crate::ring::placement::{Member, State, Table, place};
use crate::ring::quorum::Quorum;

/// Nodes that hold the meta range, at most.
const META_MOST: usize = 5;

/// Where a node is reached, as its operator wrote it.
pub type Address = String;

/// Everything that every node should know.
///
/// ```
/// use trilith::ring::meta::{Map, Proposal};
/// use trilith::ring::{NodeId, Quorum};
/// let mut map = Map::alone(NodeId(1), "a:6379".into(), "here".into(), Quorum::new(3, 2, 2)?);
/// for id in [2, 3] {
///     let join = Proposal::join(NodeId(id), format!("{id}:6379"), "here".into());
///     map.apply(&join).expect("nothing speaks against it");
/// }
/// assert_eq!(map.holders(0).len(), 3);
/// # Ok::<(), trilith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// Counts the changes; the newer of two maps is the one that counts.
    pub version: u64,
    /// The nodes.
    pub members: BTreeMap<NodeId, MemberInfo>,
    /// Where copies belong.
    pub table: Table,
    /// N, W and R of the ranges that hold keys.
    pub quorum: Quorum,
    /// How copies are moved.
    pub moving: Moving,
    /// Nodes that were removed. None of them comes back under its old id.
    pub removed: BTreeSet<NodeId>,
}

/// What the map says of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Where it is reached.
    pub address: Address,
    /// What fails together with it.
    pub zone: String,
    /// Its share, relative to that of others.
    pub weight: u32,
    /// Where it is between coming and going.
    pub state: State,
}

/// How copies are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Nothing new is begun while this is set.
    pub paused: bool,
    /// Bytes a second that a node sends to make copies of, at most.
    pub bytes_per_second: u64,
    /// Ranges that a node moves at a time, at most.
    pub at_once: u16,
}

impl Default for Moving {
    fn default() -> Self {
        Self {
            paused: false,
            bytes_per_second: 64 << 20,
            at_once: 4,
        }
    }
}

/// A change of the map, as an entry of meta's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposal {
    /// The first map of a cluster. It counts if there is none yet.
    Found(Box<Map>),
    /// A node wants to hold its share, or says anew where it is. One that is being drained stays so.
    Join {
        /// The node.
        node: NodeId,
        /// What there is to say of it; its state is not looked at.
        info: MemberInfo,
    },
    /// A node is to give up all that it holds.
    Drain(NodeId),
    /// A node has gone for good, and what it held is to be made anew elsewhere.
    Remove(NodeId),
    /// Other quorums.
    Quorum(Quorum),
    /// Another way of moving.
    Moving(Moving),
}

impl Proposal {
    /// The wish of a node of ordinary weight to join.
    pub fn join(node: NodeId, address: Address, zone: String) -> Self {
        let info = MemberInfo {
            address,
            zone,
            weight: 1,
            state: State::Active,
        };
        Self::Join { node, info }
    }
}

/// Why a proposal changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// There is no such node.
    #[error("no such node is a member")]
    NoSuchNode,
    /// Somebody has to hold the data.
    #[error("it is the last node that holds anything")]
    LastNode,
    /// A store that was removed has missed what happened since.
    #[error("it was removed, and can only come back as a new node")]
    Removed,
}

impl Map {
    /// The map of a cluster of one.
    pub fn alone(node: NodeId, address: Address, zone: String, quorum: Quorum) -> Self {
        let info = MemberInfo {
            address,
            zone,
            weight: 1,
            state: State::Active,
        };
        Self {
            version: 1,
            members: BTreeMap::from([(node, info)]),
            table: Table::new_single(node),
            quorum,
            moving: Moving::default(),
            removed: BTreeSet::new(),
        }
    }

    /// Carries a proposal out. A proposal that is repeated changes nothing and is no error.
    ///
    /// # Errors
    ///
    /// Says why nothing has changed.
    pub fn apply(&mut self, proposal: &Proposal) -> Result<(), Refused> {
        let before = self.clone();
        match proposal {
            Proposal::Found(_) => {}
            Proposal::Join { node, .. } if self.removed.contains(node) => {
                return Err(Refused::Removed);
            }
            Proposal::Join { node, info } => {
                let mut info = info.clone();
                let present = self.members.get(node);
                info.state = present.map_or(State::Active, |member| member.state);
                self.members.insert(*node, info);
            }
            Proposal::Drain(node) => {
                self.check_another_holds(*node)?;
                let member = self.members.get_mut(node).ok_or(Refused::NoSuchNode)?;
                member.state = State::Draining;
            }
            Proposal::Remove(node) => {
                self.check_another_holds(*node)?;
                self.members.remove(node).ok_or(Refused::NoSuchNode)?;
                self.removed.insert(*node);
            }
            Proposal::Quorum(quorum) => self.quorum = *quorum,
            Proposal::Moving(moving) => self.moving = *moving,
        }
        self.table = place(
            &self.table,
            &self.candidates(),
            usize::from(self.quorum.replicas()),
        );
        if *self != before {
            self.version += 1;
        }
        Ok(())
    }

    fn check_another_holds(&self, node: NodeId) -> Result<(), Refused> {
        let holds =
            |(&id, member): (&NodeId, &MemberInfo)| id != node && member.state == State::Active;
        let another = self.members.iter().any(holds);
        another.then_some(()).ok_or(Refused::LastNode)
    }

    fn candidates(&self) -> Vec<Member> {
        let candidate = |(&id, member): (&NodeId, &MemberInfo)| Member {
            id,
            zone: member.zone.clone(),
            weight: member.weight,
            state: member.state,
        };
        self.members.iter().map(candidate).collect()
    }

    /// Whether a node is giving up what it holds.
    pub fn is_draining(&self, node: NodeId) -> bool {
        let member = self.members.get(&node);
        member.is_some_and(|member| member.state == State::Draining)
    }

    /// The nodes that should hold a range, the preferred master first.
    pub fn holders(&self, range: RangeId) -> &[NodeId] {
        let mut rows = self.table.rows();
        rows.nth(range as usize).unwrap_or_default()
    }

    /// Who should hold a range, the meta range too, and by which quorums.
    pub fn wanted(&self, range: RangeId) -> (Vec<NodeId>, Quorum) {
        if range == META {
            (self.meta_holders(), self.meta_quorum())
        } else {
            (self.holders(range).to_vec(), self.quorum)
        }
    }

    /// The nodes that should hold the meta range: one, three or five, by seniority of their ids.
    pub fn meta_holders(&self) -> Vec<NodeId> {
        let active = self
            .members
            .iter()
            .filter(|(_, member)| member.state == State::Active);
        let mut nodes: Vec<NodeId> = active.map(|(&node, _)| node).collect();
        let most = nodes.len().min(META_MOST);
        nodes.truncate(if most.is_multiple_of(2) {
            most.max(2) - 1
        } else {
            most
        });
        nodes
    }

    /// The quorums of the meta range: a majority of whoever holds it.
    pub fn meta_quorum(&self) -> Quorum {
        let n = self.meta_holders().len().max(1) as u8;
        let majority = n / 2 + 1;
        Quorum::new(n, majority, majority).unwrap_or(Quorum::ALONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(nodes: u64) -> Map {
        let quorum = Quorum::new(3, 2, 2).unwrap();
        let mut map = Map::alone(NodeId(1), "1:6379".into(), "a".into(), quorum);
        for id in 2..=nodes {
            let join = Proposal::join(NodeId(id), format!("{id}:6379"), "a".into());
            map.apply(&join).unwrap();
        }
        map
    }

    #[test]
    fn each_node_that_joins_takes_its_share() {
        let held = |map: &Map, node| {
            map.table
                .rows()
                .filter(|row| row.contains(&NodeId(node)))
                .count()
        };
        assert_eq!(held(&map(2), 2), 256);
        assert_eq!(held(&map(4), 4), 192);
        assert!((153..=154).contains(&held(&map(5), 5)));
    }

    #[test]
    fn a_proposal_that_is_repeated_changes_nothing() {
        let mut map = map(3);
        let before = map.clone();
        map.apply(&Proposal::join(NodeId(2), "2:6379".into(), "a".into()))
            .unwrap();
        assert_eq!(map, before);
    }

    #[test]
    fn a_node_that_is_drained_is_to_hold_nothing() {
        let mut map = map(4);
        map.apply(&Proposal::Drain(NodeId(3))).unwrap();
        assert!(
            map.table
                .rows()
                .all(|row| !row.contains(&NodeId(3)) && row.len() == 3)
        );
        assert!(map.members.contains_key(&NodeId(3)));
    }

    #[test]
    fn a_late_wish_to_join_undoes_nothing() {
        let mut map = map(4);
        map.apply(&Proposal::Drain(NodeId(3))).unwrap();
        let late = Proposal::join(NodeId(3), "3:6379".into(), "a".into());
        map.apply(&late).unwrap();
        assert_eq!(map.members[&NodeId(3)].state, State::Draining);
        map.apply(&Proposal::Remove(NodeId(3))).unwrap();
        assert_eq!(map.apply(&late), Err(Refused::Removed));
        assert!(!map.members.contains_key(&NodeId(3)));
    }

    #[test]
    fn the_last_node_stays() {
        let mut map = map(1);
        assert_eq!(
            map.apply(&Proposal::Remove(NodeId(1))),
            Err(Refused::LastNode)
        );
        assert_eq!(
            map.apply(&Proposal::Drain(NodeId(1))),
            Err(Refused::LastNode)
        );
    }

    #[test]
    fn meta_is_held_by_an_odd_number() {
        let held = |nodes| map(nodes).meta_holders().len();
        assert_eq!([1, 2, 3, 4, 5, 8].map(held), [1, 1, 3, 3, 5, 5]);
        assert_eq!(map(5).meta_quorum(), Quorum::new(5, 3, 3).unwrap());
    }
}
