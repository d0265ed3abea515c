//! The search of Wing and Gong, as Lowe has it: take one operation after another among those called
//! before the first return that is left, remember where one has been, go back when stuck.
//!
//! Four things keep it narrow, none of which can miss an order that exists:
//! - A read that the state allows is taken at once. So is a write that must be the next on its keys
//!   while nobody waits to see what they hold.
//! - A value that some operation has yet to see is not overwritten, if it cannot come back.
//! - Only operations that share keys, directly or through others, with the one that must return first
//!   are tried: the rest commutes with it.
//! - Of alike operations of unknown outcome the earliest goes first.

mod order;

use super::cell::{Cell, Sight};
use super::links::Links;
use super::problem::Problem;
use super::steps::{Map, Set, Step};

/// How a search ended.
pub(super) enum Found {
    /// An order exists.
    Order,
    /// None exists; this is how far one gets.
    Stuck(Stuck),
    /// It took too many steps to tell.
    Exhausted,
}

/// The farthest point: what cannot go on, and why.
pub(super) struct Stuck {
    /// Operations placed, and the last of them.
    pub(super) placed: usize,
    pub(super) last: Vec<u32>,
    /// Those that could be next, the most urgent first.
    pub(super) blocked: Vec<(u32, Block)>,
    deadline: u64,
}

pub(super) enum Block {
    /// A key does not hold what the step demands.
    Needs(Step, Cell),
    /// A key's value would be overwritten before the operation, if that one is known, has seen it.
    Hides(u32, Cell, Option<u32>),
}

/// What an operation has to do with a key.
struct Touch {
    key: u32,
    /// The sight it demands of the key, among those of the problem.
    sight: Option<u32>,
    /// Its node among the key's writers.
    writer: Option<u32>,
}

struct Frame {
    placed: usize,
    choices: usize,
}

pub(super) struct Search<'a> {
    problem: &'a Problem,
    touches: Vec<Vec<Touch>>,
    twins: Vec<Option<u32>>,
    sights: Map<Sight, u32>,
    /// For each sight the unplaced operations that demand it: the required ones, and all.
    waiting: Vec<(u32, u32)>,
    state: Vec<Cell>,
    placed: Vec<bool>,
    print: u128,
    /// What keys held before each write.
    undo: Vec<(u32, Cell)>,
    /// The operations placed, each with the length of `undo` before it.
    order: Vec<(u32, usize)>,
    /// Calls and returns by time: node 0 leads, then a call and a return for each operation.
    events: Links,
    /// For each key its unplaced writers by time of call, behind a node that leads.
    writers: Links,
    writer_ops: Vec<u32>,
    candidates: Vec<u32>,
    frames: Vec<Frame>,
    choices: Vec<u32>,
    been: Set<u128>,
    farthest: Option<Stuck>,
}

const fn call(op: u32) -> u32 {
    1 + 2 * op
}

const fn ret(op: u32) -> u32 {
    2 + 2 * op
}

