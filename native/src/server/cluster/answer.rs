//! CLUSTER, and the commands by which a connection says how it wants to be served.

use std::fmt::Write;

use bytes::Bytes;
use trilith::command::{Command, Reply, ScanArgs, Session, parse_integer, subcommand};
use trilith::ring::NodeId;
use trilith::ring::driver::Consistency;
use trilith::slot::{SLOTS, slot_of};

use super::topology::Run;
use super::{Cluster, Stance, Topology, long_id, operate, parse_id, words};
use crate::server::Backend;
use crate::server::shared::unix_time_us;

/// The bus of a node listens this far above its port for clients.
const BUS_PORT_ABOVE: u32 = 10_000;

/// How many keys are looked at in one step of a walk through all of them.
const WALK_STEP: u64 = 1000;

const DISABLED: Reply = Reply::error("ERR This instance has cluster support disabled");

/// Answers one of the commands about the cluster; `words` are all of it, their number checked.
pub async fn answer<B: Backend>(
    session: Session,
    words: &[Bytes],
    stance: &mut Stance,
    backend: &B,
) -> Reply {
    let cluster = backend.cluster();
    match (session, cluster) {
        (Session::Consistency, _) => words::consistency(&words[1..], stance, cluster),
        (Session::Wait, _) => words::wait(&words[1..], stance, cluster),
        (_, None) => DISABLED,
        (Session::Ring, Some(cluster)) => operate::answer(words, stance, cluster).await,
        (Session::Asking, Some(_)) => Reply::error(
            "ERR slots move whole and nobody is redirected by ASK: send the command without ASKING",
        ),
        (Session::ReadOnly, Some(_)) => {
            stance.reads_copies = true;
            Reply::OK
        }
        (Session::ReadWrite, Some(_)) => {
            stance.reads_copies = false;
            Reply::OK
        }
        (_, Some(cluster)) => answer_cluster(words, stance, cluster, backend).await,
    }
}

async fn answer_cluster<B: Backend>(
    words: &[Bytes],
    stance: &mut Stance,
    cluster: &B::Cluster,
    backend: &B,
) -> Reply {
    if let Some(refusal) = refusal(&words[1]) {
        return refusal;
    }
    let row = match subcommand(words) {
        Ok(row) => row,
        Err(reply) => return reply,
    };
    let view = cluster.view();
    let topology = Topology::new(&view, cluster.address());
    match (row.name, &words[2..]) {
        ("slots", _) => {
            stance.knows_map = true;
            slots(&topology)
        }
        ("shards", _) => {
            stance.knows_map = true;
            shards(&topology)
        }
        ("nodes", _) => {
            stance.knows_map = true;
            Reply::text(nodes(&topology))
        }
        ("info", _) => Reply::text(info(&topology)),
        ("myid", _) => Reply::text(long_id(topology.me())),
        ("keyslot", [key]) => Reply::Int(slot_of(key).into()),
        ("countkeysinslot", [slot]) => match parse_slot(slot) {
            Some(slot) => match keys_in(slot, usize::MAX, &topology, backend).await {
                Ok(keys) => Reply::Int(keys.len().try_into().unwrap_or(i64::MAX)),
                Err(reply) => reply,
            },
            None => Reply::error("ERR Invalid slot"),
        },
        ("getkeysinslot", [slot, most]) => {
            let most = parse_integer(most).and_then(|most| usize::try_from(most).ok());
            match (parse_slot(slot), most) {
                (Some(slot), Some(most)) => match keys_in(slot, most, &topology, backend).await {
                    Ok(keys) => Reply::Array(keys.into_iter().map(Reply::Bulk).collect()),
                    Err(reply) => reply,
                },
                _ => Reply::error("ERR Invalid slot or number of keys"),
            }
        }
        ("links", _) => links(cluster),
        ("replicas", [id]) => match parse_id(id) {
            Some(node) if topology.nodes().contains(&node) => Reply::Array(Vec::new()),
            _ => Reply::Error(format!("ERR Unknown node {}", id.escape_ascii()).into()),
        },
        _ => row.help(),
    }
}

