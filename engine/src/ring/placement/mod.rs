//! Placement: which nodes hold the copies of each arc, and which of them should be its master.
//!
//! [`place`] makes a new [`Table`] from the old one and the members. It is a pure function: whoever
//! knows the same table and the same members comes to the same result, in whatever order they are
//! listed and on whatever platform, for it counts in integers only. It says where copies belong, never
//! how they get there: who votes, and when data is copied, is each range's own business.
//!
//! Every bound that a table keeps is the floor or the ceiling of one ideal in which each member holds
//! the same fraction of every arc. A flow with integral bounds has an integral solution, so a table
//! within all bounds exists, and from any part of one an augmenting path leads on. Hence the three steps:
//! `shares` works the bounds out, `copies` keeps the old copies that fit and finds a path for
//! each that is missing, `masters` does the same with one master for each arc.

mod copies;
mod masters;
mod moves;
mod path;
mod shares;
mod table;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

pub use moves::{Change, MasterChange, Moves, moves};
pub use table::Table;

pub use super::ids::NodeId;

use crate::random::Random;

/// Where a member is between coming and going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Known, but not ready to hold anything yet.
    Joining,
    /// Holds its share.
    Active,
    /// Gives up all that it holds, and may go when it holds nothing.
    Draining,
}

/// A node as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Which node it is.
    pub id: NodeId,
    /// What fails together: a machine, a rack, a data centre. Copies of one arc avoid sharing it.
    pub zone: String,
    /// Its share of copies and masters, relative to that of others. With weight 0 it holds nothing.
    pub weight: u32,
    /// Only an active member holds copies.
    pub state: State,
}

/// The table for `members`, with `copies` copies of each arc, or one on every member if there are fewer.
///
/// In this order of precedence:
///
/// 1. a member's copies are its share of all by weight, rounded down or up, and at most one of each arc;
/// 2. the copies of an arc are spread over as many zones as these shares permit;
/// 3. copies stay where they are, as far as 1 and 2 permit;
/// 4. a member is master of its share of arcs by weight, rounded down or up, as near as its copies permit;
/// 5. masters stay who they are, as far as 4 permits.
///
/// With no active member there is nowhere to move to, and the old table stays.
///
/// ```
/// use trilith::ring::placement::{Member, NodeId, State, Table, moves, place};
/// let member = |id| Member { id: NodeId(id), zone: format!("rack {id}"), weight: 1, state: State::Active };
/// let four = place(&Table::new_single(NodeId(1)), &[1, 2, 3, 4].map(member), 3);
/// let five = place(&four, &[1, 2, 3, 4, 5].map(member), 3);
/// let copied = moves(&four, &five).added;
/// assert_eq!(copied.len(), 256 * 3 / 5);
/// assert!(copied.iter().all(|copy| copy.node == NodeId(5)));
/// ```
#[must_use]
pub fn place(old: &Table, members: &[Member], copies: usize) -> Table {
    let roster = Roster::new(members);
    if roster.ids.is_empty() {
        return old.clone();
    }
    let old = roster.recognise(old);
    let copies = copies.clamp(1, roster.ids.len());
    let holders = copies::assign(&roster, &old, copies);
    let masters = masters::assign(&roster, &old, &holders);
    let rows = holders
        .iter()
        .zip(masters)
        .zip(&old)
        .map(|((holders, master), old)| roster.row(holders, master, old));
    Table::of_rows(rows.collect())
}

/// The members that can hold copies, in the order of their ids. Within this module a member is its
/// place in this order, a zone likewise, and a row is the members that hold copies of an arc.
struct Roster {
    ids: Vec<NodeId>,
    weights: Vec<u32>,
    /// The zone of each member.
    zones: Vec<usize>,
    /// The members of each zone.
    by_zone: Vec<Vec<usize>>,
}

impl Roster {
    fn new(members: &[Member]) -> Self {
        let mut members: Vec<&Member> = members
            .iter()
            .filter(|member| member.state == State::Active && member.weight > 0)
            .collect();
        members.sort_unstable();
        members.dedup_by_key(|member| member.id);

        let mut names: Vec<&str> = members.iter().map(|member| &*member.zone).collect();
        names.sort_unstable();
        names.dedup();
        let zone_of = |member: &&Member| names.partition_point(|&name| name < &*member.zone);
        let zones: Vec<usize> = members.iter().map(zone_of).collect();
        let mut by_zone = vec![Vec::new(); names.len()];
        for (member, &zone) in zones.iter().enumerate() {
            by_zone[zone].push(member);
        }
        Self {
            ids: members.iter().map(|member| member.id).collect(),
            weights: members.iter().map(|member| member.weight).collect(),
            zones,
            by_zone,
        }
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    /// The rows of `table`, without those who no longer hold copies. `None` stands for their place, so
    /// that the first of a row is still its master.
    fn recognise(&self, table: &Table) -> Vec<OldRow> {
        let place_of = |id| self.ids.binary_search(id).ok();
        table
            .rows()
            .map(|row| OldRow {
                master: place_of(&row[0]),
                holders: row.iter().filter_map(place_of).collect(),
            })
            .collect()
    }

    /// A row as tables have it: the master, then those who were there in their order, then the new.
    fn row(&self, holders: &[usize], master: usize, old: &OldRow) -> Vec<NodeId> {
        let rank = |&member: &usize| {
            let place = old.holders.iter().position(|&other| other == member);
            (member != master, place.unwrap_or(usize::MAX), member)
        };
        let mut row = holders.to_vec();
        row.sort_unstable_by_key(rank);
        row.iter().map(|&member| self.ids[member]).collect()
    }

    /// The order in which arcs are taken from or given to a member where nothing else decides. It differs
    /// from member to member, so that those who share arcs with one are many, and each bears a
    /// little when that one fails.
    fn scatter(&self, arc: usize, member: usize) -> Reverse<u64> {
        let seed = self.ids[member].0 ^ (arc as u64).rotate_left(48);
        Reverse(Random::new(seed).next())
    }
}

/// What is left of an arc's row in the old table.
struct OldRow {
    /// Who was master, if still there.
    master: Option<usize>,
    /// Who held a copy and still can, in the row's order.
    holders: Vec<usize>,
}
