//! Clients of a ring: each request goes to a chosen node, which answers it as a server would, wherever its key is led.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::action::{Load, Number, Pattern};
use super::events::{Kind, Row};
use super::options::invalid;
use super::record::Part;
use super::ring::{Due, Ring};
use super::verdict::is_unknown;
use super::wire::Said;
use crate::command::{Command, Parsed, Reply, parse};
use crate::random::Random;
use crate::ring::RangeId;
use crate::ring::driver::Consistency;
use crate::slot::{arc_of, slot_of};
use crate::{Result, Runtime, Work};

/// Requests that may be open; a load that meets more waits.
const OPEN_MOST: usize = 2_000;
/// Answers that wait to be taken.
const ANSWERS_MOST: usize = 10_000;
/// Requests a second, at most.
const PER_S_MOST: u32 = 10_000;
/// The longest value that a load writes.
const VALUE_BYTES_MOST: u32 = 64 << 10;

const REFUSED: Reply = Reply::error("REFUSED nobody takes connections there: nothing was done");
const BROKEN_READ: Reply = Reply::error("BROKEN the connection broke before the answer came");
const BROKEN_WRITE: Reply =
    Reply::error("UNKNOWN the connection broke: the write may or may not take effect");

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request.
    pub id: u64,
    /// The node that was asked.
    pub node: Number,
    /// When it was asked, in virtual microseconds.
    pub asked_us: u64,
    /// When it was answered.
    pub answered_us: u64,
    /// The answer.
    pub reply: Reply,
}

/// What has been counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) asked: u64,
    pub(super) acknowledged: u64,
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
}

/// A request without an answer.
pub(super) struct Open {
    pub(super) place: usize,
    pub(super) asked_us: u64,
    pub(super) is_write: bool,
    pub(super) range: Option<RangeId>,
    /// Somebody wants to hear the answer.
    is_wanted: bool,
    parts: Vec<Part>,
}

/// See the module.
pub(super) struct Clients {
    random: Random,
    pub(super) requests: BTreeMap<u64, Open>,
    next_id: u64,
    answers: Vec<Answer>,
    pub(super) counts: Counts,
    pub(super) load: Load,
    /// Tells this load from those before it.
    load_serial: u64,
    /// What the load has asked for.
    drawn: u64,
}

impl Clients {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            requests: BTreeMap::new(),
            next_id: 1,
            answers: Vec::new(),
            counts: Counts::default(),
            load: Load::default(),
            load_serial: 0,
            drawn: 0,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.requests.len()
    }
}

/// A command of a client's words.
pub(super) fn command_of(words: &[Bytes]) -> Result<Command> {
    let mut words = words.to_vec();
    match parse(&mut words) {
        Ok(Parsed::Store(command)) => Ok(command),
        Ok(Parsed::Session(_)) => Err(invalid(
            "asking a node",
            "this command is about a connection, and there are none",
        )),
        Err(Reply::Error(text)) => Err(invalid("asking a node", text)),
        Err(other) => Err(invalid("asking a node", format!("{other:?}"))),
    }
}

impl Ring {
    /// Sends a request to a machine's node. Its number.
    pub(super) fn send_request(
        &mut self,
        place: usize,
        command: Command,
        how: Consistency,
        is_wanted: bool,
    ) -> u64 {
        let id = self.clients.next_id;
        self.clients.next_id += 1;
        self.clients.counts.asked += 1;
        let is_write = command.is_write();
        let range = command
            .keys()
            .next()
            .map(|key| RangeId::from(arc_of(slot_of(key))));
        let number = self.machines[place].number;
        self.digest.add_all([self.now_us, id, u64::from(number)]);
        let row = Row {
            node: number,
            range,
            id,
            detail: f64::from(u8::from(is_write)),
            ..Row::default()
        };
        self.events.add(self.now_us, Kind::Asked, row);
        let mut open = Open {
            place,
            asked_us: self.now_us,
            is_write,
            range,
            is_wanted,
            parts: Vec::new(),
        };
        let machine = &self.machines[place];
        let Some(node) = machine.node.clone() else {
            self.answer_to(id, open, &REFUSED, None);
            return id;
        };
        // What was told to answer at once may be old.
        if !how.weak {
            open.parts = self.record.invoke(number, &command, self.now_us);
        }
        self.clients.requests.insert(id, open);
        let wire = self.wire(place);
        self.machines[place].process.spawn(Work::Ring, async move {
            let mut replies = node.execute(vec![command], how).await;
            if let Some(reply) = replies.pop() {
                wire.say(Said::Answered(id, reply));
            }
        });
        id
    }

    /// An answer has come.
    pub(super) fn take_answer(&mut self, id: u64, reply: Reply) {
        if let Some(open) = self.clients.requests.remove(&id) {
            self.answer_to(id, open, &reply, Some(&reply));
        }
    }

