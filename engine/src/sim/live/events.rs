//! The trace: what has happened, a row of numbers each, so that a page takes thousands of them as one array.
//!
//! A row has [`COLUMNS`] numbers: time in virtual milliseconds, kind (a code of [`kinds`]), machine, the other machine
//! (0 for none), range (its arc, 256 for the meta range, -1 for none), term, index, id (of a packet or a request), and
//! two more whose meaning the kind decides.

use super::action::Number;
use crate::ring::trace::Event;
use crate::ring::{META, NodeId, RangeId};
use crate::slot::ARCS;

/// Numbers of a row.
pub const COLUMNS: usize = 10;

/// Rows that wait to be taken, at most; then the oldest are dropped.
const ROWS_MOST: usize = 100_000;

/// What a row tells. Codes and names stay as they are; what is new comes behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Sent = 1,
    Delivered = 2,
    Dropped = 3,
    PreVote = 10,
    Campaign = 11,
    Voted = 12,
    Elected = 13,
    SteppedDown = 14,
    Appended = 15,
    Stored = 16,
    Acked = 17,
    Committed = 18,
    Applied = 19,
    Truncated = 20,
    Confirmed = 21,
    Configured = 22,
    SnapshotStarted = 23,
    SnapshotInstalled = 24,
    Amnesiac = 25,
    Remembered = 26,
    Diverged = 27,
    Recovered = 28,
    Mismatch = 29,
    Destroyed = 30,
    Asked = 40,
    Answered = 41,
    Started = 50,
    Killed = 51,
    Paused = 52,
    Resumed = 53,
    Wiped = 54,
    Gone = 55,
    Failed = 56,
    Done = 60,
}

/// Each kind's code and name.
pub fn kinds() -> impl Iterator<Item = (u8, &'static str)> {
    ALL.iter().map(|&(kind, name)| (kind as u8, name))
}

const ALL: [(Kind, &str); 34] = [
    (Kind::Sent, "sent"),
    (Kind::Delivered, "delivered"),
    (Kind::Dropped, "dropped"),
    (Kind::PreVote, "pre-vote"),
    (Kind::Campaign, "campaign"),
    (Kind::Voted, "voted"),
    (Kind::Elected, "elected"),
    (Kind::SteppedDown, "stepped-down"),
    (Kind::Appended, "appended"),
    (Kind::Stored, "stored"),
    (Kind::Acked, "acked"),
    (Kind::Committed, "committed"),
    (Kind::Applied, "applied"),
    (Kind::Truncated, "truncated"),
    (Kind::Confirmed, "confirmed"),
    (Kind::Configured, "configured"),
    (Kind::SnapshotStarted, "snapshot-started"),
    (Kind::SnapshotInstalled, "snapshot-installed"),
    (Kind::Amnesiac, "amnesiac"),
    (Kind::Remembered, "remembered"),
    (Kind::Diverged, "diverged"),
    (Kind::Recovered, "recovered"),
    (Kind::Mismatch, "mismatch"),
    (Kind::Destroyed, "destroyed"),
    (Kind::Asked, "asked"),
    (Kind::Answered, "answered"),
    (Kind::Started, "started"),
    (Kind::Killed, "killed"),
    (Kind::Paused, "paused"),
    (Kind::Resumed, "resumed"),
    (Kind::Wiped, "wiped"),
    (Kind::Gone, "gone"),
    (Kind::Failed, "failed"),
    (Kind::Done, "done"),
];

/// One row, before it is numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    pub(super) node: Number,
    pub(super) peer: Number,
    pub(super) range: Option<RangeId>,
    pub(super) term: u64,
    pub(super) index: u64,
    pub(super) id: u64,
    pub(super) detail: f64,
    pub(super) more: f64,
}

/// Rows that were not taken yet.
#[derive(Default)]
pub(super) struct Events {
    rows: Vec<f64>,
    dropped: u64,
    /// Rows that there ever were.
    pub(super) count: u64,
}

