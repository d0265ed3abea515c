//! What nodes send each other: a steering byte, and first words, a connection's bytes, or frames to be sealed.

use std::sync::Arc;

use bytes::Bytes;
use trilith::command::Reply;
use trilith::random::Random;
use trilith::ring::effect::{Outcome, ReadLevel, Refusal};
use trilith::ring::entry::{Content, Entry};
use trilith::ring::membership::{Configuration, Member, Voters};
use trilith::ring::message::{Append, Body, Chunk, Message, Missing, Report, SnapshotHead};
use trilith::ring::meta::{Map, Proposal};
use trilith::ring::node::{Forwarded, ForwardedRead, Packet, Said};
use trilith::ring::{LogId, NodeId, Quorum};
use trilith_server::bus::PROTOCOL;
use trilith_server::bus::fuzz::{frames, write};

pub fn bus(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => hello(random),
        1..4 => {
            let packets = packets(random);
            let framed = packets.iter().map(|bytes| (0, &bytes[..]));
            let mut out = vec![1 + 3 * random.below(80) as u8];
            out.extend_from_slice(&frames(framed));
            out
        }
        _ => to_be_sealed(random),
    }
}

fn hello(random: &mut Random) -> Vec<u8> {
    let mut out = b"\0TRILBUS\n".to_vec();
    out.extend_from_slice(&PROTOCOL.to_le_bytes());
    out.extend_from_slice(&[0, random.below(4) as u8]);
    for _ in 0..5 {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
    let address = format!("10.0.0.{}:6379", random.below(256));
    out.push(address.len() as u8);
    out.extend_from_slice(address.as_bytes());
    out
}

/// Some of them in several parts, with signs of life in between.
fn to_be_sealed(random: &mut Random) -> Vec<u8> {
    let mut out = vec![2];
    let mut frame = |kind: u8, payload: &[u8]| {
        out.push(kind);
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(payload);
    };
    for bytes in packets(random) {
        let (front, back) = bytes.split_at(random.below(bytes.len() as u64) as usize);
        if random.below(2) == 0 {
            frame(0, &bytes);
        } else {
            frame(1, front);
            frame(2, b"");
            frame(0, back);
        }
    }
    out
}

fn packets(random: &mut Random) -> Vec<Vec<u8>> {
    let count = 1 + random.below(3);
    let packets = (0..count).map(|_| Packet {
        from: node(random),
        to: node(random),
        map_version: random.below(99),
        said: (0..1 + random.below(4)).map(|_| said(random)).collect(),
    });
    packets.flat_map(write).collect()
}

fn said(random: &mut Random) -> Said {
    let (request, range) = (random.next(), random.below(257) as u32);
    match random.below(12) {
        0 => Said::Map(Box::new(map(random))),
        1 => Said::Greeting,
        2 => Said::Knock(range, member(random)),
        3 => Said::Asked(Forwarded {
            request,
            range,
            payload: payload(random),
            at_least: random.below(4) as u8,
        }),
        4 => Said::Answered {
            request,
            outcome: outcome(random),
        },
        5 => Said::Led((0..random.below(9)).map(|n| (n as u32, n)).collect()),
        6 => Said::AskedToRead(ForwardedRead {
            request,
            range,
            level: level(random),
            payload: payload(random),
        }),
        7 => Said::AnsweredRead {
            request,
            outcome: outcome(random),
        },
        _ => Said::Replica(Message {
            range,
            from: member(random),
            to: member(random),
            term: random.below(9),
            body: body(random),
        }),
    }
}

fn body(random: &mut Random) -> Body {
    let (last, index) = (log_id(random), random.below(1 << 20));
    match random.below(16) {
        0 => Body::PreVote { last },
        1 => Body::Vote {
            last,
            handover: random.below(2) == 0,
        },
        2 => Body::Ballot {
            asked: last.term,
            pre: random.below(2) == 0,
            granted: random.below(2) == 0,
            flagged: random.below(2) == 0,
        },
        3 => Body::Report(Report {
            stored: index,
            missing: (random.below(2) == 0).then_some(Missing {
                before: index,
                behind: index + 7,
                snapshot: random.below(2) == 0,
            }),
            applied: index,
            round: random.next(),
            nonce: (random.below(2) == 0).then(|| random.next()),
            wall_ms: 1_700_000_000_000,
            is_read_only: random.below(2) == 0,
        }),
        4 => Body::Chunk(Box::new(chunk(random))),
        5 => Body::ChunkStored {
            id: random.next(),
            next: index,
        },
        6 => Body::Handover,
        7 => Body::AskIndex {
            token: random.next(),
            at_least: 2,
        },
        8 => Body::ReadIndex {
            token: random.next(),
            index: (random.below(2) == 0).then_some(index),
        },
        9 => Body::Knock {
            passed_on: random.below(2) == 0,
        },
        10 => Body::Removed { at: last },
        11 => Body::Digested {
            at: index,
            digest: random.next(),
        },
        _ => Body::Append(append(random)),
    }
}

fn append(random: &mut Random) -> Append {
    let before = log_id(random);
    let entries = (1..=random.below(5)).map(|number| {
        let content = match random.below(4) {
            0 => Content::Empty,
            1 => Content::Configuration(configuration(random)),
            _ => Content::Command(payload(random)),
        };
        Arc::new(Entry {
            term: before.term,
            index: before.index + number,
            time_ms: 1_700_000_000_000 + number,
            seed: random.next(),
            content,
        })
    });
    Append {
        before,
        entries: entries.collect(),
        commit: before.index,
        round: random.next(),
        nonce: (random.below(2) == 0).then(|| (random.next(), before.index)),
        terms: (0..random.below(3)).map(|_| log_id(random)).collect(),
    }
}

fn chunk(random: &mut Random) -> Chunk {
    Chunk {
        head: SnapshotHead {
            id: random.next(),
            at: log_id(random),
            time_ms: 1_700_000_000_000,
            configuration: configuration(random),
            configured_at: random.below(99),
        },
        number: random.below(9),
        last: random.below(2) == 0,
        bytes: payload(random),
        terms: (0..random.below(3)).map(|_| log_id(random)).collect(),
    }
}

fn outcome(random: &mut Random) -> Outcome {
    match random.below(6) {
        0 => Outcome::Read {
            index: random.below(1 << 20),
            behind_ms: (random.below(2) == 0).then(|| random.below(5000)),
        },
        1 => Outcome::Changed(configuration(random)),
        2 => Outcome::NotMaster((random.below(2) == 0).then(|| node(random))),
        3 => Outcome::Refused(Refusal::TooFewReplicas),
        4 => Outcome::Unknown,
        _ => Outcome::Done {
            reply: reply(random, 0),
            at: log_id(random),
        },
    }
}

fn reply(random: &mut Random, depth: u64) -> Reply {
    let some = |random: &mut Random| {
        let count = random.below(4);
        (0..count).map(|_| reply(random, depth + 1)).collect()
    };
    match random.below(9 - depth.min(2)) {
        0 => Reply::OK,
        1 => Reply::SYNTAX,
        2 => Reply::Int(random.next() as i64),
        3 => Reply::Bulk(payload(random)),
        4 => Reply::Null,
        5 => Reply::NullArray,
        6 => Reply::text("text"),
        7 => Reply::Array(some(random)),
        _ => {
            let (keys, values): (Vec<_>, Vec<_>) = (some(random), some(random));
            Reply::Map(keys.into_iter().zip(values).collect())
        }
    }
}

fn map(random: &mut Random) -> Map {
    let address = |id: u64| format!("10.0.0.{id}:6379");
    let mut map = Map::alone(NodeId(1), address(1), "here".into(), Quorum::ALONE);
    for id in 2..2 + random.below(4) {
        let join = Proposal::join(NodeId(id), address(id), "there".into());
        if map.apply(&join).is_err() {
            break;
        }
    }
    map
}

fn configuration(random: &mut Random) -> Configuration {
    let mut voters = || Voters {
        members: (0..1 + random.below(3)).map(|_| member(random)).collect(),
        quorum: Quorum::ALONE,
    };
    Configuration {
        voters: voters(),
        outgoing: Some(voters()),
        learners: Vec::new(),
        semantics: 1,
    }
}

fn level(random: &mut Random) -> ReadLevel {
    match random.below(3) {
        0 => ReadLevel::Configured,
        1 => ReadLevel::Strong { at_least: 2 },
        _ => ReadLevel::Weak,
    }
}

fn member(random: &mut Random) -> Member {
    Member {
        node: node(random),
        incarnation: log_id(random),
    }
}

fn log_id(random: &mut Random) -> LogId {
    LogId {
        term: random.below(9),
        index: random.below(1 << 20),
    }
}

fn node(random: &mut Random) -> NodeId {
    NodeId(random.next() >> random.below(64))
}

fn payload(random: &mut Random) -> Bytes {
    let length = random.below(60);
    (0..length).map(|_| random.below(256) as u8).collect()
}
