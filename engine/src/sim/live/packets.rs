//! What packets say, in short and in full: for the picture of what is under way, and for whoever clicks on it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::action::Number;
use crate::command::Command;
use crate::ring::entry::{Content, Entry};
use crate::ring::message::{Body, Message};
use crate::ring::node::{Packet, Said};
use crate::ring::{Index, RangeId, Term};

/// Kinds of messages, each by its place here.
pub(super) const KINDS: [&str; 24] = [
    "heartbeat",
    "append",
    "report",
    "pre-vote",
    "vote",
    "ballot",
    "chunk",
    "chunk-stored",
    "handover",
    "ask-index",
    "read-index",
    "knock",
    "removed",
    "gone",
    "scrub",
    "digested",
    "replace",
    "write",
    "written",
    "read",
    "answer",
    "map",
    "greeting",
    "led",
];

/// Messages of one packet that are remembered.
pub(super) const MESSAGES_MOST: usize = 16;

/// One message, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gist {
    /// Its place in [`KINDS`].
    pub(super) kind: usize,
    pub(super) range: Option<RangeId>,
    pub(super) term: Term,
    /// The last entry that it brings, asks for or confirms; 0 for none.
    pub(super) index: Index,
}

/// What replicas have last been heard to hold, so that a report with news is told from one that repeats itself.
#[derive(Default)]
pub(super) struct Reported(BTreeMap<(RangeId, usize), Index>);

impl Reported {
    /// The messages of a packet from a machine that tell something, besides that it is there.
    pub(super) fn news(&mut self, from: usize, packet: &Packet) -> Vec<Gist> {
        let said = packet.said.iter().filter(|said| self.is_news(from, said));
        said.map(gist).collect()
    }

    fn is_news(&mut self, from: usize, said: &Said) -> bool {
        match said {
            Said::Replica(message) => match &message.body {
                Body::Append(append) => !append.entries.is_empty(),
                Body::Report(report) => {
                    let before = self.0.entry((message.range, from)).or_default();
                    let is_more = report.stored > *before;
                    *before = report.stored;
                    is_more || report.missing.is_some()
                }
                _ => true,
            },
            Said::Greeting | Said::Led(_) => false,
            _ => true,
        }
    }
}

fn place_of(name: &str) -> usize {
    KINDS.iter().position(|kind| *kind == name).unwrap_or(0)
}

/// A message in short.
pub(super) fn gist(said: &Said) -> Gist {
    let (name, range, term, index) = match said {
        Said::Replica(message) => {
            let index = index_of(message);
            return Gist {
                kind: place_of(message.body.name()),
                range: Some(message.range),
                term: message.term,
                index,
            };
        }
        Said::Asked(asked) => ("write", Some(asked.range), 0, 0),
        Said::Answered { .. } => ("written", None, 0, 0),
        Said::AskedToRead(asked) => ("read", Some(asked.range), 0, 0),
        Said::AnsweredRead { .. } => ("answer", None, 0, 0),
        Said::Map(map) => ("map", None, 0, map.version),
        Said::Knock(range, _) => ("knock", Some(*range), 0, 0),
        Said::Greeting => ("greeting", None, 0, 0),
        Said::Led(_) => ("led", None, 0, 0),
    };
    Gist {
        kind: place_of(name),
        range,
        term,
        index,
    }
}

fn index_of(message: &Message) -> Index {
    match &message.body {
        Body::PreVote { last } | Body::Vote { last, .. } => last.index,
        Body::Append(append) => {
            let last = append.entries.last();
            last.map_or(append.before.index, |entry| entry.index)
        }
        Body::Report(report) => report.stored,
        Body::Chunk(chunk) => chunk.head.at.index,
        Body::ReadIndex { index, .. } => index.unwrap_or(0),
        Body::Scrub { at } | Body::Digested { at, .. } | Body::Replace { at } => *at,
        Body::Removed { at } => at.index,
        _ => 0,
    }
}

/// A packet, decoded for people.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PacketView {
    /// Its number.
    pub id: u64,
    /// The machine that sent it.
    pub from: Number,
    /// The machine that it went to; 0 for a node that is gone.
    pub to: Number,
    /// When it was sent, in virtual milliseconds.
    pub sent_ms: f64,
    /// Messages in it, those left out here included.
    pub count: usize,
    /// Its first messages with news.
    pub messages: Vec<MessageView>,
}