/// What Redis Cluster is operated by, and what does the same here.
fn refusal(subcommand: &[u8]) -> Option<Reply> {
    Some(Reply::error(
        match subcommand.to_ascii_lowercase().as_slice() {
            b"meet" => {
                "ERR a node joins by itself: start it with `trilith serve --join HOST:PORT`, naming any member"
            }
            b"forget" | b"reset" => {
                "ERR a node leaves by RING DRAIN and, once it is empty, RING REMOVE"
            }
            b"addslots" | b"addslotsrange" | b"delslots" | b"delslotsrange" | b"flushslots"
            | b"setslot" => {
                "ERR slots are placed by the ring: RING DRAIN empties a node, RING TRANSFER hands a range to another"
            }
            b"failover" => {
                "ERR masters are elected by themselves: RING TRANSFER hands a range to another node"
            }
            b"replicate" => {
                "ERR copies are placed by the ring: RING QUORUM says how many there are"
            }
            b"saveconfig" | b"bumpepoch" | b"set-config-epoch" => {
                "ERR the map is kept, stored and numbered by the ring itself: there is nothing to do"
            }
            _ => return None,
        },
    ))
}

fn parse_slot(word: &[u8]) -> Option<u16> {
    let slot = u16::try_from(parse_integer(word)?).ok()?;
    (slot < SLOTS).then_some(slot)
}

fn slots(topology: &Topology<'_>) -> Reply {
    let runs = topology.runs().into_iter();
    let rows = runs.map(|run| {
        let endpoint = topology.endpoint(run.node);
        let node = vec![
            Reply::text(endpoint.host),
            Reply::Int(endpoint.port.into()),
            Reply::text(long_id(run.node)),
            Reply::Array(Vec::new()),
        ];
        Reply::Array(vec![
            Reply::Int(run.first.into()),
            Reply::Int(run.last.into()),
            Reply::Array(node),
        ])
    });
    Reply::Array(rows.collect())
}

fn runs_of(runs: &[Run], node: NodeId) -> impl Iterator<Item = &Run> {
    runs.iter().filter(move |run| run.node == node)
}