/// A range as a picture has it.
pub(super) fn arc_number(range: RangeId) -> f64 {
    match range {
        META => f64::from(ARCS),
        range => f64::from(range),
    }
}

impl Events {
    pub(super) fn add(&mut self, now_us: u64, kind: Kind, row: Row) {
        self.count += 1;
        if self.rows.len() >= ROWS_MOST * COLUMNS {
            let half = ROWS_MOST / 2;
            self.rows.drain(..half * COLUMNS);
            self.dropped += half as u64;
        }
        self.rows.extend([
            now_us as f64 / 1000.0,
            f64::from(kind as u8),
            f64::from(row.node),
            f64::from(row.peer),
            row.range.map_or(-1.0, arc_number),
            row.term as f64,
            row.index as f64,
            row.id as f64,
            row.detail,
            row.more,
        ]);
    }

    /// The rows since the last call, one behind the other, and how many had to be dropped before them.
    pub(super) fn take(&mut self) -> (Vec<f64>, u64) {
        (
            std::mem::take(&mut self.rows),
            std::mem::take(&mut self.dropped),
        )
    }
}

/// What a replica has seen, as a row. `number_of` gives a node's machine, 0 if it has none any more.
pub(super) fn row_of(
    range: RangeId,
    event: &Event,
    number_of: impl Fn(NodeId) -> Number,
) -> Option<(Kind, Row)> {
    let mut row = Row {
        range: Some(range),
        ..Row::default()
    };
    let kind = match *event {
        Event::Sent { .. } => return None,
        Event::PreVote { term } => {
            row.term = term;
            Kind::PreVote
        }
        Event::Campaign { term } => {
            row.term = term;
            Kind::Campaign
        }
        Event::Voted { term, candidate } => {
            (row.term, row.peer) = (term, number_of(candidate));
            Kind::Voted
        }
        Event::Elected {
            term,
            last,
            by_flagged,
        } => {
            (row.term, row.index) = (term, last.index);
            row.detail = f64::from(u8::from(by_flagged));
            Kind::Elected
        }
        Event::SteppedDown { term, .. } => {
            row.term = term;
            Kind::SteppedDown
        }
        Event::Appended { at, request } => {
            (row.term, row.index) = (at.term, at.index);
            row.detail = f64::from(u8::from(request.is_some()));
            Kind::Appended
        }
        Event::Stored { upto } => {
            row.index = upto;
            Kind::Stored
        }
        Event::Acked { by, upto } => {
            (row.peer, row.index) = (number_of(by), upto);
            Kind::Acked
        }
        Event::Committed { upto } => {
            (row.term, row.index) = (upto.term, upto.index);
            Kind::Committed
        }
        Event::Applied { upto } => {
            (row.term, row.index) = (upto.term, upto.index);
            Kind::Applied
        }
        Event::Truncated { from } => {
            row.index = from;
            Kind::Truncated
        }
        Event::Confirmed { round, index } => {
            (row.index, row.detail) = (index, round as f64);
            Kind::Confirmed
        }
        Event::Configured { at, .. } => {
            row.index = at;
            Kind::Configured
        }
        Event::SnapshotStarted { to, at } => {
            (row.peer, row.term, row.index) = (number_of(to), at.term, at.index);
            Kind::SnapshotStarted
        }
        Event::SnapshotInstalled { at } => {
            (row.term, row.index) = (at.term, at.index);
            Kind::SnapshotInstalled
        }
        Event::Amnesiac => Kind::Amnesiac,
        Event::Remembered => Kind::Remembered,
        Event::Diverged { behind, entries } => {
            (row.term, row.index) = (behind.term, behind.index);
            row.detail = entries as f64;
            Kind::Diverged
        }
        Event::Recovered { behind } => {
            (row.term, row.index) = (behind.term, behind.index);
            Kind::Recovered
        }
        Event::Mismatch { node, at } => {
            (row.peer, row.index) = (number_of(node), at);
            Kind::Mismatch
        }
        Event::Destroyed => Kind::Destroyed,
    };
    Some((kind, row))
}