/// A message, decoded for people.
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// What it is: one of the message kinds.
    pub kind: &'static str,
    /// Its range; none if it is about the whole node. The meta range is 4294967295.
    pub range: Option<RangeId>,
    /// Its sender's term there.
    pub term: Term,
    /// What it says: name and value.
    pub fields: Vec<(&'static str, String)>,
}

/// A message in full.
pub(super) fn view(said: &Said) -> MessageView {
    let Gist {
        kind, range, term, ..
    } = gist(said);
    let fields = match said {
        Said::Replica(message) => fields_of(message),
        Said::Asked(asked) => vec![
            ("command", command_of(&asked.payload)),
            ("atLeast", asked.at_least.to_string()),
        ],
        Said::AskedToRead(asked) => vec![
            ("command", command_of(&asked.payload)),
            ("level", format!("{:?}", asked.level)),
        ],
        Said::Answered { outcome, .. } | Said::AnsweredRead { outcome, .. } => {
            vec![("outcome", format!("{outcome:?}"))]
        }
        Said::Map(map) => vec![
            ("version", map.version.to_string()),
            ("members", map.members.len().to_string()),
        ],
        Said::Knock(_, member) => vec![("member", member.node.to_string())],
        Said::Led(led) => vec![("ranges", led.len().to_string())],
        Said::Greeting => Vec::new(),
    };
    MessageView {
        kind: KINDS[kind],
        range,
        term,
        fields,
    }
}

fn fields_of(message: &Message) -> Vec<(&'static str, String)> {
    match &message.body {
        Body::PreVote { last } => vec![("last", last.to_string())],
        Body::Vote { last, handover } => vec![
            ("last", last.to_string()),
            ("handover", handover.to_string()),
        ],
        Body::Ballot {
            asked,
            pre,
            granted,
            flagged,
        } => vec![
            ("asked", asked.to_string()),
            ("preVote", pre.to_string()),
            ("granted", granted.to_string()),
            ("mayHaveForgotten", flagged.to_string()),
        ],
        Body::Append(append) => {
            let mut fields = vec![
                ("before", append.before.to_string()),
                ("commit", append.commit.to_string()),
                ("round", append.round.to_string()),
            ];
            let entries = append.entries.iter().take(MESSAGES_MOST);
            fields.extend(entries.map(|entry| ("entry", text_of(entry))));
            fields
        }
        Body::Report(report) => vec![
            ("stored", report.stored.to_string()),
            ("applied", report.applied.to_string()),
            ("round", report.round.to_string()),
            ("missing", report.missing.is_some().to_string()),
        ],
        Body::Chunk(chunk) => vec![
            ("at", chunk.head.at.to_string()),
            ("number", chunk.number.to_string()),
            ("bytes", chunk.bytes.len().to_string()),
            ("last", chunk.last.to_string()),
        ],
        Body::ChunkStored { next, .. } => vec![("next", next.to_string())],
        Body::AskIndex { at_least, .. } => vec![("atLeast", at_least.to_string())],
        Body::ReadIndex { index, .. } => vec![("index", format!("{index:?}"))],
        Body::Removed { at } => vec![("at", at.to_string())],
        Body::Scrub { at } | Body::Replace { at } => vec![("at", at.to_string())],
        Body::Digested { at, digest } => {
            vec![("at", at.to_string()), ("digest", format!("{digest:016x}"))]
        }
        Body::Knock { passed_on } => vec![("passedOn", passed_on.to_string())],
        Body::Handover | Body::Gone => Vec::new(),
    }
}

fn text_of(entry: &Entry) -> String {
    let what = match &entry.content {
        Content::Empty => "nothing".to_owned(),
        Content::Command(payload) => command_of(payload),
        Content::Configuration(_) => "a configuration".to_owned(),
    };
    format!("{} {what}", entry.id())
}

/// A payload as the words that a client sent.
fn command_of(payload: &[u8]) -> String {
    let command = payload
        .split_first()
        .map(|(_, bytes)| Command::decode(bytes));
    let Some(Ok(command)) = command else {
        return format!("{} bytes", payload.len());
    };
    text_of_words(&command.words())
}

/// Words in a line, for people.
pub(super) fn text_of_words(words: &[bytes::Bytes]) -> String {
    let shown = words.iter().map(|word| String::from_utf8_lossy(word));
    shown.collect::<Vec<_>>().join(" ")
}
