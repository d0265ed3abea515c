//! Who holds a range: its voters, its learners, and both sides of a change between voters.
//!
//! A configuration is an entry of the range's own log. It acts as soon as it is appended. While voters change
//! it is joint: the outgoing and the incoming side both have to agree to everything (Raft, section 6).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::{Index, LogId, NodeId};
use super::quorum::Quorum;

/// A replica's place in a configuration. A node that leaves and comes back is another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node that holds the copy.
    pub node: NodeId,
    /// The configuration entry that added it; the default for those who founded the range. An index alone would
    /// not do: a node that took up an entry which then lost its place would hold the one that took it for older.
    pub incarnation: LogId,
}

/// One side that has to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voters {
    /// The preferred master first.
    pub members: Vec<Member>,
    /// How many of them it takes.
    pub quorum: Quorum,
}

/// A range's members and quorums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Those who vote; in a joint configuration, the incoming side.
    pub voters: Voters,
    /// The outgoing side, while voters change.
    pub outgoing: Option<Voters>,
    /// Copies that follow and do not vote.
    pub learners: Vec<Member>,
    /// The version of commands' semantics that every member supports.
    pub semantics: u16,
}

impl Voters {
    /// Whether it takes no more than `wanted` of these members, each of which `has`.
    fn reached(&self, wanted: u8, has: impl Fn(Member) -> bool) -> bool {
        let having = self.members.iter().filter(|&&member| has(member)).count();
        having >= usize::from(wanted)
    }

    /// The value that at least `wanted` members have reached.
    fn reached_by(&self, wanted: u8, value: impl Fn(Member) -> u64) -> u64 {
        let mut values: Vec<u64> = self.members.iter().map(|&member| value(member)).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        let place = usize::from(wanted).saturating_sub(1);
        values.get(place).copied().unwrap_or(0)
    }
}

impl Configuration {
    /// The first configuration of a range: `nodes` found it, the preferred master first. Their number
    /// need not be the quorum's N yet, as long as a single node holds everything.
    pub fn founding(nodes: &[NodeId], quorum: Quorum) -> Self {
        let member = |&node| Member {
            node,
            incarnation: LogId::default(),
        };
        Self {
            voters: Voters {
                members: nodes.iter().map(member).collect(),
                quorum,
            },
            outgoing: None,
            learners: Vec::new(),
            semantics: 0,
        }
    }

    /// That of a copy which has not been told yet.
    pub fn unknown() -> Self {
        Self::founding(&[], Quorum::ALONE)
    }

    /// Whether voters are changing.
    pub fn is_joint(&self) -> bool {
        self.outgoing.is_some()
    }

    fn sides(&self) -> impl Iterator<Item = &Voters> {
        std::iter::once(&self.voters).chain(&self.outgoing)
    }

    /// The member that `node` is, voting or not.
    pub fn member(&self, node: NodeId) -> Option<Member> {
        self.members()
            .into_iter()
            .find(|member| member.node == node)
    }

    /// Everybody, once.
    pub fn members(&self) -> BTreeSet<Member> {
        let voters = self.sides().flat_map(|side| &side.members);
        voters.chain(&self.learners).copied().collect()
    }