    /// The connections to a machine break.
    pub(super) fn disconnect(&mut self, place: usize) {
        let requests = &mut self.clients.requests;
        let broken: Vec<(u64, Open)> =
            (requests.extract_if(.., |_, open| open.place == place)).collect();
        for (id, open) in broken {
            let reply = match open.is_write {
                true => &BROKEN_WRITE,
                false => &BROKEN_READ,
            };
            self.answer_to(id, open, reply, None);
        }
    }

    fn answer_to(&mut self, id: u64, open: Open, told: &Reply, heard: Option<&Reply>) {
        let counts = &mut self.clients.counts;
        let outcome = match (told.is_error(), open.is_write) {
            (false, true) => {
                counts.acknowledged += 1;
                0
            }
            (false, false) => {
                counts.answered += 1;
                0
            }
            (true, true) if is_unknown(told) => {
                counts.unknown += 1;
                2
            }
            (true, _) => {
                counts.refused += 1;
                1
            }
        };
        self.record.finish(open.parts, heard, self.now_us);
        let mut bytes = Vec::new();
        told.encode(&mut bytes);
        let hash = xxhash_rust::xxh3::xxh3_64(&bytes);
        self.digest.add_all([self.now_us, id, hash]);
        let node = self.machines[open.place].number;
        let row = Row {
            node,
            range: open.range,
            id,
            detail: f64::from(outcome),
            more: open.asked_us as f64 / 1000.0,
            ..Row::default()
        };
        self.events.add(self.now_us, Kind::Answered, row);
        if open.is_wanted && self.clients.answers.len() < ANSWERS_MOST {
            self.clients.answers.push(Answer {
                id,
                node,
                asked_us: open.asked_us,
                answered_us: self.now_us,
                reply: told.clone(),
            });
        }
    }

    /// Answers to what was asked, since the last call; those of a load are counted and not kept.
    pub fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.clients.answers)
    }

    /// Whether there can be such a load.
    pub(super) fn check_load(load: &Load) -> Result<()> {
        let wrong = |detail: String| Err(invalid("setting the load", detail));
        if load.per_s == 0 {
            return Ok(());
        }
        if load.per_s > PER_S_MOST {
            return wrong(format!(
                "{} requests a second: {PER_S_MOST} at most",
                load.per_s
            ));
        }
        if load.keys == 0 {
            return wrong("no keys".into());
        }
        if load.reads_percent > 100 {
            return wrong(format!("{} % reads", load.reads_percent));
        }
        if load.value_bytes > VALUE_BYTES_MOST {
            return wrong(format!(
                "values of {} bytes: {VALUE_BYTES_MOST} at most",
                load.value_bytes
            ));
        }
        Ok(())
    }

    pub(super) fn set_load(&mut self, load: Load) {
        let clients = &mut self.clients;
        clients.load = load;
        clients.load_serial += 1;
        clients.drawn = 0;
        if load.per_s > 0 {
            let serial = clients.load_serial;
            self.after(1, Due::Load(serial));
        }
    }

    /// The next request of the load.
    pub(super) fn load_on(&mut self, serial: u64) {
        if serial != self.clients.load_serial {
            return;
        }
        let Load {
            per_s,
            keys,
            pattern,
            ..
        } = self.clients.load;
        if pattern == Pattern::Sequence && self.clients.drawn >= u64::from(keys) {
            return self.set_load(Load::default());
        }
        let apart_us = (1_000_000 / u64::from(per_s.max(1))).max(1);
        let next_us = apart_us / 2 + self.clients.random.below(apart_us + 1);
        self.after(next_us.max(1), Due::Load(serial));
        let running: Vec<usize> = (self.machines.iter().enumerate())
            .filter(|(_, machine)| machine.node.is_some() && !machine.is_draining)
            .map(|(place, _)| place)
            .collect();
        if running.is_empty() || self.clients.requests.len() >= OPEN_MOST {
            return;
        }
        let place = running[self.clients.random.index(running.len())];
        let command = self.draw();
        self.send_request(place, command, Consistency::default(), false);
    }

    fn draw(&mut self) -> Command {
        let clients = &mut self.clients;
        let Load {
            keys,
            pattern,
            reads_percent,
            value_bytes,
            ..
        } = clients.load;
        let number = match pattern {
            Pattern::Sequence => clients.drawn,
            Pattern::Hot if clients.random.coin() => 0,
            _ => clients.random.below(u64::from(keys)),
        };
        clients.drawn += 1;
        let key: Bytes = format!("user:{number:03}").into();
        let reads =
            pattern != Pattern::Sequence && clients.random.below(100) < u64::from(reads_percent);
        if reads {
            return Command::Get(key);
        }
        let (serial, drawn) = (clients.load_serial, clients.drawn);
        let width = value_bytes as usize;
        let value = format!("{:<width$}", format!("v{serial}.{drawn}"));
        Command::set(key, value.into(), crate::command::Expiry::Clear)
    }
}
