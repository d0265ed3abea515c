//! RING: who is a member, how copies move, and N, W and R. Every refusal says what to do instead.

use bytes::Bytes;
use trilith::command::{Reply, parse_integer, subcommand};
use trilith::ring::driver::View;
use trilith::ring::meta::{Map, Moving, Proposal};
use trilith::ring::placement::State;
use trilith::ring::{META, NodeId, Quorum, RangeId};
use trilith::slot::ARCS;
use trilith::{Error, ErrorKind};

use super::{Cluster, Stance, Topology, backup, parse_id, short_id, status};

/// Answers RING; `words` are all of it.
pub async fn answer(words: &[Bytes], stance: &mut Stance, cluster: &impl Cluster) -> Reply {
    let row = match subcommand(words) {
        Ok(row) => row,
        Err(reply) => return reply,
    };
    let view = cluster.view();
    let words = &words[2..];
    match row.name {
        "help" => row.help(),
        "status" => {
            let topology = Topology::new(&view, cluster.address());
            Reply::text(status::status(&view, &topology, cluster.trouble()))
        }
        "ranges" => Reply::text(status::ranges(&cluster.ranges())),
        "transfer" => transfer(words, &view, cluster).unwrap_or_else(|reply| reply),
        "recover" => recover(words, cluster).await,
        "backup" => backup::answer(words, stance, cluster).await,
        name => match proposal(name, words, &view) {
            Ok(proposal) => propose(proposal, cluster).await,
            Err(reply) => reply,
        },
    }
}

pub(super) fn refused(why: impl Into<String>) -> Reply {
    Reply::Error(format!("ERR {}", why.into()).into())
}

async fn propose(proposal: Proposal, cluster: &impl Cluster) -> Reply {
    match cluster.propose(proposal).await {
        Ok(()) => Reply::OK,
        Err(error) => failed(&error),
    }
}

/// What an operator is told of a change that was not made, or not for certain.
fn failed(error: &Error) -> Reply {
    let text = match error.kind() {
        ErrorKind::Unknown => format!(
            "UNKNOWN the outcome is unknown: look with RING STATUS, and repeat it if nothing has changed ({error})"
        ),
        ErrorKind::Invalid => format!("ERR {error}"),
        _ => format!(
            "ERR nothing was changed: see with RING STATUS which nodes are silent, and try again ({error})"
        ),
    };
    Reply::Error(text.into())
}

/// The change of the map that is asked for.
fn proposal(name: &str, words: &[Bytes], view: &View) -> Result<Proposal, Reply> {
    let Some(map) = &view.map else {
        return Err(refused(
            "this node knows no map yet: wait until it has joined, or ask a member",
        ));
    };
    match (name, words) {
        ("drain", [node]) => {
            let node = member(node, map)?;
            check_another_holds(node, map)?;
            Ok(Proposal::Drain(node))
        }
        ("remove", [node]) => {
            let node = member(node, map)?;
            check_another_holds(node, map)?;
            if map.members[&node].state == State::Active && !view.silent.contains(&node) {
                return Err(refused(format!(
                    "node {} is alive and holds its share: RING DRAIN it first, or stop it if it is to be lost",
                    short_id(node)
                )));
            }
            Ok(Proposal::Remove(node))
        }
        ("quorum", [n, w, r]) => Ok(Proposal::Quorum(
            Quorum::new(number(n)?, number(w)?, number(r)?).map_err(|error| Reply::from(&error))?,
        )),
        ("moving", words) => moving(words, map.moving).map(Proposal::Moving),
        _ => Err(Reply::SYNTAX),
    }
}

fn number<T: TryFrom<i64>>(word: &[u8]) -> Result<T, Reply> {
    let number = parse_integer(word).ok_or(Reply::NOT_AN_INTEGER)?;
    T::try_from(number).map_err(|_| Reply::NOT_AN_INTEGER)
}

