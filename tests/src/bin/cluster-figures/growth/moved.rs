//! What had to move, by the pure function that places copies, and what did.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::Value;
use trilith::ring::NodeId;
use trilith::ring::placement::{Member, State, Table, moves, place};

/// The voters of each arc, the master first.
pub type Holders = BTreeMap<u64, Vec<String>>;

/// What placement says must move.
pub struct Expected {
    pub copies: usize,
    pub masters: usize,
}

/// What leads from who held copies to the members of `status`.
pub fn expected(before: &Holders, status: &Value, copies: usize) -> io::Result<Expected> {
    let rows = before
        .values()
        .map(|ids| ids.iter().map(|id| node(id)).collect());
    let rows = rows.collect::<io::Result<Vec<Vec<NodeId>>>>()?;
    let old = Table::try_from(rows)
        .map_err(|error| io::Error::other(format!("the ranges were no table before: {error}")))?;
    let new = place(&old, &members(status)?, copies);
    let moves = moves(&old, &new);
    Ok(Expected {
        copies: moves.added.len(),
        masters: moves.masters.len(),
    })
}

fn node(id: &str) -> io::Result<NodeId> {
    let number = u64::from_str_radix(id, 16);
    number
        .map(NodeId)
        .map_err(|error| io::Error::other(format!("{id:?} is no node's id: {error}")))
}

fn members(status: &Value) -> io::Result<Vec<Member>> {
    let members = status["members"].as_array().map_or(&[][..], Vec::as_slice);
    let member = |row: &Value| {
        Ok(Member {
            id: node(row["id"].as_str().unwrap_or_default())?,
            zone: row["zone"].as_str().unwrap_or_default().to_owned(),
            weight: row["weight"].as_u64().unwrap_or(1) as u32,
            state: match row["state"].as_str() {
                Some("active") => State::Active,
                Some("draining") => State::Draining,
                _ => State::Joining,
            },
        })
    };
    members.iter().map(member).collect()
}

/// How many copies are where none was, and how many masters are others.
pub fn differences(before: &Holders, after: &Holders) -> (usize, usize) {
    let (mut copies, mut masters) = (0, 0);
    for (arc, now) in after {
        let then: BTreeSet<&String> = before.get(arc).into_iter().flatten().collect();
        copies += now.iter().filter(|id| !then.contains(id)).count();
        let master = before.get(arc).and_then(|ids| ids.first());
        masters += usize::from(master != now.first());
    }
    (copies, masters)
}
