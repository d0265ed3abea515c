//! The ring's records as the store writes them.
//!
//! An empty entry has an empty payload; a command's is the command, which is never empty; a configuration's
//! is its postcard, in a record of its own kind.

use std::sync::Arc;

use bytes::Bytes;

use crate::db::{AMNESIAC, FoundRange, Hard, Logged, Note};
use crate::ring::effect::{HardState, Record};
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{LogId, NodeId};
use crate::ring::membership::{Configuration, Member};
use crate::ring::range::Recovered;
use crate::{Error, Result};

const VOID: u32 = 2;

pub(super) fn configuration(configuration: &Configuration) -> Result<Bytes> {
    postcard::to_allocvec(configuration)
        .map(Bytes::from)
        .map_err(|error| super::invalid(format!("a configuration that cannot be written: {error}")))
}

pub(super) fn configuration_of(bytes: &[u8]) -> Result<Configuration> {
    postcard::from_bytes(bytes).map_err(|error| {
        Error::corrupt("reading a configuration", format!("it is damaged: {error}"))
    })
}

pub(super) fn logged(entry: &Entry) -> Result<Logged> {
    let payload = match &entry.content {
        Content::Empty => Bytes::new(),
        Content::Command(payload) if payload.is_empty() => {
            return Err(super::invalid("a command is never empty"));
        }
        Content::Command(payload) => payload.clone(),
        Content::Configuration(members) => configuration(members)?,
    };
    Ok(Logged {
        configures: matches!(entry.content, Content::Configuration(_)),
        term: entry.term,
        index: entry.index,
        time_ms: entry.time_ms,
        seed: entry.seed,
        payload,
    })
}

fn entry(logged: &Logged) -> Result<Entry> {
    let content = if logged.configures {
        Content::Configuration(configuration_of(&logged.payload)?)
    } else if logged.payload.is_empty() {
        Content::Empty
    } else {
        Content::Command(logged.payload.clone())
    };
    Ok(Entry {
        term: logged.term,
        index: logged.index,
        time_ms: logged.time_ms,
        seed: logged.seed,
        content,
    })
}

pub(super) fn hard(state: &HardState) -> Hard {
    let amnesiac = if state.amnesiac { AMNESIAC } else { 0 };
    let void = if state.void { VOID } else { 0 };
    Hard {
        version: 0,
        term: state.term,
        vote: state.vote.map(|node| node.0),
        flags: amnesiac | void,
    }
}

fn hard_state(hard: &Hard) -> HardState {
    HardState {
        term: hard.term,
        vote: hard.vote.map(NodeId),
        amnesiac: hard.flags & AMNESIAC != 0,
        void: hard.flags & VOID != 0,
    }
}

pub(super) fn note(record: &Record) -> Result<Note> {
    Ok(match record {
        Record::Entry(entry) => Note::Entry(logged(entry)?),
        Record::HardState(state) => Note::Hard(hard(state)),
        Record::Truncate(index) => Note::Truncate(*index),
    })
}

pub(super) fn member(found: &FoundRange) -> Member {
    Member {
        node: NodeId(found.node),
        incarnation: LogId::from_number(found.incarnation),
    }
}

pub(super) fn recovered(found: FoundRange) -> Result<Recovered> {
    let (at, members) = &found.configured;
    let mut configurations = vec![(*at, configuration_of(members)?)];
    let mut entries = Vec::with_capacity(found.entries.len());
    for logged in &found.entries {
        let entry = entry(logged)?;
        if let Content::Configuration(members) = &entry.content {
            configurations.push((entry.index, members.clone()));
        }
        entries.push(Arc::new(entry));
    }
    let applied = LogId {
        term: found.applied.term,
        index: found.applied.index,
    };
    Ok(Recovered {
        range: found.range,
        me: member(&found),
        state: hard_state(&found.hard),
        configurations,
        applied,
        applied_time_ms: found.applied.time_ms,
        before: applied,
        entries,
    })
}