impl Search<'_> {
    /// Searches, making at most `budget` choices.
    pub(super) fn run(mut self, budget: u64) -> Found {
        for _ in 0..budget {
            let Some(urgent) = self.take_what_is_sure() else {
                return Found::Order;
            };
            if !self.choose(urgent)
                && !self.go_back()
                && let Some(stuck) = self.farthest
            {
                return Found::Stuck(stuck);
            }
        }
        Found::Exhausted
    }

    /// Takes all that can be taken without a choice. Leaves the candidates for the next place, and tells
    /// the one that has to return first; none if every required operation has its place.
    fn take_what_is_sure(&mut self) -> Option<u32> {
        'again: loop {
            self.candidates.clear();
            let mut before = 0;
            loop {
                let node = self.events.next(before);
                if node == 0 {
                    return None;
                }
                let op = (node - 1) / 2;
                if node == ret(op) {
                    return Some(op);
                }
                if self.problem.ops[op as usize].required()
                    && let Ok(start) = self.apply(op)
                {
                    let reads = self.undo.len() == start;
                    if reads && self.only_reads(op) {
                        self.place(op, start);
                        continue;
                    }
                    if self.is_forced(op, start) {
                        self.place(op, start);
                        continue 'again;
                    }
                    self.roll_back(start);
                }
                self.candidates.push(op);
                before = node;
            }
        }
    }

    fn only_reads(&self, op: u32) -> bool {
        let touches = &self.touches[op as usize];
        touches.iter().all(|touch| touch.writer.is_none())
    }

    /// Takes the first of the choices that there are now, if any.
    fn choose(&mut self, urgent: u32) -> bool {
        if !self.been.insert(self.print) {
            return false;
        }
        let first = self.choices.len();
        for op in self.related(urgent) {
            let ready = self.twins[op as usize].is_none_or(|twin| self.placed[twin as usize]);
            if ready && !self.only_reads(op) && self.block(op).is_none() {
                self.choices.push(op);
            }
        }
        // The last is tried first.
        let ops = &self.problem.ops;
        self.choices[first..].sort_unstable_by_key(|&op| {
            let op = &ops[op as usize];
            std::cmp::Reverse((op.deadline, op.invoked))
        });
        if self.choices.len() == first {
            self.note_stuck(urgent);
            return false;
        }
        self.frames.push(Frame {
            placed: self.order.len(),
            choices: first,
        });
        self.take_choice()
    }

    fn take_choice(&mut self) -> bool {
        let Some(op) = self.choices.pop() else {
            return false;
        };
        match self.apply(op) {
            Ok(start) => self.place(op, start),
            Err(_) => return false,
        }
        true
    }

    /// Undoes the last choice that has an alternative, and takes that.
    fn go_back(&mut self) -> bool {
        while let Some(frame) = self.frames.last() {
            let (placed, choices) = (frame.placed, frame.choices);
            while self.order.len() > placed {
                self.displace();
            }
            if self.choices.len() > choices && self.take_choice() {
                return true;
            }
            self.frames.pop();
        }
        false
    }

    /// The candidates that share keys with `urgent`, directly or through other candidates.
    fn related(&self, urgent: u32) -> Vec<u32> {
        let mut keys = vec![false; self.state.len()];
        let mut related = vec![urgent];
        let mut rest: Vec<u32> = self.candidates.clone();
        rest.retain(|&op| op != urgent);
        let mut done = 0;
        while let Some(&op) = related.get(done) {
            done += 1;
            for touch in &self.touches[op as usize] {
                keys[touch.key as usize] = true;
            }
            let touches = |op: u32| &self.touches[op as usize];
            let joins = |op: &mut u32| touches(*op).iter().any(|touch| keys[touch.key as usize]);
            related.extend(rest.extract_if(.., joins));
        }
        related
    }

    /// Why `op` cannot be next, if it cannot.
    fn block(&mut self, op: u32) -> Option<Block> {
        let start = match self.apply(op) {
            Ok(start) => start,
            Err(step) => return Some(Block::Needs(step, self.state[step.key as usize])),
        };
        let hidden = (start..self.undo.len()).find_map(|place| {
            let (key, cell) = self.undo[place];
            let (required, _) = self.others_waiting(op, key, cell);
            required.then_some(Block::Hides(key, cell, None))
        });
        self.roll_back(start);
        hidden
    }

    /// Whether operations other than `op` wait to see the key hold `cell`: required ones, and any.
    fn others_waiting(&self, op: u32, key: u32, cell: Cell) -> (bool, bool) {
        if !self.problem.keys[key as usize].unique {
            return (false, true);
        }
        let Some(&sight) = self.sights.get(&cell.sight(key)) else {
            return (false, false);
        };
        let touches = &self.touches[op as usize];
        let own = u32::from(touches.iter().any(|touch| touch.sight == Some(sight)));
        let (required, any) = self.waiting[sight as usize];
        let own_required = if self.problem.ops[op as usize].required() {
            own
        } else {
            0
        };
        (required > own_required, any > own)
    }

    /// Whether `op`, just applied, must be the next to write its keys, and disturbs nobody before that.
    fn is_forced(&self, op: u32, start: usize) -> bool {
        let deadline = self.problem.ops[op as usize].deadline;
        self.touches[op as usize].iter().all(|touch| {
            let Some(node) = touch.writer else {
                return true;
            };
            let traits = self.problem.keys[touch.key as usize];
            let written = self.undo[start..].iter().find(|(key, _)| *key == touch.key);
            let Some(&(_, cell)) = written.filter(|_| traits.unique && !traits.conditional) else {
                return false;
            };
            let next = self.writers.next(node);
            let alone = self.writers.next(touch.key) == node
                && (next == touch.key || {
                    let other = self.writer_ops[next as usize];
                    self.problem.ops[other as usize].invoked > deadline
                });
            let (_, disturbs) = self.others_waiting(op, touch.key, cell);
            !disturbs && (touch.sight.is_some() || alone)
        })
    }

    fn note_stuck(&mut self, urgent: u32) {
        let deadline = self.problem.ops[urgent as usize].deadline;
        if self
            .farthest
            .as_ref()
            .is_some_and(|stuck| stuck.deadline >= deadline)
        {
            return;
        }
        let mut blocked = Vec::new();
        for op in self.related(urgent).into_iter().take(5) {
            if let Some(block) = self.block(op) {
                blocked.push((op, self.name_the_hidden_from(op, block)));
            }
        }
        let last = self.order.iter().rev().take(5).rev();
        self.farthest = Some(Stuck {
            placed: self.order.len(),
            last: last.map(|&(op, _)| op).collect(),
            blocked,
            deadline,
        });
    }

    fn name_the_hidden_from(&self, by: u32, block: Block) -> Block {
        let Block::Hides(key, cell, None) = block else {
            return block;
        };
        let sight = self.sights.get(&cell.sight(key)).copied();
        let waits = |op: &u32| {
            let touches = &self.touches[*op as usize];
            *op != by
                && !self.placed[*op as usize]
                && self.problem.ops[*op as usize].required()
                && touches.iter().any(|touch| touch.sight == sight)
        };
        Block::Hides(key, cell, (0..self.placed.len() as u32).find(waits))
    }
}