fn moving(words: &[Bytes], now: Moving) -> Result<Moving, Reply> {
    match words {
        [word] if word.eq_ignore_ascii_case(b"pause") => Ok(Moving {
            paused: true,
            ..now
        }),
        [word] if word.eq_ignore_ascii_case(b"resume") => Ok(Moving {
            paused: false,
            ..now
        }),
        [word, bytes, at_once] if word.eq_ignore_ascii_case(b"rate") => {
            let (bytes_per_second, at_once) = (number(bytes)?, number(at_once)?);
            if bytes_per_second == 0 || at_once == 0 {
                return Err(refused(
                    "a rate of nothing would move nothing: use RING MOVING PAUSE for that",
                ));
            }
            Ok(Moving {
                paused: now.paused,
                bytes_per_second,
                at_once,
            })
        }
        _ => Err(Reply::SYNTAX),
    }
}

/// A member by its id, in either form, or by its address.
fn member(word: &[u8], map: &Map) -> Result<NodeId, Reply> {
    let by_address = |&node: &NodeId| map.members[&node].address.as_bytes() == word;
    let named = parse_id(word).filter(|node| map.members.contains_key(node));
    let node = named.or_else(|| map.members.keys().copied().find(by_address));
    node.ok_or_else(|| {
        refused(format!(
            "no member has the id or address '{}': RING STATUS lists them",
            word[..word.len().min(64)].escape_ascii()
        ))
    })
}

fn check_another_holds(node: NodeId, map: &Map) -> Result<(), Reply> {
    let mut others = map.members.iter().filter(|(id, _)| **id != node);
    if others.any(|(_, member)| member.state == State::Active) {
        return Ok(());
    }
    Err(refused(format!(
        "node {} is the last one that holds anything: let another join first, with `trilith serve --join HOST:PORT`",
        short_id(node)
    )))
}

/// A range by its number; the meta range also by its name.
pub(super) fn range(word: &[u8]) -> Result<RangeId, Reply> {
    if word.eq_ignore_ascii_case(b"meta") {
        return Ok(META);
    }
    let range = parse_integer(word).and_then(|range| RangeId::try_from(range).ok());
    let range = range.filter(|&range| range < ARCS.into() || range == META);
    range.ok_or_else(|| {
        refused(format!(
            "a range is a number from 0 to {}, or meta: RING RANGES lists those here",
            ARCS - 1
        ))
    })
}

fn transfer(words: &[Bytes], view: &View, cluster: &impl Cluster) -> Result<Reply, Reply> {
    let (range, to) = match words {
        [word] => (range(word)?, None),
        [word, node] => (range(word)?, Some(node)),
        _ => return Err(Reply::SYNTAX),
    };
    let known = cluster.ranges().into_iter().find(|row| row.range == range);
    let Some(copy) = known.filter(|copy| copy.role == "master") else {
        let topology = Topology::new(view, cluster.address());
        let asked = u16::try_from(range).ok().filter(|arc| *arc < ARCS);
        let master = asked
            .map(|arc| topology.master_of_arc(arc))
            .filter(|&node| node != view.me);
        let hint = master.map_or_else(
            || "RING RANGES of the other nodes says who does".to_owned(),
            |node| format!("ask {} at {}", short_id(node), topology.endpoint(node)),
        );
        return Err(refused(format!(
            "this node does not master the range: {hint}"
        )));
    };
    let to = match (to, &view.map) {
        (None, _) => None,
        (Some(word), Some(map)) => Some(member(word, map)?),
        (Some(_), None) => return Err(refused("this node knows no map yet: leave out the node")),
    };
    if let Some(node) = to.filter(|node| !copy.voters.contains(node)) {
        let voters: Vec<_> = copy.voters.iter().copied().map(short_id).collect();
        return Err(refused(format!(
            "node {} has no copy of the range that could master it: choose one of {}",
            short_id(node),
            voters.join(", ")
        )));
    }
    cluster.hand_over(range, to);
    Ok(Reply::OK)
}

async fn recover(words: &[Bytes], cluster: &impl Cluster) -> Reply {
    let [word] = words else {
        return Reply::SYNTAX;
    };
    let range = match range(word) {
        Ok(range) => range,
        Err(reply) => return reply,
    };
    if !cluster.ranges().iter().any(|copy| copy.range == range) {
        return refused("this node has no copy of the range: ask one that has, RING RANGES says");
    }
    match cluster.recover(range).await {
        Ok(()) => Reply::OK,
        Err(error) => failed(&error),
    }
}
