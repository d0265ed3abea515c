//! A state small enough to be compared in full at every step: lists that commands append to and clear.
//!
//! What it is at an index is a pure function of the entries up to there, time and seed included, so that two
//! replicas that applied the same entries hold the same state, and two that did not do not.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::command::Reply;
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{Index, LogId};
use crate::ring::membership::Configuration;

/// Tells writes apart, over a whole run.
pub(in crate::ring::range) type WriteId = u64;

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::range) enum Command {
    /// Append the write's id to a list; answers with its length.
    Push(u8),
    /// Remove a list; answers with the length that it had.
    Clear(u8),
}

impl Command {
    pub(super) fn encode(self, write: WriteId) -> Bytes {
        let (kind, list) = match self {
            Self::Push(list) => (0, list),
            Self::Clear(list) => (1, list),
        };
        let mut bytes = vec![kind, list];
        bytes.extend_from_slice(&write.to_be_bytes());
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> (Self, WriteId) {
        let write = u64::from_be_bytes(bytes[2..10].try_into().unwrap());
        match bytes[0] {
            0 => (Self::Push(bytes[1]), write),
            _ => (Self::Clear(bytes[1]), write),
        }
    }
}

/// The write that an entry carries.
pub(super) fn write_of(entry: &Entry) -> Option<WriteId> {
    match &entry.content {
        Content::Command(payload) => Some(Command::decode(payload).1),
        _ => None,
    }
}

/// A list: its length, and a number that depends on everything in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct List {
    length: u64,
    sum: u64,
}

/// The state of one replica.
#[derive(Clone, Debug)]
pub(in crate::ring::range) struct State {
    /// The last entry applied.
    pub(super) at: LogId,
    /// Its time.
    pub(super) time_ms: u64,
    /// The newest configuration at or before it.
    pub(super) configuration: (Index, Configuration),
    /// Depends on every entry applied.
    history: u64,
    lists: BTreeMap<u8, List>,
}

fn mix(a: u64, b: u64) -> u64 {
    let mut mixed = a.rotate_left(23) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}

/// A number that two entries share only if they are equal, as far as a test cares.
pub(super) fn fingerprint(entry: &Entry) -> u64 {
    let content = match &entry.content {
        Content::Empty => 1,
        Content::Command(payload) => payload.iter().fold(2, |sum, &byte| mix(sum, byte.into())),
        Content::Configuration(configuration) => {
            let members = configuration.members();
            members.iter().fold(3, |sum, member| {
                let LogId { term, index } = member.incarnation;
                mix(mix(mix(sum, member.node.0), term), index)
            })
        }
    };
    mix(
        mix(mix(mix(content, entry.time_ms), entry.seed), entry.term),
        entry.index,
    )
}

impl State {
    pub(super) fn new(configuration: Configuration) -> Self {
        Self {
            at: LogId::default(),
            time_ms: 0,
            configuration: (0, configuration),
            history: 0,
            lists: BTreeMap::new(),
        }
    }

    /// Applies an entry; what a command answers.
    pub(super) fn apply(&mut self, entry: &Entry) -> Option<Reply> {
        self.at = entry.id();
        self.time_ms = entry.time_ms;
        self.history = mix(self.history, fingerprint(entry));
        match &entry.content {
            Content::Empty => None,
            Content::Configuration(configuration) => {
                self.configuration = (entry.index, configuration.clone());
                None
            }
            Content::Command(payload) => Some(self.run(Command::decode(payload))),
        }
    }

    fn run(&mut self, (command, write): (Command, WriteId)) -> Reply {
        match command {
            Command::Push(name) => {
                let list = self.lists.entry(name).or_default();
                list.length += 1;
                list.sum = mix(list.sum, write);
                Reply::Int(list.length as i64)
            }
            Command::Clear(name) => {
                let had = self.lists.remove(&name).unwrap_or_default();
                Reply::Int(had.length as i64)
            }
        }
    }

    /// A number that two states share only if they are equal, as far as a test cares.
    pub(super) fn digest(&self) -> u64 {
        let lists = self.lists.iter();
        lists.fold(self.history, |sum, (&name, list)| {
            mix(mix(mix(sum, name.into()), list.length), list.sum)
        })
    }

    /// Changes it behind everybody's back.
    pub(super) fn rot(&mut self) {
        self.lists.entry(0).or_default().sum ^= 1;
    }

    /// How long a list is.
    pub(in crate::ring::range) fn length(&self, list: u8) -> u64 {
        self.lists.get(&list).map_or(0, |list| list.length)
    }

    /// The parts of a snapshot: what comes before the lists, then one list each.
    pub(super) fn part(&self, number: u64) -> (Bytes, bool) {
        let last = number as usize >= self.lists.len();
        if number == 0 {
            return (self.history.to_be_bytes().to_vec().into(), last);
        }
        let Some((&name, list)) = self.lists.iter().nth(number as usize - 1) else {
            return (Bytes::new(), true);
        };
        let mut bytes = vec![name];
        bytes.extend_from_slice(&list.length.to_be_bytes());
        bytes.extend_from_slice(&list.sum.to_be_bytes());
        (bytes.into(), last)
    }

    /// Takes a snapshot's parts in; `merge` leaves what was there.
    pub(super) fn install<'a>(&mut self, parts: impl Iterator<Item = &'a Bytes>, merge: bool) {
        if !merge {
            self.lists.clear();
        }
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        for part in parts {
            match part.len() {
                8 => self.history = number(part),
                17 => {
                    let (length, sum) = (number(&part[1..9]), number(&part[9..]));
                    self.lists.insert(part[0], List { length, sum });
                }
                _ => {}
            }
        }
    }
}