    /// Whether `node` votes on any side.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.sides()
            .any(|side| side.members.iter().any(|member| member.node == node))
    }

    /// Whether `node` is a voter that stays.
    pub fn is_staying(&self, node: NodeId) -> bool {
        self.voters.members.iter().any(|member| member.node == node)
    }

    /// A voter's place in the order of preference, the first being 0.
    pub fn rank(&self, node: NodeId) -> Option<usize> {
        let mut members = self.voters.members.iter();
        members.position(|member| member.node == node)
    }

    /// Whether those who `granted` elect.
    pub fn elects(&self, granted: impl Fn(Member) -> bool + Copy) -> bool {
        self.sides()
            .all(|side| side.reached(side.quorum.elect(), granted))
    }

    /// Whether a simple majority `granted`: what breaking rule 2 elects by.
    pub(crate) fn majority(&self, granted: impl Fn(Member) -> bool + Copy) -> bool {
        self.sides()
            .all(|side| side.reached(side.quorum.replicas() / 2 + 1, granted))
    }

    /// Whether every voter `granted`.
    pub fn is_unanimous(&self, granted: impl Fn(Member) -> bool + Copy) -> bool {
        self.sides()
            .all(|side| side.members.iter().all(|&member| granted(member)))
    }

    /// The index up to which enough have `stored` for everything to be committed.
    pub fn committed(&self, stored: impl Fn(Member) -> Index + Copy) -> Index {
        let upto = |side: &Voters| side.reached_by(side.quorum.commit(), stored);
        self.sides().map(upto).min().unwrap_or(0)
    }

    /// The index up to which whoever is elected next knows everything. Where writes survive, that is what is
    /// committed; elsewhere more replicas have to hold it.
    pub fn secured(&self, stored: impl Fn(Member) -> Index + Copy) -> Index {
        let upto = |side: &Voters| {
            let wanted = side.quorum.commit().max(side.quorum.confirm());
            side.reached_by(wanted, stored)
        };
        self.sides().map(upto).min().unwrap_or(0)
    }

    /// The index up to which everything may be acknowledged; a request may ask for more replicas than W.
    pub fn acknowledged(&self, at_least: u8, stored: impl Fn(Member) -> Index + Copy) -> Index {
        let upto = |side: &Voters| {
            let wanted = side.quorum.acknowledge().max(at_least);
            side.reached_by(wanted, stored)
        };
        self.sides().map(upto).min().unwrap_or(0)
    }

    /// Whether a write could be acknowledged by those that are `reachable`.
    pub fn can_acknowledge(&self, at_least: u8, reachable: impl Fn(Member) -> bool + Copy) -> bool {
        self.sides().all(|side| {
            let wanted = side.quorum.acknowledge().max(at_least);
            side.reached(wanted, reachable)
        })
    }

    /// Whether those who `follow` show that there is no newer master; a request may ask for more of them.
    pub fn confirms(&self, at_least: u8, follow: impl Fn(Member) -> bool + Copy) -> bool {
        self.sides()
            .all(|side| side.reached(side.quorum.confirm().max(at_least), follow))
    }

    /// The newest round of confirmations that enough replicas have answered.
    pub fn confirmed(&self, at_least: u8, round: impl Fn(Member) -> u64 + Copy) -> u64 {
        let upto = |side: &Voters| {
            let wanted = side.quorum.confirm().max(at_least);
            side.reached_by(wanted, round)
        };
        self.sides().map(upto).min().unwrap_or(0)
    }

    /// Whether what is acknowledged survives its master, on every side.
    pub fn writes_survive(&self) -> bool {
        self.sides().all(|side| side.quorum.writes_survive())
    }

    /// Whether reads are strong unless they ask for less.
    pub fn reads_are_strong(&self) -> bool {
        self.sides().all(|side| side.quorum.reads_are_strong())
    }

    /// What follows once this joint configuration is committed.
    #[must_use]
    pub fn left(&self) -> Self {
        Self {
            outgoing: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn joint() -> Configuration {
        let quorum = Quorum::new(3, 2, 2).unwrap();
        Configuration {
            outgoing: Some(Configuration::founding(&nodes(&[1, 2, 3]), quorum).voters),
            ..Configuration::founding(&nodes(&[1, 4, 5]), quorum)
        }
    }

    #[test]
    fn a_joint_configuration_needs_both_sides() {
        let of = |ids: &'static [u64]| move |member: Member| ids.contains(&member.node.0);
        assert!(!joint().elects(of(&[1, 2, 3])));
        assert!(!joint().elects(of(&[1, 4, 5])));
        assert!(joint().elects(of(&[1, 2, 4])));
        assert!(joint().confirms(0, of(&[2, 3, 4, 5])));
        assert!(!joint().confirms(3, of(&[2, 3, 4, 5])));
    }

    #[test]
    fn what_is_committed_is_stored_on_both_sides() {
        let stored = |member: Member| match member.node.0 {
            1 => 9,
            2 => 8,
            4 => 5,
            _ => 0,
        };
        assert_eq!(joint().committed(stored), 5);
        assert_eq!(joint().left().committed(stored), 5);
        assert_eq!(joint().acknowledged(3, stored), 0);
    }

    #[test]
    fn a_member_counts_once() {
        assert_eq!(joint().members().len(), 5);
        assert!(joint().is_voter(NodeId(2)) && !joint().is_staying(NodeId(2)));
        assert_eq!(joint().rank(NodeId(5)), Some(2));
    }

    #[test]
    fn a_copy_that_knows_nothing_elects_nobody() {
        let unknown = Configuration::unknown();
        assert!(!unknown.elects(|_| true));
        assert_eq!(unknown.committed(|_| 7), 0);
    }
}
