//! What clients asked and heard, in the order in which it happened, and how much of it was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use trilith::sim::checkers::{History, Op, OpId, Outcome, Reply as Seen};
use trilith_tests::Reply;

use crate::keys::{self, KEYS};

/// Errors that say that nothing was done and nothing will be.
const REFUSALS: [&str; 5] = ["MOVED", "TRYAGAIN", "NOREPLICAS", "CLUSTERDOWN", "READONLY"];

/// Errors that leave open what was done.
const UNCERTAIN: [&str; 2] = ["UNKNOWN", "IOERR"];

/// How one request ended, for who sent it.
#[derive(Debug)]
pub enum Ended {
    /// The server answered.
    Answered(Reply),
    /// The connection broke or stayed silent after the request had left.
    Lost,
    /// No server could be found to take it.
    Unsent,
}

/// The record of a run. Clients share it.
pub struct Recorder {
    began: Instant,
    history: Mutex<History>,
    reads: Vec<AtomicU64>,
    writes: Vec<AtomicU64>,
    unique: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
    surprises: Mutex<BTreeSet<String>>,
}

impl Recorder {
    pub fn new() -> Self {
        let zeros = || (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        Self {
            began: Instant::now(),
            history: Mutex::new(History::new()),
            reads: zeros(),
            writes: zeros(),
            unique: AtomicU64::new(1),
            errors: Mutex::default(),
            surprises: Mutex::default(),
        }
    }

    /// A number that nobody had before.
    pub fn unique(&self) -> u64 {
        self.unique.fetch_add(1, Relaxed)
    }

    /// Notes that an operation is about to be asked for.
    pub fn invoke(&self, client: u32, op: Op) -> OpId {
        // Keys are judged one by one, so each may pass for a slot of its own.
        let slot = keys::key_of(&op) as u16;
        let mut history = self.history.lock().unwrap();
        history.invoke(client, slot, op, self.now_us())
    }

    /// Notes how it ended.
    pub fn finish(&self, id: OpId, op: &Op, ended: &Ended) {
        let outcome = self.judge(op, ended);
        if matches!(outcome, Outcome::Ok(_)) {
            let counts = if keys::is_write(op) {
                &self.writes
            } else {
                &self.reads
            };
            counts[keys::key_of(op) as usize].fetch_add(1, Relaxed);
        }
        let mut history = self.history.lock().unwrap();
        history.finish(id, outcome, self.now_us());
    }

    fn judge(&self, op: &Op, ended: &Ended) -> Outcome {
        let text = match ended {
            Ended::Lost => "(no answer)",
            Ended::Unsent => "(nobody to ask)",
            Ended::Answered(Reply::Error(text)) => text,
            Ended::Answered(reply) => {
                return match keys::seen(op, reply) {
                    Some(seen) => Outcome::Ok(seen),
                    None => self.surprise(format!("{op:?} was answered {reply:?}")),
                };
            }
        };
        let word = text.split(' ').next().unwrap_or_default();
        let named = if text.starts_with('(') { text } else { word };
        let mut errors = self.errors.lock().unwrap();
        *errors.entry(named.to_owned()).or_default() += 1;
        match ended {
            Ended::Unsent => Outcome::Failed,
            Ended::Lost => Outcome::Unknown,
            Ended::Answered(_) if REFUSALS.contains(&word) => Outcome::Failed,
            Ended::Answered(_) if UNCERTAIN.contains(&word) => Outcome::Unknown,
            Ended::Answered(_) => self.surprise(format!("{op:?} was refused with {text:?}")),
        }
    }

    fn surprise(&self, what: String) -> Outcome {
        self.surprises.lock().unwrap().insert(what);
        Outcome::Unknown
    }

    /// How many reads of each key were answered.
    pub fn reads(&self) -> Vec<u64> {
        self.reads.iter().map(|count| count.load(Relaxed)).collect()
    }

    /// How many writes of each key were acknowledged.
    pub fn writes(&self) -> Vec<u64> {
        let counts = self.writes.iter();
        counts.map(|count| count.load(Relaxed)).collect()
    }

    /// How often each kind of error was heard.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().unwrap().clone()
    }

    /// Answers that no server should have given.
    pub fn surprises(&self) -> BTreeSet<String> {
        self.surprises.lock().unwrap().clone()
    }

    /// How an operation ended.
    pub fn outcome(&self, id: OpId) -> Outcome {
        let history = self.history.lock().unwrap();
        history.operations()[id].outcome.clone()
    }

    /// All that was noted so far.
    pub fn history(&self) -> History {
        self.history.lock().unwrap().clone()
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }
}

#[test]
fn errors_that_promise_that_nothing_was_done_are_believed_and_others_are_not() {
    let recorder = Recorder::new();
    let outcome = |text: &str| {
        let ended = Ended::Answered(Reply::Error(text.into()));
        recorder.judge(&Op::Incr(1), &ended)
    };
    assert_eq!(
        outcome("TRYAGAIN nothing was written, try again"),
        Outcome::Failed
    );
    assert_eq!(outcome("UNKNOWN may or may not"), Outcome::Unknown);
    assert!(recorder.surprises().is_empty());
    assert_eq!(outcome("ERR what is this"), Outcome::Unknown);
    assert_eq!(recorder.surprises().len(), 1);
    assert_eq!(recorder.judge(&Op::Incr(1), &Ended::Lost), Outcome::Unknown);
    assert_eq!(
        recorder.judge(&Op::Incr(1), &Ended::Unsent),
        Outcome::Failed
    );
    assert_eq!(
        recorder.judge(&Op::Incr(1), &Ended::Answered(Reply::Integer(3))),
        Outcome::Ok(Seen::Count(3))
    );
}