fn map<const N: usize>(pairs: [(&'static str, Reply); N]) -> Reply {
    let pairs = pairs.map(|(name, value)| (Reply::fixed(name), value));
    Reply::Map(pairs.into())
}

fn shards(topology: &Topology<'_>) -> Reply {
    let runs = topology.runs();
    let shards = topology.nodes().into_iter().map(|node| {
        let slots = runs_of(&runs, node)
            .flat_map(|run| [Reply::Int(run.first.into()), Reply::Int(run.last.into())]);
        let endpoint = topology.endpoint(node);
        let health = if topology.is_silent(node) {
            "fail"
        } else {
            "online"
        };
        let described = map([
            ("id", Reply::text(long_id(node))),
            ("port", Reply::Int(endpoint.port.into())),
            ("ip", Reply::text(endpoint.host)),
            ("endpoint", Reply::text(endpoint.host)),
            ("role", Reply::fixed("master")),
            ("replication-offset", Reply::Int(0)),
            ("health", Reply::fixed(health)),
        ]);
        map([
            ("slots", Reply::Array(slots.collect())),
            ("nodes", Reply::Array(vec![described])),
        ])
    });
    Reply::Array(shards.collect())
}

/// A line for each node.
fn nodes(topology: &Topology<'_>) -> String {
    let (runs, epoch) = (topology.runs(), topology.version());
    let mut text = String::new();
    for node in topology.nodes() {
        let endpoint = topology.endpoint(node);
        let bus = u32::from(endpoint.port) + BUS_PORT_ABOVE;
        let myself = if node == topology.me() { "myself," } else { "" };
        let (suspected, link) = if topology.is_silent(node) {
            (",fail?", "disconnected")
        } else {
            ("", "connected")
        };
        text += &format!(
            "{} {endpoint}@{bus} {myself}master{suspected} - 0 0 {epoch} {link}",
            long_id(node)
        );
        for run in runs_of(&runs, node) {
            // Writing to a String cannot fail.
            let _ = write!(text, " {}-{}", run.first, run.last);
        }
        text.push('\n');
    }
    text
}

fn info(topology: &Topology<'_>) -> String {
    let (runs, nodes) = (topology.runs(), topology.nodes());
    let masters = nodes
        .iter()
        .filter(|&&node| runs_of(&runs, node).next().is_some());
    let suspected: u16 = runs
        .iter()
        .filter(|run| topology.is_silent(run.node))
        .map(|run| run.last - run.first + 1)
        .sum();
    let lines = [
        ("cluster_enabled", 1),
        ("cluster_slots_assigned", SLOTS.into()),
        ("cluster_slots_ok", (SLOTS - suspected).into()),
        ("cluster_slots_pfail", suspected.into()),
        ("cluster_slots_fail", 0),
        ("cluster_known_nodes", nodes.len() as u64),
        ("cluster_size", masters.count() as u64),
        ("cluster_current_epoch", topology.version()),
        ("cluster_my_epoch", topology.version()),
    ];
    // Clients refuse to connect to a cluster that is not ok, and would not see it heal.
    let mut text = "cluster_state:ok\r\n".to_owned();
    for (name, value) in lines {
        text += &format!("{name}:{value}\r\n");
    }
    text
}

/// The connections that there are: each node makes one to each other.
fn links(cluster: &impl Cluster) -> Reply {
    let number = |number: u64| Reply::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let now_ms = u64::try_from(unix_time_us() / 1000).unwrap_or(0);
    let links = cluster.links().into_iter().filter(|link| link.is_connected);
    let links = links.map(|link| {
        let since_ms = now_ms.saturating_sub(link.connected_for_ms);
        map([
            ("direction", Reply::fixed("to")),
            ("node", Reply::text(long_id(link.node))),
            ("create-time", number(since_ms)),
            ("events", Reply::fixed("rw")),
            ("send-buffer-allocated", number(link.queued_bytes)),
            ("send-buffer-used", number(link.queued_bytes)),
        ])
    });
    Reply::Array(links.collect())
}

/// Keys of a slot that are mastered here, `most` at most: found by walking through all keys here.
async fn keys_in<B: Backend>(
    slot: u16,
    most: usize,
    topology: &Topology<'_>,
    backend: &B,
) -> Result<Vec<Bytes>, Reply> {
    let mut found = Vec::new();
    if topology.master(slot) != topology.me() {
        return Ok(found);
    }
    let mut cursor = 0;
    while found.len() < most {
        let step = Command::Scan(ScanArgs {
            cursor,
            pattern: None,
            count: WALK_STEP,
            of_type: None,
        });
        let replies = backend.execute(vec![step], Consistency::default()).await;
        let (next, keys) = read_scan(replies)?;
        found.extend(keys.into_iter().filter(|key| slot_of(key) == slot));
        match next {
            0 => break,
            next => cursor = next,
        }
    }
    found.truncate(most);
    Ok(found)
}

/// The cursor and the keys of SCAN's reply.
fn read_scan(replies: Vec<Reply>) -> Result<(u64, Vec<Bytes>), Reply> {
    const STRANGE: Reply = Reply::error("ERR the keys could not be listed: try again");
    let Ok([reply]) = <[Reply; 1]>::try_from(replies) else {
        return Err(STRANGE);
    };
    let parts = match reply {
        Reply::Array(parts) => parts,
        error @ Reply::Error(_) => return Err(error),
        _ => return Err(STRANGE),
    };
    let Ok([Reply::Bulk(cursor), Reply::Array(keys)]) = <[Reply; 2]>::try_from(parts) else {
        return Err(STRANGE);
    };
    let cursor = std::str::from_utf8(&cursor).ok();
    let cursor = cursor
        .and_then(|cursor| cursor.parse().ok())
        .ok_or(STRANGE)?;
    let keys = keys.into_iter().filter_map(|key| match key {
        Reply::Bulk(key) => Some(key),
        _ => None,
    });
    Ok((cursor, keys.collect()))
}
